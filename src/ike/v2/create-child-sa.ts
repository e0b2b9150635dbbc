// CREATE_CHILD_SA as we ask for it (RFC 7296 §1.3): a new child, the rekey of a child, the rekey of the IKE SA.
//
//   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] [TSi, TSr]}  -->
//                                                       <--  HDR, SK {SA, Nr, [KEr,] [TSi, TSr]}

import { unhex } from '../../crypto/bytes.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import { type ChosenSuite, childProtocol, choose, toProposals, wireProtocol } from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload, type Proposal } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { childBySpi, dropChild, isLeaving, retryRekey, selectorPayloads } from '../child.ts';
import {
  type Context,
  commandDone,
  drawChildSpi,
  drawIkeSpi,
  jittered,
  reportFailure,
  startJob,
} from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { reopen } from '../protect.ts';
import { askedProposals, isIdle, noteRefused, rehearsalRefused } from '../rehearsal.ts';
import type { ChildSa, Established, IkeSa, OwnExchange, Task } from '../sa.ts';
import { sendRequest } from '../window.ts';
import { modePayloads, natInTheWay } from './child-mode.ts';
import { childRefused, refuseChild } from './child-terms.ts';
import { finishCreate } from './create-child-sa-made.ts';
import { answerRekey, taskFailed, yieldToRival } from './create-child-sa-undone.ts';
import {
  askedSelectors,
  type CreateTask,
  carried,
  groupFor,
  proposalsFor,
  TRY_AGAIN,
  templateOf,
} from './create-task.ts';
import { linkOf } from './followups.ts';
import { beginFollowup } from './ike-followup-ke.ts';
import { isNonce, NONCE_BYTES } from './nonces.ts';
import { errorOf, ikeSpiText, notifyPayload, spiBytes } from './payloads.ts';

/** Starts the next own exchange that makes an SA. False when there is nothing left to do for the task. */
export function beginCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: CreateTask,
): boolean {
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  if (task.type === 'rekey-child' && !isOurs(established, childBySpi(established, task.spiIn))) return false;
  if (task.type === 'rekey-child' && isIdle(context, established, task)) return false;
  if (isMade(established, task)) return false;
  const template = templateOf(tunnel, task);
  const refusal = template && natInTheWay(sa, template);
  if (refusal) {
    refuseChild(context, sa, tunnel, template.name, refusal);
    commandDone(context, task.command, refusal[0]);
    return false;
  }
  const group = groupFor(tunnel, established, task);
  if (group === undefined) sendCreate(context, sa, established, task, {});
  else
    established.own = { task, step: 'offering', job: startJob(context, sa, { type: 'offer', group }), group };
  return true;
}

/** The peer was first with a child that we want: it is there, or is being installed. */
function isMade({ children, serving, pending }: Established, task: Task): boolean {
  if (task.type !== 'create') return false;
  const coming = serving?.step === 'installing' ? [serving.child] : [];
  const agreed = pending?.agreed.kind === 'child' ? [pending.agreed] : [];
  return [...children, ...coming, ...agreed].some(({ name }) => name === task.child);
}

/** A child to rekey: there, and neither replaced by the peer nor about to go. */
function isOurs(established: Established, child: ChildSa | undefined): boolean {
  const { serving, pending } = established;
  if (pending?.agreed.kind === 'child' && pending.agreed.replaces === child?.spiIn) return false;
  if (!child || child.replaced || isLeaving(established, child)) return false;
  return !(serving?.step === 'installing' && serving.replaces === child.spiIn);
}

export function createOffered(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer')
    return taskFailed(context, sa, established, 'BUG_JOB', { message: failureText(result) });
  if (own.rival || isMade(established, own.task)) {
    startJob(context, sa, { type: 'forget', handle: result.handle });
    return yieldToRival(context, sa, established, own);
  }
  sendCreate(context, sa, established, own.task as CreateTask, {
    group: own.group,
    handle: result.handle,
    public: result.public,
  });
  if (own.regrouped) Object.assign(established.own!, { regrouped: true });
}

function sendCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: CreateTask,
  ke: { group?: number; handle?: string; public?: Uint8Array },
): void {
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const nonce = context.provider.random(NONCE_BYTES);
  const template = templateOf(tunnel, task);
  const protocol = template ? wireProtocol(template.protocol) : PROTOCOL.IKE;
  const spi = template ? drawChildSpi(context) : drawIkeSpi(context);
  const ownSpi = typeof spi === 'number' ? spiBytes(spi) : unhex(spi);
  const wanted = askedProposals(proposalsFor(tunnel, established, task), task);
  const proposals = toProposals(wanted, protocol, ownSpi, { keyExchange: true });
  const payloads: Payload[] = [
    ...(task.type === 'rekey-child' ? rekeyPayloads(established, task.spiIn) : []),
    ...(template ? modePayloads(template) : []),
    { type: PAYLOAD.SA, critical: false, proposals },
    { type: PAYLOAD.Nonce, critical: false, data: nonce },
    ...(ke.public ? [{ type: PAYLOAD.KE, critical: false, group: ke.group!, data: ke.public } as const] : []),
    ...(template ? selectorPayloads(askedSelectors(task, template.selectors), true) : []),
  ];
  sendRequest(context, sa, EXCHANGE.CREATE_CHILD_SA, payloads, established);
  const { group, handle } = ke;
  established.own = {
    task,
    step: 'sent',
    offer: {
      nonce,
      protocol,
      spi,
      ...(group === undefined ? {} : { group }),
      ...(handle === undefined ? {} : { handle }),
    },
  };
}

/** RFC 7296 §1.3.3: the SPI that the peer sends with, and its protocol. */
function rekeyPayloads(established: Established, spiIn: number): Payload[] {
  const child = childBySpi(established, spiIn);
  const protocol = child ? childProtocol(child.suite) : PROTOCOL.ESP;
  return [notifyPayload(NOTIFY.REKEY_SA, undefined, protocol, spiBytes(spiIn))];
}

/** The peer's answer to our request. */
export function createAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'sent' },
  payloads: Payload[],
  response: Uint8Array,
): void {
  delete sa.window.sent;
  const task = own.task as CreateTask;
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const error = errorOf(payloads);
  if (error !== undefined) return refused(context, established, own, task, error, payloads, sa, tunnel);
  const saPayload = findPayload(payloads, PAYLOAD.SA);
  const { protocol } = own.offer!;
  const templates = proposalsFor(tunnel, established, task);
  const chosen = saPayload && choose(templates, saPayload.proposals, protocol, { keyExchange: true });
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (!chosen || !isAnswer(own, chosen, ke, payloads)) {
    return taskFailed(context, sa, established, 'PEER_ERROR', {
      remote: sa.remote.address,
      exchange: 'CREATE_CHILD_SA',
      notify: 'an answer that does not fit what we asked for',
    });
  }
  if (!ke || !own.offer?.handle)
    return finishCreate(context, sa, established, own, chosen.suite, [], payloads);
  const job = startJob(context, sa, {
    type: 'finish',
    group: ke.group,
    handle: own.offer.handle,
    public: ke.data,
  });
  established.own = {
    ...carried(own),
    step: 'finishing',
    job,
    offer: own.offer,
    suite: chosen.suite,
    response,
  };
}

/** Whether the answer has what its suite and our request call for. */
function isAnswer(
  own: OwnExchange & { step: 'sent' },
  { suite, proposal }: { suite: ChosenSuite; proposal: Proposal },
  ke: { group: number } | undefined,
  payloads: Payload[],
): boolean {
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  if (!nonce || !isNonce(nonce.data)) return false;
  if (own.task.type === 'rekey-ike' && !ikeSpiText(proposal.spi)) return false;
  if ((suite.keyExchange !== undefined) !== (ke !== undefined)) return false;
  if (additionalMethods(suite).length > 0 && !linkOf(payloads)) return false;
  return isOffered(own, suite, ke?.group);
}

