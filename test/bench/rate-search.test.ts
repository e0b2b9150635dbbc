import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Offered, searchRate } from '../../bench/rate-search.ts';

const SEARCH = { first: 20_000, factor: 2, resolution: 1.06, least: 1000 };

/** A gateway that lets `capacity` through and loses the rest. */
function gateway(capacity: number) {
  const asked: number[] = [];
  const measure = async (rate: number): Promise<Offered> => {
    asked.push(rate);
    return { sent: rate, received: Math.min(rate, capacity) };
  };
  return { asked, measure };
}

for (const capacity of [1500, 19_999, 20_000, 75_000, 3_000_000]) {
  test(`a capacity of ${capacity} is found within the resolution, and never exceeded`, async () => {
    const { asked, measure } = gateway(capacity);
    const found = await searchRate(measure, SEARCH);
    assert.ok(found <= capacity && found >= capacity / SEARCH.resolution / 1.001, `${found}`);
    assert.ok(asked.length < 30, `${asked.length} measurements`);
  });
}

test('where nothing passes the answer is 0', async () => {
  assert.equal(await searchRate(gateway(500).measure, SEARCH), 0);
});

test('one packet in a thousand may be lost, two may not', async () => {
  const losing = (share: number) => async (rate: number) => ({
    sent: rate,
    received: rate <= 40_000 ? rate * (1 - share) : 0,
  });
  assert.ok((await searchRate(losing(0.001), SEARCH)) > 37_000);
  assert.equal(await searchRate(losing(0.002), SEARCH), 0);
});

test('a generator that falls behind ends the search: its own end is not taken for the gateway', async () => {
  const found = await searchRate(
    async (rate) => ({ sent: Math.min(rate, 50_000), received: Math.min(rate, 50_000) }),
    SEARCH,
  );
  assert.ok(found <= 50_000 && found > 45_000, `${found}`);
});

test('two bad moments do not lower the result', async () => {
  let measurements = 0;
  const found = await searchRate(async (rate) => {
    measurements++;
    const disturbed = measurements % 3 !== 0;
    return { sent: rate, received: disturbed ? 0 : Math.min(rate, 75_000) };
  }, SEARCH);
  assert.ok(found > 70_000, `${found}`);
});
