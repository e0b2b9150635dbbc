// A datagram finds its IKE SA and its handler; a stranger's becomes a new SA only once it is paid for.

import { WireError } from '../wire/codec.ts';
import { decodeHeader, decodeMessage, type Message, NO_SPI, type Payload } from '../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PROTOCOL } from '../wire/numbers.ts';
import type { Endpoint } from './boundary.ts';
import { type Context, drop } from './context.ts';
import { repeatLastAnswer } from './farewells.ts';
import { asksAgain, gather, rememberSize } from './fragments.ts';
import { settleRival } from './heir.ts';
import { follow } from './mobility.ts';
import { openMessage, protectionOf } from './protect.ts';
import type { IkeSa } from './sa.ts';
import { dropBeside } from './tunnels.ts';
import { createAnswered } from './v2/create-child-sa.ts';
import { createRequested } from './v2/create-child-sa-served.ts';
import { authAnswered } from './v2/ike-auth.ts';
import { authRequested } from './v2/ike-auth-served.ts';
import { followupAnswered } from './v2/ike-followup-ke.ts';
import { followupRequested } from './v2/ike-followup-ke-served.ts';
import { intermediateAnswered, nextExchange } from './v2/ike-intermediate.ts';
import { intermediateRequested } from './v2/ike-intermediate-served.ts';
import { initAnswered, keepAnswer } from './v2/ike-sa-init.ts';
import { initRequested, refuse } from './v2/ike-sa-init-served.ts';
import { informationalAnswered, informationalRequested } from './v2/informational.ts';
import { deletesOf, notifyPayload } from './v2/payloads.ts';
import { isLossHint, refuseUnknownSpi } from './v2/unknown-spi.ts';
import { repeatAnswer, send, sendResponse } from './window.ts';

const HALF_OPEN_LIMIT = 1000;

export function receive(
  context: Context,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  if (bytes.length === 1) return; // a NAT keepalive (RFC 3948 §4)
  try {
    const header = decodeHeader(bytes);
    if (header.major !== 2) return;
    const own = header.flags.initiator ? header.responderSpi : header.initiatorSpi;
    const sa = context.sas.get(own);
    if (sa) return receiveFor(context, sa, decodeMessage(bytes), bytes, path);
    if (repeatLastAnswer(context, own, header, bytes)) return;
    if (
      header.exchange === EXCHANGE.IKE_SA_INIT &&
      header.responderSpi === NO_SPI &&
      header.flags.initiator &&
      !header.flags.response
    ) {
      receiveStranger(context, decodeMessage(bytes), bytes, path);
    } else refuseUnknownSpi(context, header, path);
  } catch (error) {
    // What cannot be read is dropped; RangeError and the like are ours and must show.
    if (!(error instanceof WireError)) throw error;
    drop(context, 'ike-unreadable');
  }
}

function receiveStranger(
  context: Context,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const critical = unknownCritical(message.payloads);
  if (critical !== undefined)
    return refuse(context, message, path, NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(critical));
  const known = answeredBefore(context, message, path);
  if (known) return send(context, known, known.window.answered!.bytes);
  if (context.sas.begunBy(message.header.initiatorSpi)) return;
  const halfOpen = context.sas.halfOpen().size;
  if (halfOpen >= HALF_OPEN_LIMIT) return;
  if (halfOpen >= context.cookieThreshold && !context.cookies.fits(message, path.remote, context.now)) {
    return refuse(
      context,
      message,
      path,
      NOTIFY.COOKIE,
      context.cookies.make(message, path.remote, context.now),
    );
  }
  // The first stage of the choice: the addresses.
  const candidates = context.tunnels
    .expecting(path.local.address, path.remote.address)
    .filter(({ removed }) => !removed)
    .map(({ tunnel }) => tunnel);
  initRequested(context, message, bytes, path, candidates);
}

/** A repeated IKE_SA_INIT gets the same answer (RFC 7296 §2.1). */
function answeredBefore(
  context: Context,
  { header }: Message,
  { remote }: { remote: Endpoint },
): IkeSa | undefined {
  const sa = context.sas.begunBy(header.initiatorSpi);
  const same = sa?.remote.address === remote.address && sa.remote.port === remote.port;
  const isLatest = sa?.state.name === 'init-answered' && sa.window.answered?.id === 0;
  return same && isLatest ? sa : undefined;
}

