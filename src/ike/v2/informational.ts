// INFORMATIONAL (RFC 7296 §1.4): deletes and liveness.
//
//   HDR, SK {[D]}  -->
//                  <--  HDR, SK {[D]}

import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import { removeChild } from '../child.ts';
import { applyChanges, type Context, commandDone, report } from '../context.ts';
import type { ChildSa, Established, IkeSa, Task } from '../sa.ts';
import { tunnelLost } from '../tunnels.ts';
import { sendRequest, sendResponse } from '../window.ts';
import { spiBytes, spiNumber } from './payloads.ts';

type InformationalTask = Extract<Task, { type: 'delete-child' | 'delete-ike' | 'liveness' }>;

/** False when there is nothing left to do for the task. */
export function beginInformational(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: InformationalTask,
): boolean {
  const child =
    task.type === 'delete-child' ? established.children.find(({ spiIn }) => spiIn === task.spiIn) : undefined;
  if (task.type === 'delete-child' && !child) return false;
  sendRequest(context, sa, EXCHANGE.INFORMATIONAL, deletePayload(task, child), established);
  established.own = { task, step: 'sent' };
  return true;
}

function deletePayload(task: InformationalTask, child: ChildSa | undefined): Payload[] {
  switch (task.type) {
    case 'liveness':
      return [];
    case 'delete-ike':
      return [{ type: PAYLOAD.D, critical: false, protocol: PROTOCOL.IKE, spis: [] }];
    case 'delete-child':
      return [{ type: PAYLOAD.D, critical: false, protocol: PROTOCOL.ESP, spis: [spiBytes(child!.spiIn)] }];
  }
}

export function informationalAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: InformationalTask,
): void {
  delete sa.window.sent;
  delete established.own;
  if (task.type === 'delete-ike') deleteIke(context, sa, 'us');
  if (task.type === 'delete-child') {
    const child = established.children.find(({ spiIn }) => spiIn === task.spiIn);
    if (child) endChild(context, established, child, 'us');
  }
  commandDone(context, task.command, 'OK');
}

/** The peer asks; an empty answer says that we live (RFC 7296 §2.4). */
export function informationalRequested(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  messageId: number,
): void {
  const remove = findPayload(payloads, PAYLOAD.D);
  const removed =
    remove?.protocol === PROTOCOL.ESP ? removeChildren(context, sa, established, remove.spis) : [];
  const answer: Payload[] =
    removed.length > 0
      ? [{ type: PAYLOAD.D, critical: false, protocol: PROTOCOL.ESP, spis: removed.map(spiBytes) }]
      : [];
  sendResponse(context, sa, EXCHANGE.INFORMATIONAL, messageId, answer, established);
  if (remove?.protocol === PROTOCOL.IKE) deleteIke(context, sa, 'peer');
}

/** Our halves of the named children. A child that we are deleting too is answered by silence (RFC 7296 §1.4.1). */
function removeChildren(
  context: Context,
  sa: IkeSa,
  established: Established,
  spis: readonly Uint8Array[],
): number[] {
  const task = established.own?.task;
  return spis.flatMap((spi) => {
    const child = established.children.find(({ spiOut }) => spiOut === spiNumber(spi));
    if (!child) return [];
    promote(context, sa, established, child);
    endChild(context, established, child, 'peer');
    return task?.type === 'delete-child' && task.spiIn === child.spiIn ? [] : [child.spiIn];
  });
}

/** The old child of a rekey goes: send with its successor at the latest now. */
function promote(context: Context, sa: IkeSa, established: Established, child: ChildSa): void {
  if (!child.used) return;
  const heir = established.children.findLast((other) => other.name === child.name && other !== child);
  if (!heir) return;
  child.used = false;
  heir.used = true;
  applyChanges(context, [
    {
      type: 'use-outbound',
      policy: `${established.tunnel}/${heir.name}`,
      spi: heir.spiOut,
      remote: sa.remote.address,
    },
  ]);
}

function endChild(context: Context, established: Established, child: ChildSa, by: 'us' | 'peer'): void {
  removeChild(context, established, child);
  report(context, 'CHILD_DELETED', established.tunnel, { child: child.name, by, spiIn: child.spiIn });
}

/** The IKE SA ends, and its children with it (RFC 7296 §1.4.1). */
export function deleteIke(context: Context, sa: IkeSa, by: 'us' | 'peer'): void {
  context.sas.delete(sa.spi);
  if (sa.state.name !== 'established') return;
  const established = sa.state;
  for (const child of established.children) removeChild(context, established, child);
  report(context, 'IKE_DELETED', established.tunnel, { remote: sa.remote.address, by });
  for (const task of established.tasks)
    commandDone(context, task.command, task.type === 'delete-ike' ? 'OK' : 'PEER_VANISHED');
  commandDone(
    context,
    established.own?.task.command,
    established.own?.task.type === 'delete-ike' ? 'OK' : 'PEER_VANISHED',
  );
  const tunnel = established.tunnel;
  sa.state = { name: 'deleted' };
  tunnelLost(context, sa, tunnel);
}
