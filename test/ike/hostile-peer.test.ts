// A peer that has our key and means harm, or is broken: whatever it seals, nothing is thrown and the gateway lives on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { sealMessage } from '../../src/ike/protect.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { WireError } from '../../src/wire/codec.ts';
import { decodeMessage, decodePayloads, encodePayloads, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { established, sites } from '../sim/sites.ts';
import { generator, mutated } from '../wire/mutate.ts';
import { MESSAGES } from '../wire/samples.ts';

const provider = createNodeProvider();
const EXCHANGES = Object.values(EXCHANGE);

/** The next request of `sa`, sealed with its keys. */
function sealed(sa: IkeSa, exchange: number, payloads: Payload[]): Uint8Array {
  assert.ok(sa.state.name === 'established');
  const { suite, keys } = sa.state;
  const flags = { initiator: sa.initiator, response: false, version: false };
  const [initiatorSpi, responderSpi] = sa.initiator ? [sa.spi, sa.peerSpi] : [sa.peerSpi, sa.spi];
  const messageId = sa.window.nextRequest;
  return sealMessage(
    provider,
    suite,
    keys,
    { initiatorSpi, responderSpi, exchange, flags, messageId },
    payloads,
  );
}

function decoded(first: number, bytes: Uint8Array): Payload[] | undefined {
  try {
    return decodePayloads(first, bytes);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** Chains of payloads as they stand in real requests and in samples. */
function chains(sa: IkeSa): Payload[][] {
  assert.ok(sa.state.name === 'established');
  const [child] = sa.state.children;
  const rekey: Payload = {
    type: PAYLOAD.N,
    critical: false,
    protocol: PROTOCOL.ESP,
    spi: spiBytes(child!.spiIn),
    notifyType: NOTIFY.REKEY_SA,
    data: new Uint8Array(0),
  };
  const plain = Object.values(MESSAGES)
    .map((bytes) => decodeMessage(bytes).payloads)
    .filter((payloads) => payloads.every(({ type }) => type !== PAYLOAD.SK && type !== PAYLOAD.SKF));
  const remove: Payload = {
    type: PAYLOAD.D,
    critical: false,
    protocol: PROTOCOL.ESP,
    spis: [spiBytes(child!.spiIn)],
  };
  const transport: Payload = {
    ...rekey,
    protocol: 0,
    spi: new Uint8Array(0),
    notifyType: NOTIFY.USE_TRANSPORT_MODE,
  };
  return [
    ...plain,
    ...plain.map((payloads) => [rekey, ...payloads]),
    ...plain.map(proper),
    ...plain.map((payloads) => [transport, ...proper(payloads)]),
    [remove],
    [remove, { ...remove, protocol: PROTOCOL.AH }, { ...remove, spis: [spiBytes(0)] }],
    [rekey],
  ];
}

/** With proposals that the other side accepts. */
function proper(payloads: Payload[]): Payload[] {
  const spi = Uint8Array.of(0xc0, 1, 2, 3);
  const transforms = [
    { type: 1, id: 20, keyBits: 256 },
    { type: 4, id: 31 },
    { type: 5, id: 0 },
  ];
  const selector = { tsType: 7, protocol: 0, startPort: 0, endPort: 65535 };
  return [
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: [{ number: 1, protocol: PROTOCOL.ESP, spi, transforms }],
    },
    { type: PAYLOAD.KE, critical: false, group: 31, data: new Uint8Array(32).fill(1) },
    { type: PAYLOAD.Nonce, critical: false, data: new Uint8Array(32).fill(2) },
    {
      type: PAYLOAD.TSi,
      critical: false,
      selectors: [{ ...selector, start: '10.1.0.0', end: '10.1.255.255' }],
    },
    {
      type: PAYLOAD.TSr,
      critical: false,
      selectors: [{ ...selector, start: '10.2.0.0', end: '10.2.255.255' }],
    },
    ...payloads.slice(0, 1),
  ];
}

function spiBytes(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi);
}

test('20000 damaged requests under the right keys: each is answered or dropped, none throws', () => {
  const pair = established(sites());
  const [a, b] = [pair.a.gateway.sas(), pair.b.gateway.sas()];
  const path = { local: a[0]!.remote, remote: a[0]!.local };
  const random = generator(11);
  const all = chains(a[0]!).map((payloads) => encodePayloads(payloads));
  let [sent, answered] = [0, 0];
  pair.filter = (from) => {
    if (from === pair.b) answered++;
    return false;
  };
  for (let i = 0; i < 20_000; i++) {
    const { first, bytes } = all[random(all.length)]!;
    const payloads = decoded(first, random(4) === 0 ? bytes : mutated(bytes, random));
    if (!payloads) continue;
    sent++;
    if (sent % 20 === 0) pair.restart(pair.b, structuredClone(b));
    const [sa] = pair.b.gateway.sas();
    if (!sa) {
      pair.restart(pair.b, structuredClone(b));
      continue;
    }
    const mirrored = structuredClone(a[0]!);
    mirrored.window.nextRequest = sa.window.nextReceived;
    pair.inject(pair.b, sealed(mirrored, EXCHANGES[random(EXCHANGES.length)]!, payloads), path);
    pair.run(20);
  }
  assert.ok(sent > 3000 && answered > sent / 2, `${sent} could be sealed, ${answered} were answered`);
});

for (const [what, spi] of [
  ['of four bytes', Uint8Array.of(1, 2, 3, 4)],
  ['of none', new Uint8Array(0)],
  ['of zeros', new Uint8Array(8)],
] as const) {
  test(`the rekey of an IKE SA with an SPI ${what} is refused (RFC 7296 §3.3.1)`, () => {
    const pair = established(sites());
    const [sa] = pair.a.gateway.sas();
    const transforms = [
      { type: 1, id: 20, keyBits: 256 },
      { type: 2, id: 5 },
      { type: 4, id: 31 },
    ];
    const request: Payload[] = [
      {
        type: PAYLOAD.SA,
        critical: false,
        proposals: [{ number: 1, protocol: PROTOCOL.IKE, spi, transforms }],
      },
      { type: PAYLOAD.Nonce, critical: false, data: new Uint8Array(32).fill(1) },
      { type: PAYLOAD.KE, critical: false, group: 31, data: new Uint8Array(32).fill(2) },
    ];
    pair.filter = () => false;
    pair.inject(pair.b, sealed(sa!, EXCHANGE.CREATE_CHILD_SA, request), {
      local: sa!.remote,
      remote: sa!.local,
    });
    pair.run(100);
    assert.equal(pair.b.gateway.sas().length, 1);
  });
}
