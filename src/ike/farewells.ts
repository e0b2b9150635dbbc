// The last answer of an IKE SA outlives it (RFC 7296 §2.1): whoever asked for its end may not have heard it.

import type { Instant } from '../policy/sad.ts';
import { datagramsOf, decodeMessage, type Header } from '../wire/ikev2.ts';
import type { Endpoint } from './boundary.ts';
import type { Context } from './context.ts';
import { asksAgain } from './fragments.ts';
import type { IkeSa } from './sa.ts';

export interface Farewell {
  id: number;
  bytes: Uint8Array;
  local: Endpoint;
  remote: Endpoint;
  until: Instant;
}

/** Most retransmissions come within this time (docs/decisions/0001-retransmission.md). */
const LINGER = 30_000;

export function keepLastAnswer(context: Context, { spi, window, local, remote }: IkeSa): void {
  const { farewells, now } = context;
  for (const [old, { until }] of farewells) {
    if (until > now) break;
    farewells.delete(old);
  }
  if (window.answered) farewells.set(spi, { ...window.answered, local, remote, until: now + LINGER });
}

/** The same bytes to the same peer, wherever the repetition came from; true where there are some. */
export function repeatLastAnswer(
  { farewells, now, actions }: Context,
  own: string,
  header: Header,
  request: Uint8Array,
): boolean {
  const kept = farewells.get(own);
  if (!kept || header.flags.response || header.messageId !== kept.id || kept.until <= now) return false;
  if (!asksAgain(decodeMessage(request))) return true;
  const { bytes, local, remote } = kept;
  for (const datagram of datagramsOf(bytes)) actions.push({ type: 'send', bytes: datagram, local, remote });
  return true;
}
