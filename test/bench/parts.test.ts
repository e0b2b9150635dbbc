// What the bench links against is native/core as it is: where that changes, this fails first.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { loadParts } from '../../bench/parts.ts';

before(() => {
  const { status, stderr } = spawnSync('make', ['-C', 'bench/native'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

test('packets are sealed and opened again, by an AEAD and by a cipher with an HMAC', () => {
  for (const [encryption, key, integrity, code, integrityKey] of [
    [20, 36, 0, 0, 0], // AES-GCM-16
    [28, 36, 0, 0, 0], // ChaCha20-Poly1305
    [12, 32, 12, 16, 32], // AES-CBC, HMAC-SHA2-256-128
  ] as const) {
    const [seal, open] = loadParts().esp(encryption, key, integrity, code, integrityKey, 64, 5);
    assert.ok(seal > 0 && open > 0, `encryption ${encryption}`);
  }
  assert.deepEqual(loadParts().esp(20, 35, 0, 0, 0, 64, 5), [0, 0], 'a key of a wrong size');
});

test('every flow finds its policy, among few and among many', () => {
  for (const policies of [1, 10, 10_000]) assert.ok(loadParts().lookup(policies, 500, 5)[0] > 0);
});
