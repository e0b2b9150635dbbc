// IKE_AUTH with pre-shared keys (RFC 7296 §1.2, §2.15).
//
//   HDR, SK {IDi, [IDr,] AUTH, SAi2, TSi, TSr}  -->
//                                               <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr}

import {
  type ChosenSuite,
  choose,
  proposalText,
  suiteText,
  templateText,
  toAnswer,
  toProposals,
} from '../../policy/proposal.ts';
import type { SelectorSet } from '../../policy/sad.ts';
import { narrow } from '../../policy/selector.ts';
import type { ChildTemplate, Identity, Tunnel } from '../../policy/tunnel.ts';
import { decodeMessage, findNotify, findPayload, type Payload, type Proposal } from '../../wire/ikev2.ts';
import { AUTH_METHOD, EXCHANGE, NOTIFY, nameOf, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import {
  decodeIdentity,
  encodeIdentity,
  expecting,
  idBody,
  sameIdentity,
  signedOctets,
  type VerifiedPeer,
  verifiedPeer,
} from '../authenticate.ts';
import type { JobResult } from '../boundary.ts';
import {
  createLater,
  fromWire,
  lifetimeFrom,
  makeChild,
  narrowTo,
  selectorPayloads,
  selectorsText,
} from '../child.ts';
import { type Context, drawEspSpi, install, report, reportFailure, startJob, tunnelOf } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import { openMessage } from '../protect.ts';
import type { Attempt, Established, IkeSa, Secrets, State, Task } from '../sa.ts';
import { giveUp, tunnelEstablished, upDone } from '../tunnels.ts';
import { isSilent, sendRequest, sendResponse } from '../window.ts';
import { attemptFailed } from './ike-sa-init.ts';
import { deleteIke } from './informational.ts';
import { notifyPayload, spiBytes, spiNumber } from './payloads.ts';

export function beginAuth(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const octets = signedOctets(context, secrets, true, idBody(encodeIdentity(tunnel.local.identity)));
  const job = startJob(context, sa, {
    type: 'psk-sign',
    secret: tunnel.auth.secret,
    prf: secrets.suite.prf!,
    octets,
  });
  sa.state = { name: 'auth-signing', job, attempt, secrets };
}

export function authSigned(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'auth-signing' },
  result: JobResult,
): void {
  if (result.type !== 'psk-sign') return giveUp(context, sa, ...secretFailure(result));
  const { tunnel } = tunnelOf(context, sa)!;
  const [template] = tunnel.children;
  const childSpi = drawEspSpi(context);
  const known = [...context.sas.values()].some(
    (other) => other.state.name === 'established' && other.state.tunnel === tunnel.name,
  );
  const payloads: Payload[] = [
    { type: PAYLOAD.IDi, critical: false, ...encodeIdentity(tunnel.local.identity) },
    { type: PAYLOAD.IDr, critical: false, ...encodeIdentity(tunnel.remote.identity) },
    { type: PAYLOAD.AUTH, critical: false, method: AUTH_METHOD.SHARED_KEY_MIC, data: result.auth },
    // RFC 7296 §2.4: we hold no other SA with this peer.
    ...(known ? [] : [notifyPayload(NOTIFY.INITIAL_CONTACT)]),
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: toProposals(template!.proposals, PROTOCOL.ESP, spiBytes(childSpi), { keyExchange: false }),
    },
    ...selectorPayloads(template!.selectors, true),
  ];
  sendRequest(context, sa, EXCHANGE.IKE_AUTH, payloads, state.secrets);
  const { attempt, secrets } = state;
  sa.state = { name: 'auth-sent', attempt, secrets, childSpi };
}

