import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pair } from '../../src/sim/pair.ts';
import { decodeHeader } from '../../src/wire/ikev2.ts';
import { EXCHANGE } from '../../src/wire/numbers.ts';
import { established, sites } from '../sim/sites.ts';

/** Whether what the child sends finds its other half: of the one that began, and of the one that answered. */
const taken = ({ a, b, now }: Pair) => [a, b].map(({ gateway }) => gateway.isTaken('t', 'net', now()));

const QUICK = {
  start: 'now',
  liveness: 500,
  retransmit: { first: 100, factor: 1.5, cap: 400, sends: 5, jitter: 0 },
} as const;

test('liveness: 500ms, with quick retransmissions: a dead peer is told within two seconds (RFC 7296 §2.4)', () => {
  const pair = established(sites(1, QUICK));
  pair.run(10_000);
  assert.ok(!pair.a.reports.includes('PEER_VANISHED'), pair.ladder());
  pair.filter = () => false;
  pair.run(2000);
  assert.ok(pair.a.reports.includes('PEER_VANISHED'), pair.ladder());
});

test('answers that cease inside make the peer be asked at once, and only once', () => {
  const pair = established(sites());
  let asked = 0;
  pair.filter = (from, bytes) => {
    if (from === pair.a && decodeHeader(bytes).exchange === EXCHANGE.INFORMATIONAL) asked++;
    return true;
  };
  for (let i = 0; i < 3; i++) pair.feed(pair.a, { type: 'silence', tunnel: 't' });
  pair.feed(pair.a, { type: 'silence', tunnel: 'nobody' });
  pair.run(100);
  assert.equal(asked, 1, pair.ladder());
});

test('since when a tunnel is up: over rekeys of the IKE SA, and anew after a break', () => {
  const pair = established(sites(1, QUICK));
  const since = () => pair.a.gateway.carriedSince('t', 'net');
  const first = since();
  assert.ok(first !== undefined && first <= 1200);
  pair.command(pair.a, 'rekey', 't');
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(3000);
  assert.equal(since(), first, pair.ladder());
  assert.equal(pair.a.gateway.tunnels()[0]!.ikeSa!.upSince, first);
  assert.equal(pair.a.gateway.carriedSince('t', 'other'), undefined);
  pair.filter = () => false;
  pair.run(5000);
  assert.equal(since(), undefined);
  pair.filter = () => true;
  pair.run(10_000);
  assert.ok(since()! > first, pair.ladder());
});

test('who answered does not know that the peer has its child before the peer sends with it, or a second is over', () => {
  const pair = sites();
  pair.command(pair.a, 'up', 't');
  pair.run(100);
  assert.deepEqual(taken(pair), [true, false], pair.ladder());
  const { spiIn } = pair.b.gateway.tunnels()[0]!.children[0]!;
  const heard = pair.fork();
  heard.feed(heard.b, { type: 'dataplane', event: { type: 'first-inbound', spi: spiIn } });
  assert.deepEqual(taken(heard), [true, true]);
  pair.run(900);
  assert.deepEqual(taken(pair), [true, false]);
  pair.run(200);
  assert.deepEqual(taken(pair), [true, true]);
  assert.equal(pair.b.gateway.isTaken('t', 'other', pair.now()), false);
});
