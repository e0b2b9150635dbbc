// What we ask of the operating system besides packets: link, routes, rules, guards. Own objects only; idempotent.

import type { Addon } from '../native.ts';
import type { IpAddress } from '../wire/address.ts';
import { createKernel } from './netlink.ts';
import { applyGuards, flushGuards, guardCounters } from './nftables.ts';
import type { Wanted } from './wanted.ts';

/** The machine refuses something; the message says what and why. */
export class HostError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'HostError';
    this.code = code;
  }
}

export interface Host {
  /** Mends the difference between what stands and what is wanted: first the guards, last what leads packets to us. */
  apply(wanted: Wanted): void;
  /** Addresses of this machine. */
  addresses(): IpAddress[];
  /** Cleartext packets that the guards stopped, by direction. */
  stopped(): { out: bigint; in: bigint };
  /** Removes everything of ours, also what an earlier process left. How many objects that were. */
  flush(): number;
}

export function createHost(addon: Addon): Host {
  const kernel = createKernel(addon);
  return {
    apply(wanted) {
      // The kernel's IPsec policies are guards themselves; the table of the engine would stop what they protect.
      if (wanted.plane === 'xfrm') flushGuards(addon);
      else applyGuards(addon, wanted.guards, wanted.mtu);
      kernel.apply(wanted);
    },
    addresses: () => kernel.addresses().map(({ address }) => address),
    stopped: () => guardCounters(addon),
    flush: () => kernel.flush() + flushGuards(addon),
  };
}
