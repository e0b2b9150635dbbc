import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QUIRKS, quirksOf, VENDORS } from '../../src/policy/quirks.ts';

test('a vendor brings its quirks, beside those that are named', () => {
  assert.deepEqual(quirksOf('aws', []), ['one-selector-pair-per-child']);
  assert.deepEqual(quirksOf('ibm', ['hmac-sha2-256-96']), ['hmac-sha2-256-96', 'esp-in-udp-only']);
  assert.deepEqual(quirksOf(undefined, []), []);
});

test('every row says where it was read, and when', () => {
  for (const { name, source, read } of QUIRKS) {
    assert.ok(source.length > 10, name);
    assert.match(read, /^20\d\d-\d\d$/);
  }
  assert.deepEqual(VENDORS, [...VENDORS].sort());
});
