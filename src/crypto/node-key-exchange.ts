// The key exchanges on node:crypto: offers, answers and secrets; private halves stay inside.

import crypto, {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPair,
  generateKeyPairSync,
  getDiffieHellman,
  type KeyObject,
  randomUUID,
} from 'node:crypto';
import { promisify } from 'node:util';
import { concat, unhex } from './bytes.ts';
import { importPublicKey } from './spki.ts';
import { KEY_EXCHANGE, type KeyExchangeRow } from './suites.ts';

/** A peer's public value that is not one (RFC 6989 §2). */
export class PublicValueError extends Error {
  readonly fault = 'peer';
  constructor(what: string) {
    super(what);
    this.name = 'PublicValueError';
  }
}

/** Key exchanges by group number (transform type 4); private halves stay inside, under a handle. */
export interface KeyExchanges {
  offer(group: number): Promise<{ public: Uint8Array; handle: string }>;
  answer(group: number, peer: Uint8Array): Promise<{ public: Uint8Array; secret: Uint8Array }>;
  /** As often as answers come; `forget` ends the handle. */
  finish(handle: string, group: number, peer: Uint8Array): Promise<Uint8Array>;
  /** A private half that was recorded elsewhere, raw: to replay an exchange. */
  adopt(group: number, value: Uint8Array): { public: Uint8Array; handle: string };
  forget(handle: string): void;
}

/** Node.js has ML-KEM from 24.7 on; an older one runs everything else. */
export const HAS_ML_KEM = typeof crypto.encapsulate === 'function';

/** Handles beyond this push out the oldest: an attempt that never ends costs no more than this. */
const MOST_HANDLES = 16_384;

export function createKeyExchanges(): KeyExchanges {
  const privates = new Map<string, KeyObject>();
  return {
    async offer(group) {
      const pair = await generate(rowOf(group));
      const handle = randomUUID();
      privates.set(handle, pair.privateKey);
      if (privates.size > MOST_HANDLES) privates.delete(privates.keys().next().value!);
      return { public: encodePublic(rowOf(group), pair.publicKey), handle };
    },
    async answer(group, peer) {
      const row = rowOf(group);
      const peerKey = decodePublic(row, peer);
      if (row.kind === 'kem') return encapsulated(peerKey);
      const pair = await generate(row);
      return {
        public: encodePublic(row, pair.publicKey),
        secret: await derive(row, pair.privateKey, peerKey),
      };
    },
    async finish(handle, group, peer) {
      const privateKey = privates.get(handle);
      if (!privateKey) throw new RangeError('the key exchange is not there any more');
      const row = rowOf(group);
      if (row.kind === 'kem') return decapsulated(row, privateKey, peer);
      return derive(row, privateKey, decodePublic(row, peer));
    },
    adopt(group, value) {
      const row = rowOf(group);
      const privateKey = privateFrom(row, value);
      const handle = randomUUID();
      privates.set(handle, privateKey);
      return { public: encodePublic(row, createPublicKey(privateKey)), handle };
    },
    forget: (handle) => void privates.delete(handle),
  };
}

/** PKCS #8 (RFC 5208 §5) around the raw private half of an elliptic curve, or the seed of ML-KEM. */
function privateFrom(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  const key = der(0x30, der(0x02, Uint8Array.of(0)), algorithmOf(row), der(0x04, innerPrivate(row, value)));
  return createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' });
}

function innerPrivate({ kind }: KeyExchangeRow, value: Uint8Array): Uint8Array {
  switch (kind) {
    case 'montgomery':
      return der(0x04, value); // RFC 8410 §7
    case 'kem':
      return der(0x80, value); // RFC 9935 §6: the seed alone
    default:
      return der(0x30, der(0x02, Uint8Array.of(1)), der(0x04, value)); // RFC 5915 §3
  }
}

/** The answer to an encapsulation key: a fresh secret, and the ciphertext that only the key's owner opens. */
function encapsulated(peerKey: KeyObject): Promise<{ public: Uint8Array; secret: Uint8Array }> {
  return new Promise((resolve, reject) => {
    crypto.encapsulate(peerKey, (error, result) => {
      if (error) return reject(new PublicValueError('the public value yields no secret'));
      resolve({ public: new Uint8Array(result.ciphertext), secret: new Uint8Array(result.sharedKey) });
    });
  });
}

