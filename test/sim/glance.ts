// What a message is called and what is in it, in a word or two: `a1` is a's first request, `a1'` the answer to it.

import { hex } from '../../src/crypto/bytes.ts';
import { spiNumber } from '../../src/ike/v2/payloads.ts';
import { readThrough } from '../../src/sim/glass.ts';
import type { Side, SideName } from '../../src/sim/pair.ts';
import { decodeHeader, type Header, type Message, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';

/** Names given so far. */
export interface Names {
  /** What the script calls a side. */
  letter: (side: SideName) => string;
  requests: Map<string, string>;
  count: Record<SideName, number>;
  /** Children by side and inbound SPI. */
  children: Map<string, string>;
  /** IKE SAs by the initiator's SPI. */
  ikeSas: Map<string, string>;
}

export function newNames(letter: Names['letter']): Names {
  return { letter, requests: new Map(), count: { a: 0, b: 0 }, children: new Map(), ikeSas: new Map() };
}

/** A new request gets the next name, and so does the child that it makes. */
export function giveNames(names: Names, { name: from }: Side, bytes: Uint8Array): void {
  const header = decodeHeader(bytes);
  const key = keyOf(header, from);
  if (!header.flags.response && !names.requests.has(key))
    names.requests.set(key, `${names.letter(from)}${++names.count[from]}`);
  if (header.exchange !== EXCHANGE.CREATE_CHILD_SA) return;
  for (const payload of readThrough(bytes).payloads) {
    if (payload.type !== PAYLOAD.SA) continue;
    const { protocol, spi } = payload.proposals[0]!;
    if (protocol !== PROTOCOL.IKE) names.children.set(childKey(from, spi), names.requests.get(key)!);
    else if (!header.flags.response) names.ikeSas.set(hex(spi), names.requests.get(key)!);
  }
}

/** Undefined for what was sent before names were given. */
export function nameOfMessage(names: Names, from: SideName, bytes: Uint8Array): string | undefined {
  const header = decodeHeader(bytes);
  const name = names.requests.get(keyOf(header, from));
  return name && header.flags.response ? `${name}'` : name;
}

export function contents(names: Names, from: SideName, bytes: Uint8Array): string[] {
  const { header, payloads }: Message = readThrough(bytes);
  const ike = names.ikeSas.get(header.initiatorSpi) ?? 'first';
  return payloads.length === 0 ? ['empty'] : payloads.flatMap((payload) => words(names, from, payload, ike));
}

function words(names: Names, from: SideName, payload: Payload, ike: string): string[] {
  const child = (spi: Uint8Array) => names.children.get(childKey(from, spi)) ?? 'unknown';
  switch (payload.type) {
    case PAYLOAD.N: {
      const name = nameOf(NOTIFY, payload.notifyType);
      return [payload.spi.length > 0 ? `${name}(${child(payload.spi)})` : name];
    }
    case PAYLOAD.D:
      return payload.protocol === PROTOCOL.IKE
        ? ['D(ike)', `D(ike:${ike})`]
        : payload.spis.map((spi) => `D(${child(spi)})`);
    case PAYLOAD.SA:
      return [payload.proposals[0]!.protocol === PROTOCOL.IKE ? 'SA(ike)' : 'SA'];
    case PAYLOAD.KE:
      return ['KE'];
    default:
      return [];
  }
}

function keyOf({ initiatorSpi, messageId, flags }: Header, from: SideName): string {
  const asker = flags.response ? (from === 'a' ? 'b' : 'a') : from;
  return `${asker} ${initiatorSpi} ${messageId}`;
}

function childKey(side: SideName, spi: Uint8Array): string {
  return `${side} ${spiNumber(spi)}`;
}
