// A peer that holds its keys and says something else than it would: its messages are changed on their way.

import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { openMessage, protectionOf, sealInner } from '../../src/ike/protect.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import {
  decodeMessage,
  encodeMessage,
  encodePayloads,
  findPayload,
  type Message,
  type Payload,
} from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';

const provider = createNodeProvider();

/** Sealed messages of `from` become what `change` makes of what is inside; plain ones too. Counts them. */
export function rewriting(
  pair: Pair,
  from: Side,
  exchange: number,
  change: (payloads: Payload[], message: Message) => Payload[] | undefined,
): { count: number } {
  const seen = { count: 0 };
  const to = from === pair.a ? pair.b : pair.a;
  pair.filter = (sender, bytes) => {
    const message = bytes.length < 28 ? undefined : decodeMessage(bytes);
    if (sender.name !== from.name || message?.header.exchange !== exchange) return true;
    seen.count++;
    const spi = message.header.flags.initiator ? message.header.initiatorSpi : message.header.responderSpi;
    const sa = sender.gateway.sas().find((one) => one.spi === spi);
    const protection = findPayload(message.payloads, PAYLOAD.SK) && sa && protectionOf(sa);
    const payloads = protection ? openMessage(provider, protection, bytes)! : message.payloads;
    const changed = change(payloads, message);
    if (!changed) return true;
    const forged = protection
      ? sealInner(provider, protection, message.header, encodePayloads(changed))
      : encodeMessage(message.header, changed);
    const path = { local: sa?.remote ?? endpoint(to), remote: sa?.local ?? endpoint(from) };
    later(pair, () => pair.inject(to, forged, path));
    return false;
  };
  return seen;
}

export const endpoint = (side: Side) => ({ transport: 'udp' as const, address: side.address, port: 500 });

/** What is changed on the way arrives when the others do: with the next step of the pair. */
const waiting = new WeakMap<Pair, (() => void)[]>();
export function later(pair: Pair, act: () => void): void {
  waiting.set(pair, [...(waiting.get(pair) ?? []), act]);
}

export function run(pair: Pair, milliseconds: number): void {
  for (let passed = 0; passed < milliseconds; passed += 5) {
    pair.run(5);
    for (const act of waiting.get(pair)?.splice(0) ?? []) act();
  }
}
