// IKE_SA_INIT as initiator (RFC 7296 §1.2, §2.6, §2.7).
//
//   HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)  -->
//                                           <--  HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)

import { skeyseed } from '../../crypto/keymat.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import {
  type ChosenSuite,
  choose,
  type ProposalTemplate,
  templateText,
  toProposals,
  withoutAdditional,
} from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import {
  decodeMessage,
  findNotify,
  findPayload,
  type Message,
  NO_SPI,
  type Payload,
} from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { Endpoint, JobResult } from '../boundary.ts';
import {
  type Context,
  commandDone,
  drawIkeSpi,
  report,
  reportFailure,
  startJob,
  tunnelOf,
} from '../context.ts';
import type { ReportCode } from '../errors.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { agreeOnFragments, fragmentationNotify } from '../fragments.ts';
import { keysOf } from '../protect.ts';
import type { Attempt, IkeSa, InitOffer, Secrets, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { sendRequest } from '../window.ts';
import {
  hashAnnouncement,
  intermediateSupported,
  noteAnnouncements,
  supportsIntermediate,
} from './announcements.ts';
import { natInEveryWay } from './child-mode.ts';
import { noteChildless } from './childless.ts';
import { detectNat, floatPort, natDetection } from './nat-detection.ts';
import { isNonce, NONCE_BYTES } from './nonces.ts';
import { notifyPayload } from './payloads.ts';
import { agreedPpk, usePpk } from './ppk.ts';
import { vendorOf } from './vendors.ts';

/** INVALID_KE_PAYLOAD and COOKIE make us start again, but not for ever. */
const MOST_RETRIES = 4;
export const HALF_OPEN = 30_000;

/** A new attempt at a tunnel, as initiator. */
export function initiate(context: Context, tunnel: Tunnel, remote: Endpoint): IkeSa {
  const sa: IkeSa = {
    version: 1,
    spi: drawIkeSpi(context),
    peerSpi: NO_SPI,
    initiator: true,
    candidates: [tunnel.name],
    local: { transport: 'udp', address: tunnel.local.address, port: 500 },
    remote,
    nat: { local: false, remote: false, forced: false },
    began: context.now,
    window: { nextRequest: 0, nextReceived: 0 },
    state: { name: 'deleted' },
  };
  context.sas.set(sa.spi, sa);
  offer(context, sa, keyExchangeRow(tunnel.ike.proposals[0]!.keyExchange[0]!).id, 0);
  return sa;
}

function offer(context: Context, sa: IkeSa, group: number, retries: number): void {
  sa.state = { name: 'offering', job: startJob(context, sa, { type: 'offer', group }), group, retries };
}

export function offered(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer') return giveUp(context, sa, 'BUG_JOB', { message: failureText(result) });
  const nonce = context.provider.random(NONCE_BYTES);
  request(context, sa, {
    nonce,
    group: state.group,
    handle: result.handle,
    public: result.public,
    retries: state.retries,
    halfOpenUntil: context.now + HALF_OPEN,
  });
}

function offersAdditional({ ike }: Tunnel): boolean {
  return ike.proposals.some(({ additionalKeyExchange: lists }) => lists.some((list) => list.length > 0));
}

/** Without the intermediate exchange, which both sides have to name, there are no additional key exchanges. */
export function allowedBy({ ike }: Tunnel, payloads: readonly Payload[]): readonly ProposalTemplate[] {
  return supportsIntermediate(payloads) ? ike.proposals : withoutAdditional(ike.proposals);
}

function request(context: Context, sa: IkeSa, init: InitOffer): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const payloads: Payload[] = [
    ...(init.cookie ? [notifyPayload(NOTIFY.COOKIE, init.cookie)] : []),
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: toProposals(tunnel.ike.proposals, PROTOCOL.IKE, new Uint8Array(0), { keyExchange: true }),
    },
    { type: PAYLOAD.KE, critical: false, group: init.group, data: init.public },
    { type: PAYLOAD.Nonce, critical: false, data: init.nonce },
    ...natDetection(context, sa),
    ...fragmentationNotify(tunnelOf(context, sa)!),
    ...hashAnnouncement([tunnel]),
    // RFC 9370 §2.2.1: whoever offers additional key exchanges offers the exchange that carries them.
    ...(offersAdditional(tunnel) || tunnel.ppk ? [intermediateSupported()] : []),
    ...usePpk(tunnel),
  ];
  sa.window.nextRequest = 0;
  const message = sendRequest(context, sa, EXCHANGE.IKE_SA_INIT, payloads);
  sa.state = { name: 'init-sent', attempt: { offer: init, message, others: [] } };
}

