// Published vectors. test/vectors/README.md says where each comes from; nothing there was computed by us.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hex, unhex } from '../../src/crypto/bytes.ts';
import { ikeKeys, prfPlus, skeyseed } from '../../src/crypto/keymat.ts';
import { createKeyExchanges } from '../../src/crypto/node-key-exchange.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import {
  ENCRYPTION,
  type EncryptionName,
  IKE_INTEGRITY,
  type IntegrityName,
  KEY_EXCHANGE,
  PRF,
  type PrfName,
} from '../../src/crypto/suites.ts';

const provider = createNodeProvider();

function read<T>(file: string): T[] {
  return JSON.parse(readFileSync(`test/vectors/${file}`, 'utf8'));
}

/** `key` ends with the salt. */
interface Sealed {
  source: string;
  name: EncryptionName;
  key: string;
  iv: string;
  aad: string;
  plaintext: string;
  sealed: string;
}

interface EspPacket extends Omit<Sealed, 'aad'> {
  spi: string;
  /** The whole number, where it is extended. */
  sequence: string;
}

const packets = read<EspPacket>('esp.json');
const sealed: Sealed[] = [
  ...read<Sealed>('sealed.json'),
  ...packets.map(({ spi, sequence, ...rest }) => ({ ...rest, aad: spi + sequence })),
  {
    source: 'RFC 2410 §2: NULL is the identity',
    name: 'null',
    key: '',
    iv: '',
    aad: '',
    plaintext: '0102030405',
    sealed: '0102030405',
  },
];

for (const [index, one] of sealed.entries()) {
  test(`${one.name}: ${one.source}, ${index}`, () => {
    const [key, iv, aad, plaintext] = [one.key, one.iv, one.aad, one.plaintext].map(unhex);
    const made = provider.seal(one.name, key!, iv!, aad!, plaintext!);
    assert.equal(hex(made), one.sealed);
    assert.equal(hex(provider.open(one.name, key!, iv!, aad!, unhex(one.sealed))!), one.plaintext);
  });
}

type Mac = { source: string; key: string; data: string; out: string } & (
  | { prf: PrfName; integrity?: undefined }
  | { integrity: IntegrityName; prf?: undefined }
);
const macs = read<Mac>('macs.json');

for (const [index, { source, prf, integrity, key, data, out }] of macs.entries()) {
  test(`${prf ?? integrity}: ${source}, ${index}`, () => {
    const made = prf
      ? provider.prf(prf, unhex(key), unhex(data))
      : provider.integrity(integrity!, unhex(key), unhex(data));
    assert.equal(hex(made), out);
  });
}

test('HMAC-SHA2-256 cut to 96 bits is the beginning of that cut to 128', () => {
  const [key, data] = [new Uint8Array(32).fill(7), new Uint8Array(100)];
  const long = provider.integrity('hmac-sha2-256-128', key, data);
  assert.deepEqual(provider.integrity('hmac-sha2-256-96', key, data), long.slice(0, 12));
});

interface KeySchedule {
  prf: PrfName;
  secret: string;
  nonces: string;
  spis: string;
  skeyseed: string;
  dkm: string;
}

for (const [index, one] of read<KeySchedule>('ikev2-kdf.json').entries()) {
  test(`${one.prf}: SKEYSEED and keys of NIST's IKEv2 vectors (RFC 7296 §2.14), ${index}`, () => {
    const half = one.nonces.length / 2;
    const [ni, nr] = [unhex(one.nonces.slice(0, half)), unhex(one.nonces.slice(half))];
    const seed = skeyseed(provider, one.prf, ni, nr, unhex(one.secret));
    assert.equal(hex(seed), one.skeyseed);
    const keymat = unhex(one.nonces + one.spis);
    assert.equal(hex(prfPlus(provider, one.prf, seed, keymat, one.dkm.length / 2)), one.dkm);
    const [initiatorSpi, responderSpi] = [one.spis.slice(0, 16), one.spis.slice(16)];
    const keys = ikeKeys(provider, { prf: one.prf, skeyseed: seed, ni, nr, initiatorSpi, responderSpi });
    assert.ok(one.dkm.startsWith(hex(keys.d) + hex(keys.pi)), 'without encryption SK_pi follows SK_d');
  });
}

