// CREATE_CHILD_SA as the peer asks for it (RFC 7296 §1.3). Answered once the data plane holds what it asked for.

import { unhex } from '../../crypto/bytes.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import {
  type ChosenSuite,
  choose,
  firstExchangeOnly,
  keepingPrf,
  type ProposalTemplate,
  toAnswer,
} from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
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
  selectorsText,
  useOrWait,
} from '../child.ts';
import { type Context, drawEspSpi, drawIkeSpi, install, reportFailure, startJob } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { inherit, newIkeSa } from '../heir.ts';
import { reopen } from '../protect.ts';
import { noteRefused, noteRekeyed, planRehearsal } from '../rehearsal.ts';
import type { ChildSa, Established, IkeSa, Rival, Serving } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { sendResponse } from '../window.ts';
import { acceptChild } from './child-terms.ts';
import { isNonce, lower, NONCE_BYTES } from './nonces.ts';
import { ikeSpiText, notifyPayload, spiBytes, spiNumber } from './payloads.ts';

const NO_SECRET = new Uint8Array(0);
/** A child that could not be installed for the peer is made by us after about that time. */
const MISSED = 5000;

/** The request as it is answered: what was asked, and what the key exchange gave. */
interface Request {
  messageId: number;
  bytes: Uint8Array;
  payloads: Payload[];
}

/** The peer's request. Answers at once where nothing has to be computed or installed. */
export function createRequested(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  bytes: Uint8Array,
  messageId: number,
): void {
  const asked: Request = { messageId, bytes, payloads };
  const refuse = (notify: number, data?: Uint8Array) =>
    refuseRequest(context, sa, established, messageId, notify, data);
  const forIke = findPayload(payloads, PAYLOAD.SA)?.proposals[0]?.protocol === PROTOCOL.IKE;
  const unfit = whyNot(established, payloads, forIke);
  if (unfit !== undefined) return refuse(unfit);
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const suite = forIke
    ? ikeSuite(tunnel, established, payloads)
    : childSuite(context, sa, established, tunnel, payloads);
  if (typeof suite === 'number') return refuse(suite);
  if (!suite.keyExchange) return answer(context, sa, established, asked, NO_SECRET, []);
  const { id: group } = keyExchangeRow(suite.keyExchange);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (ke?.group !== group) return refuse(NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(group >> 8, group & 0xff));
  const job = startJob(context, sa, { type: 'answer', group, public: ke.data });
  established.serving = { messageId, request: bytes, step: 'answering', ike: forIke, job };
}

function refuseRequest(
  context: Context,
  sa: IkeSa,
  established: Established,
  messageId: number,
  notify: number,
  data?: Uint8Array,
): void {
  sendResponse(context, sa, EXCHANGE.CREATE_CHILD_SA, messageId, [notifyPayload(notify, data)], established);
}

/** The notify that refuses a request whatever its algorithms are, or nothing. */
function whyNot(established: Established, payloads: Payload[], forIke: boolean): number | undefined {
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  if (!findPayload(payloads, PAYLOAD.SA) || !nonce || !isNonce(nonce.data)) return NOTIFY.INVALID_SYNTAX;
  // RFC 7296 §2.25.2: an IKE SA that is being replaced makes no more children.
  if (established.replacedBy !== undefined || isClosing(established)) return NOTIFY.TEMPORARY_FAILURE;
  const busy = established.own?.task.type;
  const inTheWay = forIke
    ? busy !== undefined && busy !== 'rekey-ike' && busy !== 'liveness'
    : busy === 'rekey-ike';
  if (inTheWay) return NOTIFY.TEMPORARY_FAILURE;
  const rekeyed = rekeyedBy(established, payloads);
  if (!rekeyed) return undefined;
  if (!rekeyed.old) return unknownChild(established, rekeyed.spiOut);
  // RFC 7296 §2.25.1: we are deleting it.
  return isLeaving(established, rekeyed.old) ? NOTIFY.TEMPORARY_FAILURE : undefined;
}

/** We are about to delete the IKE SA (RFC 7296 §2.25.2). */
function isClosing({ own, tasks }: Established): boolean {
  const queued = tasks.some(({ type, notBefore }) => type === 'delete-ike' && notBefore === undefined);
  return queued || own?.task.type === 'delete-ike';
}

/** The child that a request wants to replace, where it says so (RFC 7296 §1.3.3). */
function rekeyedBy(
  established: Established,
  payloads: Payload[],
): { spiOut: number | undefined; old: ChildSa | undefined } | undefined {
  const notify = findNotify(payloads, NOTIFY.REKEY_SA);
  if (!notify) return undefined;
  const spiOut = spiNumber(notify.spi);
  return { spiOut, old: established.children.find((child) => child.spiOut === spiOut) };
}