/** An answer that nobody protects: errors in it are hints, and retransmission goes on (RFC 7296 §2.21.1). */
export function initAnswered(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'init-sent' },
  message: Message,
  bytes: Uint8Array,
): void {
  const { payloads } = message;
  const { attempt } = state;
  const cookie = findNotify(payloads, NOTIFY.COOKIE);
  if (cookie) return retryWithCookie(context, sa, attempt, cookie.data);
  const other = findNotify(payloads, NOTIFY.INVALID_KE_PAYLOAD);
  if (other) return retryWithGroup(context, sa, attempt.offer, other.data);
  const error = payloads.find((payload) => payload.type === PAYLOAD.N && payload.notifyType < 16384);
  if (error?.type === PAYLOAD.N)
    return hint(context, sa, state, ...refusalOf(tunnelOf(context, sa)!.tunnel, error.notifyType));
  const chosen = chosenBy(context, sa, attempt, message);
  if (!chosen) return;
  if (lacksChildless(context, sa, payloads))
    return hint(context, sa, state, 'PEER_NOT_CHILDLESS', { did: 'does not offer it' });
  detectNat(context, sa, message);
  const inTheWay = natInEveryWay(context, sa, tunnelOf(context, sa)!.tunnel);
  if (inTheWay) return hint(context, sa, state, ...inTheWay);
  const { suite, ke, nr } = chosen;
  sa.peerSpi = message.header.responderSpi;
  noteVendor(sa, payloads);
  noteAnnouncements(sa, payloads);
  noteChildless(sa, payloads);
  agreeOnFragments(context, sa, payloads);
  floatPort(sa);
  const { group, handle } = attempt.offer;
  const job = startJob(context, sa, { type: 'finish', group, handle, public: ke });
  delete sa.window.sent;
  sa.state = { name: 'init-finishing', job, attempt, suite, answer: bytes, nr };
}

/** What an answer chose of our offer, or nothing when it does not fit. */
function chosenBy(
  context: Context,
  sa: IkeSa,
  { offer: { group } }: Attempt,
  { header, payloads }: Message,
): { suite: ChosenSuite; ke: Uint8Array; nr: Uint8Array } | undefined {
  const saPayload = findPayload(payloads, PAYLOAD.SA);
  const ke = findPayload(payloads, PAYLOAD.KE);
  const nonce = findPayload(payloads, PAYLOAD.Nonce);
  if (!saPayload || ke?.group !== group || !nonce || !isNonce(nonce.data)) return undefined;
  const { tunnel } = tunnelOf(context, sa)!;
  const chosen = choose(allowedBy(tunnel, payloads), saPayload.proposals, PROTOCOL.IKE, {
    keyExchange: true,
  });
  const fits = chosen && keyExchangeRow(chosen.suite.keyExchange!).id === group;
  return fits && header.responderSpi !== NO_SPI
    ? { suite: chosen.suite, ke: ke.data, nr: nonce.data }
    : undefined;
}

/** Anybody can answer first; a handful is kept. */
const MOST_ANSWERS = 4;

/** Another answer while the first one is tried (RFC 7296 §2.4). */
export function keepAnswer(context: Context, sa: IkeSa, message: Message, bytes: Uint8Array): void {
  const { state } = sa;
  if (!('attempt' in state) || state.name === 'init-sent') return;
  const { attempt } = state;
  const inUse = state.name === 'init-finishing' ? state.answer : state.secrets.responderMessage;
  const known = [inUse, ...attempt.others].some((one) => context.provider.equal(one, bytes));
  if (known || attempt.others.length >= MOST_ANSWERS) return;
  if (chosenBy(context, sa, attempt, message)) attempt.others.push(bytes);
}

/** The answer in use proved nothing: the next one is tried; without one the attempt has failed. */
export function attemptFailed(
  context: Context,
  sa: IkeSa,
  code: ReportCode,
  detail: Record<string, unknown>,
): void {
  if (!tryOtherAnswer(context, sa)) giveUp(context, sa, code, detail);
}

/** True when there was one. */
export function tryOtherAnswer(context: Context, sa: IkeSa): boolean {
  const { attempt } = sa.state as { attempt?: Attempt };
  const next = attempt?.others.shift();
  if (!attempt || !next) return false;
  if ('ke' in sa.state && sa.state.ke) startJob(context, sa, { type: 'forget', handle: sa.state.ke.handle });
  const { tunnel } = tunnelOf(context, sa)!;
  sa.local = { transport: 'udp', address: tunnel.local.address, port: 500 };
  sa.remote = { ...sa.remote, port: 500 };
  sa.peerSpi = NO_SPI;
  sa.window = { nextRequest: 1, nextReceived: 0 };
  const state = { name: 'init-sent', attempt } as const;
  sa.state = state;
  initAnswered(context, sa, state, decodeMessage(next), next);
  return true;
}

