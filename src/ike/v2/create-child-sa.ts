// CREATE_CHILD_SA (RFC 7296 §1.3): a new child, the rekey of a child, the rekey of the IKE SA.
//
//   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] [TSi, TSr]}  -->
//                                                       <--  HDR, SK {SA, Nr, [KEr,] [TSi, TSr]}

import { hex, unhex } from '../../crypto/bytes.ts';
import { ikeKeys, skeyseedRekey } from '../../crypto/keymat.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { type ChosenSuite, choose, suiteText, toAnswer, toProposals } from '../../policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { decodeMessage, findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { dropChild, makeChild, rekeyTime, reportChild, selectorPayloads, useChild } from '../child.ts';
import {
  type Context,
  commandDone,
  drawEspSpi,
  drawIkeSpi,
  install,
  jittered,
  report,
  reportFailure,
  startJob,
} from '../context.ts';
import { openMessage } from '../protect.ts';
import type { ChildSa, Established, IkeSa, OwnExchange, Rival, Serving, Task } from '../sa.ts';
import { sendRequest, sendResponse } from '../window.ts';
import { acceptChild, answeredSelectors, childRefused, errorOf } from './ike-auth.ts';
import { failureText, isNonce } from './ike-sa-init.ts';
import { notifyPayload, spiBytes, spiNumber } from './payloads.ts';

const NONCE_BYTES = 32;
/** After TEMPORARY_FAILURE (RFC 7296 §2.25). */
const TRY_AGAIN = 1000;
const NO_SECRET = new Uint8Array(0);

type CreateTask = Extract<Task, { type: 'create' | 'rekey-child' | 'rekey-ike' }>;

/** Starts the next own exchange that makes an SA. False when there is nothing left to do for the task. */
export function beginCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: CreateTask,
): boolean {
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  if (task.type === 'rekey-child') {
    const child = childBySpi(established, task.spiIn);
    if (!child || child.replaced) return false;
  }
  const group = groupFor(tunnel, established, task);
  if (group === undefined) sendCreate(context, sa, established, task, {});
  else
    established.own = { task, step: 'offering', job: startJob(context, sa, { type: 'offer', group }), group };
  return true;
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

export function createOffered(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer')
    return taskFailed(context, established, 'BUG_JOB', { message: failureText(result) });
  sendCreate(context, sa, established, own.task as CreateTask, {
    group: own.group,
    handle: result.handle,
    public: result.public,
    ...(own.rival ? { rival: own.rival } : {}),
  });
}

function sendCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: CreateTask,
  ke: { group?: number; handle?: string; public?: Uint8Array; rival?: Rival },
): void {
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const nonce = context.provider.random(NONCE_BYTES);
  const isIke = task.type === 'rekey-ike';
  const spi = isIke ? drawIkeSpi(context) : drawEspSpi(context);
  const template = templateOf(tunnel, task);
  const proposals = isIke
    ? toProposals(tunnel.ike.proposals, PROTOCOL.IKE, unhex(spi as string), { keyExchange: true })
    : toProposals(template!.proposals, PROTOCOL.ESP, spiBytes(spi as number), { keyExchange: true });
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
    ...(ke.rival ? { rival: ke.rival } : {}),
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
  const [protocol, templates] =
    task.type === 'rekey-ike'
      ? [PROTOCOL.IKE, tunnel.ike.proposals]
      : [PROTOCOL.ESP, templateOf(tunnel, task)?.proposals ?? []];
  const chosen = saPayload && choose(templates, saPayload.proposals, protocol, { keyExchange: true });
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (
    !chosen ||
    !nonce ||
    !isNonce(nonce.data) ||
    (chosen.suite.keyExchange !== undefined) !== (ke !== undefined)
  ) {
    return taskFailed(context, established, 'PEER_ERROR', {
      remote: sa.remote.address,
      exchange: 'CREATE_CHILD_SA',
      notify: 'an answer that does not fit what we asked for',
    });
  }
  if (!ke || !own.offer?.handle)
    return finishCreate(context, sa, established, own, chosen.suite, NO_SECRET, payloads);
  const job = startJob(context, sa, {
    type: 'finish',
    group: ke.group,
    handle: own.offer.handle,
    public: ke.data,
  });
  const { rival } = own;
  established.own = {
    task,
    step: 'finishing',
    job,
    offer: own.offer,
    suite: chosen.suite,
    response,
    ...(rival ? { rival } : {}),
  };
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
  delete established.own;
  if (own.offer?.handle) startJob(context, sa, { type: 'forget', handle: own.offer.handle });
  if (error === NOTIFY.TEMPORARY_FAILURE) {
    established.tasks.push({ ...task, notBefore: context.now + jittered(context, TRY_AGAIN, 0.5) });
    return;
  }
  // The peer does not know the child any more: it is gone here too, and made anew (RFC 7296 §2.25.1).
  if (error === NOTIFY.CHILD_SA_NOT_FOUND && task.type === 'rekey-child') {
    const child = childBySpi(established, task.spiIn);
    if (child) {
      established.children = established.children.filter((other) => other !== child);
      dropChild(context, child);
      established.tasks.push({
        type: 'create',
        child: child.name,
        ...(task.command === undefined ? {} : { command: task.command }),
      });
      return;
    }
  }
  if (
    error === NOTIFY.INVALID_KE_PAYLOAD &&
    retryOtherGroup(context, sa, established, task, tunnel, payloads)
  )
    return;
  commandDone(context, task.command, 'PEER_ERROR');
  const child = templateOf(tunnel, task)?.name;
  if (child !== undefined) return childRefused(context, sa, tunnel, child, error);
  reportFailure(context, 'PEER_ERROR', tunnel.name, {
    remote: sa.remote.address,
    exchange: 'CREATE_CHILD_SA',
    notify: error,
  });
}

