// Damage in the exchanges between IKE_SA_INIT and IKE_AUTH and behind CREATE_CHILD_SA, from a peer that holds the keys.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { type Protection, protectionOf, sealMessage } from '../../src/ike/protect.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { parseTemplate } from '../../src/policy/proposal.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import { WireError } from '../../src/wire/codec.ts';
import { decodeHeader, decodePayloads, encodePayloads, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../src/wire/numbers.ts';
import { established, sites, tunnel } from '../sim/sites.ts';
import { generator, mutated } from '../wire/mutate.ts';

const provider = createNodeProvider();

function template(text: string, kind: 'ike' | 'esp') {
  const parsed = parseTemplate(text, kind);
  assert.ok(!('complaint' in parsed), text);
  return parsed;
}

function hybrid(side: 'a' | 'b'): Partial<Tunnel> {
  const [child] = tunnel(side).children;
  return {
    ike: {
      proposals: [template('aes-gcm-16-256 / x25519 + ml-kem-768 + ml-kem-512', 'ike')],
      lifetime: 14_400_000,
    },
    children: [
      { ...child!, proposals: [template('aes-gcm-16-256 / x25519 + ml-kem-768 + ml-kem-512', 'esp')] },
    ],
    ppk: { id: 'site-1', secret: 'the PPK', use: 'required' },
  };
}

const ke = (group: number, size = 32): Payload => ({
  type: PAYLOAD.KE,
  critical: false,
  group,
  data: new Uint8Array(size).fill(5),
});
const notify = (notifyType: number, data: Uint8Array): Payload => ({
  type: PAYLOAD.N,
  critical: false,
  protocol: 0,
  spi: new Uint8Array(0),
  notifyType,
  data,
});

/** What may stand in these exchanges, and what must not. `link` is the one that holds. */
function chains(link: Uint8Array): Payload[][] {
  const shown = notify(
    NOTIFY.PPK_IDENTITY_KEY,
    Uint8Array.of(2, ...Buffer.from('site-1'), 1, 2, 3, 4, 5, 6, 7, 8),
  );
  const named = notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, link);
  return [
    [],
    [ke(36)],
    [ke(35)],
    [ke(36, 1184), shown],
    [ke(35), shown, shown],
    [shown],
    [notify(NOTIFY.PPK_IDENTITY_KEY, new Uint8Array(0))],
    [notify(NOTIFY.PPK_IDENTITY, Uint8Array.of(2))],
    [ke(36), named],
    [ke(36), ke(35), named, named],
    [notify(NOTIFY.STATE_NOT_FOUND, new Uint8Array(0))],
    [notify(NOTIFY.TEMPORARY_FAILURE, new Uint8Array(0))],
  ];
}

function decoded(first: number, bytes: Uint8Array): Payload[] | undefined {
  try {
    return decodePayloads(first, bytes);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** From the other side of `sa`, under its keys. */
function sealed(sa: IkeSa, protection: Protection, exchange: number, response: boolean, payloads: Payload[]) {
  const [initiatorSpi, responderSpi] = sa.initiator ? [sa.spi, sa.peerSpi] : [sa.peerSpi, sa.spi];
  const messageId = response ? sa.window.sent!.id : sa.window.nextReceived;
  const flags = { initiator: !sa.initiator, response, version: false };
  const fields = { initiatorSpi, responderSpi, exchange, flags, messageId };
  return sealMessage(provider, protection.suite, protection.keys, fields, payloads);
}

/** Until the first message of that kind from a side, which is lost. */
function stopAt(pair: Pair, side: Side, exchange: number): void {
  pair.filter = (from, bytes) => from !== side || decodeHeader(bytes).exchange !== exchange;
}

const end = ({ address }: Side) => ({ transport: 'udp', address, port: 4500 }) as const;

function assault(pair: Pair, victim: Side, exchange: number, response: boolean, link: Uint8Array): number {
  const other = victim === pair.a ? pair.b : pair.a;
  const kept = victim.gateway.sas();
  const random = generator(7);
  const all = chains(link).map((payloads) => encodePayloads(payloads));
  let sent = 0;
  pair.filter = () => false;
  for (let i = 0; i < 4000; i++) {
    const { first, bytes } = all[random(all.length)]!;
    const payloads = decoded(first, random(3) === 0 ? bytes : mutated(bytes, random));
    if (!payloads) continue;
    sent++;
    pair.restart(victim, structuredClone(kept));
    const sa = victim.gateway.sas()[0]!;
    const message = sealed(sa, protectionOf(sa)!, exchange, response, payloads);
    pair.inject(victim, message, { local: end(victim), remote: end(other) });
    pair.run(30);
    assert.ok(victim.gateway.sas().length <= 3);
  }
  return sent;
}

for (const [name, exchange, response, side] of [
  ['requests of IKE_INTERMEDIATE', EXCHANGE.IKE_INTERMEDIATE, false, 'b'],
  ['answers to IKE_INTERMEDIATE', EXCHANGE.IKE_INTERMEDIATE, true, 'a'],
] as const) {
  test(`damaged ${name}: nothing throws, and nothing is established`, () => {
    const pair = sites(1, hybrid('a'), hybrid('b'));
    stopAt(pair, pair.a, EXCHANGE.IKE_INTERMEDIATE);
    pair.command(pair.a, 'up', 't');
    pair.run(200);
    const sent = assault(pair, pair[side], exchange, response, new Uint8Array(8));
    assert.ok(sent > 1000, `${sent} could be sealed`);
    for (const { reports } of [pair.a, pair.b]) assert.ok(!reports.includes('IKE_ESTABLISHED'));
  });
}

for (const [name, response, side] of [
  ['requests of IKE_FOLLOWUP_KE', false, 'b'],
  ['answers to IKE_FOLLOWUP_KE', true, 'a'],
] as const) {
  test(`damaged ${name}: nothing throws, and the child in use stays`, () => {
    const pair = established(sites(1, hybrid('a'), hybrid('b')));
    stopAt(pair, pair.a, EXCHANGE.IKE_FOLLOWUP_KE);
    pair.command(pair.a, 'rekey', 't', 'net');
    pair.run(200);
    const { state } = pair.b.gateway.sas()[0]!;
    assert.ok(state.name === 'established' && state.pending);
    const before = pair.b.gateway.tunnels()[0]!.children[0]!.spiIn;
    const sent = assault(pair, pair[side], EXCHANGE.IKE_FOLLOWUP_KE, response, state.pending.link);
    assert.ok(sent > 1000, `${sent} could be sealed`);
    assert.equal(pair.b.gateway.tunnels()[0]!.children[0]!.spiIn, before);
  });
}