function receiveFor(
  context: Context,
  sa: IkeSa,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const { header } = message;
  if (header.flags.initiator === sa.initiator) return; // our own message, reflected
  if (header.flags.response) return receiveResponse(context, sa, message, bytes);
  receiveRequest(context, sa, message, bytes, path);
}

function receiveResponse(context: Context, sa: IkeSa, message: Message, bytes: Uint8Array): void {
  const { header } = message;
  const { state } = sa;
  if (header.exchange === EXCHANGE.IKE_SA_INIT) {
    if (header.messageId !== 0) return;
    if (state.name === 'init-sent') initAnswered(context, sa, state, message, bytes);
    else keepAnswer(context, sa, message, bytes);
    return;
  }
  const { sent } = sa.window;
  if (header.messageId !== sent?.id) return;
  const protection =
    state.name === 'auth-sent' || state.name === 'intermediate-sent'
      ? state.secrets
      : state.name === 'established'
        ? state
        : undefined;
  if (!protection || header.responderSpi === NO_SPI) return;
  if (isLossHint(context, sa, message)) return drop(context, 'ike-unprotected');
  const whole = gather(context, sa, sent, protection, message, bytes);
  if (!whole) return;
  const payloads = openMessage(context.provider, protection, whole);
  if (!payloads) return drop(context, 'ike-forged');
  if (state.name === 'intermediate-sent') return intermediateAnswered(context, sa, state, payloads, whole);
  if (state.name === 'auth-sent') return authAnswered(context, sa, state, payloads, whole);
  if (state.name !== 'established') return;
  state.lastHeard = context.now;
  rememberSize(context, sa);
  dropBeside(context, state.tunnel);
  const { own } = state;
  if (own?.step === 'followup-sent') return followupAnswered(context, sa, state, own, payloads);
  if (own?.step !== 'sent') return;
  const { task } = own;
  if (task.type === 'create' || task.type === 'rekey-child' || task.type === 'rekey-ike') {
    return createAnswered(context, sa, state, own, payloads, whole);
  }
  informationalAnswered(context, sa, state, task);
}

function receiveRequest(
  context: Context,
  sa: IkeSa,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const { header } = message;
  const { window, state } = sa;
  const protection = protectionOf(sa);
  if (!protection) return;
  if (header.messageId === window.answered?.id) {
    return asksAgain(message) ? repeatAnswer(context, sa) : undefined;
  }
  if (header.messageId !== window.nextReceived) return;
  const whole = gather(context, sa, window, protection, message, bytes);
  if (!whole) return;
  const payloads = openMessage(context.provider, protection, whole);
  if (!payloads) return drop(context, 'ike-forged');
  follow(context, sa, path);
  const critical = unknownCritical(payloads);
  if (critical !== undefined) {
    const notify = notifyPayload(NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(critical));
    return void sendResponse(context, sa, header.exchange, header.messageId, [notify], protection);
  }
  if (state.name === 'init-answered') {
    // CVE-2014-2338: before AUTH nothing is heard but what was agreed on, in its order.
    const due = nextExchange(state.secrets) === undefined ? EXCHANGE.IKE_AUTH : EXCHANGE.IKE_INTERMEDIATE;
    if (header.exchange !== due) return;
    if (due === EXCHANGE.IKE_INTERMEDIATE) return intermediateRequested(context, sa, state, payloads, whole);
    return authRequested(context, sa, state, payloads, whole, header.messageId);
  }
  if (state.name !== 'established' || state.serving) return;
  state.lastHeard = context.now;
  rememberSize(context, sa);
  if (deletesOf(payloads).every(({ protocol }) => protocol !== PROTOCOL.IKE)) settleRival(context, sa, state);
  if (header.exchange === EXCHANGE.CREATE_CHILD_SA)
    return createRequested(context, sa, state, payloads, whole, header.messageId);
  if (header.exchange === EXCHANGE.IKE_FOLLOWUP_KE)
    return followupRequested(context, sa, state, payloads, whole, header.messageId);
  if (header.exchange === EXCHANGE.INFORMATIONAL)
    return informationalRequested(context, sa, state, payloads, header.messageId);
  sendResponse(
    context,
    sa,
    header.exchange,
    header.messageId,
    [notifyPayload(NOTIFY.INVALID_SYNTAX)],
    protection,
  );
}

/** The number of a payload that must not be passed over, and that we do not know (RFC 7296 §2.5). */
function unknownCritical(payloads: readonly Payload[]): number | undefined {
  const found = payloads.find((payload) => payload.type === 0 && payload.critical);
  return found?.type === 0 ? found.number : undefined;
}
