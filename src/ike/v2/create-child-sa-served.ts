// CREATE_CHILD_SA as the peer asks for it (RFC 7296 §1.3). Answered once the data plane holds what it asked for.

import { unhex } from '../../crypto/bytes.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import {
  type ChosenSuite,
  childProtocol,
  choose,
  keepingPrf,
  type ProposalTemplate,
  toAnswer,
} from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { Failure, JobResult } from '../boundary.ts';
import {
  childBySpi,
  childNamed,
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
import {
  type Context,
  commandDone,
  drawChildSpi,
  drawIkeSpi,
  install,
  reportFailure,
  startJob,
} from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { inherit, newIkeSa } from '../heir.ts';
import { reopen } from '../protect.ts';
import { noteRefused, noteRekeyed, planRehearsal } from '../rehearsal.ts';
import type { Agreed, ChildSa, Established, IkeSa, Serving } from '../sa.ts';
import { askedAgain, upDone } from '../tunnels.ts';
import { sendResponse } from '../window.ts';
import { noteMode, notePadding, refusesPadding } from './child-mode.ts';
import { acceptChild } from './child-terms.ts';
import { linkPayload, nextFollowup } from './followups.ts';
import { isNonce, lower, NONCE_BYTES } from './nonces.ts';
import { ikeSpiText, notifyPayload, spiBytes, spiNumber } from './payloads.ts';
import { drawAgain, forgetInbound } from './taken-spi.ts';

/** A child that could not be installed for the peer is made by us after about that time. */
export const MISSED = 5000;

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
  if (!suite.keyExchange) return answer(context, sa, established, asked, [], []);
  const { id: group } = keyExchangeRow(suite.keyExchange);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (ke?.group !== group) return refuse(NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(group >> 8, group & 0xff));
  const job = startJob(context, sa, { type: 'answer', group, public: ke.data });
  established.serving = { messageId, request: bytes, step: 'answering', ike: forIke, job };
}

export function refuseRequest(
  context: Context,
  sa: IkeSa,
  established: Established,
  messageId: number,
  notify: number,
  data?: Uint8Array,
  exchange: number = EXCHANGE.CREATE_CHILD_SA,
): void {
  sendResponse(context, sa, exchange, messageId, [notifyPayload(notify, data)], established);
}

/** The notify that refuses a request whatever its algorithms are, or nothing. */
function whyNot(established: Established, payloads: Payload[], forIke: boolean): number | undefined {
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  if (!findPayload(payloads, PAYLOAD.SA) || !nonce || !isNonce(nonce.data)) return NOTIFY.INVALID_SYNTAX;
  // RFC 7296 §2.25.2: an IKE SA that is being replaced makes no more children.
  if (established.replacedBy !== undefined || isClosing(established)) return NOTIFY.TEMPORARY_FAILURE;
  const busy = established.own?.task.type;
  const inTheWay = forIke
    ? busy !== undefined && busy !== 'rekey-ike' && busy !== 'liveness' && busy !== 'measure'
    : busy === 'rekey-ike';
  if (inTheWay) return NOTIFY.TEMPORARY_FAILURE;
  const rekeyed = rekeyedBy(established, payloads);
  if (isFollowing(established, forIke ? undefined : rekeyed?.old)) return NOTIFY.TEMPORARY_FAILURE;
  if (!rekeyed) return undefined;
  if (!rekeyed.old) return unknownChild(established, rekeyed.spiOut);
  // RFC 7296 §2.25.1: we are deleting it.
  return isLeaving(established, rekeyed.old) ? NOTIFY.TEMPORARY_FAILURE : undefined;
}

/** RFC 9370 §2.2.4: our own rekey of the same SA is answered, and its additional key exchanges are under way. */
function isFollowing({ own }: Established, old: ChildSa | undefined): boolean {
  const answered =
    own?.step.startsWith('followup') ||
    (own?.step === 'finishing' && additionalMethods(own.suite).length > 0);
  if (!own || !answered) return false;
  return own.task.type === 'rekey-child'
    ? own.task.spiIn === old?.spiIn
    : own.task.type === 'rekey-ike' && !old;
}

/** We are about to delete the IKE SA (RFC 7296 §2.25.2). */
export function isClosing({ own, tasks }: Established): boolean {
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
  return { spiOut, old: childNamed(established, notify.protocol, spiOut) };
}

/** A child that the peer holds already, and we are about to, is not unknown; its SPI comes with the answer to us. */
function unknownChild({ own }: Established, spiOut: number | undefined): number {
  const making = own?.task.type === 'create' || own?.task.type === 'rekey-child';
  const coming =
    making && (own.step === 'installing' ? own.child.spiOut === spiOut : own.step !== 'offering');
  return coming ? NOTIFY.TEMPORARY_FAILURE : NOTIFY.CHILD_SA_NOT_FOUND;
}

