// A message for an IKE SA that is not there: what we answer, and what such an answer means to us (RFC 7296 §2.21.4).

import { encodeMessage, findNotify, type Header, type Message } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../../wire/numbers.ts';
import type { Endpoint } from '../boundary.ts';
import { connectBeside } from '../commands.ts';
import { type Context, drop } from '../context.ts';
import { carries } from '../intent.ts';
import type { IkeSa } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** Answers in a second; the rest is only counted. */
const ANSWERS = 10;

/** A request gets INVALID_IKE_SPI, with the SPIs and the number it came with; a response gets nothing. */
export function refuseUnknownSpi(
  context: Context,
  { flags, initiatorSpi, responderSpi, exchange, messageId }: Header,
  { local, remote }: { local: Endpoint; remote: Endpoint },
): void {
  drop(context, 'ike-unknown-spi');
  if (flags.response || exchange === EXCHANGE.IKE_SA_INIT || !maySpend(context)) return;
  const bytes = encodeMessage(
    {
      initiatorSpi,
      responderSpi,
      exchange,
      flags: { initiator: !flags.initiator, response: true, version: false },
      messageId,
    },
    [notifyPayload(NOTIFY.INVALID_IKE_SPI)],
  );
  context.actions.push({ type: 'send', bytes, local, remote });
}

function maySpend({ strangers, now }: Context): boolean {
  if (now - strangers.since >= 1000) Object.assign(strangers, { since: now, answers: 0 });
  return strangers.answers++ < ANSWERS;
}

/**
 * Anybody can send it, so nothing ends by it. But whoever saw our request says that the peer does not know it: an attempt is
 * made beside the SA, without waiting for more silence. True where the message was such a hint.
 */
export function isLossHint(context: Context, { state, window }: IkeSa, { payloads }: Message): boolean {
  if (!findNotify(payloads, NOTIFY.INVALID_IKE_SPI)) return false;
  const { sent } = window;
  if (state.name !== 'established' || !sent || sent.lost) return true;
  sent.lost = true;
  const tunnel = context.tunnels.get(state.tunnel);
  if (tunnel && carries(state)) connectBeside(context, tunnel);
  return true;
}
