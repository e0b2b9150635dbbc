// What we ask of the operating system besides packets: link, routes, rules, guards. Own objects only; idempotent.

import type { Addon } from '../native.ts';
import type { LinkKind } from '../policy/sad.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Prefix } from '../wire/rtnetlink.ts';
import { isOurs } from './interfaces.ts';
import { createKernel } from './netlink.ts';
import { applyGuards, flushGuards, guardCounters } from './nftables.ts';
import type { Wanted } from './wanted.ts';

export interface Host {
  /** A sentence where a table or a priority of rules that is wanted is somebody else's. */
  taken(wanted: Wanted): string | undefined;
  /** Mends the difference between what stands and what is wanted: first the guards, last what leads packets to us. */
  apply(wanted: Wanted): void;
  /** Interfaces of route-based tunnels and routes, and no more: for what changes with the health of a tunnel. */
  steer(wanted: Wanted): void;
  /** Of the kernel's IPsec, what interfaces can be made of here; undefined where it has nothing for them. */
  linkKind(): LinkKind | undefined;
  /** Addresses of this machine. */
  addresses(): IpAddress[];
  /** Networks that this machine is in, but for those of our own devices. */
  near(): Prefix[];
  /** Names of our interfaces that are up, as routing daemons see it. */
  running(): Set<string>;
  /** Cleartext packets that the guards stopped, by direction. */
  stopped(): { out: bigint; in: bigint };
  /** Removes everything of ours, also what an earlier process left. How many objects that were. */
  flush(): number;
}

export function createHost(addon: Addon): Host {
  const kernel = createKernel(addon);
  return {
    taken: kernel.taken,
    apply(wanted) {
      // The kernel's IPsec policies are guards themselves; the table of the engine would stop what they protect.
      const guards = wanted.plane === 'xfrm' ? [] : wanted.guards;
      if (wanted.plane === 'xfrm' && wanted.links.length === 0) flushGuards(addon);
      else applyGuards(addon, { ...wanted, guards });
      kernel.apply(wanted);
    },
    steer: (wanted) => kernel.steer(wanted),
    linkKind: kernel.linkKind,
    addresses: () => kernel.addresses().map(({ address }) => address),
    near() {
      const ours = new Set(kernel.links().flatMap((link) => (isOurs(link) ? link.index : [])));
      return kernel.addresses().flatMap(({ link, ...prefix }) => (ours.has(link) ? [] : [prefix]));
    },
    running: () => new Set(kernel.links().flatMap((link) => (isOurs(link) && link.running ? link.name : []))),
    stopped: () => guardCounters(addon),
    flush: () => kernel.flush() + flushGuards(addon),
  };
}
