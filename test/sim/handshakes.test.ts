import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragmentsEachWay, handshakes } from './handshakes.ts';

test('certificates make IKE_AUTH three fragments each way', () => {
  assert.deepEqual(fragmentsEachWay(), { a: 3, b: 3 });
});

test('30 % loss each way, 10 % duplicates, reordering: at least 99 % of 1,000 handshakes within 60 s', () => {
  const { share } = handshakes(1000, 0.3, 60_000);
  assert.ok(share >= 0.99, `${share}`);
});

test('10 % loss each way: at least 99.9 % of 1,000 handshakes within 20 s', () => {
  const { share } = handshakes(1000, 0.1, 20_000);
  assert.ok(share >= 0.999, `${share}`);
});