export function authAnswered(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'auth-sent' },
  payloads: Payload[],
  response: Uint8Array,
): void {
  delete sa.window.sent;
  const { tunnel } = tunnelOf(context, sa)!;
  const refused = errorOf(payloads);
  const [id, auth] = [findPayload(payloads, PAYLOAD.IDr), findPayload(payloads, PAYLOAD.AUTH)];
  if (refused === NOTIFY.AUTHENTICATION_FAILED) {
    return attemptFailed(context, sa, 'PEER_REFUSED_AUTH', {
      remote: sa.remote.address,
      identity: tunnel.local.identity.value,
    });
  }
  if (!id || !auth) {
    const notify = refused === undefined ? 'neither identity nor AUTH' : nameOf(NOTIFY, refused);
    return attemptFailed(context, sa, 'PEER_ERROR', {
      remote: sa.remote.address,
      exchange: 'IKE_AUTH',
      notify,
    });
  }
  const identity = decodeIdentity(id);
  if (!identity || !sameIdentity(identity, tunnel.remote.identity)) {
    const expected = tunnel.remote.identity.value;
    return attemptFailed(context, sa, 'PEER_WRONG_IDENTITY', {
      remote: sa.remote.address,
      identity: identity?.value ?? `an identity of type ${id.idType}`,
      expected,
    });
  }
  const job = startJob(context, sa, {
    type: 'psk-verify',
    secret: tunnel.auth.secret,
    prf: state.secrets.suite.prf!,
    octets: signedOctets(context, state.secrets, false, idBody(id)),
    auth: auth.method === AUTH_METHOD.SHARED_KEY_MIC ? auth.data : new Uint8Array(0),
  });
  const { attempt, secrets, childSpi } = state;
  sa.state = { name: 'auth-verifying', job, attempt, secrets, childSpi, response };
}

export function authVerified(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'auth-verifying' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const peer = result.type === 'psk-verify' ? verifiedPeer(tunnel.remote.identity, result) : undefined;
  if (!peer) {
    if (result.type === 'failed') return giveUp(context, sa, ...secretFailure(result));
    deleteUnverified(context, sa, state.secrets);
    return attemptFailed(context, sa, 'PEER_AUTH_FAILED', {
      remote: sa.remote.address,
      identity: tunnel.remote.identity.value,
    });
  }
  const payloads = reopen(context, sa, state.secrets, state.response);
  startJob(context, sa, { type: 'forget', handle: state.attempt.offer.handle });
  const established = establish(context, sa, tunnel, state.secrets, peer);
  firstChildAnswered(context, sa, established, tunnel, state, payloads);
}

/** The responder's identity did not hold: it is told so in an exchange of its own (RFC 7296 §2.21.2). */
function deleteUnverified(context: Context, sa: IkeSa, secrets: Secrets): void {
  sendRequest(context, sa, EXCHANGE.INFORMATIONAL, [notifyPayload(NOTIFY.AUTHENTICATION_FAILED)], secrets);
}

function firstChildAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  tunnel: Tunnel,
  state: State & { name: 'auth-verifying' },
  payloads: Payload[],
): void {
  const template = tunnel.children[0]!;
  const saPayload = findPayload(payloads, PAYLOAD.SA);
  const chosen =
    saPayload && choose(template.proposals, saPayload.proposals, PROTOCOL.ESP, { keyExchange: false });
  const spiOut = chosen && spiNumber(chosen.proposal.spi);
  const selectors = answeredSelectors(payloads, template.selectors);
  if (!chosen || !spiOut || !selectors) {
    return upDone(context, tunnel.name, childRefused(context, sa, tunnel, template.name, errorOf(payloads)));
  }
  upDone(context, tunnel.name, 'OK');
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: state.secrets.suite, skD: state.secrets.keys.d },
    {
      template,
      suite: chosen.suite,
      spiIn: state.childSpi,
      spiOut,
      selectors,
      initiator: true,
      ni: state.secrets.ni,
      nr: state.secrets.nr,
    },
  );
  const job = install(context, sa, changes);
  established.own = {
    task: { type: 'create', child: template.name },
    step: 'installing',
    job,
    child,
    nonce: state.secrets.ni,
  };
}

/** What the responder chose must lie within what we asked for. */
export function answeredSelectors(payloads: Payload[], asked: SelectorSet): SelectorSet | undefined {
  const [tsi, tsr] = [findPayload(payloads, PAYLOAD.TSi), findPayload(payloads, PAYLOAD.TSr)];
  if (!tsi || !tsr) return undefined;
  const answer = { local: fromWire(tsi.selectors), remote: fromWire(tsr.selectors) };
  const local = narrow(answer.local, asked.local);
  const remote = narrow(answer.remote, asked.remote);
  return local.length > 0 && remote.length > 0 ? { local, remote } : undefined;
}

/** After so long a refused child is asked for again, and one whose time had not come. */
const REFUSED = 60_000;
const BUSY = 1000;

/** Reported, and asked for again later; returns what the report says. */
export function childRefused(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  child: string,
  notify: number | undefined,
): ReportCode {
  if (sa.state.name === 'established')
    createLater(context, sa.state, child, notify === NOTIFY.TEMPORARY_FAILURE ? BUSY : REFUSED);
  const template = tunnel.children.find(({ name }) => name === child);
  const [code, detail] = refusal(child, template, notify);
  reportFailure(context, code, tunnel.name, { remote: sa.remote.address, ...detail });
  return code;
}