/** A child that the peer holds already, and we are about to, is not unknown. */
function unknownChild({ own }: Established, spiOut: number | undefined): number {
  const coming = own?.step === 'installing' && own.child.spiOut === spiOut;
  return coming ? NOTIFY.TEMPORARY_FAILURE : NOTIFY.CHILD_SA_NOT_FOUND;
}

/** With the PRF of the IKE SA where that can be, with another where the peer insists. */
function chooseIke(tunnel: Tunnel, { suite }: Established, payloads: Payload[]) {
  const { proposals } = findPayload(payloads, PAYLOAD.SA)!;
  const fitting = (templates: readonly ProposalTemplate[]) =>
    choose(firstExchangeOnly(templates), proposals, PROTOCOL.IKE, { keyExchange: true });
  return fitting(keepingPrf(tunnel.ike.proposals, suite.prf!)) ?? fitting(tunnel.ike.proposals);
}

function ikeSuite(tunnel: Tunnel, established: Established, payloads: Payload[]): ChosenSuite | number {
  const chosen = chooseIke(tunnel, established, payloads);
  if (!chosen) return NOTIFY.NO_PROPOSAL_CHOSEN;
  return ikeSpiText(chosen.proposal.spi) ? chosen.suite : NOTIFY.INVALID_SYNTAX;
}

function childSuite(
  context: Context,
  sa: IkeSa,
  established: Established,
  tunnel: Tunnel,
  payloads: Payload[],
): ChosenSuite | number {
  const found = acceptChild(context, sa, tunnel, payloads, true);
  if ('refusal' in found) {
    const child = rekeyedBy(established, payloads)?.old?.name;
    if (child !== undefined) noteRefused(context, sa, established, { child });
    return found.refusal;
  }
  const twice = isBeingMade(established, payloads, found.template.name);
  return twice ? NOTIFY.TEMPORARY_FAILURE : found.chosen.suite;
}

/** Both sides want the same new child at once: both are told to try again, each after a time of its own. */
function isBeingMade({ own }: Established, payloads: Payload[], name: string): boolean {
  const ours = own?.task.type === 'create' && own.task.child === name && own.step !== 'offering';
  return ours && !findNotify(payloads, NOTIFY.REKEY_SA);
}

export function createAnswerReady(
  context: Context,
  sa: IkeSa,
  established: Established,
  serving: Serving & { step: 'answering' },
  result: JobResult,
): void {
  delete established.serving;
  const { request: bytes, messageId } = serving;
  if (established.replacedBy !== undefined)
    return refuseRequest(context, sa, established, messageId, NOTIFY.TEMPORARY_FAILURE);
  if (result.type !== 'answer') {
    const detail = { remote: sa.remote.address, message: failureText(result) };
    reportFailure(context, exchangeFault(result), established.tunnel, detail);
    return refuseRequest(context, sa, established, messageId, NOTIFY.INVALID_SYNTAX);
  }
  const payloads = reopen(context, established, bytes);
  const { group } = findPayload(payloads, PAYLOAD.KE)!;
  const ke: Payload = { type: PAYLOAD.KE, critical: false, group, data: result.public };
  answer(context, sa, established, { messageId, bytes, payloads }, result.secret, [ke]);
}

/** `ke`: our public value, where there was a key exchange. */
function answer(
  context: Context,
  sa: IkeSa,
  established: Established,
  asked: Request,
  secret: Uint8Array,
  ke: Payload[],
): void {
  const ni = findPayload(asked.payloads, PAYLOAD.Nonce)!.data;
  const nr = context.provider.random(NONCE_BYTES);
  const { proposals } = findPayload(asked.payloads, PAYLOAD.SA)!;
  const serve = proposals[0]!.protocol === PROTOCOL.IKE ? answerIke : answerChild;
  serve(context, sa, established, asked, { ni, nr, secret }, [
    { type: PAYLOAD.Nonce, critical: false, data: nr },
    ...ke,
  ]);
}

interface Material {
  ni: Uint8Array;
  nr: Uint8Array;
  /** Empty without a key exchange. */
  secret: Uint8Array;
}

