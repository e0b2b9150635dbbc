// Every moment at which something is due, and what is done then.

import { suiteText } from '../policy/proposal.ts';
import type { Instant } from '../policy/sad.ts';
import { connect, connectBeside } from './attempts.ts';
import { createLater, useChild } from './child.ts';
import { applyChanges, type Context, onlyDelete, reportFailure, type TunnelState } from './context.ts';
import type { ReportCode } from './errors.ts';
import { announceExpected } from './expected.ts';
import { ASSEMBLY_AGE, endAssembly } from './fragments.ts';
import { carries, supervisedAt } from './intent.ts';
import { watchName } from './names.ts';
import { proofEnded, renewProof } from './renewal.ts';
import type { ChildSa, Established, IkeSa, Task } from './sa.ts';
import { isHeldBack, mayBegin } from './tasks.ts';
import { giveUp, retryDelay } from './tunnels.ts';
import { endPending } from './v2/ike-followup-ke-served.ts';
import { tryOtherAnswer } from './v2/ike-sa-init.ts';
import { deleteIke } from './v2/informational.ts';
import { DOUBT, retransmit, send } from './window.ts';

/** Every due moment, by what it is for. */
function timers(context: Context, sa: IkeSa): [Instant, () => void][] {
  const { state } = sa;
  const due: [Instant, () => void][] = [];
  if (sa.window.sent) due.push([sa.window.sent.due, () => retransmitOrEnd(context, sa)]);
  const { assembly } = sa.window;
  if (assembly) due.push([assembly.since + ASSEMBLY_AGE, () => endAssembly(context, sa)]);
  if ('until' in state) due.push([state.until, () => context.sas.delete(sa.spi)]);
  if (state.name === 'established') due.push(...establishedTimers(context, sa, state));
  return due;
}

function establishedTimers(context: Context, sa: IkeSa, state: Established): [Instant, () => void][] {
  const due: [Instant, () => void][] = [];
  const later = state.tasks
    .filter((task) => task.notBefore !== undefined && !isHeldBack(context, sa, state, task))
    .map(({ notBefore }) => notBefore!);
  if (later.length > 0 && mayBegin(sa, state)) due.push([Math.min(...later), () => {}]);
  const { pending } = state;
  if (pending && !state.serving) due.push([pending.until, () => endPending(context, state)]);
  due.push([state.endsAt, () => endIke(context, state)]);
  if (state.replacedBy !== undefined) return due;
  due.push([state.proof.endsAt, () => proofEnded(context, sa, state)]);
  const stays = state.renewedBy === undefined;
  if (stays) due.push([state.proof.renewAt, () => renewProof(context, sa, state)]);
  const supervised = supervisedAt(context, sa, state);
  if (supervised !== undefined) due.push([supervised, () => {}]);
  const tunnel = context.tunnels.get(state.tunnel)?.tunnel;
  if (stays)
    due.push([
      state.rekeyAt,
      () => rekeyOnce(state, { type: 'rekey-ike' }, () => (state.rekeyAt = Number.POSITIVE_INFINITY)),
    ]);
  for (const child of state.children) {
    if (Number.isFinite(child.endsAt)) due.push([child.endsAt, () => endChild(context, state, child)]);
    if (child.useAt !== undefined) due.push([child.useAt, () => useChild(context, sa, state, child)]);
    if (!child.used || !stays) continue;
    due.push([
      child.rekeyAt,
      () =>
        rekeyOnce(
          state,
          { type: 'rekey-child', spiIn: child.spiIn, child: child.name },
          () => (child.rekeyAt = Number.POSITIVE_INFINITY),
        ),
    ]);
  }
  // RFC 7296 §2.4: whatever else is to be done later, a silent peer is asked.
  const idle = !state.own && state.tasks.every(({ notBefore = 0 }) => notBefore > context.now);
  if (tunnel && tunnel.liveness > 0 && idle) {
    due.push([state.lastHeard + tunnel.liveness, () => state.tasks.push({ type: 'liveness' })]);
  }
  if (tunnel && (sa.nat.local || sa.nat.forced))
    due.push([state.lastSent + tunnel.keepalive, () => send(context, sa, Uint8Array.of(0xff))]);
  return due;
}

/** No rekey came about in time: a new IKE SA is made from the beginning. */
function endIke(context: Context, state: Established): void {
  state.endsAt = Number.POSITIVE_INFINITY;
  onlyDelete(context, state);
}

/** At the end of its lifetime a child stops at once, whatever the exchanges do. */
function endChild(context: Context, state: Established, child: ChildSa): void {
  child.endsAt = Number.POSITIVE_INFINITY;
  applyChanges(context, [{ type: 'remove', direction: 'out', spi: child.spiOut }]);
  state.tasks.push({ type: 'delete-child', spiIn: child.spiIn });
  if (child.used) createLater(context, state, child.name, 0);
}