/**
 * FIPS 203 §7.3: only the length of a ciphertext is checked. Any other fault in it gives another secret without a sign, and
 * AUTH does not hold.
 */
function decapsulated(
  row: KeyExchangeRow,
  privateKey: KeyObject,
  ciphertext: Uint8Array,
): Promise<Uint8Array> {
  demandLength(row, ciphertext, row.ciphertextBytes!);
  return new Promise((resolve, reject) => {
    crypto.decapsulate(privateKey, ciphertext, (error, secret) =>
      error ? reject(new RangeError(`${row.name}: ${error.message}`)) : resolve(new Uint8Array(secret)),
    );
  });
}

interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

function rowOf(group: number): KeyExchangeRow {
  const row = KEY_EXCHANGE.find(({ id }) => id === group);
  if (row?.status === 'implemented' || row?.status === 'legacy') return row;
  throw new PublicValueError(`group ${group} is none that we offer`);
}

const generatePair = promisify(generateKeyPair) as (type: string, options: object) => Promise<KeyPair>;

/** What takes less than a tenth of a millisecond is done at once: handing it to the thread pool costs as much. */
const AT_ONCE: readonly KeyExchangeRow['name'][] = ['x25519', 'ecp-256'];

const generateNow = generateKeyPairSync as unknown as (type: string, options: object) => KeyPair;

async function generate(row: KeyExchangeRow): Promise<KeyPair> {
  if (row.name === 'x25519') return generateNow('x25519', {});
  if (row.name === 'ecp-256') return generateNow('ec', { namedCurve: row.node });
  switch (row.kind) {
    case 'modp':
      return generatePair('dh', { group: row.node });
    case 'ecp':
      return generatePair('ec', { namedCurve: row.node });
    case 'montgomery':
    case 'kem':
      return generatePair(row.node!, {});
  }
}

async function derive(row: KeyExchangeRow, privateKey: KeyObject, publicKey: KeyObject): Promise<Uint8Array> {
  const secret = await sharedSecret(row, { privateKey, publicKey });
  if (!secret) throw new PublicValueError('the public value yields no secret');
  // RFC 8031 §2: the all-zero secret of a low-order point is refused.
  if (row.kind === 'montgomery' && secret.every((byte) => byte === 0))
    throw new PublicValueError('the shared secret is zero');
  return row.kind === 'modp' ? leftPad(secret, row.publicBytes) : new Uint8Array(secret);
}

/** On the thread pool where it takes long: MODP takes a millisecond to a second. */
function sharedSecret(row: KeyExchangeRow, keys: KeyPair): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    if (!AT_ONCE.includes(row.name))
      return diffieHellman(keys, (error, secret) => resolve(error ? undefined : secret));
    try {
      resolve(diffieHellman(keys));
    } catch {
      resolve(undefined);
    }
  });
}

/**
 * The value of the KE payload: X | Y (RFC 5903 §7), the raw coordinate (RFC 8031 §2), the raw encapsulation key
 * (draft-ietf-ipsecme-ikev2-mlkem §2.3), or the padded number (RFC 7296 §3.4).
 */
function encodePublic(row: KeyExchangeRow, key: KeyObject): Uint8Array {
  // Node writes DER twenty times slower than a JWK (RFC 7518 §6.2.1, RFC 8037 §2).
  if (AT_ONCE.includes(row.name)) {
    const { x, y = '' } = key.export({ format: 'jwk' });
    return new Uint8Array(Buffer.concat([Buffer.from(x!, 'base64url'), Buffer.from(y, 'base64url')]));
  }
  const spki = key.export({ type: 'spki', format: 'der' });
  if (row.kind === 'modp') return leftPad(integerAtEnd(spki, row.publicBytes), row.publicBytes);
  return new Uint8Array(spki.subarray(-row.publicBytes));
}

function decodePublic(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  demandLength(row, value, row.publicBytes);
  try {
    return row.kind === 'modp' ? modpKey(row, value) : rawKey(row, value);
  } catch (error) {
    if (error instanceof PublicValueError) throw error;
    // RFC 5903 §9, RFC 6989 §2.3: not on the curve. FIPS 203 §7.2: a coefficient is not reduced.
    throw new PublicValueError(`not a public value of ${row.name}`);
  }
}