/** The group of the answer is the one of our public value, whatever else we would have taken (RFC 7296 §1.3). */
function isOffered(
  { offer }: OwnExchange & { step: 'sent' },
  { keyExchange }: ChosenSuite,
  group: number | undefined,
): boolean {
  return (
    group === undefined ||
    (group === offer?.group && keyExchange !== undefined && keyExchangeRow(keyExchange).id === group)
  );
}

function refused(
  context: Context,
  established: Established,
  own: OwnExchange & { step: 'sent' },
  task: CreateTask,
  error: number,
  payloads: Payload[],
  sa: IkeSa,
  tunnel: Tunnel,
): void {
  if (own.offer?.handle) startJob(context, sa, { type: 'forget', handle: own.offer.handle });
  if (own.rival) return yieldToRival(context, sa, established, own);
  delete established.own;
  if (error === NOTIFY.TEMPORARY_FAILURE) {
    established.tasks.push({ ...task, notBefore: context.now + jittered(context, TRY_AGAIN, 0.5) });
    return;
  }
  if (error === NOTIFY.CHILD_SA_NOT_FOUND && task.type === 'rekey-child')
    return childUnknown(context, established, task);
  if (error === NOTIFY.INVALID_KE_PAYLOAD && retryOtherGroup(context, sa, established, own, tunnel, payloads))
    return;
  if (task.type === 'rekey-child' && task.rehearsal)
    return rehearsalRefused(context, sa, established, task, error, payloads);
  retryRekey(context, established, task);
  const child = templateOf(tunnel, task)?.name;
  if (child !== undefined) {
    commandDone(context, task.command, childRefused(context, sa, tunnel, child, error));
    return noteRefused(context, sa, established, { child });
  }
  commandDone(context, task.command, 'PEER_ERROR');
  reportFailure(context, 'PEER_ERROR', tunnel.name, {
    remote: sa.remote.address,
    exchange: 'CREATE_CHILD_SA',
    notify: error,
  });
}

/** The peer does not know the child any more: it is gone here too, and made anew (RFC 7296 §2.25.1). */
function childUnknown(
  context: Context,
  established: Established,
  task: CreateTask & { type: 'rekey-child' },
): void {
  const child = childBySpi(established, task.spiIn);
  const { command } = task;
  if (!child) return answerRekey(context, established, task);
  established.children = established.children.filter((other) => other !== child);
  dropChild(context, child);
  const renewed = { type: 'create', child: child.name } as const;
  established.tasks.push(command === undefined ? renewed : { ...renewed, command });
}

/** Once: who asks for another group then has changed its mind, and may for ever. */
function retryOtherGroup(
  context: Context,
  sa: IkeSa,
  established: Established,
  { task: asked, regrouped }: OwnExchange,
  tunnel: Tunnel,
  payloads: Payload[],
): boolean {
  const data = findNotify(payloads, NOTIFY.INVALID_KE_PAYLOAD)?.data;
  const group = data?.length === 2 ? (data[0]! << 8) | data[1]! : 0;
  const task = asked as CreateTask;
  const ours = proposalsFor(tunnel, established, task).flatMap(({ keyExchange }) =>
    keyExchange.map((name) => keyExchangeRow(name).id),
  );
  if (regrouped || !ours.includes(group)) return false;
  const job = startJob(context, sa, { type: 'offer', group });
  established.own = { task, regrouped: true, step: 'offering', job, group };
  return true;
}

export function createFinished(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'finishing' },
  result: JobResult,
): void {
  startJob(context, sa, { type: 'forget', handle: own.offer.handle! });
  if (result.type !== 'finish') {
    return taskFailed(context, sa, established, exchangeFault(result), {
      remote: sa.remote.address,
      message: failureText(result),
    });
  }
  const payloads = reopen(context, established, own.response);
  if (additionalMethods(own.suite).length === 0)
    return finishCreate(context, sa, established, own, own.suite, [result.secret], payloads);
  const rest = {
    suite: own.suite,
    response: own.response,
    secrets: [result.secret],
    link: linkOf(payloads)!,
  };
  beginFollowup(context, sa, established, own, rest, payloads);
}
