import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes, canonicalAddress, formatAddress, parseAddress } from '../../src/wire/address.ts';
import { generator } from './mutate.ts';

for (const [text, canonical] of [
  ['192.0.2.1', '192.0.2.1'],
  ['2001:DB8::0001', '2001:db8::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['1::', '1::'],
  ['::ffff:192.0.2.1', '::ffff:c000:201'],
] as const) {
  test(`${text} is written ${canonical} (RFC 5952 §4)`, () => {
    assert.equal(canonicalAddress(text), canonical);
  });
}

for (const text of [
  '',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.4 ',
  '::1::',
  '1:2:3:4:5:6:7',
  ':1',
  '1:',
  '1:2:3:4:5:6:7:8:9',
  'g::',
  '::1%eth0',
  '12345::',
  '::1.2.3',
  '1.2.3.4::',
  'fe80::1.2.3.4:5',
])
  test(`${JSON.stringify(text)} is no address`, () => {
    assert.equal(parseAddress(text), undefined);
  });

test('any bytes make an address that reads back the same', () => {
  const random = generator(1);
  for (let i = 0; i < 20_000; i++) {
    const raw = Uint8Array.from({ length: i % 2 ? 4 : 16 }, () => (random(3) === 0 ? random(256) : 0));
    const text = formatAddress(raw);
    assert.deepEqual(addressBytes(text), raw);
    assert.equal(canonicalAddress(text.toUpperCase()), text);
  }
});
