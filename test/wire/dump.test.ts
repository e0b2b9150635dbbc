import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dump } from '../../src/wire/dump.ts';
import { decodeEncapsulated, decodeEsp } from '../../src/wire/esp.ts';
import { generator, mutated } from './mutate.ts';
import { MESSAGES } from './samples.ts';

test('a dump names every field, its bytes and its number', () => {
  const lines = dump(MESSAGES['a fragment']!).split('\n');
  assert.deepEqual(lines.slice(0, 4), [
    '   0  0102030405060708            header.initiatorSpi = 0102030405060708',
    '   8  0000000000000000            header.responderSpi = 0000000000000000',
    '  16  35                          header.nextPayload = 53 SKF',
    '  17  20                          header.version = 32',
  ]);
  assert.match(lines.at(-1)!, /SKF\.body = 60 bytes$/);
});

test('a dump covers every byte once', () => {
  for (const [name, bytes] of Object.entries(MESSAGES)) {
    const offsets = dump(bytes)
      .split('\n')
      .map((line) => Number(line.slice(0, 4)));
    assert.deepEqual(
      offsets,
      offsets.toSorted((a, b) => a - b),
      name,
    );
  }
});

test('a malformed message is dumped up to where it breaks', () => {
  const bytes = MESSAGES['IKE_SA_INIT request']!;
  const random = generator(3);
  let broken = 0;
  for (let i = 0; i < 2000; i++) if (/^! /m.test(dump(mutated(bytes, random)))) broken++;
  assert.ok(broken > 1000);
  assert.match(dump(bytes.subarray(0, 20)), /! header\.messageId: truncated: needs 4 bytes, 0 left$/);
});

test('port 4500 carries three things (RFC 3948 §2.2)', () => {
  const ike = MESSAGES['a fragment']!;
  const marked = Uint8Array.of(0, 0, 0, 0, ...ike);
  assert.deepEqual(decodeEncapsulated(marked), { kind: 'ike', message: ike });
  assert.equal(dump(marked, 4500), dump(ike));
  assert.deepEqual(decodeEncapsulated(Uint8Array.of(0xff)), { kind: 'keepalive' });
  const esp = Uint8Array.of(0xc0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3);
  assert.deepEqual(decodeEsp(esp), { spi: 0xc0000001, sequence: 9, body: Uint8Array.of(1, 2, 3) });
  assert.match(dump(esp, 4500), /esp\.spi = 3221225473/);
  assert.throws(() => decodeEncapsulated(Uint8Array.of(0, 0)), /marker: truncated/);
});
