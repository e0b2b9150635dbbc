// Which data plane a daemon has: one, chosen by the configuration.

import { type DataPlane, DataPlaneError } from '../dataplane/dataplane.ts';
import { createEngine } from '../dataplane/engine.ts';
import { createXfrm, flushXfrm } from '../dataplane/xfrm.ts';
import { HostError } from '../host/host-error.ts';
import type { PlaneName } from '../host/wanted.ts';
import type { Addon, Plane } from '../native.ts';
import type { LinkKind } from '../policy/sad.ts';

export interface ChosenPlane {
  plane: DataPlane;
  /** Hands on what it has to tell. */
  deliver(): void;
  /** Every policy of the configuration has been added. */
  settle(): Promise<void>;
}

/** Throws HostError where this machine cannot. The sockets are open. `mark`: bits of outer packets. `links`: what the kernel has for links. */
export function choosePlane(
  name: PlaneName,
  addon: Addon,
  native: Plane,
  mark: number,
  links: LinkKind | undefined,
): ChosenPlane {
  try {
    if (name === 'xfrm') {
      const plane = createXfrm(addon, native, {
        mark,
        clock: addon.bootTime,
        ...(links ? { links } : {}),
      });
      return { plane, deliver: plane.deliver, settle: plane.settle };
    }
    // Of a daemon that ran with the kernel's IPsec: its policies would stop the engine's packets.
    flushXfrm(addon);
  } catch (error) {
    throw error instanceof DataPlaneError ? new HostError('HOST_IPSEC', error.message) : error;
  }
  const plane = createEngine(addon, native);
  return { plane, deliver: plane.deliver, settle: async () => {} };
}
