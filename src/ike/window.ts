// Message ids, retransmission, cached answers (RFC 7296 §2.1 to §2.3).

import type { Retransmit } from '../policy/tunnel.ts';
import type { HeaderFields, Payload } from '../wire/ikev2.ts';
import { datagramsOf, encodeMessage, encodePayloads } from '../wire/ikev2.ts';
import { type Context, jittered, tunnelOf } from './context.ts';
import { endAssembly, narrowed, sealFitting } from './fragments.ts';
import { type Protection, protectionOf } from './protect.ts';
import type { IkeSa } from './sa.ts';

/** When a tunnel is not known yet. */
const DEFAULT_RETRANSMIT: Retransmit = { first: 500, factor: 1.5, cap: 16_000, sends: 12, jitter: 0.1 };

/** From this transmission on, a new IKE SA is tried beside a silent one (docs/decisions/0001-retransmission.md). */
export const DOUBT = 5;

/** A request of ours waits for its answer for longer than a healthy peer needs. */
export function isSilent({ window }: Readonly<IkeSa>): boolean {
  return (window.sent?.sends ?? 0) >= DOUBT || window.sent?.lost === true;
}

/** What was sent; `plainOf` (protect.ts) gives what is inside. */
export function sendRequest(
  context: Context,
  sa: IkeSa,
  exchange: number,
  payloads: readonly Payload[],
  protection?: Protection,
): Uint8Array {
  const id = sa.window.nextRequest++;
  const bytes = encode(context, sa, { exchange, id, response: false }, payloads, protection);
  sa.window.sent = { id, bytes, sends: 1, due: context.now + interval(context, sa, 1) };
  sendMessage(context, sa, bytes);
  return bytes;
}

/** What was sent, as from `sendRequest`. */
export function sendResponse(
  context: Context,
  sa: IkeSa,
  exchange: number,
  id: number,
  payloads: readonly Payload[],
  protection?: Protection,
): Uint8Array {
  const bytes = encode(context, sa, { exchange, id, response: true }, payloads, protection);
  sa.window.answered = { id, bytes };
  sa.window.nextReceived = id + 1;
  endAssembly(context, sa);
  sendMessage(context, sa, bytes);
  return bytes;
}

/** The peer asks again: its answer was lost, perhaps because it is too large for the path. */
export function repeatAnswer(context: Context, sa: IkeSa): void {
  const { answered } = sa.window;
  if (!answered) return;
  answered.repeats = (answered.repeats ?? 0) + 1;
  const protection = answered.protection ?? protectionOf(sa);
  answered.bytes = narrowed(context, sa, protection, answered.bytes, answered.repeats);
  sendMessage(context, sa, answered.bytes);
}

/** False once the tries are used up. */
export function retransmit(context: Context, sa: IkeSa): boolean {
  const { sent } = sa.window;
  if (!sent) return true;
  if (sent.sends >= settings(context, sa).sends) return false;
  // Where a part of the answer is here, the request came through as it is.
  if (!sent.assembly) sent.bytes = narrowed(context, sa, protectionOf(sa), sent.bytes, sent.sends);
  sent.sends++;
  sent.due = context.now + interval(context, sa, sent.sends);
  sendMessage(context, sa, sent.bytes);
  return true;
}

/** Every datagram of a message. */
function sendMessage(context: Context, sa: IkeSa, bytes: Uint8Array): void {
  for (const datagram of datagramsOf(bytes)) send(context, sa, datagram);
}

export function send(context: Context, sa: IkeSa, bytes: Uint8Array): void {
  if (sa.state.name === 'established') sa.state.lastSent = context.now;
  context.actions.push({ type: 'send', bytes, local: sa.local, remote: sa.remote });
}

function encode(
  context: Context,
  sa: IkeSa,
  message: { exchange: number; id: number; response: boolean },
  payloads: readonly Payload[],
  protection?: Protection,
): Uint8Array {
  const fields: HeaderFields = {
    initiatorSpi: sa.initiator ? sa.spi : sa.peerSpi,
    responderSpi: sa.initiator ? sa.peerSpi : sa.spi,
    exchange: message.exchange,
    flags: { initiator: sa.initiator, response: message.response, version: false },
    messageId: message.id,
  };
  if (!protection) return encodeMessage(fields, payloads);
  return sealFitting(context, sa, protection, fields, encodePayloads(payloads));
}

function settings(context: Context, sa: IkeSa): Retransmit {
  return tunnelOf(context, sa)?.tunnel.retransmit ?? DEFAULT_RETRANSMIT;
}

/** How long to wait after the n-th transmission. */
function interval(context: Context, sa: IkeSa, sends: number): number {
  const { first, factor, cap, jitter } = settings(context, sa);
  return jittered(context, Math.min(first * factor ** (sends - 1), cap), jitter);
}