function retryOtherGroup(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: CreateTask,
  tunnel: Tunnel,
  payloads: Payload[],
): boolean {
  const data = findNotify(payloads, NOTIFY.INVALID_KE_PAYLOAD)?.data;
  const group = data?.length === 2 ? (data[0]! << 8) | data[1]! : 0;
  const templates =
    task.type === 'rekey-ike' ? tunnel.ike.proposals : (templateOf(tunnel, task)?.proposals ?? []);
  const ours = templates.flatMap(({ keyExchange }) => keyExchange.map((name) => keyExchangeRow(name).id));
  if (!ours.includes(group)) return false;
  established.own = { task, step: 'offering', job: startJob(context, sa, { type: 'offer', group }), group };
  return true;
}

export function createFinished(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'finishing' },
  result: JobResult,
): void {
  if (result.type !== 'finish') {
    return taskFailed(context, established, 'PEER_BAD_PUBLIC_VALUE', {
      remote: sa.remote.address,
      message: failureText(result),
    });
  }
  const payloads = openMessage(
    context.provider,
    established.suite,
    established.keys,
    decodeMessage(own.response),
    own.response,
  )!;
  finishCreate(context, sa, established, own, own.suite, result.secret, payloads);
}

function finishCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'sent' | 'finishing' },
  suite: ChosenSuite,
  secret: Uint8Array,
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
      peerSpi: hex(spi),
      secret,
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
    return childRefused(context, sa, tunnel, template?.name ?? '', undefined);
  }
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
      ...(secret.length > 0 ? { secret } : {}),
    },
  );
  established.own = {
    task,
    step: 'installing',
    job: install(context, sa, changes),
    child,
    nonce: lowest,
    ...(own.rival ? { rival: own.rival } : {}),
  };
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
  if (failed !== undefined) {
    reportFailure(context, 'HOST_INSTALL_FAILED', established.tunnel, { child: child.name, message: failed });
    commandDone(context, task.command, 'HOST_INSTALL_FAILED');
    return void established.tasks.push(deleteBySpi(child));
  }
  established.children.push(child);
  // RFC 7296 §2.8.1: of two rekeys of one child, the one with the lowest nonce is redundant; its maker deletes it.
  if (rival && compareNonces(own.nonce, rival.nonce) < 0) {
    established.tasks.push({ type: 'delete-child', spiIn: child.spiIn });
  } else {
    useChild(context, sa, established, child);
    const old = task.type === 'rekey-child' ? childBySpi(established, task.spiIn) : undefined;
    if (old) established.tasks.push({ type: 'delete-child', spiIn: old.spiIn });
  }
  reportChild(
    context,
    task.type === 'rekey-child' ? 'CHILD_REKEYED' : 'CHILD_ESTABLISHED',
    established.tunnel,
    child,
  );
  commandDone(context, task.command, 'OK');
}

