// Attempts at a tunnel: when one is begun, and at which address of its peer.

import type { IpAddress } from '../wire/address.ts';
import { type Context, commandDone, report, type TunnelState } from './context.ts';
import { mustLookUp } from './names.ts';
import { initiate, reportConnecting } from './v2/ike-sa-init.ts';

/** A new attempt, unless one is under way or has succeeded. */
export function connect(context: Context, state: TunnelState): void {
  delete state.retryAt;
  if (state.sas.some((spi) => context.sas.has(spi)) || mustLookUp(context, state, 'connect')) return;
  if (context.starts.admit(state.tunnel.name, context.now)) attempt(context, state);
}

/** Those whose turn has come. */
export function startWaiting(context: Context): void {
  for (;;) {
    const name = context.starts.next(context.now);
    if (name === undefined) return;
    const state = context.tunnels.get(name);
    if (state && !state.removed && !state.sas.some((spi) => context.sas.has(spi))) attempt(context, state);
  }
}

/** An attempt beside an SA that has become silent: whoever answers first carries the tunnel. */
export function connectBeside(context: Context, state: TunnelState): void {
  if (state.beside !== undefined || !state.wanted || !isReachable(state)) return;
  if (mustLookUp(context, state, 'beside')) return;
  state.beside = attempt(context, state);
}

/** By an address or by a name. */
function isReachable({ tunnel: { remote } }: TunnelState): boolean {
  return remote.addresses.length > 0 || remote.names !== undefined;
}

/** The SPI of the new SA. `preferred`: the address to try first, where it is one of the peer's. */
export function attempt(context: Context, state: TunnelState, preferred?: IpAddress): string | undefined {
  const { tunnel } = state;
  const { addresses } = tunnel.remote;
  if (addresses.length === 0) {
    report(context, 'CONFIG_NO_ADDRESS', tunnel.name);
    for (const waiting of state.waiting.splice(0)) commandDone(context, waiting, 'CONFIG_NO_ADDRESS');
    return undefined;
  }
  const known = addresses.find((one) => one === preferred);
  const address = known ?? addresses[state.attempt % addresses.length]!;
  if (state.attempt === 0) state.startedAt = context.now;
  state.attempt++;
  const sa = initiate(context, tunnel, { transport: 'udp', address, port: 500 });
  state.sas = [...state.sas, sa.spi];
  context.starts.began(sa.spi, context.now);
  reportConnecting(context, sa, state.attempt);
  return sa.spi;
}
