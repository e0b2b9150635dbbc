// What we asked for with CREATE_CHILD_SA and do not get: the peer's stands instead, the peer has deleted it, or it failed.

import { additionalMethods } from '../../policy/additional.ts';
import { createLater, retryRekey } from '../child.ts';
import { type Context, commandDone, onlyDelete, reportFailure } from '../context.ts';
import { endReplaced, inherit } from '../heir.ts';
import { noteRefused } from '../rehearsal.ts';
import type { Established, IkeSa, OwnExchange, Task } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { nextFollowup } from './followups.ts';

/** Milliseconds to the next try of what failed on our side; twice as long with each failure in a row. */
const CREATE_AGAIN = { first: 1000, most: 64_000 };

export function createAgain(context: Context, established: Established, child: string): void {
  const state = context.tunnels.get(established.tunnel);
  if (!state) return;
  const after = state.unmade?.[child] ?? CREATE_AGAIN.first;
  createLater(context, established, child, after);
  state.unmade = { ...state.unmade, [child]: Math.min(2 * after, CREATE_AGAIN.most) };
}

/** The peer's rekey of the same SA stands; ours is not needed, or came to nothing. */
export function yieldToRival(context: Context, sa: IkeSa, established: Established, own: OwnExchange): void {
  delete established.own;
  answerRekey(context, established, own.task);
  const heir = own.task.type === 'rekey-ike' && context.sas.get((own.rival?.spi as string | undefined) ?? '');
  if (established.ended) return endReplaced(context, sa);
  if (heir && established.replacedBy === undefined) inherit(context, sa, established, heir);
}

/** Somebody wants new keys, and the peer is making them: they are there when its child is, or they are not. */
export function answerRekey(context: Context, { serving, children }: Established, task: Task): void {
  const { command } = task;
  if (command === undefined) return;
  if (task.type !== 'rekey-child') return commandDone(context, command, 'OK');
  if (serving?.step === 'installing' && serving.replaces === task.spiIn && serving.command === undefined) {
    serving.command = command;
    return;
  }
  const old = children.find(({ spiIn }) => spiIn === task.spiIn);
  const heir = children.some(
    ({ name, spiIn, replaced }) => name === task.child && spiIn !== task.spiIn && !replaced,
  );
  commandDone(context, command, heir && (!old || old.replaced) ? 'OK' : 'CHILD_GONE');
}

/** The peer has deleted what we were making: the child before it, if any, goes on. */
export function unmadeByPeer(
  context: Context,
  established: Established,
  { task }: OwnExchange,
  child: string,
): void {
  delete established.own;
  commandDone(context, task.command, 'PEER_DELETED');
  retryRekey(context, established, task);
  if (established.children.every(({ name }) => name !== child)) createAgain(context, established, child);
}

export function taskFailed(
  context: Context,
  sa: IkeSa,
  established: Established,
  code: 'BUG_JOB' | 'PEER_ERROR' | 'PEER_BAD_PUBLIC_VALUE',
  detail: Record<string, unknown>,
): void {
  const own = established.own!;
  reportFailure(context, code, established.tunnel, detail);
  if (isMadeByPeer(own)) unmake(context, established, own);
  if (own.rival) return yieldToRival(context, sa, established, own);
  const { task } = own;
  delete established.own;
  commandDone(context, task.command, code);
  retryRekey(context, established, task);
  if (task.type === 'rekey-child') noteRefused(context, sa, established, task);
  if (task.type !== 'create') return;
  createAgain(context, established, task.child);
  upDone(context, established.tunnel, code);
}

/** With its last answer the peer has its half. */
function isMadeByPeer(
  own: OwnExchange,
): own is OwnExchange & { step: 'sent' | 'finishing' | 'followup-finishing' } {
  if (own.step === 'followup-finishing') return nextFollowup(own.rest, 1) === undefined;
  if (own.step === 'finishing') return additionalMethods(own.suite).length === 0;
  return own.step === 'sent';
}

/** The peer made its half of what we cannot finish. */
export function unmake(
  context: Context,
  established: Established,
  { offer, rival }: OwnExchange & { step: 'sent' | 'finishing' | 'followup-finishing' },
): void {
  if (typeof offer?.spi === 'number')
    return void established.tasks.unshift({
      type: 'delete-child',
      spiIn: offer.spi,
      unmade: offer.protocol,
    });
  // Only the peer holds the new IKE SA, and our children with it: everything is made from the beginning.
  const other = context.sas.get((rival?.spi as string | undefined) ?? '');
  if (other?.state.name === 'established') onlyDelete(context, other.state);
  onlyDelete(context, established);
}
