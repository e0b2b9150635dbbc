import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader } from '../../src/wire/ikev2.ts';
import { EXCHANGE } from '../../src/wire/numbers.ts';
import { agree, established, sites } from './sites.ts';

test('two messages each way make an IKE SA and a child', () => {
  agree(established(sites()));
});

for (const side of ['a', 'b'] as const) {
  test(`child rekey by ${side}: a packet passes at every moment`, () => {
    const pair = established(sites());
    const id = pair.command(pair[side], 'rekey', 't', 'net');
    for (let i = 0; i < 200; i++) {
      pair.run(5);
      assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
      assert.equal(sendPacket(pair, pair.b, 't/net'), 'received', pair.ladder());
    }
    assert.equal(pair[side].outcomes.get(id), 'OK');
    assert.ok(pair[side].reports.includes('CHILD_REKEYED'));
    agree(pair);
  });

  test(`IKE rekey by ${side}: children go over, the old SA goes`, () => {
    const pair = established(sites());
    const before = pair.a.gateway.tunnels()[0]!.ikeSa!.spis;
    pair.command(pair[side], 'rekey', 't');
    pair.run(2000);
    assert.notDeepEqual(pair.a.gateway.tunnels()[0]!.ikeSa!.spis, before);
    assert.deepEqual(pair.a.gateway.tunnels()[0]!.ikeSa!.spis, pair.b.gateway.tunnels()[0]!.ikeSa!.spis);
    agree(pair);
  });
}

test('a plane that only counts: the newest child that carried something is used, and never the one before it', () => {
  const pair = established(sites());
  const [before] = pair.b.inbound.keys();
  const old = pair.b.inUse.get('t/net');
  // The old child is not deleted: DELETE decides nothing here.
  pair.filter = (from, bytes) => from !== pair.a || decodeHeader(bytes).exchange !== EXCHANGE.INFORMATIONAL;
  pair.command(pair.a, 'rekey', 't', 'net');
  for (let i = 0; pair.b.inbound.size < 2 && i < 100; i++) pair.run(5);
  const carried = (spi: number) => {
    const counters = { direction: 'in', spi, packets: 1n, bytes: 64n, last: pair.now() } as const;
    pair.feed(pair.b, { type: 'dataplane', event: { type: 'usage', ...counters } });
    pair.run(5);
    return pair.b.inUse.get('t/net');
  };
  const after = [...pair.b.inbound.keys()].find((spi) => spi !== before)!;
  pair.run(30);
  assert.equal(carried(before!), old, 'the old one is still the one in use');
  const fresh = carried(after);
  assert.notEqual(fresh, old);
  assert.equal(carried(before!), fresh);
});

test('simultaneous rekey of a child (RFC 7296 §2.8.1): one new child stays', () => {
  for (let seed = 0; seed < 20; seed++) {
    const pair = established(sites(seed));
    pair.command(pair.a, 'rekey', 't', 'net');
    pair.command(pair.b, 'rekey', 't', 'net');
    for (let i = 0; i < 50; i++) {
      pair.run(20);
      assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
      assert.equal(sendPacket(pair, pair.b, 't/net'), 'received', pair.ladder());
    }
    agree(pair);
  }
});

test('simultaneous rekey of the IKE SA (RFC 7296 §2.8.2): both use the same new one', () => {
  for (let seed = 0; seed < 20; seed++) {
    const pair = established(sites(seed));
    pair.command(pair.a, 'rekey', 't');
    pair.command(pair.b, 'rekey', 't');
    pair.run(3000);
    assert.deepEqual(
      pair.a.gateway.tunnels()[0]!.ikeSa!.spis,
      pair.b.gateway.tunnels()[0]!.ikeSa!.spis,
      pair.ladder(),
    );
    agree(pair);
  }
});

test('down deletes on both sides', () => {
  const pair = established(sites());
  const id = pair.command(pair.a, 'down', 't');
  pair.run(10_000);
  assert.equal(pair.a.outcomes.get(id), 'OK');
  for (const side of [pair.a, pair.b]) {
    assert.equal(side.gateway.tunnels()[0]!.state, 'down', pair.ladder());
    assert.equal(side.inbound.size + side.outbound.size, 0, pair.ladder());
  }
});

test('a wrong key is named on both sides', () => {
  const pair = sites(1, { auth: { method: 'psk', secret: 'another' } });
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_REFUSED_AUTH', pair.ladder());
  assert.ok(pair.b.reports.includes('PEER_AUTH_FAILED'));
});

test('no common algorithms: both lists stand in the report', () => {
  const proposals = [
    {
      encryption: [{ name: 'aes-cbc' as const, keyBits: 128 }],
      integrity: ['hmac-sha2-256-128' as const],
      prf: ['hmac-sha2-256' as const],
      keyExchange: ['ecp-384' as const],
      additionalKeyExchange: [],
      esn: [],
    },
  ];
  const pair = sites(1, { ike: { proposals, lifetime: 1e7 } });
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  const [failure] = pair.b.gateway.failures();
  assert.equal(failure!.code, 'PEER_NO_PROPOSAL');
  assert.equal(failure!.detail.offered, 'aes-cbc-128 / hmac-sha2-256-128 / prf-hmac-sha2-256 / ecp-384');
  assert.ok(pair.a.reports.includes('PEER_REFUSED_PROPOSAL'));
});

test('the other group is asked for (INVALID_KE_PAYLOAD) and then used', () => {
  const ecp = (name: 'ecp-256') => [
    {
      encryption: [{ name: 'aes-gcm-16' as const, keyBits: 256 }],
      integrity: [],
      prf: ['hmac-sha2-256' as const],
      keyExchange: [name],
      additionalKeyExchange: [],
      esn: [],
    },
  ];
  const pair = sites(1, {}, { ike: { proposals: ecp('ecp-256'), lifetime: 1e7 } });
  agree(established(pair));
});

test('both sides start at once: one IKE SA stays, by the same rule on both sides', () => {
  for (let seed = 0; seed < 50; seed++) {
    const pair = sites(seed, { start: 'now' }, { start: 'now' });
    pair.run(10_000);
    agree(pair);
    for (const { gateway } of [pair.a, pair.b]) assert.equal(gateway.spis().length, 1, pair.ladder());
  }
});