/** `template` is missing where the configuration lost the child meanwhile. */
function refusal(
  child: string,
  template: ChildTemplate | undefined,
  notify: number | undefined,
): [ReportCode, Record<string, unknown>] {
  if (template && notify === NOTIFY.NO_PROPOSAL_CHOSEN) {
    const configured = template.proposals.map(templateText).join(' or ');
    return ['PEER_REFUSED_PROPOSAL', { what: `child ${child}`, configured }];
  }
  if (template && notify === NOTIFY.TS_UNACCEPTABLE) {
    const configured = selectorsText(template.selectors);
    return ['PEER_TS_UNACCEPTABLE', { child, offered: 'something else', configured }];
  }
  const text =
    notify === undefined ? 'an answer that does not fit what we asked for' : nameOf(NOTIFY, notify);
  return ['PEER_ERROR', { exchange: `the request for child ${child}`, notify: text }];
}

/** The second stage of the choice: the identity decides among the tunnels that may still be meant. */
export function authRequested(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'init-answered' },
  payloads: Payload[],
  request: Uint8Array,
  messageId: number,
): void {
  const [id, auth] = [findPayload(payloads, PAYLOAD.IDi), findPayload(payloads, PAYLOAD.AUTH)];
  const identity = id && decodeIdentity(id);
  const candidates = identity ? expecting(context, sa, identity) : [];
  if (!id || !auth || auth.method !== AUTH_METHOD.SHARED_KEY_MIC || candidates.length === 0) {
    reportFailure(context, 'PEER_UNKNOWN', undefined, {
      remote: sa.remote.address,
      identity: identity ? `${identity.value} (${identity.type})` : 'nothing we can read',
    });
    return refuseAuth(context, sa, state.secrets, messageId);
  }
  sa.candidates = preferAsked(context, candidates, payloads);
  const { tunnel } = tunnelOf(context, sa)!;
  const job = startJob(context, sa, {
    type: 'psk-verify',
    secret: tunnel.auth.secret,
    prf: state.secrets.suite.prf!,
    octets: signedOctets(context, state.secrets, true, idBody(id)),
    auth: auth.data,
  });
  sa.state = { name: 'peer-verifying', job, secrets: state.secrets, request, until: state.until };
}

/** IDr names which of our identities the peer wants (RFC 7296 §2.15). */
function preferAsked(context: Context, candidates: string[], payloads: Payload[]): string[] {
  const idr = findPayload(payloads, PAYLOAD.IDr);
  const asked: Identity | undefined = idr && decodeIdentity(idr);
  const matching = candidates.filter(
    (name) => asked && sameIdentity(context.tunnels.get(name)!.tunnel.local.identity, asked),
  );
  return matching.length > 0 ? matching : candidates;
}

function refuseAuth(context: Context, sa: IkeSa, secrets: Secrets, messageId: number): void {
  sendResponse(
    context,
    sa,
    EXCHANGE.IKE_AUTH,
    messageId,
    [notifyPayload(NOTIFY.AUTHENTICATION_FAILED)],
    secrets,
  );
  context.sas.delete(sa.spi);
}

export function peerVerified(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'peer-verifying' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const peer = result.type === 'psk-verify' ? verifiedPeer(tunnel.remote.identity, result) : undefined;
  if (!peer) {
    if (result.type === 'failed') reportFailure(context, ...secretReport(tunnel.name, result));
    else
      reportFailure(context, 'PEER_AUTH_FAILED', tunnel.name, {
        remote: sa.remote.address,
        identity: tunnel.remote.identity.value,
      });
    return refuseAuth(context, sa, state.secrets, 1);
  }
  const octets = signedOctets(context, state.secrets, false, idBody(encodeIdentity(tunnel.local.identity)));
  const job = startJob(context, sa, {
    type: 'psk-sign',
    secret: tunnel.auth.secret,
    prf: state.secrets.suite.prf!,
    octets,
  });
  sa.state = { name: 'answer-signing', job, secrets: state.secrets, request: state.request, peer };
}