function deleteBySpi(child: ChildSa): Task {
  return { type: 'delete-child', spiIn: child.spiIn };
}

/** The peer's request. Answers at once where nothing has to be computed or installed. */
export function createRequested(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  request: Uint8Array,
  messageId: number,
): void {
  const refuse = (notify: number, data?: Uint8Array) =>
    void sendResponse(
      context,
      sa,
      EXCHANGE.CREATE_CHILD_SA,
      messageId,
      [notifyPayload(notify, data)],
      established,
    );
  const saPayload = findPayload(payloads, PAYLOAD.SA);
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  if (!saPayload || !nonce || !isNonce(nonce.data)) return refuse(NOTIFY.INVALID_SYNTAX);
  // RFC 7296 §2.25.2: an IKE SA that is being replaced makes no more children.
  if (established.replacedBy !== undefined) return refuse(NOTIFY.TEMPORARY_FAILURE);
  const forIke = saPayload.proposals[0]?.protocol === PROTOCOL.IKE;
  const busy = established.own?.task.type;
  if (forIke ? busy !== undefined && busy !== 'rekey-ike' && busy !== 'liveness' : busy === 'rekey-ike') {
    return refuse(NOTIFY.TEMPORARY_FAILURE);
  }
  const rekeyed = findNotify(payloads, NOTIFY.REKEY_SA);
  if (rekeyed) {
    const old = established.children.find((child) => child.spiOut === spiNumber(rekeyed.spi));
    if (!old) return refuse(NOTIFY.CHILD_SA_NOT_FOUND);
    // RFC 7296 §2.25.1: we are deleting it.
    if (established.own?.task.type === 'delete-child' && established.own.task.spiIn === old.spiIn)
      return refuse(NOTIFY.TEMPORARY_FAILURE);
  }
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const suite = forIke
    ? choose(tunnel.ike.proposals, saPayload.proposals, PROTOCOL.IKE, { keyExchange: true })?.suite
    : acceptedSuite(context, sa, tunnel, payloads, refuse);
  if (!suite) return forIke ? refuse(NOTIFY.NO_PROPOSAL_CHOSEN) : undefined;
  if (!suite.keyExchange)
    return answerCreate(context, sa, established, payloads, request, messageId, NO_SECRET, undefined);
  const { id: group } = keyExchangeRow(suite.keyExchange);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (ke?.group !== group) return refuse(NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(group >> 8, group & 0xff));
  established.serving = {
    messageId,
    request,
    step: 'answering',
    job: startJob(context, sa, { type: 'answer', group, public: ke.data }),
  };
}

function acceptedSuite(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  payloads: Payload[],
  refuse: (notify: number) => void,
): ChosenSuite | undefined {
  const found = acceptChild(context, sa, tunnel, payloads, true);
  if (!('refusal' in found)) return found.chosen.suite;
  refuse(found.refusal);
  return undefined;
}

export function createAnswerReady(
  context: Context,
  sa: IkeSa,
  established: Established,
  serving: Serving & { step: 'answering' },
  result: JobResult,
): void {
  delete established.serving;
  const { request, messageId } = serving;
  if (result.type !== 'answer') {
    reportFailure(context, 'PEER_BAD_PUBLIC_VALUE', established.tunnel, {
      remote: sa.remote.address,
      message: failureText(result),
    });
    return void sendResponse(
      context,
      sa,
      EXCHANGE.CREATE_CHILD_SA,
      messageId,
      [notifyPayload(NOTIFY.INVALID_SYNTAX)],
      established,
    );
  }
  const payloads = openMessage(
    context.provider,
    established.suite,
    established.keys,
    decodeMessage(request),
    request,
  )!;
  answerCreate(context, sa, established, payloads, request, messageId, result.secret, result.public);
}

function answerCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  request: Uint8Array,
  messageId: number,
  secret: Uint8Array,
  publicValue: Uint8Array | undefined,
): void {
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const ni = findPayload(payloads, PAYLOAD.Nonce)!.data;
  const nr = context.provider.random(NONCE_BYTES);
  const ke = (suite: ChosenSuite): Payload[] =>
    publicValue
      ? [
          {
            type: PAYLOAD.KE,
            critical: false,
            group: keyExchangeRow(suite.keyExchange!).id,
            data: publicValue,
          },
        ]
      : [];
  const { proposals } = findPayload(payloads, PAYLOAD.SA)!;
  if (proposals[0]!.protocol === PROTOCOL.IKE) {
    const chosen = choose(tunnel.ike.proposals, proposals, PROTOCOL.IKE, { keyExchange: true })!;
    const spi = drawIkeSpi(context);
    const peerSpi = hex(chosen.proposal.spi);
    const answer: Payload[] = [
      {
        type: PAYLOAD.SA,
        critical: false,
        proposals: [toAnswer(chosen.suite, chosen.proposal.number, PROTOCOL.IKE, unhex(spi))],
      },
      { type: PAYLOAD.Nonce, critical: false, data: nr },
      ...ke(chosen.suite),
    ];
    sendResponse(context, sa, EXCHANGE.CREATE_CHILD_SA, messageId, answer, established);
    const made = newIkeSa(context, sa, established, chosen.suite, {
      initiator: false,
      spi,
      peerSpi,
      secret,
      ni,
      nr,
    });
    const { own } = established;
    if (own?.task.type === 'rekey-ike' && own.step !== 'installing') {
      own.rival = { spi: made.spi, nonce: lower(ni, nr) };
    } else inherit(context, sa, established, made);
    return;
  }
  const found = acceptChild(context, sa, tunnel, payloads, true);
  if ('refusal' in found) {
    return void sendResponse(
      context,
      sa,
      EXCHANGE.CREATE_CHILD_SA,
      messageId,
      [notifyPayload(found.refusal)],
      established,
    );
  }
  const { template, chosen, selectors, spiOut } = found;
  const spiIn = drawEspSpi(context);
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: established.suite, skD: established.keys.d },
    {
      template,
      suite: chosen.suite,
      spiIn,
      spiOut,
      selectors,
      initiator: false,
      ni,
      nr,
      ...(secret.length > 0 ? { secret } : {}),
    },
  );
  const rekeyed = findNotify(payloads, NOTIFY.REKEY_SA);
  const old = rekeyed && established.children.find((other) => other.spiOut === spiNumber(rekeyed.spi));
  if (old) noteRival(established, old, { spi: spiIn, nonce: lower(ni, nr) });
  established.serving = {
    messageId,
    request,
    step: 'installing',
    job: install(context, sa, changes),
    child,
    ...(old ? { replaces: old.spiIn } : {}),
    answer: [
      {
        type: PAYLOAD.SA,
        critical: false,
        proposals: [toAnswer(chosen.suite, chosen.proposal.number, PROTOCOL.ESP, spiBytes(spiIn))],
      },
      { type: PAYLOAD.Nonce, critical: false, data: nr },
      ...ke(chosen.suite),
      ...selectorPayloads(selectors, false),
    ],
    exchange: EXCHANGE.CREATE_CHILD_SA,
  };
}

function noteRival(established: Established, old: ChildSa, rival: Rival): void {
  const { own } = established;
  if (own?.task.type === 'rekey-child' && own.task.spiIn === old.spiIn) own.rival = rival;
}

/** The data plane holds the peer's new child: now it may be answered. */
export function answerInstalled(
  context: Context,
  sa: IkeSa,
  established: Established,
  serving: Serving & { step: 'installing' },
  failed: string | undefined,
): void {
  delete established.serving;
  const { child, exchange, messageId, answer } = serving;
  if (failed !== undefined) {
    dropChild(context, child);
    reportFailure(context, 'HOST_INSTALL_FAILED', established.tunnel, { child: child.name, message: failed });
    const proof = answer.filter(({ type }) => type === PAYLOAD.IDr || type === PAYLOAD.AUTH);
    return void sendResponse(
      context,
      sa,
      exchange,
      messageId,
      [...proof, notifyPayload(NOTIFY.TEMPORARY_FAILURE)],
      established,
    );
  }
  const old = serving.replaces === undefined ? undefined : childBySpi(established, serving.replaces);
  if (old) old.replaced = true;
  established.children.push(child);
  sendResponse(context, sa, exchange, messageId, answer, established);
  // A rekey keeps sending on the old SA until the peer shows that it has the new one.
  if (serving.replaces === undefined) useChild(context, sa, established, child);
  reportChild(
    context,
    serving.replaces === undefined ? 'CHILD_ESTABLISHED' : 'CHILD_REKEYED',
    established.tunnel,
    child,
  );
}

