// Signatures of AUTH: what each key makes, and that nothing near it verifies.

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { schemesFor, signOctets, suits, verifyOctets, weakness } from '../../src/crypto/node-signatures.ts';
import { SIGNATURE_SCHEMES, schemeRow } from '../../src/crypto/signature-schemes.ts';

interface Pair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

/** The types of Node know keys for PSS with parameters alone by other names. */
function rsaPss(options: object): Pair {
  const make = generateKeyPairSync as unknown as (type: string, options: object) => Pair;
  return make('rsa-pss', options);
}

const PAIRS: Record<string, Pair> = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'p-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'p-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'p-521': generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: generateKeyPairSync('ed25519'),
  ed448: generateKeyPairSync('ed448'),
  'rsa-pss': rsaPss({ modulusLength: 2048 }),
  'rsa-pss sha-384': rsaPss({
    modulusLength: 2048,
    hashAlgorithm: 'sha384',
    mgf1HashAlgorithm: 'sha384',
    saltLength: 48,
  }),
  'ml-dsa-44': generateKeyPairSync('ml-dsa-44'),
  'ml-dsa-65': generateKeyPairSync('ml-dsa-65'),
  'ml-dsa-87': generateKeyPairSync('ml-dsa-87'),
};
const OCTETS = new TextEncoder().encode('what both sides have said so far');

for (const [name, { publicKey, privateKey }] of Object.entries(PAIRS)) {
  test(`${name}: every scheme verifies under itself and under no other, nor with other octets`, async () => {
    for (const scheme of schemesFor(privateKey)) {
      const signature = await signOctets(privateKey, scheme, OCTETS);
      for (const other of SIGNATURE_SCHEMES.filter((one) => suits(publicKey, one))) {
        // The new name and the old one of the same signature differ in the AUTH payload alone.
        const same =
          other.hash === scheme.hash && other.padding === scheme.padding && other.curve === scheme.curve;
        assert.equal(
          await verifyOctets(publicKey, other, OCTETS, signature),
          same,
          `${scheme.name} as ${other.name}`,
        );
      }
      assert.equal(await verifyOctets(publicKey, scheme, OCTETS.subarray(1), signature), false);
      for (const changed of [
        signature.subarray(1),
        signature.subarray(0, -1),
        new Uint8Array([...signature, 0]),
      ])
        assert.equal(await verifyOctets(publicKey, scheme, OCTETS, changed), false, scheme.name);
    }
  });
}

test('a key signs with the hash of its size first', () => {
  const first = (name: string) => schemesFor(PAIRS[name]!.privateKey)[0]!.name;
  assert.deepEqual(['rsa', 'p-256', 'p-384', 'p-521', 'ed25519', 'ml-dsa-65'].map(first), [
    'rsa-sha256',
    'ecdsa-sha256',
    'ecdsa-sha384',
    'ecdsa-sha512',
    'ed25519',
    'ml-dsa-65',
  ]);
});

test('a key of one kind is nothing for a scheme of another', async () => {
  for (const { publicKey, privateKey } of Object.values(PAIRS)) {
    for (const scheme of SIGNATURE_SCHEMES.filter((one) => !suits(publicKey, one))) {
      await assert.rejects(signOctets(privateKey, scheme, OCTETS), RangeError);
      assert.equal(await verifyOctets(publicKey, scheme, OCTETS, new Uint8Array(64)), false);
    }
  }
});

test('r and s of zero, of the order and beyond never verify, raw or in DER (CVE-2022-21449)', async () => {
  const { publicKey } = PAIRS['p-256']!;
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const plain = (n: number) => Buffer.from(n.toString(16).padStart(64, '0'), 'hex');
  const numbers = [plain(0), plain(1), order, Buffer.alloc(32, 0xff)];
  const integer = (value: Buffer) => Buffer.concat([Buffer.of(2, 33, 0), value]);
  for (const r of numbers) {
    for (const s of numbers) {
      const raw = Buffer.concat([r, s]);
      const der = Buffer.concat([Buffer.of(0x30, 70), integer(r), integer(s)]);
      assert.equal(await verifyOctets(publicKey, schemeRow('ecdsa-sha256-old'), OCTETS, raw), false);
      assert.equal(await verifyOctets(publicKey, schemeRow('ecdsa-sha256'), OCTETS, der), false);
    }
  }
});

test('weak keys and strange curves sign nothing', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
  assert.match(weakness(rsa.publicKey)!, /1024 bits, 2048 are the least/);
  const koblitz = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  assert.match(weakness(koblitz.publicKey)!, /none of P-256/);
  assert.match(weakness(generateKeyPairSync('x25519').publicKey)!, /cannot sign/);
  assert.deepEqual(schemesFor(rsa.privateKey), []);
});

test('a key for PSS alone signs with PSS alone, and with the hash that it names (RFC 4055 §3.3)', () => {
  const names = (pair: string) => schemesFor(PAIRS[pair]!.privateKey).map(({ name }) => name);
  assert.deepEqual(names('rsa-pss'), ['rsa-pss-sha256', 'rsa-pss-sha384', 'rsa-pss-sha512']);
  assert.deepEqual(names('rsa-pss sha-384'), ['rsa-pss-sha384']);
});
