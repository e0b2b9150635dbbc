import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ratios, rounded, spread } from '../../bench/statistics.ts';

test('the spread of an odd number of rounds', () => {
  assert.deepEqual(spread([5, 1, 4, 2, 3]), { median: 3, min: 1, max: 5, quartiles: [2, 4], count: 5 });
});

test('of an even number the middle two are halved; one value is its own spread', () => {
  assert.equal(spread([1, 2, 3, 10]).median, 2.5);
  assert.deepEqual(spread([7]), { median: 7, min: 7, max: 7, quartiles: [7, 7], count: 1 });
  assert.throws(() => spread([]), RangeError);
});

test('a ratio is taken round by round: a slow minute changes both of its sides', () => {
  const ratio = ratios([100, 10, 100], [10, 1, 10]);
  assert.deepEqual([ratio.median, ratio.min, ratio.max], [10, 10, 10]);
  assert.throws(() => ratios([1, 2], [1]), RangeError);
});

test('a round that measured nothing below has no ratio, and says so by the count', () => {
  assert.deepEqual([ratios([4, 6], [0, 2]).median, ratios([4, 6], [0, 2]).count], [3, 1]);
  assert.deepEqual([ratios([4], [0]).median, ratios([4], [0]).count], [Number.NaN, 0]);
});

test('three digits are shown', () => {
  assert.deepEqual([12345, 0.012345, 0, 9.999].map(rounded), [12300, 0.0123, 0, 10]);
});
