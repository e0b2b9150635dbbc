// CREATE_CHILD_SA as we ask for it (RFC 7296 §1.3): a new child, the rekey of a child, the rekey of the IKE SA.
//
//   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] [TSi, TSr]}  -->
//                                                       <--  HDR, SK {SA, Nr, [KEr,] [TSi, TSr]}

import { unhex } from '../../crypto/bytes.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import {
  type ChosenSuite,
  choose,
  keepingPrf,
  type ProposalTemplate,
  toProposals,
} from '../../policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import {
  childBySpi,
  createLater,
  dropChild,
  isLeaving,
  makeChild,
  reportChild,
  retryRekey,
  selectorPayloads,
  useChild,
} from '../child.ts';
import {
  type Context,
  commandDone,
  drawEspSpi,
  drawIkeSpi,
  install,
  jittered,
  reportFailure,
  startJob,
} from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { endReplaced, expectDelete, inherit, newIkeSa } from '../heir.ts';
import { reopen } from '../protect.ts';
import {
  askedProposals,
  isIdle,
  noteRefused,
  noteRekeyed,
  planRehearsal,
  rehearsalRefused,
} from '../rehearsal.ts';
import type { ChildSa, Established, IkeSa, OwnExchange, Rival, Task } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { sendRequest } from '../window.ts';
import { answeredSelectors, childRefused } from './child-terms.ts';

import { beginFollowup, linkOf, nextFollowup } from './ike-followup-ke.ts';
import { compareNonces, isNonce, lower, NONCE_BYTES } from './nonces.ts';
import { errorOf, ikeSpiText, notifyPayload, spiBytes, spiNumber } from './payloads.ts';

/** After TEMPORARY_FAILURE (RFC 7296 §2.25). */
export const TRY_AGAIN = 1000;
/** What failed on our side is tried again. */
const CREATE_AGAIN = 1000;

export type CreateTask = Extract<Task, { type: 'create' | 'rekey-child' | 'rekey-ike' }>;

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

function groupFor(tunnel: Tunnel, established: Established, task: CreateTask): number | undefined {
  if (task.type === 'rekey-ike') return keyExchangeRow(established.suite.keyExchange!).id;
  const template = templateOf(tunnel, task);
  const preferred = template?.proposals[0]?.keyExchange[0];
  return preferred && keyExchangeRow(preferred).id;
}

function templateOf(tunnel: Tunnel, task: CreateTask): ChildTemplate | undefined {
  return task.type === 'rekey-ike' ? undefined : tunnel.children.find(({ name }) => name === task.child);
}