function rekeyOnce(state: Established, task: Task, done: () => void): void {
  state.tasks.push(task);
  done();
}

function retransmitOrEnd(context: Context, sa: IkeSa): void {
  if (isUnderKeys(sa) && sa.window.sent!.sends >= PATIENCE && tryOtherAnswer(context, sa)) return;
  const repeated = retransmit(context, sa);
  const { sends } = sa.window.sent!;
  if (repeated) return sends >= DOUBT ? doubt(context, sa) : undefined;
  const remote = sa.remote.address;
  if (sa.state.name === 'established') {
    const { tunnel, replacedBy } = sa.state;
    // A replaced SA that is not deleted properly is nobody's loss.
    if (replacedBy === undefined) reportFailure(context, 'PEER_VANISHED', tunnel, { remote, sends });
    return deleteIke(context, sa, 'us');
  }
  noAnswer(context, sa, sends);
}

/** An answer to IKE_SA_INIT is in use, and what follows is not answered yet. */
function isUnderKeys({ state }: IkeSa): boolean {
  return state.name === 'auth-sent' || state.name === 'intermediate-sent';
}

/** Answers that no silence explains away. */
const SURE: readonly ReportCode[] = ['CONFIG_AH_NAT'];

/** To IKE_SA_INIT nobody answered, or somebody did and what follows is not answered: different faults. */
function noAnswer(context: Context, sa: IkeSa, sends: number): void {
  const { address: remote, port } = sa.remote;
  const seconds = Math.round(retryDelay(context.tunnels.get(sa.candidates[0]!)!) / 1000);
  const hint = sa.state.name === 'init-sent' ? sa.state.attempt.hint : undefined;
  if (hint && SURE.includes(hint.code)) return giveUp(context, sa, hint.code, hint.detail);
  if (sa.state.name !== 'auth-sent' && sa.state.name !== 'intermediate-sent')
    return giveUp(context, sa, 'PEER_UNREACHABLE', { remote, sends, seconds });
  const suite = suiteText(sa.state.secrets.suite);
  const code = sa.state.name === 'auth-sent' ? 'PEER_SILENT_IN_AUTH' : 'PEER_SILENT_IN_INTERMEDIATE';
  giveUp(context, sa, code, { remote, port, suite, sends, seconds });
}

/** Transmissions of IKE_AUTH after which another answer to IKE_SA_INIT is tried, where one came. */
const PATIENCE = 3;

/** docs/decisions/0001-retransmission.md */
function doubt(context: Context, { state }: IkeSa): void {
  const tunnel = state.name === 'established' ? context.tunnels.get(state.tunnel) : undefined;
  if (tunnel && state.name === 'established' && carries(state)) connectBeside(context, tunnel);
}

/** At a time; the others are due still, and the next event is theirs. */
const MOST_DUE = 64;

export function timeout(context: Context): void {
  for (const spi of context.saAgenda.take(context.now, MOST_DUE)) {
    const sa = context.sas.get(spi);
    if (!sa) continue;
    for (const [at, act] of timers(context, sa)) if (at <= context.now && context.sas.has(spi)) act();
  }
  for (const name of context.tunnelAgenda.take(context.now, MOST_DUE)) {
    const state = context.tunnels.get(name);
    if (state?.retryAt !== undefined && state.retryAt <= context.now) connect(context, state);
    if (state?.watchAt !== undefined && state.watchAt <= context.now) watchName(context, state);
  }
  const later = context.removals.findIndex(({ at }) => at > context.now);
  const due = context.removals.splice(0, later === -1 ? context.removals.length : later);
  applyChanges(
    context,
    due.map(({ change }) => change),
  );
}

/** After an event: what it may have changed is found by what it is, and waits for its next moment. */
export function settle(context: Context): void {
  for (const spi of context.sas.touched()) {
    const sa = context.sas.get(spi);
    const moments = sa ? timers(context, sa).map(([at]) => at) : [];
    context.saAgenda.put(spi, Math.min(...moments));
  }
  announceExpected(context);
  context.sas.index();
  for (const name of context.tunnels.takeTouched())
    context.tunnelAgenda.put(name, tunnelMoment(context.tunnels.peek(name)));
}

function tunnelMoment(state: TunnelState | undefined): Instant | undefined {
  const { retryAt = Number.POSITIVE_INFINITY, watchAt = Number.POSITIVE_INFINITY } = state ?? {};
  return Math.min(retryAt, watchAt);
}

export function nextTimeout(context: Context): Instant | undefined {
  const { saAgenda, tunnelAgenda, removals, starts } = context;
  const moments = [saAgenda.next(), tunnelAgenda.next(), removals[0]?.at, starts.due()].filter(
    (at) => at !== undefined,
  );
  return moments.length === 0 ? undefined : Math.min(...moments);
}
