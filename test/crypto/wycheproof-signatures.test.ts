// Wycheproof's signatures through the same call that judges AUTH. vectors/README.md says which were left out, and why.

import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { verifyOctets } from '../../src/crypto/node-signatures.ts';
import { schemeRow } from '../../src/crypto/signature-schemes.ts';

interface Group {
  file: string;
  scheme: string;
  /** SubjectPublicKeyInfo; it and the rest in base64. */
  key: string;
  tests: [id: number, octets: string, signature: string, valid: 0 | 1][];
}

const packed = readFileSync(new URL('../vectors/wycheproof-signatures.json.gz', import.meta.url));
const groups: Group[] = JSON.parse(gunzipSync(packed).toString());

for (const file of new Set(groups.map((group) => group.file))) {
  const all = groups.filter((group) => group.file === file);
  const count = all.reduce((sum, { tests }) => sum + tests.length, 0);
  test(`Wycheproof ${file}: ${count} signatures`, async () => {
    for (const { key, scheme, tests } of all) {
      const publicKey = keyOf(key);
      for (const [id, octets, signature, valid] of tests) {
        const found =
          publicKey && (await verifyOctets(publicKey, schemeRow(scheme), bytes(octets), bytes(signature)));
        assert.equal(found ?? false, valid === 1, `${file} ${id}`);
      }
    }
  });
}

test('there is something of every kind: valid and not', () => {
  for (const scheme of new Set(groups.map((group) => group.scheme))) {
    const results = groups
      .filter((group) => group.scheme === scheme)
      .flatMap(({ tests }) => tests.map(([, , , valid]) => valid));
    assert.deepEqual([results.includes(0), results.includes(1)], [true, true], scheme);
  }
});

/** Undefined where the bytes are no key: then nothing verifies. */
function keyOf(spki: string): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spki, 'base64'), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
