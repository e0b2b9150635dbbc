import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Profile, shares } from '../../bench/profile.ts';

const node = (id: number, functionName: string, url = '') => ({ id, callFrame: { functionName, url } });

const PROFILE: Profile = {
  nodes: [
    node(1, '(idle)'),
    node(2, 'seal', 'file:///x/src/crypto/node-provider.ts'),
    node(3, 'createHmac', 'node:internal/crypto/hash'),
    node(4, 'read', 'file:///x/src/wire/codec.ts'),
    node(5, '(garbage collector)'),
    node(6, 'parse', 'node:internal/url'),
  ],
  samples: [6, 2, 3, 4, 1, 5],
  timeDeltas: [1000, 30, 10, 35, 500, 20],
};

test('time by part, idle left out, the largest first', () => {
  const found = shares(PROFILE, 1e6);
  assert.deepEqual(
    found.map(({ part, share }) => [part, Math.round(1095 * share)]),
    [
      ['the runtime and the rest', 1000],
      ['cryptography', 40],
      ['messages, read and written', 35],
      ['garbage', 20],
    ],
  );
});

test('only the end counts: what ran before it is start-up', () => {
  const found = shares(PROFILE, 20 + 500 + 35 + 5);
  assert.deepEqual(
    found.map(({ part }) => part),
    ['messages, read and written', 'garbage', 'cryptography'],
  );
  assert.equal(found[2]!.share, 5 / 60);
});
