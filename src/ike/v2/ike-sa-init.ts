// IKE_SA_INIT (RFC 7296 §1.2, §2.6, §2.7, §2.23).
//
//   HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)  -->
//                                           <--  HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)

import { concat, unhex } from '../../crypto/bytes.ts';
import { skeyseed } from '../../crypto/keymat.ts';
import { KEY_EXCHANGE, keyExchangeRow } from '../../crypto/suites.ts';
import {
  type ChosenSuite,
  choose,
  proposalText,
  templateText,
  toAnswer,
  toProposals,
} from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { addressBytes } from '../../wire/address.ts';
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
import { keysOf } from '../protect.ts';
import { type Attempt, type IkeSa, type InitOffer, inUdp, type Secrets, type State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { sendRequest, sendResponse } from '../window.ts';
import { isNonce, NONCE_BYTES } from './nonces.ts';
import { notifyPayload } from './payloads.ts';
import { vendorOf } from './vendors.ts';

/** INVALID_KE_PAYLOAD and COOKIE make us start again, but not for ever. */
const MOST_RETRIES = 4;
const HALF_OPEN = 30_000;

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
    ...natDetection(context, sa, wantsUdp(context, tunnel)),
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
  if (error?.type === PAYLOAD.N) return hint(context, sa, state, error.notifyType);
  const chosen = chosenBy(context, sa, attempt, message);
  if (!chosen) return;
  const { suite, ke, nr } = chosen;
  sa.peerSpi = message.header.responderSpi;
  noteVendor(sa, payloads);
  detectNat(context, sa, message);
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
  const chosen = choose(tunnel.ike.proposals, saPayload.proposals, PROTOCOL.IKE, { keyExchange: true });
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
function hint(context: Context, sa: IkeSa, state: State & { name: 'init-sent' }, notify: number): void {
  const tunnelState = tunnelOf(context, sa)!;
  const { attempt } = state;
  if (attempt.hint !== undefined) {
    if (sa.window.sent && sa.window.sent.sends > 1)
      for (const command of tunnelState.waiting.splice(0)) commandDone(context, command, attempt.hint);
    return;
  }
  const { tunnel } = tunnelState;
  const remote = sa.remote.address;
  const refused = notify === NOTIFY.NO_PROPOSAL_CHOSEN;
  attempt.hint = refused ? 'PEER_REFUSED_PROPOSAL' : 'PEER_ERROR';
  const detail = refused
    ? { what: 'IKE SA', configured: tunnel.ike.proposals.map(templateText).join(' or ') }
    : { exchange: 'IKE_SA_INIT', notify: nameOf(NOTIFY, notify) };
  reportFailure(context, attempt.hint, tunnel.name, { remote, ...detail });
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
  return secretsOf(context, sa, {
    suite: state.suite,
    secret: result.secret,
    ni: state.attempt.offer.nonce,
    nr: state.nr,
    initiatorMessage: state.attempt.message,
    responderMessage: state.answer,
  });
}

/** Whose fault a failed key exchange is. */
export function exchangeFault(result: JobResult): 'PEER_BAD_PUBLIC_VALUE' | 'BUG_JOB' {
  return result.type === 'failed' && result.fault === 'peer' ? 'PEER_BAD_PUBLIC_VALUE' : 'BUG_JOB';
}

/** A stranger's request. Nothing is kept before the proposal, the nonce and the group fit. */
export function initRequested(
  context: Context,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
  candidates: Tunnel[],
): void {
  const { payloads } = message;
  const [saPayload, ke, nonce] = [
    findPayload(payloads, PAYLOAD.SA),
    findPayload(payloads, PAYLOAD.KE),
    findPayload(payloads, PAYLOAD.Nonce),
  ];
  if (!saPayload || !ke || !nonce || !isNonce(nonce.data))
    return refuse(context, message, path, NOTIFY.INVALID_SYNTAX);
  const fits = candidates.flatMap((tunnel) => {
    const chosen = choose(tunnel.ike.proposals, saPayload.proposals, PROTOCOL.IKE, { keyExchange: true });
    return chosen ? [{ tunnel, ...chosen }] : [];
  });
  const [best] = fits;
  if (!best) {
    const offered = saPayload.proposals.map(proposalText).join(' or ');
    const configured =
      candidates.flatMap((tunnel) => tunnel.ike.proposals.map(templateText)).join(' or ') ||
      'nothing from there';
    reportFailure(context, 'PEER_NO_PROPOSAL', candidates[0]?.name, {
      remote: path.remote.address,
      what: 'IKE SA',
      offered,
      configured,
    });
    return refuse(context, message, path, NOTIFY.NO_PROPOSAL_CHOSEN);
  }
  const { id: group } = keyExchangeRow(best.suite.keyExchange!);
  if (ke.group !== group)
    return refuse(context, message, path, NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(group >> 8, group & 0xff));
  const sa: IkeSa = {
    version: 1,
    spi: drawIkeSpi(context),
    peerSpi: message.header.initiatorSpi,
    initiator: false,
    candidates: fits.map(({ tunnel }) => tunnel.name),
    ...path,
    nat: { local: false, remote: false, forced: false },
    began: context.now,
    window: { nextRequest: 0, nextReceived: 0 },
    state: { name: 'deleted' },
  };
  context.sas.set(sa.spi, sa);
  noteVendor(sa, payloads);
  detectNat(context, sa, message);
  const job = startJob(context, sa, { type: 'answer', group, public: ke.data });
  sa.state = {
    name: 'init-answering',
    job,
    suite: best.suite,
    request: bytes,
    until: context.now + HALF_OPEN,
  };
}

export function initAnswerReady(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'init-answering' },
  request: Message,
  result: JobResult,
): void {
  if (result.type !== 'answer') {
    reportFailure(context, exchangeFault(result), sa.candidates[0], {
      remote: sa.remote.address,
      message: failureText(result),
    });
    context.sas.delete(sa.spi);
    return refuse(context, request, sa, NOTIFY.INVALID_SYNTAX);
  }
  const proposals = findPayload(request.payloads, PAYLOAD.SA)!.proposals;
  const { tunnel } = tunnelOf(context, sa)!;
  const chosen = choose(tunnel.ike.proposals, proposals, PROTOCOL.IKE, { keyExchange: true })!;
  const nonce = context.provider.random(NONCE_BYTES);
  const group = KEY_EXCHANGE.find(({ name }) => name === state.suite.keyExchange)!.id;
  const answer: Payload[] = [
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: [toAnswer(state.suite, chosen.proposal.number, PROTOCOL.IKE, new Uint8Array(0))],
    },
    { type: PAYLOAD.KE, critical: false, group, data: result.public },
    { type: PAYLOAD.Nonce, critical: false, data: nonce },
    ...natDetection(context, sa, wantsUdp(context, tunnel)),
  ];
  const bytes = sendResponse(context, sa, EXCHANGE.IKE_SA_INIT, 0, answer);
  const secrets = secretsOf(context, sa, {
    suite: state.suite,
    secret: result.secret,
    ni: findPayload(request.payloads, PAYLOAD.Nonce)!.data,
    nr: nonce,
    initiatorMessage: state.request,
    responderMessage: bytes,
  });
  sa.state = { name: 'init-answered', secrets, until: state.until };
}

