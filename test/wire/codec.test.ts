import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytes,
  decode,
  encode,
  list,
  rest,
  sized,
  struct,
  u8,
  u16,
  u24,
  u32,
  u64,
  WireError,
  Writer,
} from '../../src/wire/codec.ts';

test('a writer keeps everything while it grows', () => {
  for (const size of [1, 255, 256, 257, 5000]) {
    const w = new Writer();
    const piece = Uint8Array.from({ length: size }, (_, i) => i);
    for (let i = 0; i < 5; i++) w.put(piece);
    assert.deepEqual(
      w.finish(),
      Uint8Array.from({ length: 5 * size }, (_, i) => i % size),
    );
  }
});

test('numbers are big-endian and must fit', () => {
  const shape = struct({ a: u8, b: u16, c: u24, d: u32, e: u64 });
  const value = { a: 1, b: 2, c: 3, d: 0xffffffff, e: 2n ** 64n - 1n };
  const raw = encode(shape, value);
  assert.equal(
    Buffer.from(raw).toString('hex'),
    '01000200 0003 ffffffff ffffffffffffffff'.replaceAll(' ', ''),
  );
  assert.deepEqual(decode(shape, raw), value);
  for (const wrong of [-1, 256, 1.5, Number.NaN]) assert.throws(() => encode(u8, wrong), RangeError);
});

test('an inner length cannot reach outside its window', () => {
  const nested = sized(u8, 1, sized(u8, 1, rest));
  assert.deepEqual(decode(nested, Uint8Array.of(4, 3, 8, 9)), Uint8Array.of(8, 9));
  for (const raw of [
    [4, 4, 8, 9],
    [5, 3, 8, 9],
    [0, 3, 8, 9],
    [4, 0, 8, 9],
    [4, 2, 8, 9],
  ])
    assert.throws(() => decode(nested, Uint8Array.from(raw)), WireError);
});

test('what is decoded does not change when the buffer is used again', () => {
  const buffer = Uint8Array.of(1, 2, 3);
  const value = decode(rest, buffer);
  buffer.fill(0);
  assert.deepEqual(value, Uint8Array.of(1, 2, 3));
});

test('lists and byte strings are bounded', () => {
  assert.throws(() => decode(list(u8, 3), new Uint8Array(4)), /more than 3 items/);
  assert.throws(() => encode(bytes(4), new Uint8Array(3)), RangeError);
});
