// AH's header (RFC 4302 §2), and what its ICV covers of the headers in front (§3.3.3.1, Appendix A).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coveredFront, decodeAh, encodeAh } from '../../src/wire/ah.ts';
import { WireError } from '../../src/wire/codec.ts';
import { hex, unhex } from '../../src/wire/hex.ts';
import { generator, mutated } from './mutate.ts';

/** Hex with spaces. */
function bytes(text: string): Uint8Array {
  return unhex(text.replaceAll(/\s/g, ''));
}

function coversAs(headers: string, covered: string): void {
  const given = bytes(headers);
  assert.equal(hex(coveredFront(given)!), hex(bytes(covered)));
  assert.equal(hex(given), hex(bytes(headers)), 'what was given is as it was');
}

/** An IPv4 header of `words` words: DSCP 46, ECN 1, DF, TTL 64, a checksum; from 10.0.0.1 to 10.0.0.2. */
const v4 = (words: string) => `4${words} b9 0064 1234 4000 40 33 abcd 0a000001 0a000002`;
/** The same as it is covered. */
const v4Covered = (words: string, destination = '0a000002') =>
  `4${words} 00 0064 1234 0000 00 33 0000 0a000001 ${destination}`;

const [A, B, C, D] = ['a', 'b', 'c', 'd'].map((digit) => `20010db800000000000000000000000${digit}`) as [
  string,
  string,
  string,
  string,
];
/** An IPv6 header with traffic class, flow label and hop limit. */
const v6 = (next: string, to = B, length = '0064') => `6bb12345 ${length} ${next} 40 ${A} ${to}`;
const v6Covered = (next: string, to = B, length = '0064') => `60000000 ${length} ${next} 00 ${A} ${to}`;

test('next header, length in words of 32 bits less two, SPI, sequence number, ICV (RFC 4302 §2)', () => {
  const packet = bytes('06 04 0000 00001234 00000007 00112233445566778899aabb ffff');
  const header = decodeAh(packet);
  assert.deepEqual(
    { ...header, icv: hex(header.icv) },
    { next: 6, reserved: 0, spi: 0x1234, sequence: 7, icv: '00112233445566778899aabb' },
  );
  assert.equal(hex(encodeAh(header)), hex(packet.subarray(0, 24)));
});

test('a header that is cut off, or shorter than its own fields, is refused with a path', () => {
  const packet = bytes('06 04 0000 00001234 00000007 00112233445566778899aabb');
  for (let length = 0; length < packet.length; length++)
    assert.throws(() => decodeAh(packet.subarray(0, length)), WireError);
  packet[1] = 0;
  assert.throws(() => decodeAh(packet), /ah: payload length is too small/);
  assert.throws(
    () => encodeAh({ next: 0, reserved: 0, spi: 0, sequence: 0, icv: new Uint8Array(3) }),
    RangeError,
  );
});

test('IPv4: DSCP, ECN, flags, fragment offset, TTL and checksum are zeroed, the rest stays (RFC 4302 §3.3.3.1.1)', () =>
  coversAs(v4('5'), v4Covered('5')));

test('IPv4 options that do not change are covered: security, router alert, no operation (RFC 4302 §A1)', () => {
  const options = '94040000 8203ab 8503cd 8603ef 950600000000 01 00 00 00 00';
  coversAs(`${v4('b')} ${options}`, `${v4Covered('b')} ${options}`);
});

test('IPv4 options that may change are zeroed whole, type and length too, and so are unknown ones', () => {
  coversAs(
    `${v4('a')} 0707040a000003 01 44080500 0badcafe 9d04beef`,
    `${v4Covered('a')} 00000000000000 01 00000000 00000000 00000000`,
  );
});

test('what stands behind the end of the options is covered as it is', () =>
  coversAs(`${v4('6')} 00 0704ff`, `${v4Covered('6')} 00 0704ff`));

test('a source route: the last address of it is the destination, unless all of it was passed', () => {
  for (const kind of ['83', '89']) {
    const route = (pointer: string) => `${kind} 0b ${pointer} 0a000007 0a000008 00`;
    coversAs(`${v4('8')} ${route('04')}`, `${v4Covered('8', '0a000008')} ${'00'.repeat(12)}`);
    coversAs(`${v4('8')} ${route('08')}`, `${v4Covered('8', '0a000008')} ${'00'.repeat(12)}`);
    coversAs(`${v4('8')} ${route('0c')}`, `${v4Covered('8')} ${'00'.repeat(12)}`);
  }
});

