// INFORMATIONAL (RFC 7296 §1.4): deletes and liveness; measure.ts has the one that measures the path.
//
//   HDR, SK {[D]}  -->
//                  <--  HDR, SK {[D]}

import { childProtocol } from '../../policy/proposal.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import { childNamed, dropChild, isLeaving, removeChild, useChild } from '../child.ts';
import {
  applyChanges,
  type Context,
  commandDone,
  forgetOffer,
  report,
  reportFailure,
  sasOf,
} from '../context.ts';
import { keepLastAnswer } from '../farewells.ts';
import { handOverFailed } from '../hand-over.ts';
import { inherit } from '../heir.ts';
import type { ChildSa, Established, IkeSa, Task } from '../sa.ts';
import { tunnelLost } from '../tunnels.ts';
import { sendRequest, sendResponse } from '../window.ts';
import { noteAuthLifetime } from './auth-lifetime.ts';
import { measured } from './measure.ts';
import { deletesOf, spiBytes, spiNumber } from './payloads.ts';

type InformationalTask = Extract<Task, { type: 'delete-child' | 'delete-ike' | 'liveness' }>;
type AnsweredTask = InformationalTask | Extract<Task, { type: 'measure' }>;

/** False when there is nothing left to do for the task. */
export function beginInformational(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: InformationalTask,
): boolean {
  const child =
    task.type === 'delete-child' ? established.children.find(({ spiIn }) => spiIn === task.spiIn) : undefined;
  if (task.type === 'delete-child' && !child && !task.unmade) return false;
  const protocol = child ? childProtocol(child.suite) : PROTOCOL.ESP;
  sendRequest(context, sa, EXCHANGE.INFORMATIONAL, deletePayload(task, protocol), established);
  established.own = { task, step: 'sent' };
  return true;
}

/** `protocol`: of the child that is there. */
function deletePayload(task: InformationalTask, protocol: number): Payload[] {
  switch (task.type) {
    case 'liveness':
      return [];
    case 'delete-ike':
      return [deleted(PROTOCOL.IKE, [])];
    case 'delete-child':
      return [deleted(task.unmade ?? protocol, [task.spiIn])];
  }
}

function deleted(protocol: number, spis: readonly number[]): Payload {
  return { type: PAYLOAD.D, critical: false, protocol, spis: spis.map(spiBytes) };
}

export function informationalAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: AnsweredTask,
): void {
  const outcome = task.type === 'measure' ? measured(context, sa) : 'OK';
  delete sa.window.sent;
  delete established.own;
  if (task.type === 'delete-ike') deleteIke(context, sa, 'us');
  if (task.type === 'delete-child') {
    const child = established.children.find(({ spiIn }) => spiIn === task.spiIn);
    if (child) {
      promote(context, sa, established, child);
      endChild(context, established, child, 'us');
    }
  }
  commandDone(context, task.command, outcome);
}

/** The peer asks; an empty answer says that we live (RFC 7296 §2.4). */
export function informationalRequested(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  messageId: number,
): void {
  noteAuthLifetime(context, sa, established, payloads);
  noteLostChild(established, payloads);
  const deletes = deletesOf(payloads);
  const ends = deletes.some(({ protocol }) => protocol === PROTOCOL.IKE);
  // RFC 7296 §1.4.1: the children go with their IKE SA.
  const answer = ends ? [] : deletes.flatMap((one) => removeChildren(context, sa, established, one));
  // Whom we tell that the IKE SA is gone drops what we still send with its children.
  if (ends) useOthers(context, sa, established);
  sendResponse(context, sa, EXCHANGE.INFORMATIONAL, messageId, answer, established);
  // RFC 7296 §2.21.2: whom we proved ourselves to does not believe it, and says so in an exchange of its own.
  if (findNotify(payloads, NOTIFY.AUTHENTICATION_FAILED)) return refusedAfterwards(context, sa, established);
  if (!ends) return;
  const { own } = established;
  const heir = own?.task.type === 'rekey-ike' && own.rival && context.sas.get(own.rival.spi as string);
  // RFC 7296 §2.8.2: the peer deletes the old SA because its own rekey stands; ours is still to be finished and unmade.
  if (heir && established.replacedBy === undefined) inherit(context, sa, established, heir);
  if (heir && own.step === 'finishing') established.ended = true;
  else deleteIke(context, sa, 'peer');
}

/**
 * RFC 7296 §1.5: the peer got a packet with an SPI of ours that it does not know. It is asked to rekey that child: where it
 * has lost it, it says so, and the child is made anew.
 */
function noteLostChild({ children, tasks }: Established, payloads: readonly Payload[]): void {
  const spi = findNotify(payloads, NOTIFY.INVALID_SPI)?.data;
  const child = spi && children.find(({ spiOut }) => spiOut === spiNumber(spi));
  if (child?.used) tasks.push({ type: 'rekey-child', spiIn: child.spiIn, child: child.name });
}

function refusedAfterwards(context: Context, sa: IkeSa, { tunnel: name }: Established): void {
  const identity = context.tunnels.get(name)?.tunnel.local.identity.value;
  reportFailure(context, 'PEER_REFUSED_AUTH', name, { remote: sa.remote.address, identity });
  deleteIke(context, sa, 'peer');
}

