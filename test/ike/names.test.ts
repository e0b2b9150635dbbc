// Peers by DNS name, and IKE SAs that a peer does not know (RFC 7296 §2.21.4).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { type Pair, type Side, sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader, decodeMessage, encodeMessage, findNotify } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const B = '198.51.100.1';
const NAME = 'b.example.net';

function named(changes: Partial<Tunnel> = {}): Partial<Tunnel> {
  const { identity } = tunnel('a').remote;
  return { remote: { addresses: [], names: [NAME], identity }, ...changes };
}

function times({ reports }: Side, code: string): number {
  return reports.filter((one) => one === code).length;
}

test('a name becomes an address before the attempt', () => {
  const pair = sites(1, named());
  pair.names.set(NAME, [B]);
  agree(established(pair));
});

test('a name that nobody knows: up says so; asked again before each attempt, and up once it is known', () => {
  const pair = sites(1, named({ start: 'now' }));
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_NAME_UNKNOWN', pair.ladder());
  pair.run(30_000);
  assert.ok(times(pair.a, 'PEER_NAME_UNKNOWN') >= 4, 'with longer pauses, for ever');
  assert.equal(times(pair.a, 'IKE_CONNECTING'), 0);
  pair.names.set(NAME, [B]);
  pair.run(70_000);
  agree(pair);
});

test('an address of the other family is none of ours', () => {
  const pair = sites(1, named());
  pair.names.set(NAME, ['2001:db8::1']);
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_NAME_UNKNOWN', pair.ladder());
});

test('down while the name is looked up: no attempt follows', () => {
  const pair = sites(1, named());
  pair.names.set(NAME, [B]);
  pair.command(pair.a, 'up', 't');
  pair.command(pair.a, 'down', 't');
  pair.run(5000);
  assert.equal(times(pair.a, 'IKE_CONNECTING'), 0, pair.ladder());
});

/** `b` behind a translator: its address outside can change under it, and its name with it. */
function behindNat(address: string, a: Partial<Tunnel> = {}): Pair {
  const pair = sites(1, named({ start: 'now', ...a }));
  pair.nat = { side: 'b', address, port: (inner) => inner };
  pair.names.set(NAME, [address]);
  pair.run(2000);
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
  return pair;
}

test('the name moved and the old address is dead: found within seconds of the first doubt', () => {
  const pair = behindNat('203.0.113.1');
  pair.nat = { ...pair.nat!, address: '203.0.113.2' };
  pair.names.set(NAME, ['203.0.113.2']);
  pair.run(45_000);
  assert.equal(pair.a.gateway.tunnels()[0]!.ikeSa!.remote.address, '203.0.113.2', pair.ladder());
});

test('the name moved while the old address still answers: a new IKE SA there, beside the old one', () => {
  const pair = sites(1, named({ start: 'now' }));
  pair.names.set(NAME, [B]);
  pair.run(2000);
  pair.names.set(NAME, ['203.0.113.9']);
  pair.run(310_000);
  assert.match(pair.ladder(), /IKE_CONNECTING \{"remote":"203\.0\.113\.9"/);
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received');
});

test('a peer that is known by name may come from anywhere: its identity decides', () => {
  const pair = sites(
    1,
    {},
    { remote: { addresses: [], names: ['a.example.net'], identity: tunnel('b').remote.identity } },
  );
  agree(established(pair));
});

// INVALID_IKE_SPI

/** What `b` sends from here on. */
function answersOf(pair: Pair): Uint8Array[] {
  const sent: Uint8Array[] = [];
  pair.filter = (from, bytes) => {
    if (from === pair.b && bytes.length >= 28) sent.push(bytes);
    return true;
  };
  return sent;
}

test('a request for an IKE SA that is not there is answered in the clear, with its own number (RFC 7296 §2.21.4)', () => {
  const pair = established(sites());
  pair.restart(pair.b);
  const sent = answersOf(pair);
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(100);
  const { header, payloads } = decodeMessage(sent[0]!);
  assert.ok(findNotify(payloads, NOTIFY.INVALID_IKE_SPI));
  assert.deepEqual(header.flags, { initiator: false, response: true, version: false });
  assert.equal(header.exchange, EXCHANGE.CREATE_CHILD_SA);
  assert.ok(pair.b.gateway.drops()['ike-unknown-spi']! > 0);
});

test('a flood of them gets ten answers a second, a response none', () => {
  const pair = established(sites());
  const sent = answersOf(pair);
  const ask = (response: boolean, id: number) => {
    const flags = { initiator: true, response, version: false };
    const spis = { initiatorSpi: '1111111111111111', responderSpi: '2222222222222222' };
    const bytes = encodeMessage({ ...spis, exchange: EXCHANGE.INFORMATIONAL, flags, messageId: id }, []);
    const at = (address: string) => ({ transport: 'udp' as const, address, port: 500 });
    pair.inject(pair.b, bytes, { local: at(B), remote: at('192.0.2.1') });
  };
  for (let id = 0; id < 100; id++) ask(true, id);
  assert.equal(sent.length, 0);
  for (let id = 0; id < 100; id++) ask(false, id);
  assert.equal(sent.length, 10);
  assert.equal(pair.b.gateway.drops()['ike-unknown-spi'], 200);
});

//   a --> b  INFORMATIONAL                 b has lost its memory
//   a <-- b  N(INVALID_IKE_SPI)            in the clear: a hint
//   a --> b  IKE_SA_INIT, IKE_AUTH         beside the old one
test('a peer that lost its state says so, and a new IKE SA is made at once, not after the doubts of five transmissions', () => {
  const pair = sites(1, { start: 'now' });
  pair.run(1000);
  pair.restart(pair.b);
  pair.run(31_000);
  assert.equal(times(pair.a, 'IKE_ESTABLISHED'), 2, pair.ladder());
  assert.equal(pair.a.gateway.spis().length, 1, pair.ladder());
  agree(pair);
});

test('a forged hint ends nothing', () => {
  const pair = sites(1, { start: 'now' });
  pair.run(1000);
  const before = pair.a.gateway.spis();
  const { spi, peerSpi, local, remote } = pair.a.gateway.sas()[0]!;
  pair.filter = (_from, bytes) => bytes.length < 28 || decodeHeader(bytes).exchange !== EXCHANGE.IKE_SA_INIT;
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(3);
  const flags = { initiator: false, response: true, version: false };
  const fields = { initiatorSpi: spi, responderSpi: peerSpi, exchange: EXCHANGE.CREATE_CHILD_SA, flags };
  const notify = {
    type: 41 as const,
    critical: false,
    protocol: 0,
    spi: new Uint8Array(0),
    data: new Uint8Array(0),
  };
  const hint = encodeMessage({ ...fields, messageId: 2 }, [
    { ...notify, notifyType: NOTIFY.INVALID_IKE_SPI },
  ]);
  pair.inject(pair.a, hint, { local, remote });
  pair.run(5000);
  assert.ok(
    before.every((one) => pair.a.gateway.spis().includes(one)),
    pair.ladder(),
  );
  assert.ok(pair.a.reports.includes('CHILD_REKEYED'), pair.ladder());
  pair.filter = () => true;
  agree(pair);
});
