// The provider and the key exchanges on node:crypto.

import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type DecipherGCM,
  diffieHellman,
  generateKeyPair,
  getDiffieHellman,
  type KeyObject,
  randomBytes,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import type { Provider } from './provider.ts';
import {
  type EncryptionName,
  encryptionRow,
  integrityRow,
  KEY_EXCHANGE,
  type KeyExchangeRow,
  type PrfName,
  prfRow,
} from './suites.ts';

export function createNodeProvider(): Provider {
  return {
    random: (length) => new Uint8Array(randomBytes(length)),
    prf: (name, key, data) => hmac(prfRow(name), key, data),
    integrity: (name, key, data) => {
      const row = integrityRow(name);
      return hmac(row, key, data).slice(0, row.icvBytes);
    },
    seal,
    open,
    sha1: (data) => new Uint8Array(createHash('sha1').update(data).digest()),
    equal,
  };
}

function hmac(row: { name: string; digest?: string }, key: Uint8Array, data: Uint8Array): Uint8Array {
  if (!row.digest) throw new RangeError(`${row.name} is not an HMAC`);
  return new Uint8Array(createHmac(row.digest, key).update(data).digest());
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** OpenSSL's name of an algorithm with a key of that many bytes (salt not counted). */
function cipherName(name: EncryptionName, keyBytes: number): string {
  switch (name) {
    case 'aes-gcm-16':
      return `aes-${keyBytes * 8}-gcm`;
    case 'aes-cbc':
      return `aes-${keyBytes * 8}-cbc`;
    case 'chacha20-poly1305':
      return 'chacha20-poly1305';
    default:
      throw new RangeError(`${name} is not implemented here`);
  }
}

/** The key without its salt, and the nonce: salt and IV (RFC 4106 §4, RFC 7634 §2). */
function split(
  name: EncryptionName,
  key: Uint8Array,
  iv: Uint8Array,
): { key: Uint8Array; nonce: Uint8Array } {
  const { saltBytes } = encryptionRow(name);
  const keyBytes = key.length - saltBytes;
  const nonce = new Uint8Array(saltBytes + iv.length);
  nonce.set(key.subarray(keyBytes));
  nonce.set(iv, saltBytes);
  return { key: key.subarray(0, keyBytes), nonce };
}

function seal(
  name: EncryptionName,
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const { tagBytes } = encryptionRow(name);
  const parts = split(name, key, iv);
  const algorithm = cipherName(name, parts.key.length);
  if (tagBytes === 0) {
    const cipher = createCipheriv(algorithm, parts.key, parts.nonce).setAutoPadding(false);
    return join(cipher.update(plaintext), cipher.final());
  }
  const cipher = createCipheriv(algorithm as 'aes-256-gcm', parts.key, parts.nonce, {
    authTagLength: tagBytes,
  }) as CipherGCM;
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  return join(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

function open(
  name: EncryptionName,
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const { tagBytes, blockBytes } = encryptionRow(name);
  const parts = split(name, key, iv);
  const algorithm = cipherName(name, parts.key.length);
  const textBytes = sealed.length - tagBytes;
  if (textBytes < 0 || textBytes % blockBytes !== 0) return undefined;
  if (tagBytes === 0) {
    const cipher = createDecipheriv(algorithm, parts.key, parts.nonce).setAutoPadding(false);
    return join(cipher.update(sealed), cipher.final());
  }
  const cipher = createDecipheriv(algorithm as 'aes-256-gcm', parts.key, parts.nonce, {
    authTagLength: tagBytes,
  }) as DecipherGCM;
  cipher.setAAD(aad, { plaintextLength: textBytes });
  cipher.setAuthTag(sealed.subarray(textBytes));
  try {
    return join(cipher.update(sealed.subarray(0, textBytes)), cipher.final());
  } catch {
    return undefined; // the tag does not fit
  }
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** AUTH of a shared key (RFC 7296 §2.15). */
export function pskAuth(
  provider: Provider,
  prf: PrfName,
  secret: Uint8Array,
  octets: Uint8Array,
): Uint8Array {
  const pad = new TextEncoder().encode('Key Pad for IKEv2');
  return provider.prf(prf, provider.prf(prf, secret, pad), octets);
}

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

/** Handles beyond this push out the oldest: an attempt that never ends costs no more than this. */
const MOST_HANDLES = 4096;

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
      const pair = await generate(row);
      return {
        public: encodePublic(row, pair.publicKey),
        secret: await derive(row, pair.privateKey, peerKey),
      };
    },
    async finish(handle, group, peer) {
      const privateKey = privates.get(handle);
      if (!privateKey) throw new RangeError('the key exchange is not there any more');
      return derive(rowOf(group), privateKey, decodePublic(rowOf(group), peer));
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

/** PKCS #8 (RFC 5208 §5) around the raw private half of an elliptic curve. */
function privateFrom(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  if (row.kind === 'montgomery') {
    const oid = row.node === 'x25519' ? 0x6e : 0x6f; // RFC 8410 §3
    const algorithm = der(0x30, Uint8Array.of(0x06, 0x03, 0x2b, 0x65, oid));
    const key = der(0x30, der(0x02, Uint8Array.of(0)), algorithm, der(0x04, der(0x04, value)));
    return createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' });
  }
  if (row.kind !== 'ecp') throw new RangeError(`${row.name}: only elliptic curves take a private key in`);
  const pair = createECDH(row.node!);
  pair.setPrivateKey(value);
  const [, ...point] = pair.getPublicKey();
  const text = (part: ArrayLike<number>) => Buffer.from(Array.from(part)).toString('base64url');
  const [x, y] = [text(point.slice(0, point.length / 2)), text(point.slice(point.length / 2))];
  return createPrivateKey({
    key: { kty: 'EC', crv: CURVES[row.node!]!, x, y, d: text(value) },
    format: 'jwk',
  });
}

interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

function rowOf(group: number): KeyExchangeRow {
  const row = KEY_EXCHANGE.find(({ id }) => id === group);
  if (row?.status !== 'implemented') throw new PublicValueError(`group ${group} is not implemented`);
  return row;
}

const generatePair = promisify(generateKeyPair) as (type: string, options: object) => Promise<KeyPair>;

function generate(row: KeyExchangeRow): Promise<KeyPair> {
  switch (row.kind) {
    case 'modp':
      return generatePair('dh', { group: row.node });
    case 'ecp':
      return generatePair('ec', { namedCurve: row.node });
    case 'montgomery':
      return generatePair(row.node!, {});
    case 'kem':
      throw new RangeError(`${row.name} is not implemented here`);
  }
}

/** On the thread pool: MODP takes a millisecond and more. */
function derive(row: KeyExchangeRow, privateKey: KeyObject, publicKey: KeyObject): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    diffieHellman({ privateKey, publicKey }, (error, secret) => {
      if (error) return reject(new PublicValueError('the public value yields no secret'));
      // RFC 8031 §2: the all-zero secret of a low-order point is refused.
      if (secret.every((byte) => byte === 0))
        return reject(new PublicValueError('the shared secret is zero'));
      resolve(row.kind === 'modp' ? leftPad(secret, row.publicBytes) : new Uint8Array(secret));
    });
  });
}

/** The value of the KE payload: X | Y (RFC 5903 §7), the raw coordinate (RFC 8031 §2), or the padded number (RFC 7296 §3.4). */
function encodePublic(row: KeyExchangeRow, key: KeyObject): Uint8Array {
  if (row.kind === 'modp')
    return leftPad(
      integerAtEnd(key.export({ type: 'spki', format: 'der' }), row.publicBytes),
      row.publicBytes,
    );
  const { x, y } = key.export({ format: 'jwk' });
  const coordinates = [x, y]
    .filter((part) => part !== undefined)
    .map((part) => Buffer.from(part, 'base64url'));
  return new Uint8Array(Buffer.concat(coordinates));
}

function decodePublic(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  if (value.length !== row.publicBytes) {
    throw new PublicValueError(
      `${row.name} has public values of ${row.publicBytes} bytes, not ${value.length}`,
    );
  }
  try {
    return row.kind === 'modp' ? modpKey(row, value) : jwkKey(row, value);
  } catch (error) {
    if (error instanceof PublicValueError) throw error;
    throw new PublicValueError(`not a public value of ${row.name}`); // RFC 5903 §9, RFC 6989 §2.3: not on the curve
  }
}

const CURVES: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};

function jwkKey(row: KeyExchangeRow, value: Uint8Array): KeyObject {
  const text = (part: Uint8Array) => Buffer.from(part).toString('base64url');
  const half = value.length / 2;
  const key =
    row.kind === 'ecp'
      ? {
          kty: 'EC',
          crv: CURVES[row.node!]!,
          x: text(value.subarray(0, half)),
          y: text(value.subarray(half)),
        }
      : { kty: 'OKP', crv: row.node!.toUpperCase(), x: text(value) };
  return createPublicKey({ key, format: 'jwk' });
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
  const body = Buffer.concat(parts);
  const length = body.length;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, ...head), body]));
}

/** A DER INTEGER's content: no leading zeros, except one in front of a set top bit. */
function unsigned(value: Uint8Array): Uint8Array {
  const start = value.findIndex((byte) => byte !== 0);
  const digits = value.subarray(start === -1 ? value.length - 1 : start);
  return digits[0]! & 0x80 ? new Uint8Array(Buffer.concat([Uint8Array.of(0), digits])) : digits;
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