interface Agreement {
  source: string;
  group: number;
  privates: [string, string];
  publics: [string, string];
  secret: string;
}

const agreements = read<Agreement>('agreements.json');

for (const { source, group, privates, publics, secret } of agreements) {
  const name = KEY_EXCHANGE.find(({ id }) => id === group)!.name;
  test(`${name}: ${source}, both public values and the secret`, async () => {
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

/** Without `secret` the public value must be refused. */
interface Wycheproof {
  group: number;
  test: number;
  flags: string[];
  private: string;
  public: string;
  secret?: string;
}

const wycheproof = read<Wycheproof>('wycheproof-ecdh.json');

for (const group of new Set(wycheproof.map((one) => one.group))) {
  const name = KEY_EXCHANGE.find(({ id }) => id === group)!.name;
  const tests = wycheproof.filter((one) => one.group === group);
  test(`${name}: Wycheproof, what is invalid is refused and what is odd is not (RFC 6989 §2)`, async () => {
    const exchanges = createKeyExchanges();
    for (const one of tests) {
      const { handle } = exchanges.adopt(group, unhex(one.private));
      const secret = exchanges.finish(handle, group, unhex(one.public));
      const what = `${one.test} ${one.flags}`;
      if (one.secret === undefined) await assert.rejects(secret, { fault: 'peer' }, what);
      else assert.equal(hex(await secret), one.secret, what);
    }
    assert.ok(tests.filter(({ secret }) => secret === undefined).length >= 10);
  });
}

/** A seed with a ciphertext and without `secret`: the ciphertext must be refused; a public value alone must be refused. */
interface MlKem {
  group: number;
  test: string;
  /** All but `secret` in base64. */
  seed?: string;
  public?: string;
  ciphertext?: string;
  secret?: string;
}

const mlKem = read<MlKem>('wycheproof-mlkem.json');
const bytes = (base64: string) => Uint8Array.from(Buffer.from(base64, 'base64'));

for (const group of new Set(mlKem.map((one) => one.group))) {
  const name = KEY_EXCHANGE.find(({ id }) => id === group)!.name;
  const tests = mlKem.filter((one) => one.group === group);
  test(`${name}: Wycheproof, keys from seeds, secrets from ciphertexts, implicit rejection (FIPS 203 §7.3)`, async () => {
    const exchanges = createKeyExchanges();
    for (const one of tests.filter(({ seed }) => seed !== undefined)) {
      const key = exchanges.adopt(group, bytes(one.seed!));
      if (one.public !== undefined) assert.deepEqual(key.public, bytes(one.public), one.test);
      const secret = exchanges.finish(key.handle, group, bytes(one.ciphertext!));
      if (one.secret === undefined) await assert.rejects(secret, { fault: 'peer' }, one.test);
      else assert.equal(hex(await secret), one.secret, one.test);
    }
    assert.deepEqual(
      [true, false].map((good) => tests.filter((one) => one.seed && !!one.secret === good).length),
      [4, 4],
    );
  });

  test(`${name}: Wycheproof, an encapsulation key with a coefficient not reduced is refused (FIPS 203 §7.2)`, async () => {
    const refused = tests.filter(({ seed }) => seed === undefined);
    for (const one of refused) {
      const answer = createKeyExchanges().answer(group, bytes(one.public!));
      await assert.rejects(answer, { fault: 'peer' }, one.test);
    }
    assert.equal(refused.length, 6);
  });
}

test('every algorithm that we have is in a published vector', () => {
  const seen = new Set([
    ...sealed.map(({ name }) => name),
    ...macs.map(({ prf, integrity }) => (prf ? `prf-${prf}` : integrity)),
    ...agreements.map(({ group }) => group),
    ...mlKem.map(({ group }) => group),
  ]);
  const implemented = ({ status }: { status: string }) => status === 'implemented';
  const names = [
    ...ENCRYPTION.filter(implemented).map(({ name }) => name),
    ...IKE_INTEGRITY,
    ...PRF.filter(implemented).map(({ name }) => `prf-${name}`),
    ...KEY_EXCHANGE.filter((row) => implemented(row) && row.kind !== 'modp').map(({ id }) => id),
  ];
  assert.deepEqual(
    names.filter((name) => !seen.has(name)),
    [],
  );
});