/** An answer without state. */
export function refuse(
  context: Context,
  { header }: Message,
  path: { local: Endpoint; remote: Endpoint },
  notify: number,
  data?: Uint8Array,
): void {
  const sa: IkeSa = {
    version: 1,
    spi: NO_SPI,
    peerSpi: header.initiatorSpi,
    initiator: false,
    candidates: [],
    local: path.local,
    remote: path.remote,
    nat: { local: false, remote: false, forced: false },
    began: context.now,
    window: { nextRequest: 0, nextReceived: 0 },
    state: { name: 'deleted' },
  };
  sendResponse(context, sa, header.exchange, header.messageId, [notifyPayload(notify, data)]);
}

function secretsOf(
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

/** SHA-1 over SPIs, address and port (RFC 7296 §2.23). A false source hash makes every peer use UDP. */
function natDetection(context: Context, sa: IkeSa, force: boolean): Payload[] {
  const source = force ? context.provider.random(20) : natHash(context, sa, sa.local);
  return [
    notifyPayload(NOTIFY.NAT_DETECTION_SOURCE_IP, source),
    notifyPayload(NOTIFY.NAT_DETECTION_DESTINATION_IP, natHash(context, sa, sa.remote)),
  ];
}

function natHash(context: Context, sa: IkeSa, { address, port }: Endpoint): Uint8Array {
  const [initiatorSpi, responderSpi] = sa.initiator ? [sa.spi, sa.peerSpi] : [sa.peerSpi, sa.spi];
  const bytes = concat([
    unhex(initiatorSpi),
    unhex(responderSpi),
    addressBytes(address),
    Uint8Array.of(port >> 8, port & 0xff),
  ]);
  return context.provider.sha1(bytes);
}

function detectNat(context: Context, sa: IkeSa, { header, payloads }: Message): void {
  const of = (endpoint: Endpoint) =>
    context.provider.sha1(
      concat([
        unhex(header.initiatorSpi),
        unhex(header.responderSpi),
        addressBytes(endpoint.address),
        Uint8Array.of(endpoint.port >> 8, endpoint.port & 0xff),
      ]),
    );
  const hashes = (type: number) =>
    payloads.flatMap((payload) =>
      payload.type === PAYLOAD.N && payload.notifyType === type ? [payload.data] : [],
    );
  const differs = (type: number, endpoint: Endpoint) => {
    const sent = hashes(type);
    return sent.length > 0 && !sent.some((hash) => context.provider.equal(hash, of(endpoint)));
  };
  const { tunnel } = tunnelOf(context, sa) ?? {};
  sa.nat = {
    remote: differs(NOTIFY.NAT_DETECTION_SOURCE_IP, sa.remote),
    local: differs(NOTIFY.NAT_DETECTION_DESTINATION_IP, sa.local),
    forced:
      tunnel !== undefined && wantsUdp(context, tunnel) && hashes(NOTIFY.NAT_DETECTION_SOURCE_IP).length > 0,
  };
}

/** Where the data plane is faster in UDP, that is what `auto` means. */
function wantsUdp({ capabilities }: Context, { encapsulation }: Tunnel): boolean {
  return encapsulation === 'udp' || (encapsulation === 'auto' && capabilities?.prefersUdp === true);
}

function noteVendor(sa: IkeSa, payloads: readonly Payload[]): void {
  const vendor = vendorOf(payloads);
  if (vendor === undefined) delete sa.vendor;
  else sa.vendor = vendor;
}

/** RFC 7296 §2.23: with a NAT in between the initiator goes on from port 4500. */
function floatPort(sa: IkeSa): void {
  if (!inUdp(sa)) return;
  sa.local = { ...sa.local, port: 4500 };
  sa.remote = { ...sa.remote, port: 4500 };
}

export function failureText(result: JobResult): string {
  return result.type === 'failed' ? result.message : `unexpected ${result.type}`;
}

export function reportConnecting(context: Context, sa: IkeSa, attempt: number): void {
  report(context, 'IKE_CONNECTING', sa.candidates[0], { remote: sa.remote.address, attempt });
}