test('malformed IPv4 options give nothing: lengths of 0 and 1, beyond the end, none at all', () => {
  for (const options of ['07000000', '07010000', '07050000', '01010107', '83030300', '83070300', '8306040a'])
    assert.equal(coveredFront(bytes(`${v4('6')} ${options}`)), undefined, options);
});

test('IPv6: traffic class, flow label and hop limit are zeroed, the rest stays (RFC 4302 §3.3.3.1.2)', () =>
  coversAs(v6('33'), v6Covered('33')));

test('IPv6 options: the bit in the type decides, and type and length stay (RFC 4302 §3.3.3.1.2.2)', () => {
  for (const kind of ['00', '3c']) {
    coversAs(
      `${v6(kind)} 33 01 05020000 3e04aabbccdd 0100 00 00`,
      `${v6Covered(kind)} 33 01 05020000 3e0400000000 0100 00 00`,
    );
  }
});

test('a routing header of type 0 is as it arrives: none left, the addresses moved on (RFC 4302 §A2)', () => {
  coversAs(
    `${v6('2b')} 33 04 00 02 00000000 ${C} ${D}`,
    `${v6Covered('2b', D)} 33 04 00 00 00000000 ${B} ${C}`,
  );
  coversAs(
    `${v6('2b', C)} 33 04 00 01 00000000 ${B} ${D}`,
    `${v6Covered('2b', D)} 33 04 00 00 00000000 ${B} ${C}`,
  );
  const arrived = `33 04 00 00 00000000 ${B} ${C}`;
  coversAs(`${v6('2b', D)} ${arrived}`, `${v6Covered('2b', D)} ${arrived}`);
});

test('a routing header of another type is covered only where no segment is left', () => {
  coversAs(`${v6('2b')} 33 02 04 00 00000000 ${C}`, `${v6Covered('2b')} 33 02 04 00 00000000 ${C}`);
  for (const type of ['02', '03', '04'])
    assert.equal(coveredFront(bytes(`${v6('2b')} 33 02 ${type} 01 00000000 ${C}`)), undefined);
});

test('the fragment header of a whole packet is passed over (RFC 4302 §A2)', () => {
  coversAs(
    `${v6('00')} 2c 00 010400000000 33 00 0000 deadbeef`,
    `${v6Covered('00', B, '005c')} 33 00 010400000000`,
  );
  coversAs(`${v6('2c')} 33 00 0000 deadbeef`, v6Covered('33', B, '005c'));
});

test('malformed IPv6 extension headers give nothing: beyond the end, options beyond theirs, routes of no whole address', () => {
  const chains = {
    'hop by hop, cut off': `${v6('00')} 3301`,
    'longer than what is there': `${v6('00')} 33 01 010400000000`,
    'an option beyond its header': `${v6('3c')} 33 00 050500000000`,
    'an option without a length': `${v6('3c')} 33 00 01020000 0005`,
    'more segments than addresses': `${v6('2b')} 33 02 00 02 00000000 ${C}`,
    'half an address': `${v6('2b')} 33 01 00 01 00000000 ${C.slice(16)}`,
    'a chain without end': `${v6('3c')} ${'3c00010400000000'.repeat(8)}33 00 010400000000`,
  };
  for (const [what, chain] of Object.entries(chains))
    assert.equal(coveredFront(bytes(chain)), undefined, what);
});

for (const [name, headers] of [
  ['IPv4 with options', `${v4('8')} 830b040a0000070a00000800`],
  ['IPv6 with extension headers', `${v6('00')} 2b 00 3e0400000000 33 02 00 01 00000000 ${C}`],
] as const) {
  test(`${name}: no truncation and no damage throws or changes the length beyond a fragment header`, () => {
    const random = generator(headers.length);
    const whole = Buffer.from(bytes(headers));
    for (let length = 0; length <= whole.length; length++) coveredFront(whole.subarray(0, length));
    for (let i = 0; i < 50_000; i++) {
      const damaged = mutated(whole, random);
      const covered = coveredFront(damaged);
      assert.ok(!covered || (damaged.length - covered.length) % 8 === 0);
    }
  });
}
