// Message ids, retransmission, cached answers (RFC 7296 §2.1 to §2.3).

import type { IkeKeys } from '../crypto/keymat.ts';
import type { ChosenSuite } from '../policy/proposal.ts';
import type { Retransmit } from '../policy/tunnel.ts';
import type { HeaderFields, Payload } from '../wire/ikev2.ts';
import { encodeMessage } from '../wire/ikev2.ts';
import { type Context, jittered, tunnelOf } from './context.ts';
import { sealMessage } from './protect.ts';
import type { IkeSa } from './sa.ts';

/** When a tunnel is not known yet. */
const DEFAULT_RETRANSMIT: Retransmit = { first: 500, factor: 1.5, cap: 16_000, sends: 12, jitter: 0.1 };

/** From this transmission on, a new IKE SA is tried beside a silent one (docs/decisions/0001-retransmission.md). */
export const DOUBT = 5;

/** A request of ours waits for its answer for longer than a healthy peer needs. */
export function isSilent({ window }: IkeSa): boolean {
  return (window.sent?.sends ?? 0) >= DOUBT;
}

interface Protection {
  suite: ChosenSuite;
  keys: IkeKeys;
}

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
  send(context, sa, bytes);
  return bytes;
}

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
  send(context, sa, bytes);
  return bytes;
}

/** False once the tries are used up. */
export function retransmit(context: Context, sa: IkeSa): boolean {
  const { sent } = sa.window;
  if (!sent) return true;
  if (sent.sends >= settings(context, sa).sends) return false;
  sent.sends++;
  sent.due = context.now + interval(context, sa, sent.sends);
  send(context, sa, sent.bytes);
  return true;
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
  return sealMessage(context.provider, protection.suite, protection.keys, fields, payloads);
}

function settings(context: Context, sa: IkeSa): Retransmit {
  return tunnelOf(context, sa)?.tunnel.retransmit ?? DEFAULT_RETRANSMIT;
}

/** How long to wait after the n-th transmission. */
function interval(context: Context, sa: IkeSa, sends: number): number {
  const { first, factor, cap, jitter } = settings(context, sa);
  return jittered(context, Math.min(first * factor ** (sends - 1), cap), jitter);
}
