// SPIs that somebody has already (RFC 4301 §4.4.2.1: an inbound SA is found by its SPI, and the receiver chooses it).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pair } from '../../src/sim/pair.ts';
import { EXCHANGE, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';
import { rewriting, run } from './rewriting.ts';

const spisOf = (pair: Pair, side: 'a' | 'b') => [...pair[side].inbound.keys()];

test('another program has the SPI that the responder drew for the first child: it draws again, and then answers', () => {
  const pair = sites();
  pair.b.occupied = 2;
  established(pair);
  assert.equal(spisOf(pair, 'b').length, 1);
  assert.ok(!pair.b.reports.includes('HOST_INSTALL_FAILED'), pair.ladder());
  agree(pair);
});

test('and for the rekey of a child, with collisions none the worse for it', () => {
  const pair = established(sites());
  const before = spisOf(pair, 'b');
  pair.b.occupied = 1;
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.command(pair.b, 'rekey', 't', 'net');
  pair.run(30_000);
  assert.equal(spisOf(pair, 'b').length, 1, pair.ladder());
  assert.notDeepEqual(spisOf(pair, 'b'), before);
  agree(pair);
});

test('where every SPI is taken the request is refused for the time being, and the child is made later', () => {
  const pair = sites();
  pair.b.occupied = 4;
  pair.command(pair.a, 'up', 't');
  pair.run(300);
  assert.ok(pair.b.reports.includes('HOST_INSTALL_FAILED'), pair.ladder());
  assert.equal(spisOf(pair, 'b').length, 0);
  pair.run(60_000);
  assert.equal(spisOf(pair, 'b').length, 1, pair.ladder());
  agree(pair);
});

test('the initiator finds its SPI taken: the child is given up on both sides and made with another one', () => {
  const pair = sites();
  pair.a.occupied = 1;
  pair.command(pair.a, 'up', 't');
  pair.run(60_000);
  assert.equal(spisOf(pair, 'a').length, 1, pair.ladder());
  agree(pair);
});

test('where our side cannot at all it is tried more and more rarely, and at once again after it could', () => {
  const pair = sites();
  pair.a.occupied = 1000;
  pair.command(pair.a, 'up', 't');
  pair.run(600_000);
  const tries = pair.a.reports.filter((code) => code === 'HOST_INSTALL_FAILED').length;
  assert.ok(tries >= 8 && tries <= 20, `${tries} tries in ten minutes`);
  pair.a.occupied = 0;
  pair.run(90_000);
  assert.equal(spisOf(pair, 'a').length, 1, pair.ladder());
  pair.a.occupied = 1;
  pair.command(pair.a, 'down', 't', 'net');
  pair.run(1000);
  pair.command(pair.a, 'up', 't', 'net');
  pair.run(5000);
  assert.equal(spisOf(pair, 'a').length, 1, pair.ladder());
});

test('a peer may not choose the SPI that another of our SAs sends with: that one stays as it is', () => {
  const pair = established(sites());
  for (const side of ['a', 'b'] as const) {
    const { name, children, ...rest } = tunnel(side);
    const second = { ...children[0]!, name: 'more', order: 1 };
    pair.feed(pair[side], {
      type: 'configure',
      changes: [{ type: 'set-tunnel', tunnel: { ...rest, name, children: [...children, second] } }],
    });
  }
  const [used] = [...pair.b.outbound.keys()];
  const changesBefore = pair.b.changes.length;
  rewriting(pair, pair.a, EXCHANGE.CREATE_CHILD_SA, (payloads) =>
    payloads.map((one) =>
      one.type === PAYLOAD.SA
        ? { ...one, proposals: one.proposals.map((proposal) => ({ ...proposal, spi: bytesOf(used!) })) }
        : one,
    ),
  );
  pair.command(pair.a, 'up', 't', 'more');
  run(pair, 500);
  assert.ok(pair.b.reports.includes('PEER_SPI_IN_USE'), pair.ladder());
  const since = pair.b.changes.slice(changesBefore);
  assert.ok(since.every((change) => change.type !== 'remove' && change.type !== 'add-outbound'));
  assert.deepEqual([...pair.b.outbound.keys()], [used]);
});

function bytesOf(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi);
}
