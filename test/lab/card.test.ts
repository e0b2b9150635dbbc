import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cardState } from '../../lab/card.ts';

test('the SAs that netdevsim holds, with direction and SPI, and how many packets were sent by them', () => {
  const text = `SA count=2 tx=13
sa[0] tx ipaddr=198.51.100.1
sa[0]    spi=0x00000100 proto=0x32 salt=0x14131211 crypt=1
sa[0]    key=0x04030201 08070605 0c0b0a09 100f0e0d
sa[3] rx ipaddr=192.0.2.1
sa[3]    spi=0xff000101 proto=0x32 salt=0x14131211 crypt=1
sa[3]    key=0x04030201 08070605 0c0b0a09 100f0e0d
`;
  assert.deepEqual(cardState(text), {
    sas: [
      { direction: 'out', spi: 0x100 },
      { direction: 'in', spi: 0xff000101 },
    ],
    sent: 13,
  });
});

test('an empty one', () => {
  assert.deepEqual(cardState('SA count=0 tx=0\n'), { sas: [], sent: 0 });
});
