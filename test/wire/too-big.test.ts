import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTooBig } from '../../src/wire/too-big.ts';

const LOCAL = [192, 0, 2, 1];
const REMOTE = [198, 51, 100, 1];
const IKE_SPIS = Array.from({ length: 16 }, (_, index) => index + 1);

/** What a router sends over IPv4: its own header with options, the message, and the beginning of a packet of ours. */
function message4(mtu: number, protocol: number, inside: readonly number[], fragment = 0): Uint8Array {
  const outer = [0x46, ...new Uint8Array(23)];
  const said = [3, 4, 0, 0, 0, 0, mtu >> 8, mtu & 255];
  const flags = [0x40 | (fragment >> 8), fragment & 255];
  const quoted = [0x45, 0, 5, 220, 0, 0, ...flags, 64, protocol, 0, 0, ...LOCAL, ...REMOTE];
  return Uint8Array.of(...outer, ...said, ...quoted, ...inside);
}

const udp = (port: number, ...data: number[]) => [port >> 8, port & 255, 0x11, 0x94, 0, 100, 0, 0, ...data];

test('RFC 1191 §4: the size of the next link, and which packet of ours it is about', () => {
  const ends = { source: '192.0.2.1', destination: '198.51.100.1' };
  const spis = ['0102030405060708', '090a0b0c0d0e0f10'];
  for (const [protocol, inside, spi] of [
    [50, [0, 1, 0, 2, 0, 0, 0, 9], 0x10002],
    [51, [50, 4, 0, 0, 0, 1, 0, 3], 0x10003],
    [17, udp(4500, 0, 1, 0, 4, 0, 0, 0, 9), 0x10004],
    [17, udp(4500, 0, 0, 0, 0, ...IKE_SPIS), spis],
    [17, udp(500, ...IKE_SPIS), spis],
  ] as const)
    assert.deepEqual(decodeTooBig(4, message4(1400, protocol, inside)), { mtu: 1400, ...ends, spi });
});

test('other messages, other packets, later fragments, and what quotes too little are none', () => {
  const esp = [0, 1, 0, 2, 0, 0, 0, 9];
  const unreachable = message4(1400, 50, esp);
  unreachable[25] = 1;
  assert.equal(decodeTooBig(4, unreachable), undefined);
  assert.equal(decodeTooBig(4, message4(1400, 6, esp)), undefined);
  assert.equal(decodeTooBig(4, message4(1400, 50, esp, 100)), undefined);
  assert.equal(decodeTooBig(4, message4(1400, 17, udp(53, ...IKE_SPIS))), undefined);
  const whole = message4(1400, 17, udp(4500, 0, 0, 0, 0, ...IKE_SPIS));
  for (let length = 0; length < whole.length; length++)
    assert.equal(decodeTooBig(4, whole.subarray(0, length)), undefined, `${length}`);
});

test('RFC 4443 §3.2: the same over IPv6', () => {
  const quoted = [0x60, 0, 0, 0, 5, 0, 51, 64, ...new Uint8Array(15), 1, ...new Uint8Array(15), 2];
  const said = Uint8Array.of(2, 0, 0, 0, 0, 0, 5, 0, ...quoted, 50, 4, 0, 0, 0, 0, 1, 0);
  assert.deepEqual(decodeTooBig(6, said), { mtu: 1280, source: '::1', destination: '::2', spi: 256 });
  said[0] = 3;
  assert.equal(decodeTooBig(6, said), undefined);
});
