import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Capabilities } from '../../src/policy/sad.ts';
import { type Pair, sendPacket } from '../../src/sim/pair.ts';
import { MODEST } from '../policy/capabilities.ts';
import { agree, established, sites } from '../sim/sites.ts';

/** Side a behind a translator; b answers whoever calls itself by a's name. */
function behindNat(): Pair {
  const identity = { type: 'ipv4', value: '192.0.2.1' } as const;
  const pair = sites(
    1,
    { encapsulation: 'auto' },
    { encapsulation: 'auto', remote: { addresses: [], identity } },
  );
  pair.nat = { side: 'a', address: '203.0.113.9', port: (inner) => inner + 10_000 };
  return pair;
}

function mapping(pair: Pair, remotePort: number): void {
  const spi = [...pair.b.inbound.keys()].at(-1)!;
  const remote = pair.nat!.address;
  pair.feed(pair.b, { type: 'dataplane', event: { type: 'mapping', spi, remote, remotePort } });
  pair.run(5);
}

test('both sides see the translator and go on by 4500, ESP in UDP (RFC 7296 §2.23)', () => {
  const pair = established(behindNat());
  const [a, b] = [pair.a, pair.b].map(({ gateway }) => gateway.tunnels()[0]!.ikeSa!);
  assert.equal(a!.local.port, 4500);
  assert.equal(a!.remote.port, 4500);
  assert.deepEqual(b!.remote, { transport: 'udp', address: '203.0.113.9', port: 14_500 });
  assert.ok(a!.nat && b!.nat);
  assert.deepEqual([...pair.b.outbound.values()][0]!.udp, { localPort: 4500, remotePort: 14_500 });
  agree(pair);
});

test('without a translator ESP travels as itself, from port 500', () => {
  const pair = established(sites(1, { encapsulation: 'auto' }, { encapsulation: 'auto' }));
  assert.equal(pair.a.gateway.tunnels()[0]!.ikeSa!.local.port, 500);
  assert.equal([...pair.a.outbound.values()][0]!.udp, undefined);
});

/** A data plane that is faster with ESP in UDP than alone. */
const FASTER_IN_UDP: Capabilities = { ...MODEST, prefersUdp: true };

test('a data plane that is faster in UDP makes everybody use it, and nobody believes in a translator of ours', () => {
  const auto = { encapsulation: 'auto' } as const;
  const pair = established(sites(1, auto, auto, { a: { capabilities: FASTER_IN_UDP } }));
  const [a] = [pair.a, pair.b].map(({ gateway }) => gateway.tunnels()[0]!.ikeSa!);
  assert.deepEqual([a!.local.port, a!.remote.port, a!.nat], [4500, 4500, false]);
  assert.ok([...pair.a.outbound.values()][0]!.udp && [...pair.b.outbound.values()][0]!.udp);
  agree(pair);
});

test('where the configuration says esp, it stays ESP', () => {
  const capable = { capabilities: FASTER_IN_UDP };
  const pair = established(
    sites(1, { encapsulation: 'esp' }, { encapsulation: 'esp' }, { a: capable, b: capable }),
  );
  assert.equal([...pair.a.outbound.values()][0]!.udp, undefined);
  agree(pair);
});

test('who is behind it keeps it open with a byte (RFC 3948 §2.3), and nobody else', () => {
  const pair = established(behindNat());
  const sent: string[] = [];
  pair.filter = (from, bytes) => {
    if (bytes.length === 1) sent.push(`${from.name} ${bytes[0]}`);
    return true;
  };
  pair.run(25_000);
  assert.deepEqual(sent, ['a 255']);
});

test('the translator gives another port: an authentic request moves SA and children (RFC 7296 §2.23)', () => {
  const pair = established(behindNat());
  pair.nat!.port = (inner) => inner + 20_000;
  pair.run(40_000);
  assert.equal(pair.b.gateway.tunnels()[0]!.ikeSa!.remote.port, 24_500, pair.ladder());
  assert.equal([...pair.b.outbound.values()][0]!.udp!.remotePort, 24_500);
  agree(pair);
});

test('the data plane saw the new port first: its event moves the SA', () => {
  const pair = established(behindNat());
  pair.nat!.port = (inner) => inner + 30_000;
  mapping(pair, 34_500);
  assert.equal([...pair.b.outbound.values()][0]!.udp!.remotePort, 34_500);
  pair.command(pair.b, 'rekey', 't', 'net');
  pair.run(1000);
  assert.ok(pair.b.reports.includes('CHILD_REKEYED'), pair.ladder());
});

test('the translator gives another address: the children are made anew for it', () => {
  const pair = established(behindNat());
  pair.nat!.address = '203.0.113.77';
  mapping(pair, 14_500);
  pair.run(2000);
  const inUse = pair.b.outbound.get(pair.b.inUse.get('t/net')!)!;
  assert.equal(inUse.remote, '203.0.113.77', pair.ladder());
  assert.equal(sendPacket(pair, pair.b, 't/net'), 'received');
});

test('a peer that is not behind a translator is not led away to another address', () => {
  const pair = established(sites(1, { encapsulation: 'auto' }, { encapsulation: 'auto' }));
  const spi = [...pair.b.inbound.keys()][0]!;
  const event = { type: 'mapping', spi, remote: '203.0.113.66', remotePort: 4500 } as const;
  pair.feed(pair.b, { type: 'dataplane', event });
  assert.equal(pair.b.gateway.tunnels()[0]!.ikeSa!.remote.address, '192.0.2.1');
  agree(pair);
});
