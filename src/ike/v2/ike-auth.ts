// IKE_AUTH as initiator (RFC 7296 §1.2, §2.15).
//
//   HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,]
//            AUTH, SAi2, TSi, TSr}  -->
//                                   <--  HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}

import { choose, toProposals, wireProtocol } from '../../policy/proposal.ts';
import type { ChildTemplate, Identity, Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import {
  decodeIdentity,
  encodeIdentity,
  expects,
  idBody,
  isPattern,
  signedOctets,
  verifiedPeer,
} from '../authenticate.ts';
import type { JobResult, Refusal } from '../boundary.ts';
import { makeChild, selectorPayloads } from '../child.ts';
import { type Context, drawChildSpi, install, sasOf, startJob, tunnelOf } from '../context.ts';
import { secretFailure } from '../failures.ts';
import { chooseProof, noteShown, proofPayloads, unsuited } from '../own-proof.ts';
import { refusalOf, verification } from '../peer-proof.ts';
import { reopen } from '../protect.ts';
import type { Attempt, Established, IkeSa, Secrets, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { sendRequest } from '../window.ts';
import { announcesMethods, certificateRequests, methodAnnouncement } from './announcements.ts';
import { noteAuthLifetime } from './auth-lifetime.ts';
import { modeOf, modePayloads, natInTheWay, refusesPadding } from './child-mode.ts';
import { answeredSelectors, childRefused } from './child-terms.ts';
import { leavesChildOut } from './childless.ts';
import { childrenFollow, establish, firstChild } from './establish.ts';
import { attemptFailed } from './ike-sa-init.ts';
import { errorOf, notifyPayload, spiBytes, spiNumber } from './payloads.ts';
import { answeredWith, mixesFirst, noCommonPpk, ppkPayloads } from './ppk.ts';

export function beginAuth(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets): void {
  const { tunnel } = tunnelOf(context, sa)!;
  if (mixesFirst(context, sa, attempt, secrets)) return;
  if (tunnel.ppk?.use === 'required' && !secrets.ppk)
    return attemptFailed(context, sa, 'PEER_NO_PPK', noCommonPpk(sa, tunnel, []));
  const octets = signedOctets(context, secrets, true, idBody(encodeIdentity(tunnel.local.identity)));
  const chosen = chooseProof(tunnel, secrets, octets, sa.heard);
  if (!chosen) {
    const detail = { remote: sa.remote.address, ...unsuited(tunnel, sa.heard) };
    return attemptFailed(context, sa, 'CONFIG_NO_SIGNATURE', detail);
  }
  const { job, proof } = chosen;
  noteShown(sa, proof);
  sa.state = { name: 'auth-signing', job: startJob(context, sa, job), proof, attempt, secrets };
}

export function authSigned(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'auth-signing' },
  result: JobResult,
): void {
  const proof = proofPayloads(state.proof, result);
  if (!proof) return giveUp(context, sa, ...secretFailure(result));
  const { tunnel } = tunnelOf(context, sa)!;
  const template = leavesChildOut(sa, tunnel) ? undefined : firstChild(context, sa, tunnel);
  const inTheWay = template && natInTheWay(sa, template);
  if (inTheWay) return attemptFailed(context, sa, ...inTheWay);
  const spiIn = template ? drawChildSpi(context) : 0;
  const known = sasOf(context, tunnel.name).some(({ state: { name } }) => name === 'established');
  const expected = tunnel.remote.identity;
  const payloads: Payload[] = [
    { type: PAYLOAD.IDi, critical: false, ...encodeIdentity(tunnel.local.identity) },
    ...proof.filter(({ type }) => type === PAYLOAD.CERT),
    ...certificateRequests([tunnel]),
    ...(isPattern(expected) ? [] : [{ type: PAYLOAD.IDr, critical: false, ...encodeIdentity(expected) }]),
    ...proof.filter(({ type }) => type === PAYLOAD.AUTH),
    ...ppkPayloads(state.secrets),
    ...(announcesMethods(sa) ? methodAnnouncement([tunnel]) : []),
    // RFC 7296 §2.4: we hold no other SA with this peer.
    ...(known ? [] : [notifyPayload(NOTIFY.INITIAL_CONTACT)]),
    ...(template ? childPayloads(template, spiIn) : []),
  ];
  sendRequest(context, sa, EXCHANGE.IKE_AUTH, payloads, state.secrets);
  const { attempt, secrets } = state;
  sa.state = {
    name: 'auth-sent',
    attempt,
    secrets,
    ...(template ? { child: { name: template.name, spiIn } } : {}),
  };
}

function childPayloads(template: ChildTemplate, spi: number): Payload[] {
  const { protocol, proposals, selectors } = template;
  const offered = toProposals(proposals, wireProtocol(protocol), spiBytes(spi), { keyExchange: false });
  return [
    ...modePayloads(template),
    { type: PAYLOAD.SA, critical: false, proposals: offered },
    ...selectorPayloads(selectors, true),
  ];
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
  if (!identity || !expects(tunnel.remote.identity, identity)) {
    const expected = tunnel.remote.identity.value;
    return attemptFailed(context, sa, 'PEER_WRONG_IDENTITY', {
      remote: sa.remote.address,
      identity: identity?.value ?? `an identity of type ${id.idType}`,
      expected,
    });
  }
  const secrets = answeredWith(tunnel, state.secrets, payloads);
  if (!secrets) return attemptFailed(context, sa, 'PEER_NO_PPK', noCommonPpk(sa, tunnel, []));
  const octets = signedOctets(context, secrets, false, idBody(id));
  const judged = verification(tunnel, secrets, identity, octets, payloads);
  if ('code' in judged) return peerRefused(context, sa, secrets, identity, judged);
  const job = startJob(context, sa, judged);
  sa.state = { ...state, secrets, name: 'auth-verifying', job, response, claimed: identity };
}

export function authVerified(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'auth-verifying' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const peer = verifiedPeer(state.claimed, result);
  if (!peer) {
    if (result.type === 'failed') return giveUp(context, sa, ...secretFailure(result));
    return peerRefused(context, sa, state.secrets, state.claimed, refusalOf(result));
  }
  const payloads = reopen(context, state.secrets, state.response);
  startJob(context, sa, { type: 'forget', handle: state.attempt.offer.handle });
  const established = establish(context, sa, tunnel, state.secrets, peer);
  noteAuthLifetime(context, sa, established, payloads);
  const { child, secrets } = state;
  if (!child) return childrenFollow(context, sa, established, tunnel);
  firstChildAnswered(context, sa, established, tunnel, { child, secrets }, payloads);
}

/** The responder's identity did not hold: it is told so in an exchange of its own (RFC 7296 §2.21.2). */
function peerRefused(
  context: Context,
  sa: IkeSa,
  secrets: Secrets,
  { value: identity }: Identity,
  { code, message }: Refusal,
): void {
  sendRequest(context, sa, EXCHANGE.INFORMATIONAL, [notifyPayload(NOTIFY.AUTHENTICATION_FAILED)], secrets);
  attemptFailed(context, sa, code, { remote: sa.remote.address, identity, message });
}

function firstChildAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  tunnel: Tunnel,
  state: { child: { name: string; spiIn: number }; secrets: Secrets },
  payloads: Payload[],
): void {
  const template = tunnel.children.find(({ name }) => name === state.child.name) ?? tunnel.children[0]!;
  const saPayload = findPayload(payloads, PAYLOAD.SA);
  const protocol = wireProtocol(template.protocol);
  const chosen =
    saPayload && choose(template.proposals, saPayload.proposals, protocol, { keyExchange: false });
  const spiOut = chosen && spiNumber(chosen.proposal.spi);
  const answered = answeredSelectors(sa, payloads, template.selectors);
  const mode = modeOf(payloads);
  const taken = spiOut !== undefined && context.sas.hasOutbound(spiOut);
  if (!chosen || !spiOut || !answered || mode !== template.mode || taken) {
    const { spiIn } = state.child;
    // The peer made its half of what we do not want so (RFC 7296 §1.3.1).
    if (saPayload) established.tasks.unshift({ type: 'delete-child', spiIn, unmade: protocol });
    return void childRefused(context, sa, tunnel, template.name, errorOf(payloads), mode);
  }
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: state.secrets.suite, skD: state.secrets.keys.d },
    {
      template,
      suite: chosen.suite,
      spiIn: state.child.spiIn,
      spiOut,
      ...answered,
      initiator: true,
      unpadded: refusesPadding(payloads),
      ni: state.secrets.ni,
      nr: state.secrets.nr,
    },
  );
  const job = install(context, sa, changes);
  established.own = {
    task: { type: 'create', child: template.name, first: true },
    step: 'installing',
    job,
    child,
    nonce: state.secrets.ni,
  };
}
