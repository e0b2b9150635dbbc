// What this machine would protect packets with, asked without a daemon.

import type { Config } from '../config/config.ts';
import { askKernel } from '../dataplane/xfrm.ts';
import { createHost } from '../host/host.ts';
import { HostError } from '../host/host-error.ts';
import { isByNetworks, pairsOf } from '../host/pairs.ts';
import { wantedFor } from '../host/wanted.ts';
import { type Addon, AddonError, loadAddon } from '../native.ts';
import type { Capabilities } from '../policy/sad.ts';
import { type Choice, choose } from './plane-choice.ts';

/** The choice, or why this machine cannot, or why that is not known. */
export interface Prospect {
  choice?: Choice;
  refused?: string;
  unknown?: string;
}

/** What the kernel can do, interfaces of tunnels included. Throws DataPlaneError where it cannot protect packets. */
export function kernelOf(addon: Addon): Capabilities {
  return { ...askKernel(addon), links: createHost(addon).linkKind() !== undefined };
}

/** What of the tables and rules that the start would want somebody else has on this machine. Changes nothing. */
export function takenFrom({ tunnels, mtu, dataplane, routing }: Config): string | undefined {
  try {
    const host = createHost(loadAddon());
    const pairs = tunnels.filter(isByNetworks).flatMap(({ children }) => children.flatMap(pairsOf));
    return host.taken(wantedFor(pairs, host.addresses(), mtu, dataplane, routing));
  } catch (error) {
    if (error instanceof AddonError || error instanceof HostError) return undefined;
    throw error;
  }
}

/** For a configuration that wants the kernel, or leaves the choice. Changes nothing. */
export function prospectOf(config: Config): Prospect | undefined {
  if (config.dataplane === 'engine' && !config.automatic) return undefined;
  try {
    const addon = loadAddon();
    return { choice: choose(config, () => kernelOf(addon)) };
  } catch (error) {
    if (error instanceof AddonError) return { unknown: error.message };
    if (!(error instanceof HostError)) throw error;
    return error.message.includes('CAP_NET_ADMIN') ? { unknown: error.message } : { refused: error.message };
  }
}