/** Our halves of the named children. A child that we are deleting too is answered by silence (RFC 7296 §1.4.1). */
function removeChildren(
  context: Context,
  sa: IkeSa,
  established: Established,
  { protocol, spis }: { protocol: number; spis: readonly Uint8Array[] },
): Payload[] {
  const task = established.own?.task;
  const removed = spis.flatMap((spi) => {
    const child = meantBy(context, established, protocol, spiNumber(spi));
    if (!child) {
      noteGone(established, spiNumber(spi));
      return [];
    }
    promote(context, sa, established, child);
    endChild(context, established, child, 'peer');
    return task?.type === 'delete-child' && task.spiIn === child.spiIn ? [] : [child];
  });
  return [PROTOCOL.ESP, PROTOCOL.AH].flatMap((each) => {
    const halves = removed.filter(({ suite }) => childProtocol(suite) === each);
    return halves.length > 0
      ? [
          deleted(
            each,
            halves.map(({ spiIn }) => spiIn),
          ),
        ]
      : [];
  });
}

/** The child that a DELETE names (RFC 7296 §3.11); of a peer that cannot name one of AH, the only one that it can mean. */
function meantBy(
  { tunnels }: Context,
  established: Established,
  protocol: number,
  spi: number | undefined,
): ChildSa | undefined {
  const named = childNamed(established, protocol, spi);
  const { quirks = [] } = tunnels.get(established.tunnel)?.tunnel ?? {};
  if (named || spi !== 0 || !quirks.includes('ah-deleted-by-zero')) return named;
  const ofAh = established.children.filter(({ suite }) => childProtocol(suite) === PROTOCOL.AH);
  // What it has replaced goes first.
  const replaced = ofAh.filter((child) => child.replaced);
  return replaced[0] ?? (ofAh.length === 1 ? ofAh[0] : undefined);
}

/** It may be the child that we are about to have: the peer made it, and deletes it before we know its SPI. */
function noteGone({ own }: Established, spiOut: number | undefined): void {
  if (!own || own.step === 'offering' || spiOut === undefined) return;
  own.gone = [...(own.gone ?? []), spiOut];
}

/** The old child of a rekey goes: send with its successor at the latest now. */
function promote(context: Context, sa: IkeSa, established: Established, child: ChildSa): void {
  if (!child.used) return;
  const heir = established.children.findLast(
    (other) => other.name === child.name && other !== child && !isLeaving(established, other),
  );
  if (!heir) return useElsewhere(context, established.tunnel, child);
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
  const left = established.children.filter((other) => other.name === child.name);
  // What replaced it is gone.
  if (left.every(({ replaced }) => replaced)) delete left.at(-1)?.replaced;
  report(context, 'CHILD_DELETED', established.tunnel, { child: child.name, by, spiIn: child.spiIn });
}

/** The IKE SA ends, and its children with it (RFC 7296 §1.4.1). */
export function deleteIke(context: Context, sa: IkeSa, by: 'us' | 'peer'): void {
  context.sas.delete(sa.spi);
  if (sa.state.name !== 'established') return;
  const established = sa.state;
  const { tunnel, children, own } = established;
  if (by === 'peer') keepLastAnswer(context, sa);
  if (own && 'offer' in own && own.offer?.handle) forgetOffer(context, own.offer.handle);
  if (own && 'handle' in own) forgetOffer(context, own.handle);
  // Before its own SA goes, a child's traffic has another.
  useOthers(context, sa, established);
  for (const child of children) removeChild(context, established, child);
  for (const exchange of [established.own, established.serving])
    if (exchange?.step === 'installing') dropChild(context, exchange.child);
  report(context, 'IKE_DELETED', established.tunnel, { remote: sa.remote.address, by });
  const cut = by === 'peer' ? 'PEER_DELETED' : 'PEER_VANISHED';
  for (const task of established.tasks)
    commandDone(context, task.command, task.type === 'delete-ike' ? 'OK' : cut);
  commandDone(context, own?.task.command, own?.task.type === 'delete-ike' ? 'OK' : cut);
  if (established.serving?.step === 'installing') commandDone(context, established.serving.command, cut);
  sa.state = { name: 'deleted' };
  handOverFailed(context, established);
  tunnelLost(context, sa, tunnel);
}

/** The traffic of what an IKE SA carries goes on with another one, where there is one. */
function useOthers(context: Context, sa: IkeSa, { tunnel, children }: Established): void {
  for (const child of children) if (child.used) useElsewhere(context, tunnel, child, sa);
}

/** Another IKE SA of the tunnel may hold the same child: the traffic goes on with that one. */
function useElsewhere(context: Context, tunnel: string, gone: ChildSa, leaving?: IkeSa): void {
  for (const sa of sasOf(context, tunnel).reverse()) {
    const { state } = sa;
    if (state.name !== 'established' || sa === leaving) continue;
    const child = state.children.findLast(
      (other) => other.name === gone.name && other !== gone && !other.replaced && !isLeaving(state, other),
    );
    if (!child) continue;
    child.used = false;
    return useChild(context, sa, state, child);
  }
}
