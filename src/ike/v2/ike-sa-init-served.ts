// IKE_SA_INIT as responder (RFC 7296 §1.2, §2.6, §2.7); the diagram stands in ike-sa-init.ts.

import { KEY_EXCHANGE, keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import { choose, proposalText, templateText, toAnswer } from '../../policy/proposal.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Message, NO_SPI, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import type { Endpoint, JobResult } from '../boundary.ts';
import { type Context, drawIkeSpi, reportFailure, startJob, tunnelOf } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { agreeOnFragments, fitsEveryPath, fragmentationNotify } from '../fragments.ts';
import type { IkeSa, State } from '../sa.ts';
import { sendResponse } from '../window.ts';
import {
  certificateRequests,
  hashAnnouncement,
  intermediateSupported,
  methodAnnouncement,
  noteAnnouncements,
} from './announcements.ts';
import { childlessSupported } from './childless.ts';
import { allowedBy, HALF_OPEN, noteVendor, secretsOf } from './ike-sa-init.ts';
import { detectNat, natDetection } from './nat-detection.ts';
import { isNonce, NONCE_BYTES } from './nonces.ts';
import { notifyPayload } from './payloads.ts';
import { agreedPpk, ppkAgreement } from './ppk.ts';

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
    const chosen = choose(allowedBy(tunnel, payloads), saPayload.proposals, PROTOCOL.IKE, {
      keyExchange: true,
    });
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
  agreeOnFragments(context, sa, payloads);
  noteAnnouncements(sa, payloads);
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
  const chosen = choose(allowedBy(tunnel, request.payloads), proposals, PROTOCOL.IKE, { keyExchange: true })!;
  const nonce = context.provider.random(NONCE_BYTES);
  const meant = sa.candidates.flatMap((name) => context.tunnels.get(name)?.tunnel ?? []);
  const ppk = agreedPpk(meant, request.payloads);
  const group = KEY_EXCHANGE.find(({ name }) => name === state.suite.keyExchange)!.id;
  const answer: Payload[] = [
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: [toAnswer(state.suite, chosen.proposal.number, PROTOCOL.IKE, new Uint8Array(0))],
    },
    { type: PAYLOAD.KE, critical: false, group, data: result.public },
    { type: PAYLOAD.Nonce, critical: false, data: nonce },
    ...natDetection(context, sa),
    ...certificateRequests(meant),
    ...hashAnnouncement(meant),
    ...childlessSupported(context, sa),
    ...(sa.fragmentSize === undefined ? [] : fragmentationNotify(tunnelOf(context, sa)!)),
    ...(additionalMethods(state.suite).length > 0 || ppk.ppkInt ? [intermediateSupported()] : []),
    ...ppkAgreement(ppk),
  ];
  // An announcement helps to choose; an answer that is too large for the path helps nobody.
  const announced = [...answer, ...methodAnnouncement(meant)];
  const fitting = fitsEveryPath(sa, announced) ? announced : answer;
  const bytes = sendResponse(context, sa, EXCHANGE.IKE_SA_INIT, 0, fitting);
  const secrets = secretsOf(context, sa, {
    ...ppk,
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
