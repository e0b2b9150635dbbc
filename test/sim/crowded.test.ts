import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALM, sendPacket } from '../../src/sim/pair.ts';
import { agree, established, sites } from './sites.ts';

test('a third rekey while two of one IKE SA collide: nothing is made with what may not stand (RFC 7296 §2.8.2)', () => {
  for (let seed = 0; seed < 300; seed++) {
    const pair = established(sites(seed));
    pair.weather = { ...CALM, delay: [1, 40] };
    pair.command(pair.a, 'rekey', 't');
    pair.command(pair.b, 'rekey', 't');
    pair.run(20 + (seed % 60));
    pair.command(seed % 2 === 0 ? pair.a : pair.b, 'rekey', 't');
    for (let i = 0; i < 60; i++) {
      pair.run(5);
      for (const side of [pair.a, pair.b])
        assert.equal(sendPacket(pair, side, 't/net'), 'received', `seed ${seed}\n${pair.ladder()}`);
    }
    pair.run(120_000);
    agree(pair);
  }
});