export function answerSigned(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'answer-signing' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  if (result.type !== 'psk-sign') {
    reportFailure(context, ...secretReport(tunnel.name, result));
    return refuseAuth(context, sa, state.secrets, 1);
  }
  const payloads = reopen(context, sa, state.secrets, state.request);
  const established = establish(context, sa, tunnel, state.secrets, state.peer);
  upDone(context, tunnel.name, 'OK');
  if (findNotify(payloads, NOTIFY.INITIAL_CONTACT)) forgetOthers(context, sa, tunnel);
  const proof: Payload[] = [
    { type: PAYLOAD.IDr, critical: false, ...encodeIdentity(tunnel.local.identity) },
    { type: PAYLOAD.AUTH, critical: false, method: AUTH_METHOD.SHARED_KEY_MIC, data: result.auth },
  ];
  answerFirstChild(context, sa, established, tunnel, state, payloads, proof);
}

function answerFirstChild(
  context: Context,
  sa: IkeSa,
  established: Established,
  tunnel: Tunnel,
  state: State & { name: 'answer-signing' },
  payloads: Payload[],
  proof: Payload[],
): void {
  const answer = (more: Payload[]) =>
    sendResponse(context, sa, EXCHANGE.IKE_AUTH, 1, [...proof, ...more], state.secrets);
  const found = acceptChild(context, sa, tunnel, payloads, false);
  if ('refusal' in found) return void answer([notifyPayload(found.refusal)]);
  const { template, chosen, selectors, spiOut } = found;
  const spiIn = drawEspSpi(context);
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: state.secrets.suite, skD: state.secrets.keys.d },
    {
      template,
      suite: chosen.suite,
      spiIn,
      spiOut,
      selectors,
      initiator: false,
      ni: state.secrets.ni,
      nr: state.secrets.nr,
    },
  );
  established.serving = {
    step: 'installing',
    messageId: 1,
    request: state.request,
    job: install(context, sa, changes),
    child,
    answer: [
      ...proof,
      {
        type: PAYLOAD.SA,
        critical: false,
        proposals: [toAnswer(chosen.suite, chosen.proposal.number, PROTOCOL.ESP, spiBytes(spiIn))],
      },
      ...selectorPayloads(selectors, false),
    ],
    exchange: EXCHANGE.IKE_AUTH,
  };
}

interface AcceptedChild {
  template: ChildTemplate;
  chosen: { suite: ChosenSuite; proposal: Proposal };
  selectors: SelectorSet;
  spiOut: number;
}

/** What the peer's request for a child becomes, or the notify that refuses it. */
export function acceptChild(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  payloads: Payload[],
  keyExchange: boolean,
): AcceptedChild | { refusal: number } {
  const [saPayload, tsi, tsr] = [
    findPayload(payloads, PAYLOAD.SA),
    findPayload(payloads, PAYLOAD.TSi),
    findPayload(payloads, PAYLOAD.TSr),
  ];
  if (!saPayload || !tsi || !tsr) return { refusal: NOTIFY.INVALID_SYNTAX };
  const remote = sa.remote.address;
  const asked = { local: fromWire(tsr.selectors), remote: fromWire(tsi.selectors) };
  const narrowed = narrowTo(tunnel.children, asked);
  if (!narrowed) {
    const configured = tunnel.children.map((child) => selectorsText(child.selectors)).join(' or ');
    const child = tunnel.children.map(({ name }) => name).join(' or ');
    reportFailure(context, 'PEER_TS_UNACCEPTABLE', tunnel.name, {
      remote,
      child,
      offered: selectorsText(asked),
      configured,
    });
    return { refusal: NOTIFY.TS_UNACCEPTABLE };
  }
  const { template, selectors } = narrowed;
  const chosen = choose(template.proposals, saPayload.proposals, PROTOCOL.ESP, { keyExchange });
  const spiOut = chosen && spiNumber(chosen.proposal.spi);
  if (!chosen || !spiOut) {
    const offered = saPayload.proposals.map(proposalText).join(' or ');
    const configured = template.proposals.map(templateText).join(' or ');
    reportFailure(context, 'PEER_NO_PROPOSAL', tunnel.name, {
      remote,
      what: `child ${template.name}`,
      offered,
      configured,
    });
    return { refusal: NOTIFY.NO_PROPOSAL_CHOSEN };
  }
  return { template, chosen, selectors, spiOut };
}

