import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Costs,
  cryptoLimit,
  handshakeLimit,
  latencyLimit,
  packetLimit,
  throughputLimit,
} from '../../bench/limits.ts';
import { limited } from '../../bench/result.ts';

const COSTS: Costs = {
  cores: 2,
  copy: 10,
  aes64: 0.64,
  aes1420: 5,
  aes16384: 10,
  call: 65.536,
  wake: 5000,
};

const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual / expected - 1) < 1e-9, `${actual} is not ${expected}`);

test('a byte pays for the plain path, and at two gateways for two copies, one encryption and its share of calls', () => {
  // 1 ns plain; 2 × (0.2 + 0.2 + 0.002) ns for the gateways; two cores
  near(throughputLimit(COSTS, 1), (8000 * 2) / (1 + 2 * 0.402));
});

test('a packet pays at each gateway for one encryption of 64 bytes and its share of one call', () => {
  near(packetLimit(COSTS, 1000, 1), (1e9 * 2) / (1000 + 2 * (100 + 65.536)));
  near(packetLimit(COSTS, 1000, 16), (1e9 * 2) / (1000 + 2 * (100 + 4.096)));
});

test('there and back are four wake-ups', () => {
  near(latencyLimit(COSTS), 20);
});

test('encryption alone, at the speed of the library for that size', () => {
  near(cryptoLimit(COSTS, 64), 10);
  near(cryptoLimit(COSTS, 1408), 1000 / (1408 / 5));
});

test('what is better than its limit is said to be, whichever way is better', () => {
  assert.equal(limited('', '', 11, 10).beaten, true);
  assert.equal(limited('', '', 9, 10).beaten, false);
  assert.equal(limited('', '', 9, 10, 'lower').beaten, true);
});

test('a handshake costs a responder its public-key operations at least, three more with certificates', () => {
  const keys = { x25519Generate: 40, x25519Derive: 60, p256Sign: 30, p256Verify: 85 };
  assert.equal(handshakeLimit(keys, false), 10_000);
  assert.equal(handshakeLimit(keys, true), 1e6 / 300);
});
