// What should be up, and what is done about it: attempts, back-off, commands that wait.

import {
  type Context,
  commandDone,
  jittered,
  reportFailure,
  sasOf,
  startJob,
  type TunnelState,
  tunnelOf,
} from './context.ts';
import type { ReportCode } from './errors.ts';
import type { IkeSa, State } from './sa.ts';

const FIRST_RETRY = 1000;
const LONGEST_RETRY = 60_000;

export function tunnelEstablished(context: Context, sa: IkeSa, name: string): void {
  const state = context.tunnels.get(name)!;
  context.starts.ended(sa.spi);
  state.attempt = 0;
  state.upSince ??= context.now;
  delete state.retryAt;
  if (!state.sas.includes(sa.spi)) state.sas = [...state.sas, sa.spi];
  // The peer was first: an attempt of ours that it cannot have taken up is not needed any more.
  for (const other of sasOf(context, name))
    if (UNKNOWN_TO_PEER.includes(other.state.name)) abandon(context, other);
}

/** Who wanted the tunnel up hears what became of it: the IKE SA, and the child that came with it. */
export function upDone(context: Context, name: string, outcome: ReportCode): void {
  for (const command of context.tunnels.get(name)!.waiting.splice(0)) commandDone(context, command, outcome);
}

/** The operator had taken this child down; now it is wanted again. */
export function askedAgain(context: Context, name: string, child: string): void {
  const state = context.tunnels.get(name)!;
  const down = state.down?.filter((other) => other !== child) ?? [];
  if (down.length > 0) state.down = down;
  else delete state.down;
}

/** An established SA ended: a tunnel that should be up is tried again at once, unless another SA carries it. */
export function tunnelLost(context: Context, sa: IkeSa, name: string): void {
  const state = context.tunnels.get(name);
  if (!state) return;
  forget(state, sa.spi);
  if (!sasOf(context, name).some((other) => other.state.name === 'established')) delete state.upSince;
  if (state.removed && state.sas.length === 0) context.tunnels.delete(name);
  if (state.wanted && state.sas.length === 0) state.retryAt = context.now;
}

/** Ends an SA that is not established; the private half of its key exchange goes with it. */
export function abandon(context: Context, sa: IkeSa): void {
  const { state } = sa;
  if ('attempt' in state) startJob(context, sa, { type: 'forget', handle: state.attempt.offer.handle });
  if ('ke' in state && state.ke) startJob(context, sa, { type: 'forget', handle: state.ke.handle });
  context.sas.delete(sa.spi);
  context.starts.ended(sa.spi);
  sa.state = { name: 'deleted' };
  const tunnel = tunnelOf(context, sa);
  if (tunnel) forget(tunnel, sa.spi);
}

/** An attempt of ours failed. */
export function giveUp(context: Context, sa: IkeSa, code: ReportCode, detail: Record<string, unknown>): void {
  const state = tunnelOf(context, sa);
  const renewing = state?.renewal === sa.spi;
  abandon(context, sa);
  reportFailure(context, code, sa.candidates[0], detail);
  if (!state) return;
  if (renewing) return renewalFailed(context, state, code);
  upDone(context, state.tunnel.name, code);
  scheduleRetry(context, state);
}

/** A failed renewal is tried again after about that time, sooner where less is left. */
const RENEW_AGAIN = 60_000;
const RENEW_SOONEST = 5000;

/** The SA that was to be renewed goes on, to the end of what was proven. */
function renewalFailed(context: Context, state: TunnelState, code: ReportCode): void {
  for (const command of state.renewalWaiting ?? []) commandDone(context, command, code);
  delete state.renewalWaiting;
  for (const { state: old, remote } of sasOf(context, state.tunnel.name)) {
    if (old.name !== 'established' || old.replacedBy !== undefined) continue;
    const left = old.proof.endsAt - context.now;
    old.proof.renewAt =
      context.now + jittered(context, Math.max(Math.min(RENEW_AGAIN, left / 2), RENEW_SOONEST), 0.5);
    const until = Number.isFinite(left) ? `for ${Math.round(left / 1000)} s at most` : 'as it is';
    reportFailure(context, 'REAUTHENTICATION_FAILED', state.tunnel.name, {
      remote: remote.address,
      why: code,
      until,
    });
  }
}

function forget(state: TunnelState, spi: string): void {
  state.sas = state.sas.filter((other) => other !== spi);
  if (state.beside === spi) delete state.beside;
  if (state.renewal === spi) delete state.renewal;
}

/** The silent SA answered: the attempt beside it ends, unless the peer may already hold the new SA. */
export function dropBeside(context: Context, tunnel: string): void {
  const state = context.tunnels.get(tunnel);
  const sa = context.sas.get(state?.beside ?? '');
  if (sa && UNKNOWN_TO_PEER.includes(sa.state.name)) abandon(context, sa);
}

/** An attempt that is not wanted any more: the peer may hold the SA from our IKE_AUTH on. */
export function giveAway(context: Context, sa: IkeSa): void {
  if (!sa.initiator || UNKNOWN_TO_PEER.includes(sa.state.name)) return abandon(context, sa);
  sa.unwanted = true;
}

const UNKNOWN_TO_PEER: State['name'][] = [
  'offering',
  'init-sent',
  'init-finishing',
  'intermediate-offering',
  'intermediate-sent',
  'intermediate-finishing',
  'ppk-confirming',
  'ppk-seeding',
  'ppk-mixing',
  'no-ppk-signing',
  'auth-signing',
];

export function scheduleRetry(context: Context, state: TunnelState): void {
  if (state.wanted && state.sas.length === 0)
    state.retryAt = context.now + jittered(context, retryDelay(state), 0.1);
}

export function retryDelay(state: TunnelState): number {
  return Math.min(FIRST_RETRY * 2 ** Math.max(state.attempt - 1, 0), LONGEST_RETRY);
}
