import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rest } from '../../src/wire/codec.ts';
import { attributes, message, messagesOf, numbered } from '../../src/wire/netlink.ts';

const data = attributes({ data: [1, rest] });
const withBytes = (length: number) => message(0x10, 0, data, { data: new Uint8Array(length) });

test('an attribute says its length in 16 bits, and more is refused', () => {
  assert.equal(withBytes(65_531).length, 16 + 65_536);
  assert.throws(() => withBytes(65_532), RangeError);
});

test('a request gets its number when it is sent', () => {
  const [read] = messagesOf(numbered(withBytes(3), 0x1020304));
  assert.deepEqual([read!.type, read!.sequence, read!.body.length], [0x10, 0x1020304, 8]);
});
