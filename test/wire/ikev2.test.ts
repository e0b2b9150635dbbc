import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WireError } from '../../src/wire/codec.ts';
import {
  decodeMessage,
  decodePayloads,
  encodeMessage,
  findPayload,
  HEADER_BYTES,
} from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';
import { generator, mutated } from './mutate.ts';
import { MESSAGES } from './samples.ts';

const MUTATIONS = 100_000;

/** The value, or the WireError; anything else that is thrown fails the test. */
function outcome(decode: () => unknown): unknown {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    assert.match(error.path, /^[\w.[\]]*$/);
    assert.ok(error.reason.length > 0);
    return error;
  }
}

for (const [name, bytes] of Object.entries(MESSAGES)) {
  test(`${name}: decoded and encoded again it is the same, unknown numbers too (RFC 7296 §3)`, () => {
    const { header, payloads } = decodeMessage(bytes);
    assert.deepEqual(encodeMessage(header, payloads), bytes);
  });

  test(`${name}: every truncation is a WireError with the field it misses`, () => {
    for (let length = 0; length < bytes.length; length++) {
      assert.ok(outcome(() => decodeMessage(bytes.slice(0, length))) instanceof WireError);
      const cut = bytes.slice(0, Math.max(length, HEADER_BYTES));
      new DataView(cut.buffer).setUint32(24, cut.length);
      outcome(() => decodeMessage(cut));
    }
  });

  test(`${name}: ${MUTATIONS} mutations give a value or a WireError`, () => {
    const random = generator(bytes.length);
    let read = 0;
    for (let i = 0; i < MUTATIONS; i++) {
      const damaged = mutated(bytes, random);
      if (damaged.length >= HEADER_BYTES) new DataView(damaged.buffer).setUint32(24, damaged.length);
      if (!(outcome(() => decodeMessage(damaged)) instanceof WireError)) read++;
    }
    assert.ok(read > MUTATIONS / 100, `only ${read} were read: the damage is too great to test anything`);
  });
}

test('an error names the field, down to the transform', () => {
  const bytes = MESSAGES['IKE_SA_INIT request']!.slice();
  const [cookie] = [HEADER_BYTES + 28];
  const second = cookie + 4 + 8 + 12; // the second transform's generic header
  bytes.set([0, 200], second + 2);
  const error = outcome(() => decodeMessage(bytes));
  assert.ok(error instanceof WireError);
  assert.match(error.path, /^SA\.proposals\[0\]\.transforms/);
});

test('an encrypted payload cannot stand inside another', () => {
  assert.ok(outcome(() => decodePayloads(PAYLOAD.SK, new Uint8Array(8))) instanceof WireError);
});

test('the associated data ends where the body of SK begins (RFC 5282 §5.1)', () => {
  const { payloads } = decodeMessage(MESSAGES['an encrypted message']!);
  assert.equal(findPayload(payloads, PAYLOAD.SK)!.offset, HEADER_BYTES + 4);
});

test('a message cannot make us read more payloads than it pays for', () => {
  const chain = new Uint8Array(HEADER_BYTES + 4 * 100);
  chain.set(MESSAGES['a fragment']!.subarray(0, HEADER_BYTES));
  chain[16] = PAYLOAD.V;
  new DataView(chain.buffer).setUint32(24, chain.length);
  for (let i = 0; i < 100; i++) chain.set([PAYLOAD.V, 0, 0, 4], HEADER_BYTES + 4 * i);
  assert.match(String(outcome(() => decodeMessage(chain))), /more than 64 payloads/);
});