function retryWithCookie(context: Context, sa: IkeSa, { offer: init }: Attempt, cookie: Uint8Array): void {
  // RFC 7296 §2.6: 1 to 64 bytes; everything else of the request stays.
  if (cookie.length === 0 || cookie.length > 64 || init.retries >= MOST_RETRIES) return;
  request(context, sa, { ...init, cookie, retries: init.retries + 1 });
}

/** Only a group that we offered (RFC 7296 §1.2); anything else would be a downgrade by a stranger. */
function retryWithGroup(context: Context, sa: IkeSa, init: InitOffer, data: Uint8Array): void {
  const group = data.length === 2 ? (data[0]! << 8) | data[1]! : 0;
  const { tunnel } = tunnelOf(context, sa)!;
  const ours = tunnel.ike.proposals.flatMap(({ keyExchange }) =>
    keyExchange.map((name) => keyExchangeRow(name).id),
  );
  if (!ours.includes(group) || group === init.group || init.retries >= MOST_RETRIES) return;
  startJob(context, sa, { type: 'forget', handle: init.handle });
  delete sa.window.sent;
  offer(context, sa, group, init.retries + 1);
}

/**
 * Reported once an attempt, however often it comes. When it comes again after a retransmission, whoever waits for the
 * outcome of `up` is told; the attempt itself goes on.
 */
function hint(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'init-sent' },
  code: ReportCode,
  detail: Record<string, unknown>,
): void {
  const tunnelState = tunnelOf(context, sa)!;
  const { attempt } = state;
  if (attempt.hint !== undefined) {
    if (sa.window.sent && sa.window.sent.sends > 1)
      for (const command of tunnelState.waiting.splice(0)) commandDone(context, command, attempt.hint.code);
    return;
  }
  attempt.hint = { code, detail: { remote: sa.remote.address, ...detail } };
  reportFailure(context, code, tunnelState.tunnel.name, attempt.hint.detail);
}

function refusalOf({ ike }: Tunnel, notify: number): [ReportCode, Record<string, unknown>] {
  return notify === NOTIFY.NO_PROPOSAL_CHOSEN
    ? ['PEER_REFUSED_PROPOSAL', { what: 'IKE SA', configured: ike.proposals.map(templateText).join(' or ') }]
    : ['PEER_ERROR', { exchange: 'IKE_SA_INIT', notify: nameOf(NOTIFY, notify) }];
}

/** Whoever answered may be anybody, so the attempt goes on; only no IKE_AUTH is sent. */
function lacksChildless(context: Context, sa: IkeSa, payloads: readonly Payload[]): boolean {
  const { tunnel } = tunnelOf(context, sa)!;
  return tunnel.childless === 'require' && !findNotify(payloads, NOTIFY.CHILDLESS_IKEV2_SUPPORTED);
}

export function initFinished(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'init-finishing' },
  result: JobResult,
): Secrets | undefined {
  if (result.type !== 'finish') {
    attemptFailed(context, sa, exchangeFault(result), {
      remote: sa.remote.address,
      message: failureText(result),
    });
    return undefined;
  }
  const { tunnel } = tunnelOf(context, sa)!;
  return secretsOf(context, sa, {
    ...agreedPpk([tunnel], decodeMessage(state.answer).payloads),
    suite: state.suite,
    secret: result.secret,
    ni: state.attempt.offer.nonce,
    nr: state.nr,
    initiatorMessage: state.attempt.message,
    responderMessage: state.answer,
  });
}

export function secretsOf(
  context: Context,
  sa: IkeSa,
  made: Omit<Secrets, 'keys'> & { secret: Uint8Array },
): Secrets {
  const { secret, ...rest } = made;
  const { suite, ni, nr } = made;
  const seed = skeyseed(context.provider, suite.prf!, ni, nr, secret);
  const keys = keysOf(context.provider, suite, sa, { skeyseed: seed, ni, nr });
  return { ...rest, keys };
}

export function noteVendor(sa: IkeSa, payloads: readonly Payload[]): void {
  const vendor = vendorOf(payloads);
  if (vendor === undefined) delete sa.vendor;
  else sa.vendor = vendor;
}

export function reportConnecting(context: Context, sa: IkeSa, attempt: number): void {
  report(context, 'IKE_CONNECTING', sa.candidates[0], { remote: sa.remote.address, attempt });
}
