import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prfPlus } from '../../src/crypto/keymat.ts';
import { createNodeProvider, pskAuth } from '../../src/crypto/node-provider.ts';
import { ENCRYPTION, type EncryptionRow } from '../../src/crypto/suites.ts';

const provider = createNodeProvider();
const ciphers = ENCRYPTION.filter((row: EncryptionRow) => row.status === 'implemented');

test('HMAC-SHA2 as in RFC 4231 §4.2', () => {
  const key = new Uint8Array(20).fill(0x0b);
  const data = new TextEncoder().encode('Hi There');
  const start = (name: 'hmac-sha2-256' | 'hmac-sha2-384' | 'hmac-sha2-512') =>
    Buffer.from(provider.prf(name, key, data).subarray(0, 8)).toString('hex');
  assert.equal(start('hmac-sha2-256'), 'b0344c61d8db3853');
  assert.equal(start('hmac-sha2-384'), 'afd03944d8489562');
  assert.equal(start('hmac-sha2-512'), '87aa7cdea5ef619d');
});

for (const row of ciphers) {
  for (const keyBits of row.keyBits) {
    test(`${row.name}-${keyBits} opens what it sealed`, () => {
      const key = provider.random(keyBits / 8 + row.saltBytes);
      const iv = provider.random(row.ivBytes);
      const plaintext = provider.random(64);
      const aad = provider.random(8);
      const sealed = provider.seal(row.name, key, iv, aad, plaintext);
      assert.equal(sealed.length, plaintext.length + row.tagBytes);
      assert.deepEqual(provider.open(row.name, key, iv, aad, sealed), plaintext);
    });
  }
}

for (const row of ciphers.filter(({ tagBytes }) => tagBytes > 0)) {
  test(`${row.name} refuses every flipped byte, a short tag and other associated data`, () => {
    const key = provider.random(32 + row.saltBytes);
    const iv = provider.random(row.ivBytes);
    const aad = provider.random(8);
    const sealed = provider.seal(row.name, key, iv, aad, provider.random(20));
    for (let at = 0; at < sealed.length; at++) {
      const forged = sealed.slice();
      forged[at]! ^= 0x01;
      assert.equal(provider.open(row.name, key, iv, aad, forged), undefined);
    }
    for (let length = 0; length < sealed.length; length++) {
      assert.equal(provider.open(row.name, key, iv, aad, sealed.slice(0, length)), undefined);
    }
    assert.equal(provider.open(row.name, key, iv, provider.random(8), sealed), undefined);
  });
}

test('an algorithm that is refused is not carried out', () => {
  assert.throws(
    () => provider.seal('3des', new Uint8Array(24), new Uint8Array(8), new Uint8Array(0), new Uint8Array(16)),
    /3des is refused/,
  );
});

test('prf+ stops at 255 blocks (RFC 7296 §2.13)', () => {
  const key = new Uint8Array(32);
  assert.equal(prfPlus(provider, 'hmac-sha2-256', key, key, 255 * 32).length, 255 * 32);
  assert.throws(() => prfPlus(provider, 'hmac-sha2-256', key, key, 255 * 32 + 1), RangeError);
});

test('AUTH of a shared key is prf(prf(secret, pad), octets) (RFC 7296 §2.15)', () => {
  const [secret, octets] = [new TextEncoder().encode('secret'), new Uint8Array(7)];
  const inner = provider.prf('hmac-sha2-256', secret, new TextEncoder().encode('Key Pad for IKEv2'));
  assert.deepEqual(
    pskAuth(provider, 'hmac-sha2-256', secret, octets),
    provider.prf('hmac-sha2-256', inner, octets),
  );
});
