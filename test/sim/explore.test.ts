import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bounds, explore } from './explore.ts';

/** Small bounds; `npm run explore` goes further. */
const BOUNDS: Record<string, Bounds> = {
  'one wish, one message lost or repeated, one late work, as far as 20,000 states': {
    wishes: 1,
    messages: 1,
    works: 1,
    seed: 1,
    up: true,
    states: 20_000,
  },
  'two wishes': { wishes: 2, messages: 0, works: 0, seed: 2, up: true },
  'two wishes, one message lost or repeated, as far as 10,000 states': {
    wishes: 2,
    messages: 1,
    works: 0,
    seed: 3,
    up: true,
    states: 10_000,
  },
  'both begin at once, one message lost or repeated, as far as 5,000 states': {
    wishes: 0,
    messages: 1,
    works: 0,
    seed: 4,
    up: false,
    states: 5000,
  },
};

for (const [name, bounds] of Object.entries(BOUNDS)) {
  test(`every order of ${name}: nothing is left, no packet goes nowhere, both agree`, () => {
    const { states, violations, whole } = explore(bounds);
    assert.deepEqual(violations, []);
    assert.ok(states > 100 && (whole || bounds.states !== undefined), `${states} states`);
  });
}
