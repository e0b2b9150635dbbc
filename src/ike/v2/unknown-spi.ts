// A message for an IKE SA that is not there: what we answer, and what such an answer means to us (RFC 7296 §2.21.4).

import { encodeMessage, findNotify, type Header, type Message } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../../wire/numbers.ts';
import { connectBeside } from '../attempts.ts';
import type { Endpoint } from '../boundary.ts';
import { type Context, drop, sasOf } from '../context.ts';
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
  if (isComing(context, flags.initiator ? responderSpi : initiatorSpi, local, remote)) return;
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

/** We have offered it for a rekey of the IKE SA, and the peer was quicker to have it. */
function isComing(context: Context, spi: string, local: Endpoint, remote: Endpoint): boolean {
  return context.tunnels
    .expecting(local.address, remote.address)
    .some(({ tunnel }) => sasOf(context, tunnel.name).some((sa) => hasOffered(sa, spi)));
}

function hasOffered({ state }: IkeSa, spi: string): boolean {
  const own = state.name === 'established' ? state.own : undefined;
  return own !== undefined && 'offer' in own && own.offer?.spi === spi;
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
  // Under its first words an SA may be younger than the peer knows.
  const isNew = sent?.id === 0 && window.nextReceived === 0;
  if (state.name !== 'established' || !sent || sent.lost || isNew) return true;
  sent.lost = true;
  const tunnel = context.tunnels.get(state.tunnel);
  if (tunnel && carries(state)) connectBeside(context, tunnel);
  return true;
}
