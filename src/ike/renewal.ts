// Proving anew who is there (RFC 7296 §2.8.3): an IKE SA from the beginning beside the old one. Child by child goes over, then
// the old one is deleted, so no packet is without an SA.

import type { Tunnel } from '../policy/tunnel.ts';
import { attempt } from './attempts.ts';
import type { Event } from './boundary.ts';
import { isLeaving, lifetimeFrom } from './child.ts';
import {
  type Context,
  commandDone,
  jittered,
  onlyDelete,
  report,
  reportFailure,
  sasOf,
  type TunnelState,
} from './context.ts';
import { carries } from './intent.ts';
import { isOutdated } from './own-proof.ts';
import type { Established, IkeSa, Task } from './sa.ts';

/** A renewal that came to nothing is tried again after about that time. */
const RENEW_AGAIN = 60_000;
/** A certificate that is renewed for many tunnels is not shown to all at the same moment. */
const RENEW_OUTDATED = 10_000;
/** Of the lifetime of a proof: the responder leaves it to the initiator (RFC 4478) until then. */
const RESPONDERS_TURN = 0.97;

/** How long the proof that has just been given holds. */
export function proofFrom(context: Context, { ike }: Tunnel, initiator: boolean): Established['proof'] {
  const { reauthentication: time } = ike;
  if (time === undefined) return { renewAt: Number.POSITIVE_INFINITY, endsAt: Number.POSITIVE_INFINITY };
  const { rekeyAt, endsAt } = lifetimeFrom(context, time);
  return { renewAt: initiator ? rekeyAt : context.now + RESPONDERS_TURN * time, endsAt };
}

/** The peer wants a new proof within so many seconds. */
export function shortenProof(context: Context, { proof }: Established, seconds: number): void {
  const { rekeyAt, endsAt } = lifetimeFrom(context, seconds * 1000);
  proof.renewAt = Math.min(proof.renewAt, rekeyAt);
  proof.endsAt = Math.min(proof.endsAt, endsAt);
}

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

function renewalDone(context: Context, tunnel: string): void {
  const state = context.tunnels.get(tunnel);
  for (const command of state?.renewalWaiting ?? []) commandDone(context, command, 'OK');
  delete state?.renewalWaiting;
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

/** The new proof is there: from here on the old SAs only wait until their children have gone over. */
export function beginHandOver(context: Context, sa: IkeSa, established: Established): boolean {
  const tunnel = context.tunnels.get(established.tunnel)!;
  if (tunnel.renewal !== sa.spi) return false;
  delete tunnel.renewal;
  established.renews = [];
  for (const { spi, state } of sasOf(context, established.tunnel)) {
    if (spi === sa.spi || state.name !== 'established' || state.replacedBy !== undefined) continue;
    state.renewedBy = sa.spi;
    const isMoot = ({ type }: Task) => type === 'create' || type.startsWith('rekey');
    // The new SA brings what they wanted: new keys, and the children.
    for (const { command } of state.tasks.filter(isMoot)) commandDone(context, command, 'OK');
    state.tasks = state.tasks.filter((task) => !isMoot(task));
    established.renews.push(spi);
  }
  return true;
}

/** The old SAs of which every child has gone over; they have a task then. */
export function finishHandOver(context: Context, established: Established): IkeSa[] {
  const finished = (established.renews ?? []).flatMap((spi) => {
    const old = context.sas.get(spi);
    return old && hasGoneOver(old, established) ? [old] : [];
  });
  for (const { state, spi, remote } of finished) {
    if (state.name !== 'established') continue;
    const goesOver = ({ type }: Task) => type === 'take-down';
    established.tasks.push(...state.tasks.filter(goesOver));
    state.tasks = state.tasks.filter((task) => !goesOver(task));
    onlyDelete(context, state);
    established.renews = established.renews!.filter((other) => other !== spi);
    report(context, 'IKE_REAUTHENTICATED', established.tunnel, { remote: remote.address });
    renewalDone(context, established.tunnel);
  }
  if (established.renews?.length === 0) delete established.renews;
  return finished;
}

function hasGoneOver({ state }: IkeSa, heir: Established): boolean {
  if (state.name !== 'established') return false;
  const held = heir.children.filter((child) => !child.replaced && !isLeaving(heir, child));
  return state.children.every(({ name }) => held.some((child) => child.name === name));
}

/** The new SA ended before its time: the old ones carry the tunnel on, and the proof is asked for again. */
export function handOverFailed(context: Context, { renews }: Established): void {
  for (const spi of renews ?? []) {
    const { state } = context.sas.get(spi) ?? {};
    if (state?.name !== 'established') continue;
    delete state.renewedBy;
    state.proof.renewAt = context.now + jittered(context, RENEW_AGAIN, 0.5);
  }
}