/** With the PRF of the IKE SA where that can be, with another where the peer insists. */
function chooseIke(tunnel: Tunnel, { suite }: Established, payloads: Payload[]) {
  const { proposals } = findPayload(payloads, PAYLOAD.SA)!;
  const fitting = (templates: readonly ProposalTemplate[]) =>
    choose(templates, proposals, PROTOCOL.IKE, { keyExchange: true });
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
  const rekeyed = rekeyedBy(established, payloads)?.old?.name;
  const found = acceptChild(context, sa, tunnel, payloads, true, rekeyed);
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
  answer(context, sa, established, { messageId, bytes, payloads }, [result.secret], [ke]);
}

/** `ke`: our public value, where there was a key exchange. */
function answer(
  context: Context,
  sa: IkeSa,
  established: Established,
  asked: Request,
  secrets: Uint8Array[],
  ke: Payload[],
): void {
  const ni = findPayload(asked.payloads, PAYLOAD.Nonce)!.data;
  const nr = context.provider.random(NONCE_BYTES);
  const { proposals } = findPayload(asked.payloads, PAYLOAD.SA)!;
  const agree = proposals[0]!.protocol === PROTOCOL.IKE ? agreeOnIke : agreeOnChild;
  const found = agree(context, sa, established, asked, { ni, nr, secrets });
  if (typeof found === 'number') return refuseRequest(context, sa, established, asked.messageId, found);
  const [chosen, ...selectors] = found.payloads;
  const ours: Payload[] = [chosen!, { type: PAYLOAD.Nonce, critical: false, data: nr }, ...ke, ...selectors];
  const to: Answering = {
    exchange: EXCHANGE.CREATE_CHILD_SA,
    messageId: asked.messageId,
    request: asked.bytes,
  };
  proceed(context, sa, established, found.agreed, to, ours);
}

/** The request that is to be answered. */
interface Answering {
  exchange: number;
  messageId: number;
  request: Uint8Array;
}

type Material = Pick<Agreed, 'ni' | 'nr' | 'secrets'>;

function agreeOnIke(
  context: Context,
  _sa: IkeSa,
  established: Established,
  { payloads }: Request,
  material: Material,
): { agreed: Agreed; payloads: Payload[] } {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const { suite, proposal } = chooseIke(tunnel, established, payloads)!;
  const spi = drawIkeSpi(context);
  const accepted = toAnswer(suite, proposal.number, PROTOCOL.IKE, unhex(spi));
  return {
    agreed: { kind: 'ike', suite, spi, peerSpi: ikeSpiText(proposal.spi)!, ...material },
    payloads: [{ type: PAYLOAD.SA, critical: false, proposals: [accepted] }],
  };
}

function agreeOnChild(
  context: Context,
  sa: IkeSa,
  established: Established,
  { payloads }: Request,
  material: Material,
): { agreed: Agreed; payloads: Payload[] } | number {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const rekeyed = rekeyedBy(established, payloads);
  const gone = rekeyed && whyNotRekeyed(established, rekeyed.old);
  const found =
    gone === undefined
      ? acceptChild(context, sa, tunnel, payloads, true, rekeyed?.old?.name)
      : { refusal: gone };
  if ('refusal' in found) return found.refusal;
  const { template, chosen, seen, spiOut } = found;
  const { name } = template;
  if (isBeingMade(established, payloads, name)) return NOTIFY.TEMPORARY_FAILURE;
  const { suite, proposal } = chosen;
  const spiIn = drawChildSpi(context);
  const replaces = rekeyed?.old ? { replaces: rekeyed.old.spiIn } : {};
  const accepted = toAnswer(suite, proposal.number, childProtocol(suite), spiBytes(spiIn));
  const unpadded = refusesPadding(payloads);
  noteMode(context, sa, tunnel, template, payloads);
  return {
    agreed: { kind: 'child', name, suite, spiIn, spiOut, ...seen, unpadded, ...replaces, ...material },
    payloads: [
      { type: PAYLOAD.SA, critical: false, proposals: [accepted] },
      ...selectorPayloads(seen.selectors, false),
      ...found.more,
    ],
  };
}

/** RFC 9370 §2.2.4: 5 to 20 seconds. */
const FOLLOWUP_WAIT = 20_000;
const LINK_BYTES = 8;

