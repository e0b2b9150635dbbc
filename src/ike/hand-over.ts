// Child by child goes over to the IKE SA with the new proof, then the old one is deleted, so no packet is without an SA.

import { isLeaving } from './child.ts';
import { type Context, commandDone, jittered, onlyDelete, report, sasOf } from './context.ts';
import type { Established, IkeSa, Task } from './sa.ts';

/** A renewal that came to nothing is tried again after about that time. */
const RENEW_AGAIN = 60_000;

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

function renewalDone(context: Context, tunnel: string): void {
  const state = context.tunnels.get(tunnel);
  for (const command of state?.renewalWaiting ?? []) commandDone(context, command, 'OK');
  delete state?.renewalWaiting;
}
