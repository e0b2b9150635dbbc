import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeEchoReply, encodeEchoRequest } from '../../src/wire/icmp.ts';
import { checksum } from '../../src/wire/ip.ts';

const echo = { identifier: 0x1234, sequence: 7, data: Uint8Array.of(1, 2, 3) };

test('an echo request sums to nothing over IPv4 (RFC 792), and leaves the sum to the kernel over IPv6', () => {
  const four = encodeEchoRequest(4, echo);
  assert.deepEqual([...four.subarray(0, 2)], [8, 0]);
  assert.equal(checksum(four), 0);
  assert.deepEqual([...encodeEchoRequest(6, echo)], [128, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3]);
});

test('a reply is read behind its IP header, whatever options that has; anything else is none', () => {
  const header = Uint8Array.of(0x46, ...new Uint8Array(23));
  const reply = Uint8Array.of(0, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3);
  assert.deepEqual(decodeEchoReply(4, Uint8Array.of(...header, ...reply)), echo);
  assert.deepEqual(decodeEchoReply(6, Uint8Array.of(129, ...reply.subarray(1))), echo);
  assert.equal(decodeEchoReply(6, Uint8Array.of(128, ...reply.subarray(1))), undefined);
  for (let length = 0; length < header.length + 8; length++)
    assert.equal(decodeEchoReply(4, Uint8Array.of(...header, ...reply).subarray(0, length)), undefined);
});
