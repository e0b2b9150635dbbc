// IKE_AUTH as responder (RFC 7296 §1.2, §2.15); the diagram stands in ike-auth.ts.

import { childProtocol, toAnswer } from '../../policy/proposal.ts';
import type { Identity, Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import {
  decodeIdentity,
  encodeIdentity,
  expecting,
  idBody,
  sameIdentity,
  signedOctets,
  verifiedPeer,
} from '../authenticate.ts';
import type { JobResult, Refusal } from '../boundary.ts';
import { makeChild, selectorPayloads } from '../child.ts';
import { type Context, drawChildSpi, install, reportFailure, startJob, tunnelOf } from '../context.ts';
import { secretReport } from '../failures.ts';
import { chooseProof, noteShown, proofPayloads, unsuited } from '../own-proof.ts';
import { refusalOf, takesProof, verification } from '../peer-proof.ts';
import { reopen } from '../protect.ts';
import type { Established, IkeSa, Secrets, State } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { sendResponse } from '../window.ts';
import { heardFrom } from './announcements.ts';
import { authLifetime } from './auth-lifetime.ts';
import { noteMode, refusesPadding } from './child-mode.ts';
import { acceptChild } from './child-terms.ts';
import { isChildless } from './childless.ts';
import { establish } from './establish.ts';
import { notifyPayload, spiBytes } from './payloads.ts';
import { noCommonPpk, ppkOfRequest, ppkUsed } from './ppk.ts';
import { forgetOthers, isOneTooMany } from './uniqueness.ts';

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
  if (!id || !auth || !identity || candidates.length === 0) {
    reportFailure(context, 'PEER_UNKNOWN', undefined, {
      remote: sa.remote.address,
      identity: identity ? `${identity.value} (${identity.type})` : 'nothing we can read',
    });
    return refuseAuth(context, sa, state.secrets, messageId);
  }
  sa.candidates = preferAsked(context, preferMethod(context, candidates, auth.method), payloads);
  sa.heard = heardFrom(payloads, sa.heard);
  const { tunnel } = tunnelOf(context, sa)!;
  if (tunnel.childless === 'never' && isChildless(payloads))
    return refuseAuth(context, sa, state.secrets, messageId, NOTIFY.INVALID_SYNTAX);
  const shown = ppkOfRequest(context, sa, state, payloads, request);
  if (shown === 'waits') return;
  if (shown === 'refused') {
    reportFailure(context, 'PEER_NO_PPK', tunnel.name, noCommonPpk(sa, tunnel, payloads));
    return refuseAuth(context, sa, state.secrets, messageId);
  }
  const octets = signedOctets(context, state.secrets, true, idBody(id));
  const judged = verification(tunnel, state.secrets, identity, octets, shown);
  if ('code' in judged) return peerRefused(context, sa, state.secrets, identity, judged, messageId);
  const { secrets, until } = state;
  const job = startJob(context, sa, judged);
  sa.state = { name: 'peer-verifying', job, claimed: identity, secrets, request, until };
}