/** A rekeyed IKE SA, without children yet (RFC 7296 §2.18). */
function newIkeSa(
  context: Context,
  sa: IkeSa,
  established: Established,
  suite: ChosenSuite,
  made: {
    initiator: boolean;
    spi: string;
    peerSpi: string;
    secret: Uint8Array;
    ni: Uint8Array;
    nr: Uint8Array;
  },
): IkeSa {
  const { initiator, spi, peerSpi, secret, ni, nr } = made;
  const seed = skeyseedRekey(context.provider, established.suite.prf!, established.keys.d, secret, ni, nr);
  const [initiatorSpi, responderSpi] = initiator ? [spi, peerSpi] : [peerSpi, spi];
  const keys = ikeKeys(context.provider, {
    prf: suite.prf!,
    encryption: suite.encryption,
    integrity: suite.integrity,
    skeyseed: seed,
    ni,
    nr,
    initiatorSpi,
    responderSpi,
  });
  const lifetime = context.tunnels.get(established.tunnel)!.tunnel.ike.lifetime;
  const next: IkeSa = {
    version: 1,
    spi,
    peerSpi,
    initiator,
    candidates: [established.tunnel],
    local: sa.local,
    remote: sa.remote,
    nat: sa.nat,
    window: { nextRequest: 0, nextReceived: 0 },
    state: {
      name: 'established',
      peer: established.peer,
      tunnel: established.tunnel,
      suite,
      keys,
      since: context.now,
      rekeyAt: rekeyTime(context, lifetime),
      lastHeard: context.now,
      lastSent: context.now,
      children: [],
      tasks: [],
    },
  };
  context.sas.set(spi, next);
  context.tunnels.get(established.tunnel)!.sas.push(spi);
  return next;
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
  const other = rival && context.sas.get(rival.spi as string);
  // RFC 7296 §2.8.2: the SA with the lowest nonce is redundant; its maker deletes it, the other maker deletes the old one.
  if (other && compareNonces(nonce, rival.nonce) < 0) {
    if (made.state.name === 'established') made.state.tasks.push({ type: 'delete-ike' });
    return inherit(context, sa, established, other);
  }
  inherit(context, sa, established, made);
  established.tasks.unshift({ type: 'delete-ike' });
}

/** Children and pending work move to the new SA; the old one only waits to be deleted. */
function inherit(context: Context, sa: IkeSa, established: Established, heir: IkeSa): void {
  if (heir.state.name !== 'established') return;
  heir.state.children.push(...established.children);
  heir.state.tasks.push(
    ...established.tasks.filter(({ type }) => type !== 'rekey-ike' && type !== 'delete-ike'),
  );
  for (const task of established.tasks)
    if (task.type === 'rekey-ike') commandDone(context, task.command, 'OK');
  established.children = [];
  established.tasks = [];
  established.replacedBy = heir.spi;
  report(context, 'IKE_REKEYED', established.tunnel, {
    suite: suiteText(heir.state.suite),
    spi: heir.spi,
    replaced: sa.spi,
  });
}

function taskFailed(
  context: Context,
  established: Established,
  code: 'BUG_JOB' | 'PEER_ERROR' | 'PEER_BAD_PUBLIC_VALUE',
  detail: Record<string, unknown>,
): void {
  commandDone(context, established.own?.task.command, code);
  delete established.own;
  reportFailure(context, code, established.tunnel, detail);
}

export function childBySpi(established: Established, spiIn: number): ChildSa | undefined {
  return established.children.find((child) => child.spiIn === spiIn);
}

function lower(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareNonces(a, b) < 0 ? a : b;
}

/** Octet by octet (RFC 7296 §2.8.1); a prefix is lower than what continues it. */
export function compareNonces(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at === -1 ? a.length - b.length : a[at]! - (b[at] ?? -1);
}