/** The only way into `established`. */
function establish(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  secrets: Secrets,
  peer: VerifiedPeer,
): Established {
  sa.candidates = [tunnel.name];
  const established: Established = {
    peer,
    tunnel: tunnel.name,
    suite: secrets.suite,
    keys: secrets.keys,
    since: context.now,
    ...lifetimeFrom(context, tunnel.ike.lifetime),
    lastHeard: context.now,
    lastSent: context.now,
    children: [],
    tasks: otherChildren(context, sa, tunnel),
  };
  sa.state = { name: 'established', ...established };
  report(context, 'IKE_ESTABLISHED', tunnel.name, {
    peer: peer.identity.value,
    suite: suiteText(secrets.suite),
  });
  const replaced = replaceSilent(context, sa, tunnel);
  tunnelEstablished(context, sa, tunnel.name);
  if (!replaced) dropDouble(context, sa, tunnel);
  return sa.state;
}

/** Whoever began makes all the children; the other side only those that are still missing after a while. */
const OTHERS_TURN = 5000;

function otherChildren(context: Context, { initiator }: IkeSa, tunnel: Tunnel): Task[] {
  const others = tunnel.children.slice(1).map(({ name }) => ({ type: 'create' as const, child: name }));
  if (initiator) return others;
  const notBefore = context.now + OTHERS_TURN;
  return tunnel.start === 'now' ? others.map((task) => ({ ...task, notBefore })) : [];
}

/** The attempt beside a silent SA came through: that SA goes, with a word to the peer where it speaks again. */
function replaceSilent(context: Context, sa: IkeSa, { name }: Tunnel): boolean {
  const tunnelState = context.tunnels.get(name)!;
  if (tunnelState.beside !== sa.spi) return false;
  delete tunnelState.beside;
  for (const other of tunnelState.sas.flatMap((spi) => context.sas.get(spi) ?? [])) {
    if (other === sa || other.state.name !== 'established') continue;
    if (isSilent(other)) endSilent(context, other, name);
    else other.state.tasks = [{ type: 'delete-ike' }];
  }
  return true;
}

function endSilent(context: Context, silent: IkeSa, tunnel: string): void {
  const detail = { remote: silent.remote.address, sends: silent.window.sent!.sends };
  reportFailure(context, 'PEER_VANISHED', tunnel, detail);
  deleteIke(context, silent, 'us');
}

/** SAs made within this time of each other were begun by both sides at once. */
const AT_ONCE = 60_000;
/** Until both sides have both SAs and their children. */
const SETTLE = 3000;

/** Both sides began at once: of the two IKE SAs the one with the lower initiator's SPI goes, by its initiator. */
function dropDouble(context: Context, sa: IkeSa, { name }: Tunnel): void {
  for (const other of context.tunnels.get(name)!.sas.flatMap((spi) => context.sas.get(spi) ?? [])) {
    if (other.state.name !== 'established' || other.state.replacedBy !== undefined) continue;
    if (other.initiator === sa.initiator || context.now - other.state.since > AT_ONCE) continue;
    const [ours, theirs] = sa.initiator ? [sa, other] : [other, sa];
    if (ours.state.name === 'established' && ours.spi < theirs.peerSpi)
      ours.state.tasks.push({ type: 'delete-ike', notBefore: context.now + SETTLE });
  }
}

/** RFC 7296 §2.4: the peer holds no other SA, so ours with the same identity are leftovers. */
function forgetOthers(context: Context, sa: IkeSa, tunnel: Tunnel): void {
  for (const other of [...context.sas.values()]) {
    const { state } = other;
    // What was made while this one was, the peer may not have known when it sent the word.
    if (
      other !== sa &&
      state.name === 'established' &&
      state.tunnel === tunnel.name &&
      state.since < sa.began
    )
      deleteIke(context, other, 'peer');
  }
}

function reopen(context: Context, _sa: IkeSa, secrets: Secrets, bytes: Uint8Array): Payload[] {
  return openMessage(context.provider, secrets.suite, secrets.keys, decodeMessage(bytes), bytes)!;
}

export function errorOf(payloads: Payload[]): number | undefined {
  const found = payloads.find((payload) => payload.type === PAYLOAD.N && payload.notifyType < 16384);
  return found?.type === PAYLOAD.N ? found.notifyType : undefined;
}

function secretFailure(result: JobResult): ['CONFIG_NO_SECRET' | 'BUG_JOB', Record<string, unknown>] {
  const message = result.type === 'failed' ? result.message : `unexpected ${result.type}`;
  return [
    result.type === 'failed' && result.fault === 'secret' ? 'CONFIG_NO_SECRET' : 'BUG_JOB',
    { message },
  ];
}

function secretReport(
  tunnel: string,
  result: JobResult,
): ['CONFIG_NO_SECRET' | 'BUG_JOB', string, Record<string, unknown>] {
  const [code, detail] = secretFailure(result);
  return [code, tunnel, detail];
}