/** Tunnels that take such a proof; when none does, all, so that the reason can be said. */
function preferMethod(context: Context, candidates: string[], method: number): string[] {
  const matching = candidates.filter((name) => takesProof(context.tunnels.get(name)!.tunnel, method));
  return matching.length > 0 ? matching : candidates;
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

export function refuseAuth(
  context: Context,
  sa: IkeSa,
  secrets: Secrets,
  messageId: number,
  notify: number = NOTIFY.AUTHENTICATION_FAILED,
): void {
  sendResponse(context, sa, EXCHANGE.IKE_AUTH, messageId, [notifyPayload(notify)], secrets);
  context.sas.delete(sa.spi);
}

export function peerVerified(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'peer-verifying' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const peer = verifiedPeer(state.claimed, result);
  if (!peer) {
    if (result.type !== 'failed')
      return peerRefused(
        context,
        sa,
        state.secrets,
        state.claimed,
        refusalOf(result),
        sa.window.nextReceived,
      );
    reportFailure(context, ...secretReport(tunnel.name, result));
    return refuseAuth(context, sa, state.secrets, sa.window.nextReceived);
  }
  const octets = signedOctets(context, state.secrets, false, idBody(encodeIdentity(tunnel.local.identity)));
  const chosen = chooseProof(tunnel, state.secrets, octets, sa.heard);
  if (!chosen) {
    const detail = { remote: sa.remote.address, ...unsuited(tunnel, sa.heard) };
    reportFailure(context, 'CONFIG_NO_SIGNATURE', tunnel.name, detail);
    return refuseAuth(context, sa, state.secrets, sa.window.nextReceived);
  }
  const { job, proof } = chosen;
  noteShown(sa, proof);
  const { secrets, request } = state;
  sa.state = { name: 'answer-signing', job: startJob(context, sa, job), proof, secrets, request, peer };
}

function peerRefused(
  context: Context,
  sa: IkeSa,
  secrets: Secrets,
  { value: identity }: Identity,
  { code, message }: Refusal,
  messageId: number,
): void {
  reportFailure(context, code, sa.candidates[0], { remote: sa.remote.address, identity, message });
  refuseAuth(context, sa, secrets, messageId);
}

export function answerSigned(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'answer-signing' },
  result: JobResult,
): void {
  const { tunnel } = tunnelOf(context, sa)!;
  const own = proofPayloads(state.proof, result);
  if (!own) {
    reportFailure(context, ...secretReport(tunnel.name, result));
    return refuseAuth(context, sa, state.secrets, sa.window.nextReceived);
  }
  const payloads = reopen(context, state.secrets, state.request);
  if (isOneTooMany(context, sa, tunnel, payloads)) {
    reportFailure(context, 'PEER_ONE_TOO_MANY', tunnel.name, { remote: sa.remote.address });
    return refuseAuth(context, sa, state.secrets, sa.window.nextReceived);
  }
  const established = establish(context, sa, tunnel, state.secrets, state.peer);
  if (!isChildless(payloads)) upDone(context, tunnel.name, 'OK');
  forgetOthers(context, sa, tunnel, payloads);
  const proof: Payload[] = [
    { type: PAYLOAD.IDr, critical: false, ...encodeIdentity(tunnel.local.identity) },
    ...own,
    ...authLifetime(tunnel),
    ...ppkUsed(state.secrets),
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
  const messageId = sa.window.nextReceived;
  const answer = (more: Payload[]) =>
    sendResponse(context, sa, EXCHANGE.IKE_AUTH, messageId, [...proof, ...more], state.secrets);
  if (isChildless(payloads)) {
    answer([]);
    return;
  }
  if (tunnel.childless === 'require') {
    const detail = { remote: sa.remote.address, did: 'asked for a child in IKE_AUTH' };
    reportFailure(context, 'PEER_NOT_CHILDLESS', tunnel.name, detail);
    // None of what may be proposed here has a key exchange, and that is what is wanted.
    return void answer([notifyPayload(NOTIFY.NO_PROPOSAL_CHOSEN)]);
  }
  const found = acceptChild(context, sa, tunnel, payloads, false);
  if ('refusal' in found) return void answer([notifyPayload(found.refusal)]);
  const { template, chosen, seen, spiOut } = found;
  noteMode(context, sa, tunnel, template, payloads);
  const spiIn = drawChildSpi(context);
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
      ...seen,
      initiator: false,
      unpadded: refusesPadding(payloads),
      ni: state.secrets.ni,
      nr: state.secrets.nr,
    },
  );
  established.serving = {
    step: 'installing',
    messageId,
    request: state.request,
    job: install(context, sa, changes),
    changes,
    draws: 0,
    child,
    answer: [
      ...proof,
      {
        type: PAYLOAD.SA,
        critical: false,
        proposals: [
          toAnswer(chosen.suite, chosen.proposal.number, childProtocol(chosen.suite), spiBytes(spiIn)),
        ],
      },
      ...selectorPayloads(seen.selectors, false),
      ...found.more,
    ],
    exchange: EXCHANGE.IKE_AUTH,
  };
}
