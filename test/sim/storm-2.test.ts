import { test } from 'node:test';
import { weatherTheStorm } from './storm.ts';

test('5000 storms, seeds 5000 to 9999', () => {
  for (let seed = 5000; seed < 10_000; seed++) weatherTheStorm(seed);
});