function proposalsFor(tunnel: Tunnel, { suite }: Established, task: CreateTask): ProposalTemplate[] {
  if (task.type === 'rekey-ike') return keepingPrf(tunnel.ike.proposals, suite.prf!);
  return templateOf(tunnel, task)?.proposals ?? [];
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

/** The peer's rekey of the same SA stands; ours is not needed, or came to nothing. */
export function yieldToRival(context: Context, sa: IkeSa, established: Established, own: OwnExchange): void {
  delete established.own;
  answerRekey(context, established, own.task);
  const heir = own.task.type === 'rekey-ike' && context.sas.get((own.rival?.spi as string | undefined) ?? '');
  if (established.ended) return endReplaced(context, sa);
  if (heir && established.replacedBy === undefined) inherit(context, sa, established, heir);
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
  const isIke = task.type === 'rekey-ike';
  const spi = isIke ? drawIkeSpi(context) : drawEspSpi(context);
  const template = templateOf(tunnel, task);
  const [protocol, ownSpi] = isIke
    ? [PROTOCOL.IKE, unhex(spi as string)]
    : [PROTOCOL.ESP, spiBytes(spi as number)];
  const wanted = askedProposals(proposalsFor(tunnel, established, task), task);
  const proposals = toProposals(wanted, protocol, ownSpi, { keyExchange: true });
  const payloads: Payload[] = [
    ...(task.type === 'rekey-child'
      ? [notifyPayload(NOTIFY.REKEY_SA, undefined, PROTOCOL.ESP, spiBytes(task.spiIn))]
      : []),
    { type: PAYLOAD.SA, critical: false, proposals },
    { type: PAYLOAD.Nonce, critical: false, data: nonce },
    ...(ke.public ? [{ type: PAYLOAD.KE, critical: false, group: ke.group!, data: ke.public } as const] : []),
    ...(isIke ? [] : selectorPayloads(askedSelectors(task, template!.selectors), true)),
  ];
  sendRequest(context, sa, EXCHANGE.CREATE_CHILD_SA, payloads, established);
  const { group, handle } = ke;
  established.own = {
    task,
    step: 'sent',
    offer: {
      nonce,
      spi,
      ...(group === undefined ? {} : { group }),
      ...(handle === undefined ? {} : { handle }),
    },
  };
}

/** RFC 7296 §2.9: the packet that asked comes first; a rekey asks for what the policy wants, not for what was narrowed. */
function askedSelectors(task: CreateTask, wanted: ChildSa['selectors']): ChildSa['selectors'] {
  if (task.type !== 'create' || !task.packet) return wanted;
  return {
    local: [...task.packet.local, ...wanted.local],
    remote: [...task.packet.remote, ...wanted.remote],
  };
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
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  const protocol = task.type === 'rekey-ike' ? PROTOCOL.IKE : PROTOCOL.ESP;
  const templates = proposalsFor(tunnel, established, task);
  const chosen = saPayload && choose(templates, saPayload.proposals, protocol, { keyExchange: true });
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (
    !chosen ||
    !nonce ||
    !isNonce(nonce.data) ||
    (task.type === 'rekey-ike' && !ikeSpiText(chosen.proposal.spi)) ||
    (chosen.suite.keyExchange !== undefined) !== (ke !== undefined) ||
    !isOffered(own, chosen.suite, ke?.group) ||
    (additionalMethods(chosen.suite).length > 0 && !linkOf(payloads))
  ) {
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
  // The peer does not know the child any more: it is gone here too, and made anew (RFC 7296 §2.25.1).
  if (error === NOTIFY.CHILD_SA_NOT_FOUND && task.type === 'rekey-child') {
    const child = childBySpi(established, task.spiIn);
    const { command } = task;
    if (!child) return answerRekey(context, established, task);
    established.children = established.children.filter((other) => other !== child);
    dropChild(context, child);
    const renewed = { type: 'create', child: child.name } as const;
    return void established.tasks.push(command === undefined ? renewed : { ...renewed, command });
  }
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

/** `secrets`: of all key exchanges, in order. `payloads`: of the answer to CREATE_CHILD_SA. */
export function finishCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'sent' | 'finishing' | 'followup-finishing' },
  suite: ChosenSuite,
  [secret, ...further]: readonly Uint8Array[],
  payloads: Payload[],
): void {
  const task = own.task as CreateTask;
  const offer = own.offer!;
  const nr = findPayload(payloads, PAYLOAD.Nonce)!.data;
  const lowest = lower(offer.nonce, nr);
  const { spi } = findPayload(payloads, PAYLOAD.SA)!.proposals[0]!;
  if (task.type === 'rekey-ike') {
    const made = newIkeSa(context, sa, established, suite, {
      initiator: true,
      spi: offer.spi as string,
      peerSpi: ikeSpiText(spi)!,
      secret: secret!,
      further,
      ni: offer.nonce,
      nr,
    });
    return ikeRekeyed(context, sa, established, made, lowest, own.rival);
  }
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const template = templateOf(tunnel, task);
  const selectors = template && answeredSelectors(payloads, askedSelectors(task, template.selectors));
  const spiOut = spiNumber(spi);
  if (!template || !selectors || !spiOut) {
    delete established.own;
    unmake(context, established, own);
    const code = childRefused(context, sa, tunnel, template?.name ?? '', undefined);
    return commandDone(context, task.command, code);
  }
  if (own.gone?.includes(spiOut)) return unmadeByPeer(context, established, own, template.name);
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: established.suite, skD: established.keys.d },
    {
      template,
      suite,
      spiIn: offer.spi as number,
      spiOut,
      selectors,
      initiator: true,
      ni: offer.nonce,
      nr,
      ...(secret ? { secret, further } : {}),
    },
  );
  established.own = {
    ...carried(own),
    step: 'installing',
    job: install(context, sa, changes),
    child,
    nonce: lowest,
  };
}

/** What an exchange knows at every step. */
export function carried({
  task,
  rival,
  gone,
  regrouped,
}: OwnExchange): Pick<OwnExchange, 'task' | 'rival' | 'gone' | 'regrouped'> {
  return {
    task,
    ...(rival ? { rival } : {}),
    ...(gone ? { gone } : {}),
    ...(regrouped ? { regrouped } : {}),
  };
}

/** The peer has deleted what we were making: the child before it, if any, goes on. */
function unmadeByPeer(
  context: Context,
  established: Established,
  { task }: OwnExchange,
  child: string,
): void {
  delete established.own;
  commandDone(context, task.command, 'PEER_DELETED');
  retryRekey(context, established, task);
  if (established.children.every(({ name }) => name !== child))
    createLater(context, established, child, CREATE_AGAIN);
}

