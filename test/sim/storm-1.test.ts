import { test } from 'node:test';
import { weatherTheStorm } from './storm.ts';

test('5000 storms, seeds 0 to 4999', () => {
  for (let seed = 0; seed < 5000; seed++) weatherTheStorm(seed);
});