/** The next additional key exchange is waited for, or, after the last, what was agreed on is made. */
export function proceed(
  context: Context,
  sa: IkeSa,
  established: Established,
  agreed: Agreed,
  to: Answering,
  ours: Payload[],
): void {
  delete established.pending;
  if (nextFollowup(agreed) === undefined)
    return agreed.kind === 'ike'
      ? makeIke(context, sa, established, agreed, to, ours)
      : makeAgreedChild(context, sa, established, agreed, to, ours);
  noteRival(established, agreed);
  const link = context.provider.random(LINK_BYTES);
  established.pending = { link, until: context.now + FOLLOWUP_WAIT, agreed };
  sendResponse(context, sa, to.exchange, to.messageId, [...ours, linkPayload(link)], established);
}

function makeIke(
  context: Context,
  sa: IkeSa,
  established: Established,
  agreed: Agreed & { kind: 'ike' },
  { exchange, messageId }: Answering,
  ours: Payload[],
): void {
  const { suite, spi, peerSpi, ni, nr } = agreed;
  const [secret, ...further] = agreed.secrets;
  sendResponse(context, sa, exchange, messageId, ours, established);
  const material = { secret: secret!, further, ni, nr };
  const made = newIkeSa(context, sa, established, suite, { initiator: false, spi, peerSpi, ...material });
  if (!noteRival(established, agreed)) inherit(context, sa, established, made);
}

function makeAgreedChild(
  context: Context,
  sa: IkeSa,
  established: Established,
  agreed: Agreed & { kind: 'child' },
  { exchange, messageId, request }: Answering,
  ours: Payload[],
): void {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const { kind: _, name, replaces, secrets, ...terms } = agreed;
  const template = tunnel.children.find((one) => one.name === name);
  const gone =
    replaces === undefined ? undefined : whyNotRekeyed(established, childBySpi(established, replaces));
  const refusal = gone ?? (template ? undefined : NOTIFY.TEMPORARY_FAILURE);
  if (refusal !== undefined || !template)
    return refuseRequest(context, sa, established, messageId, refusal!, undefined, exchange);
  const [secret, ...further] = secrets;
  const ike = { suite: established.suite, skD: established.keys.d };
  const keyed = secret ? { secret, further } : {};
  const made = { ...terms, template, initiator: false, ...keyed };
  const { child, changes } = makeChild(context, sa, tunnel, ike, made);
  noteRival(established, agreed);
  established.serving = {
    messageId,
    request,
    step: 'installing',
    job: install(context, sa, changes),
    changes,
    draws: 0,
    child,
    ...(replaces === undefined ? {} : { replaces }),
    answer: ours,
    exchange,
  };
}

export function spiOfAgreed(agreed: Agreed): number | string {
  return agreed.kind === 'ike' ? agreed.spi : agreed.spiIn;
}

/** RFC 7296 §2.25.1: while we computed, the child went, or our own rekey has replaced it. */
function whyNotRekeyed(established: Established, old: ChildSa | undefined): number | undefined {
  if (!old) return NOTIFY.CHILD_SA_NOT_FOUND;
  return isLeaving(established, old) ? NOTIFY.TEMPORARY_FAILURE : undefined;
}

/** True where our own exchange rekeys the same SA: the nonces decide between the two (RFC 7296 §2.8.1, §2.8.2). */
function noteRival({ own }: Established, agreed: Agreed): boolean {
  const same =
    agreed.kind === 'ike'
      ? own?.task.type === 'rekey-ike' && own.step !== 'installing'
      : own?.task.type === 'rekey-child' && own.task.spiIn === agreed.replaces;
  if (!own || !same) return false;
  own.rival = { spi: spiOfAgreed(agreed), nonce: lower(agreed.ni, agreed.nr) };
  return true;
}

/** The data plane holds the peer's new child: now it may be answered. */
export function answerInstalled(
  context: Context,
  sa: IkeSa,
  established: Established,
  serving: Serving & { step: 'installing' },
  failed: Failure | undefined,
): void {
  if (failed?.reason === 'exists' && drawAgain(context, sa, established, serving)) return;
  delete established.serving;
  const { child, exchange, messageId, answer } = serving;
  commandDone(context, serving.command, failed === undefined ? 'OK' : 'HOST_INSTALL_FAILED');
  if (failed !== undefined) {
    if (failed.reason === 'exists') forgetInbound(context, child.spiIn);
    else dropChild(context, child);
    notReplaced(context, established, serving);
    const { message } = failed;
    reportFailure(context, 'HOST_INSTALL_FAILED', established.tunnel, { child: child.name, message });
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
  else noteRekeyed(context, sa, established, child, old);
  sendResponse(context, sa, exchange, messageId, answer, established);
  // A rekey keeps sending on the old SA until the peer shows that it has the new one.
  if (serving.replaces === undefined) {
    useOrWait(context, sa, established, child);
    deleteOthers(established, child);
    askedAgain(context, established.tunnel, child.name);
    upDone(context, established.tunnel, 'OK');
    notePadding(context, sa, established.tunnel, child);
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