/** Our new child is in the data plane. */
export function createInstalled(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'installing' },
  failed: string | undefined,
): void {
  const { task, child, rival } = own;
  delete established.own;
  if (own.gone?.includes(child.spiOut)) {
    if (failed === undefined) dropChild(context, child);
    return unmadeByPeer(context, established, own, child.name);
  }
  if (failed !== undefined) {
    reportFailure(context, 'HOST_INSTALL_FAILED', established.tunnel, { child: child.name, message: failed });
    commandDone(context, task.command, 'HOST_INSTALL_FAILED');
    if (task.type === 'create') upDone(context, established.tunnel, 'HOST_INSTALL_FAILED');
    retryRekey(context, established, task);
    if (task.type === 'rekey-child') noteRefused(context, sa, established, task);
    if (task.type === 'create') createLater(context, established, child.name, CREATE_AGAIN);
    return void established.tasks.unshift({ type: 'delete-child', spiIn: child.spiIn, unmade: true });
  }
  established.children.push(child);
  if (task.type === 'create' && task.first) planRehearsal(context, sa, established, child);
  else noteRekeyed(context, sa, established, child, replacedBy(established, task));
  // RFC 7296 §2.8.1: of two rekeys of one child, the one with the lowest nonce is redundant; its maker deletes it.
  if (rival && compareNonces(own.nonce, rival.nonce) < 0) {
    established.tasks.push({ type: 'delete-child', spiIn: child.spiIn });
  } else {
    useChild(context, sa, established, child);
    const old = replacedBy(established, task);
    if (old) established.tasks.push({ type: 'delete-child', spiIn: old.spiIn });
  }
  reportChild(
    context,
    task.type === 'rekey-child' ? 'CHILD_REKEYED' : 'CHILD_ESTABLISHED',
    established.tunnel,
    child,
  );
  commandDone(context, task.command, 'OK');
  if (task.type === 'create') upDone(context, established.tunnel, 'OK');
}

/** The child that a rekey is to replace, while it is there. */
function replacedBy(established: Established, task: Task): ChildSa | undefined {
  return task.type === 'rekey-child' ? childBySpi(established, task.spiIn) : undefined;
}

function ikeRekeyed(
  context: Context,
  sa: IkeSa,
  established: Established,
  made: IkeSa,
  nonce: Uint8Array,
  rival: Rival | undefined,
): void {
  const { task } = established.own!;
  delete established.own;
  commandDone(context, task.command, 'OK');
  if (established.replacedBy !== undefined) return deleteRedundant(context, sa, made);
  const other = rival && context.sas.get(rival.spi as string);
  // RFC 7296 §2.8.2: the SA with the lowest nonce is redundant; its maker deletes it, the other maker deletes the old one.
  if (rival && compareNonces(nonce, rival.nonce) < 0) {
    if (made.state.name === 'established') made.state.tasks.push({ type: 'delete-ike' });
    if (other) return inherit(context, sa, established, other);
    // The peer has deleted the one that stood, and with it whatever it would have carried.
    established.tasks = [{ type: 'delete-ike' }];
    return;
  }
  if (other) expectDelete(context, other, made);
  inherit(context, sa, established, made);
  established.tasks.unshift({ type: 'delete-ike' });
}

/** The rival's heir has the children already; ours is unmade. An old SA that the peer has deleted has nothing left to do. */
function deleteRedundant(context: Context, sa: IkeSa, made: IkeSa): void {
  if (made.state.name === 'established') made.state.tasks.push({ type: 'delete-ike' });
  if (sa.state.name === 'established' && sa.state.ended) endReplaced(context, sa);
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
function unmake(
  context: Context,
  established: Established,
  { offer, rival }: OwnExchange & { step: 'sent' | 'finishing' | 'followup-finishing' },
): void {
  if (typeof offer?.spi === 'number')
    return void established.tasks.unshift({ type: 'delete-child', spiIn: offer.spi, unmade: true });
  // Only the peer holds the new IKE SA, and our children with it: everything is made from the beginning.
  const other = context.sas.get((rival?.spi as string | undefined) ?? '');
  if (other?.state.name === 'established') other.state.tasks = [{ type: 'delete-ike' }];
  established.tasks = [{ type: 'delete-ike' }];
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
  createLater(context, established, task.child, CREATE_AGAIN);
  upDone(context, established.tunnel, code);
}
