// Message ids, retransmission, cached answers (RFC 7296 §2.1 to §2.3).

import type { Retransmit } from '../policy/tunnel.ts';
import type { HeaderFields, Payload } from '../wire/ikev2.ts';
import { datagramsOf, encodeMessage, encodePayloads } from '../wire/ikev2.ts';
import { type Context, jittered, tunnelOf } from './context.ts';
import { cutSmallest, endAssembly, narrowed, sealFitting } from './fragments.ts';
import { type Protection, protectionOf, sealInner } from './protect.ts';
import { type IkeSa, spisOf, type Whole } from './sa.ts';

/** When a tunnel is not known yet. */
const DEFAULT_RETRANSMIT: Retransmit = { first: 500, factor: 1.5, cap: 16_000, sends: 12, jitter: 0.1 };

/** From this transmission on, a new IKE SA is tried beside a silent one (docs/decisions/0001-retransmission.md). */
export const DOUBT = 5;

type Sent = NonNullable<IkeSa['window']['sent']>;

/** Why a request that went in one piece is not waited for any longer. */
export type NotWhole = Exclude<Whole['came'], 'waiting'>;

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

/** A request in one datagram that is not fragmented on its way; without an answer in time `cutRequest` follows. */
export function sendWhole(
  context: Context,
  sa: IkeSa,
  exchange: number,
  payloads: readonly Payload[],
  { protection, patience }: { protection: Protection; patience: number },
): void {
  const id = sa.window.nextRequest++;
  const fields = fieldsOf(sa, { exchange, id, response: false });
  const bytes = sealInner(context.provider, protection, fields, encodePayloads(payloads));
  sa.window.sent = { id, bytes, sends: 1, due: context.now + patience, whole: { came: 'waiting' } };
  send(context, sa, bytes, true);
}

/**
 * The request that went in one piece has to be completed all the same: in the smallest fragments of IKE, which arrive wherever
 * IKE does (RFC 7383 §2.5), and in turn bit by bit as it was, fragmented by IP, for peers that take fragments of IKE only in
 * some exchanges. What completed one before comes first.
 */
export function cutRequest(context: Context, sa: IkeSa, came: NotWhole): void {
  const { sent } = sa.window;
  if (!sent) return;
  const cut = cutSmallest(context, sa, protectionOf(sa), sent.bytes);
  sent.whole = { came, other: cut };
  if (tunnelOf(context, sa)?.completedBy !== 'ip') swapForms(sent, sent.whole);
  again(context, sa, sent);
}

function again(context: Context, sa: IkeSa, sent: Sent): void {
  sent.sends++;
  sent.due = context.now + interval(context, sa, sent.sends);
  sendMessage(context, sa, sent.bytes);
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
  if (sent.whole?.came === 'waiting') {
    cutRequest(context, sa, 'lost');
    return true;
  }
  if (sent.sends >= settings(context, sa).sends) return false;
  if (sent.whole) swapForms(sent, sent.whole);
  // Where a part of the answer is here, the request came through as it is.
  else if (!sent.assembly) sent.bytes = narrowed(context, sa, protectionOf(sa), sent.bytes, sent.sends);
  again(context, sa, sent);
  return true;
}

function swapForms(sent: Sent, whole: Whole & { came: NotWhole }): void {
  [sent.bytes, whole.other] = [whole.other, sent.bytes];
}

/** Every datagram of a message. */
function sendMessage(context: Context, sa: IkeSa, bytes: Uint8Array): void {
  for (const datagram of datagramsOf(bytes)) send(context, sa, datagram);
}

export function send(context: Context, sa: IkeSa, bytes: Uint8Array, whole = false): void {
  if (sa.state.name === 'established') sa.state.lastSent = context.now;
  const { local, remote } = sa;
  context.actions.push({ type: 'send', bytes, local, remote, ...(whole ? { whole } : {}) });
}

interface MessageKind {
  exchange: number;
  id: number;
  response: boolean;
}

function encode(
  context: Context,
  sa: IkeSa,
  kind: MessageKind,
  payloads: readonly Payload[],
  protection?: Protection,
): Uint8Array {
  const fields = fieldsOf(sa, kind);
  if (!protection) return encodeMessage(fields, payloads);
  return sealFitting(context, sa, protection, fields, encodePayloads(payloads));
}

function fieldsOf(sa: IkeSa, { exchange, id, response }: MessageKind): HeaderFields {
  const flags = { initiator: sa.initiator, response, version: false };
  return { ...spisOf(sa), exchange, flags, messageId: id };
}

function settings(context: Context, sa: IkeSa): Retransmit {
  return tunnelOf(context, sa)?.tunnel.retransmit ?? DEFAULT_RETRANSMIT;
}

/** How long to wait after the n-th transmission. */
function interval(context: Context, sa: IkeSa, sends: number): number {
  const { first, factor, cap, jitter } = settings(context, sa);
  return jittered(context, Math.min(first * factor ** (sends - 1), cap), jitter);
}
