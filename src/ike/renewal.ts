// Proving anew who is there (RFC 7296 §2.8.3): an IKE SA from the beginning beside the old one, whose children go over to it.

import { attempt } from './attempts.ts';
import type { Event } from './boundary.ts';
import {
  type Context,
  commandDone,
  jittered,
  onlyDelete,
  reportFailure,
  sasOf,
  type TunnelState,
} from './context.ts';
import { carries } from './intent.ts';
import { isOutdated } from './own-proof.ts';
import type { Established, IkeSa } from './sa.ts';

/** A certificate that is renewed for many tunnels is not shown to all at the same moment. */
const RENEW_OUTDATED = 10_000;

/** Another certificate of ours is there: it is shown at once, where it is we who begin. */
export function renewOutdated(context: Context, name: string): void {
  const tunnel = context.tunnels.get(name)?.tunnel;
  for (const sa of sasOf(context, name)) {
    if (sa.state.name !== 'established' || !tunnel || !isOutdated(sa, tunnel)) continue;
    sa.state.proof.renewAt = context.now + jittered(context, RENEW_OUTDATED, 0.5);
    context.sas.touch(sa.spi);
  }
}

export function renewProof(context: Context, sa: IkeSa, { proof, tunnel }: Established): void {
  proof.renewAt = Number.POSITIVE_INFINITY;
  const state = context.tunnels.get(tunnel);
  if (state && mayRenew(state)) state.renewal = attempt(context, state, sa.remote.address);
}

/** Answered when the children have gone over, or when it came to nothing. */
export function reauthenticate(context: Context, { id, tunnel }: Event & { type: 'command' }): void {
  const state = context.tunnels.get(tunnel);
  if (!state || state.removed) return commandDone(context, id, 'CONFIG_UNKNOWN_TUNNEL');
  const sa = sasOf(context, tunnel).findLast((one) => one.state.name === 'established' && carries(one.state));
  if (sa?.state.name !== 'established') return commandDone(context, id, 'TUNNEL_DOWN');
  if (state.tunnel.remote.addresses.length === 0) return commandDone(context, id, 'CONFIG_NO_ADDRESS');
  state.renewalWaiting = [...(state.renewalWaiting ?? []), id];
  sa.state.proof.renewAt = Number.POSITIVE_INFINITY;
  state.renewal ??= attempt(context, state, sa.remote.address);
}

/** By us, and not while it is done already. */
function mayRenew({ tunnel, wanted, renewal, removed }: TunnelState): boolean {
  return !removed && renewal === undefined && tunnel.remote.addresses.length > 0 && wanted;
}

/** Nobody proved anything in time. */
export function proofEnded(context: Context, sa: IkeSa, established: Established): void {
  established.proof.endsAt = Number.POSITIVE_INFINITY;
  reportFailure(context, 'REAUTHENTICATION_MISSED', established.tunnel, { remote: sa.remote.address });
  onlyDelete(context, established);
}
