// The DNS name of a peer is resolved: whoever waited for its addresses goes on.

import type { IpAddress } from '../wire/address.ts';
import { familyOf } from '../wire/address.ts';
import { connect, connectBeside } from './attempts.ts';
import type { Event } from './boundary.ts';
import { type Context, reportFailure, sasOf, type TunnelState } from './context.ts';
import { renewProof } from './renewal.ts';
import { scheduleRetry, upDone } from './tunnels.ts';

export function resolved(context: Context, event: Event & { type: 'resolved' }): void {
  const state = context.tunnels.get(event.tunnel);
  const lookup = state?.lookup;
  if (!state || !lookup?.left.includes(event.name)) return;
  const left = lookup.left.filter((name) => name !== event.name);
  state.lookup = { ...lookup, left, found: [...lookup.found, ...event.addresses] };
  if (event.failed !== undefined) state.lookup.failed = event.failed;
  if (left.length === 0) finished(context, state);
}

function finished(context: Context, state: TunnelState): void {
  const { found, failed = 'it has no address of our family', purpose } = state.lookup!;
  delete state.lookup;
  const { tunnel } = state;
  const family = familyOf(tunnel.local.address);
  const addresses = [...new Set(found)].filter((address) => familyOf(address) === family);
  if (addresses.length === 0) {
    const name = tunnel.remote.names!.join(', ');
    reportFailure(context, 'PEER_NAME_UNKNOWN', tunnel.name, { name, why: failed });
  } else takeOver(context, state, addresses);
  // What was known before is better than nothing.
  if (tunnel.remote.addresses.length === 0 && addresses.length === 0) return nowhere(context, state);
  state.known = true;
  if (purpose === 'connect') connect(context, state);
  if (purpose === 'beside') connectBeside(context, state);
  if (purpose === 'watch') followName(context, state, addresses);
  else delete state.known;
}

function takeOver(context: Context, state: TunnelState, addresses: IpAddress[]): void {
  const { remote } = state.tunnel;
  if (remote.addresses.join() === addresses.join()) return;
  state.tunnel = { ...state.tunnel, remote: { ...remote, addresses } };
  context.tunnels.set(state.tunnel.name, state);
}

function nowhere(context: Context, state: TunnelState): void {
  state.attempt++;
  upDone(context, state.tunnel.name, 'PEER_NAME_UNKNOWN');
  scheduleRetry(context, state);
}

/** The name points elsewhere: a new IKE SA is made there, beside the one that carries the packets. */
function followName(context: Context, state: TunnelState, addresses: readonly IpAddress[]): void {
  for (const sa of sasOf(context, state.tunnel.name)) {
    const moved = addresses.length > 0 && !addresses.includes(sa.remote.address);
    if (moved && sa.state.name === 'established' && sa.state.replacedBy === undefined)
      renewProof(context, sa, sa.state);
  }
  delete state.known;
}