function answerIke(
  context: Context,
  sa: IkeSa,
  established: Established,
  { messageId, payloads }: Request,
  material: Material,
  ours: Payload[],
): void {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const { suite, proposal } = chooseIke(tunnel, established, payloads)!;
  const spi = drawIkeSpi(context);
  const accepted = toAnswer(suite, proposal.number, PROTOCOL.IKE, unhex(spi));
  const chosen: Payload = { type: PAYLOAD.SA, critical: false, proposals: [accepted] };
  sendResponse(context, sa, EXCHANGE.CREATE_CHILD_SA, messageId, [chosen, ...ours], established);
  const peerSpi = ikeSpiText(proposal.spi)!;
  const made = newIkeSa(context, sa, established, suite, { initiator: false, spi, peerSpi, ...material });
  const { own } = established;
  if (own?.task.type === 'rekey-ike' && own.step !== 'installing')
    own.rival = { spi: made.spi, nonce: lower(material.ni, material.nr) };
  else inherit(context, sa, established, made);
}

function answerChild(
  context: Context,
  sa: IkeSa,
  established: Established,
  { messageId, bytes, payloads }: Request,
  { ni, nr, secret }: Material,
  ours: Payload[],
): void {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const rekeyed = rekeyedBy(established, payloads);
  const gone = rekeyed && whyNotRekeyed(established, rekeyed.old);
  const found = gone === undefined ? acceptChild(context, sa, tunnel, payloads, true) : { refusal: gone };
  if ('refusal' in found) return refuseRequest(context, sa, established, messageId, found.refusal);
  const { template, chosen, selectors, spiOut } = found;
  if (isBeingMade(established, payloads, template.name))
    return refuseRequest(context, sa, established, messageId, NOTIFY.TEMPORARY_FAILURE);
  const { suite, proposal } = chosen;
  const spiIn = drawEspSpi(context);
  const ike = { suite: established.suite, skD: established.keys.d };
  const keyed = secret.length > 0 ? { secret } : {};
  const made = { template, suite, spiIn, spiOut, selectors, initiator: false, ni, nr, ...keyed };
  const { child, changes } = makeChild(context, sa, tunnel, ike, made);
  const old = rekeyed?.old;
  if (old) noteRival(established, old, { spi: spiIn, nonce: lower(ni, nr) });
  const accepted = toAnswer(suite, proposal.number, PROTOCOL.ESP, spiBytes(spiIn));
  established.serving = {
    messageId,
    request: bytes,
    step: 'installing',
    job: install(context, sa, changes),
    child,
    ...(old ? { replaces: old.spiIn } : {}),
    answer: [
      { type: PAYLOAD.SA, critical: false, proposals: [accepted] },
      ...ours,
      ...selectorPayloads(selectors, false),
    ],
    exchange: EXCHANGE.CREATE_CHILD_SA,
  };
}

/** RFC 7296 §2.25.1: while we computed, the child went, or our own rekey has replaced it. */
function whyNotRekeyed(established: Established, old: ChildSa | undefined): number | undefined {
  if (!old) return NOTIFY.CHILD_SA_NOT_FOUND;
  return isLeaving(established, old) ? NOTIFY.TEMPORARY_FAILURE : undefined;
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
    notReplaced(context, established, serving);
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
  if (exchange === EXCHANGE.IKE_AUTH) planRehearsal(context, sa, established, child);
  else noteRekeyed(context, sa, established, child.name);
  sendResponse(context, sa, exchange, messageId, answer, established);
  // A rekey keeps sending on the old SA until the peer shows that it has the new one.
  if (serving.replaces === undefined) {
    useOrWait(context, sa, established, child);
    deleteOthers(established, child);
    upDone(context, established.tunnel, 'OK');
  }
  reportChild(
    context,
    serving.replaces === undefined ? 'CHILD_ESTABLISHED' : 'CHILD_REKEYED',
    established.tunnel,
    child,
  );
}

/** The peer asks for what an older child carries, so it does not have that one any more: no two of a kind. */
function deleteOthers(established: Established, child: ChildSa): void {
  for (const other of established.children)
    if (other !== child && isAlike(other, child) && !isLeaving(established, other))
      established.tasks.push({ type: 'delete-child', spiIn: other.spiIn });
}

function isAlike(a: ChildSa, b: ChildSa): boolean {
  return a.name === b.name && selectorsText(a.selectors) === selectorsText(b.selectors);
}

/** The peer's child came to nothing: an old one goes on, and its rekey is ours again. */
function notReplaced(
  context: Context,
  established: Established,
  { child, replaces }: Serving & { step: 'installing' },
): void {
  const { own } = established;
  if (own?.rival?.spi === child.spiIn) delete own.rival;
  if (replaces === undefined) createLater(context, established, child.name, MISSED);
  else retryRekey(context, established, { type: 'rekey-child', spiIn: replaces, child: child.name });
}
