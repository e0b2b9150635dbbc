import assert from 'node:assert/strict';
import test from 'node:test';
import { firstOverlaps } from '../../src/config/overlaps.ts';
import type { SelectorSet } from '../../src/policy/sad.ts';
import { intersect, selectorOf } from '../../src/policy/selector.ts';

function set(local: string, remote: string): SelectorSet {
  return { local: [selectorOf(local)!], remote: [selectorOf(remote)!] };
}

test('the first of those before it that share a packet with it', () => {
  const sets = [
    set('10.1.0.0/16', '10.2.0.0/16'),
    set('10.1.0.0/16', '10.3.0.0/16'),
    set('10.1.7.0/24', '10.0.0.0/8'),
    set('fd01::/64', 'fd02::/64'),
    set('10.9.0.0/16', '10.2.0.0/16'),
    set('fd01::1', 'fd02::1'),
  ];
  assert.deepEqual(firstOverlaps(sets), [undefined, undefined, 0, undefined, undefined, 3]);
});

test('as every pair compared says', () => {
  let state = 3;
  const random = (below: number) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
  const network = () => {
    const bits = [0, 8, 16, 24, 32][random(5)]!;
    const bytes = [10, random(3), random(3), random(3)].map((byte, index) => (8 * index < bits ? byte : 0));
    return `${bytes.join('.')}/${bits}`;
  };
  const sets = Array.from({ length: 400 }, () => ({
    local: [selectorOf(network())!, { ...selectorOf(network())!, protocol: random(2) * 6 }],
    remote: [selectorOf(network())!],
  }));
  const meet = (a: SelectorSet['local'], b: SelectorSet['local']) =>
    a.some((one) => b.some((other) => intersect(one, other)));
  const expected = sets.map((later, index) => {
    const found = sets
      .slice(0, index)
      .findIndex((earlier) => meet(earlier.local, later.local) && meet(earlier.remote, later.remote));
    return found === -1 ? undefined : found;
  });
  assert.deepEqual(firstOverlaps(sets), expected);
  assert.ok(expected.includes(undefined) && expected.some((found) => found !== undefined));
});