function demandLength({ name }: KeyExchangeRow, value: Uint8Array, length: number): void {
  if (value.length !== length)
    throw new PublicValueError(`${name} has values of ${length} bytes here, not ${value.length}`);
}

/** Object identifiers: RFC 5480 §2.1.1.1, RFC 5639 §4.1, RFC 8410 §3, RFC 9935 §3. */
const IDENTIFIERS: Readonly<Record<string, string>> = {
  prime256v1: '2a8648ce3d030107',
  secp384r1: '2b81040022',
  secp521r1: '2b81040023',
  brainpoolP256r1: '2b2403030208010107',
  brainpoolP384r1: '2b240303020801010b',
  brainpoolP512r1: '2b240303020801010d',
  x25519: '2b656e',
  x448: '2b656f',
  'ml-kem-512': '608648016503040401',
  'ml-kem-768': '608648016503040402',
  'ml-kem-1024': '608648016503040403',
};
/** id-ecPublicKey (RFC 5480 §2.1.1). */
const EC_PUBLIC_KEY = '2a8648ce3d0201';

function algorithmOf({ name, kind, node }: KeyExchangeRow): Uint8Array {
  const identifier = IDENTIFIERS[node!];
  if (!identifier) throw new RangeError(`${name} has no object identifier here`);
  const oid = der(0x06, unhex(identifier));
  return kind === 'ecp' ? der(0x30, der(0x06, unhex(EC_PUBLIC_KEY)), oid) : der(0x30, oid);
}

/**
 * OpenSSL takes only points on the curve, and encapsulation keys of reduced coefficients (FIPS 203 §7.2); the point at
 * infinity has no X and Y (RFC 6989 §2.3).
 */
function rawKey(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  const bits = row.kind === 'ecp' ? [0, 0x04] : [0]; // 4: uncompressed (RFC 5480 §2.2)
  const key = der(0x30, algorithmOf(row), der(0x03, Uint8Array.from(bits), value));
  return importPublicKey(key);
}

/** RFC 6989 §2.1: 1 < y < p - 1. */
function modpKey(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  const group = getDiffieHellman(row.node!);
  const y = BigInt(`0x${Buffer.from(value).toString('hex')}`);
  const p = BigInt(`0x${group.getPrime('hex')}`);
  if (y <= 1n || y >= p - 1n) throw new PublicValueError('the public value is outside the group');
  const parameters = der(
    0x30,
    der(0x02, unsigned(group.getPrime())),
    der(0x02, unsigned(group.getGenerator())),
  );
  const algorithm = der(0x30, DH_OID, parameters);
  const key = der(0x30, algorithm, der(0x03, Uint8Array.of(0), der(0x02, unsigned(value))));
  return createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' });
}

/** dhKeyAgreement, 1.2.840.113549.1.3.1 (PKCS #3 §9). */
const DH_OID = Uint8Array.of(0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01);

function der(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts);
  const length = body.length;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat([Uint8Array.of(tag, ...head), body]);
}

/** A DER INTEGER's content: no leading zeros, except one in front of a set top bit. */
function unsigned(value: Uint8Array): Uint8Array {
  const start = value.findIndex((byte) => byte !== 0);
  const digits = value.subarray(start === -1 ? value.length - 1 : start);
  return digits[0]! & 0x80 ? concat([Uint8Array.of(0), digits]) : digits;
}

/** The INTEGER that ends an SPKI: content of at most `most` bytes, without the sign byte. */
function integerAtEnd(spki: Uint8Array, most: number): Uint8Array {
  for (let length = most + 1; length > 0; length--) {
    const at = spki.length - length;
    const head = der(0x02, spki.subarray(at));
    const start = spki.length - head.length;
    if (start > 0 && head.every((byte, i) => spki[start + i] === byte))
      return spki.subarray(at).slice(length > most ? 1 : 0);
  }
  throw new RangeError('no INTEGER at the end of the key');
}

function leftPad(value: Uint8Array, length: number): Uint8Array {
  const padded = new Uint8Array(length);
  padded.set(value, length - value.length);
  return padded;
}
