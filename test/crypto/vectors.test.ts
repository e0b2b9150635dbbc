// Published vectors. Each says where it comes from; nothing here was computed by us.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hex, unhex } from '../../src/crypto/bytes.ts';
import { createKeyExchanges, createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { EncryptionName } from '../../src/crypto/suites.ts';

const provider = createNodeProvider();
const text = (value: string) => new TextEncoder().encode(value);
const none = new Uint8Array(0);

interface Sealed {
  source: string;
  name: EncryptionName;
  key: string;
  salt?: string;
  iv: string;
  aad?: string;
  plaintext: Uint8Array;
  /** Ciphertext and tag; `begins` where only the first bytes and the tag are given. */
  sealed: string;
}

const ZEROS = new Uint8Array(16);
const GCM = { name: 'aes-gcm-16', salt: '00000000', iv: '0000000000000000', plaintext: ZEROS } as const;

const SEALED: Sealed[] = [
  {
    source: 'McGrew, Viega: The Galois/Counter Mode of Operation, test case 2 (128 bits)',
    ...GCM,
    key: '00'.repeat(16),
    sealed: '0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf',
  },
  {
    source: 'McGrew, Viega: The Galois/Counter Mode of Operation, test case 8 (192 bits)',
    ...GCM,
    key: '00'.repeat(24),
    sealed: '98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb',
  },
  {
    source: 'McGrew, Viega: The Galois/Counter Mode of Operation, test case 14 (256 bits)',
    ...GCM,
    key: '00'.repeat(32),
    sealed: 'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919',
  },
  {
    source: 'RFC 3602 §4, case 1',
    name: 'aes-cbc',
    key: '06a9214036b8a15b512e03d534120006',
    iv: '3dafba429d9eb430b422da802c9fac41',
    plaintext: text('Single block msg'),
    sealed: 'e353779c1079aeb82708942dbe77181a',
  },
  {
    source: 'RFC 8439 §2.8.2 (the first four bytes of its nonce are our salt, RFC 7634 §2)',
    name: 'chacha20-poly1305',
    key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    salt: '07000000',
    iv: '4041424344454647',
    aad: '50515253c0c1c2c3c4c5c6c7',
    plaintext: text(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    ),
    sealed: 'd31a8d34648e60db7b86afbc53ef7ec2...1ae10b594f09e26a7e902ecbd0600691',
  },
];

for (const { source, name, key, salt = '', iv, aad = '', plaintext, sealed } of SEALED) {
  test(`${name}: ${source}`, () => {
    const made = provider.seal(name, unhex(key + salt), unhex(iv), unhex(aad), plaintext);
    const [begins, ends = ''] = sealed.split('...');
    assert.equal(hex(made).slice(0, begins!.length), begins);
    assert.ok(hex(made).endsWith(ends));
    assert.deepEqual(provider.open(name, unhex(key + salt), unhex(iv), unhex(aad), made), plaintext);
  });
}

for (const [name, length, code] of [
  ['hmac-sha2-256-128', 32, '198a607eb44bfbc69903a0f1cf2bbdc5'],
  ['hmac-sha2-384-192', 48, 'b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973'],
  ['hmac-sha2-512-256', 64, '637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8'],
] as const) {
  test(`${name}: RFC 4868 §2.7.2, test case 1`, () => {
    const made = provider.integrity(name, new Uint8Array(length).fill(0x0b), text('Hi There'));
    assert.equal(hex(made), code);
  });
}

interface Agreement {
  source: string;
  group: number;
  privates: [string, string];
  publics: [string, string];
  secret: string;
}

const AGREEMENTS: Agreement[] = [
  {
    source: 'X25519: RFC 7748 §6.1',
    group: 31,
    privates: [
      '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a',
      '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb',
    ],
    publics: [
      '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
      'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
    ],
    secret: '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
  },
  {
    source: 'ECP-256: RFC 5903 §8.1',
    group: 19,
    privates: [
      'c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433',
      'c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53',
    ],
    publics: [
      'dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3',
      'd12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab',
    ],
    secret: 'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de',
  },
];

for (const { source, group, privates, publics, secret } of AGREEMENTS) {
  test(`${source}: both public values and the secret`, async () => {
    const exchanges = createKeyExchanges();
    const ours = privates.map((value) => exchanges.adopt(group, unhex(value)));
    assert.deepEqual(
      ours.map((one) => hex(one.public)),
      publics,
    );
    assert.equal(hex(await exchanges.finish(ours[0]!.handle, group, unhex(publics[1]))), secret);
    assert.equal(hex(await exchanges.finish(ours[1]!.handle, group, unhex(publics[0]))), secret);
  });
}

test('an empty message has an authentication code too', () => {
  assert.equal(provider.integrity('hmac-sha2-256-128', new Uint8Array(32), none).length, 16);
});
