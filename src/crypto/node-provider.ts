// The provider on node:crypto.

import {
  type CipherCCM,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherCCM,
  hash,
  type KeyObject,
  randomFillSync,
  timingSafeEqual,
} from 'node:crypto';
import { type AesCbc, cmac, cmacPrf, xcbc, xcbcPrf } from './aes-mac.ts';
import { concat } from './bytes.ts';
import type { Provider } from './provider.ts';
import {
  type EncryptionName,
  encryptionRow,
  type IntegrityName,
  integrityRow,
  type PrfName,
  prfRow,
} from './suites.ts';

const NOTHING = new Uint8Array(0);

export function createNodeProvider(): Provider {
  return {
    random: createRandom(),
    prf,
    integrity: (name, key, data) => mac(name, key, data).slice(0, integrityRow(name).icvBytes),
    seal,
    open,
    sha1: (data) => new Uint8Array(hash('sha1', data, 'buffer')),
    equal,
  };
}

function prf(name: PrfName, key: Uint8Array, data: Uint8Array): Uint8Array {
  switch (name) {
    case 'aes128-xcbc':
      return xcbcPrf(aesCbc, key, data);
    case 'aes128-cmac':
      return cmacPrf(aesCbc, key, data);
    default:
      return hmac(prfRow(name), key, data);
  }
}

/** Not yet truncated. */
function mac(name: IntegrityName, key: Uint8Array, data: Uint8Array): Uint8Array {
  switch (name) {
    case 'aes-xcbc-96':
      return xcbc(aesCbc, key, data);
    case 'aes-cmac-96':
      return cmac(aesCbc, key, data);
    default:
      return hmac(integrityRow(name), key, data);
  }
}

/** RFC 2104 §2 on two hashes: an object of Node for each HMAC costs more than both. */
function hmac(row: { name: string; digest?: string }, key: Uint8Array, data: Uint8Array): Uint8Array {
  const { digest } = row;
  if (!digest) throw new RangeError(`${row.name} is not an HMAC`);
  const blockBytes = digest === 'sha384' || digest === 'sha512' ? 128 : 64;
  const short = key.length > blockBytes ? hash(digest, key, 'buffer') : key;
  const inner = hash(digest, padded(short, blockBytes, 0x36, data), 'buffer');
  return new Uint8Array(hash(digest, padded(short, blockBytes, 0x5c, inner), 'buffer'));
}

function padded(key: Uint8Array, blockBytes: number, pad: number, data: Uint8Array): Uint8Array {
  const text = new Uint8Array(blockBytes + data.length).fill(pad, 0, blockBytes);
  for (let at = 0; at < key.length; at++) text[at]! ^= key[at]!;
  text.set(data, blockBytes);
  return text;
}

const aesCbc: AesCbc = (key, blocks) =>
  new Uint8Array(
    createCipheriv('aes-128-cbc', quick(key), new Uint8Array(16)).setAutoPadding(false).update(blocks),
  );

/** A call of the system's generator costs as much for one byte as for hundreds. What was given out is wiped. */
function createRandom(): (length: number) => Uint8Array {
  const store = new Uint8Array(1024);
  let used = store.length;
  return (length) => {
    if (length > store.length) return randomFillSync(new Uint8Array(length));
    if (used + length > store.length) {
      randomFillSync(store);
      used = 0;
    }
    const bytes = store.slice(used, used + length);
    store.fill(0, used, used + length);
    used += length;
    return bytes;
  };
}

/** Node looks at bytes three times longer than at a key object before it takes them for a key. */
function quick(key: Uint8Array): KeyObject | Uint8Array {
  return key.length === 0 ? key : createSecretKey(key);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** OpenSSL's name of an algorithm with a key of that many bytes (salt not counted); none for NULL. */
function cipherName(name: EncryptionName, keyBytes: number): string | undefined {
  switch (name) {
    case 'aes-gcm-16':
    case 'aes-gcm-12':
    case 'aes-gcm-8':
    case 'aes-gmac':
      return `aes-${keyBytes * 8}-gcm`;
    case 'aes-ccm-16':
    case 'aes-ccm-12':
    case 'aes-ccm-8':
      return `aes-${keyBytes * 8}-ccm`;
    case 'aes-cbc':
      return `aes-${keyBytes * 8}-cbc`;
    case 'aes-ctr':
      return `aes-${keyBytes * 8}-ctr`;
    case 'chacha20-poly1305':
      return 'chacha20-poly1305';
    case 'null':
      return undefined;
    case 'des':
    case '3des':
      throw new RangeError(`${name} is refused: ${encryptionRow(name).reason}`);
  }
}

interface Keyed {
  /** Undefined where nothing is encrypted. */
  algorithm: string | undefined;
  key: Uint8Array;
  nonce: Uint8Array;
}

/** The key without its salt; salt and IV are the nonce (RFC 4106 §4, RFC 4309 §4, RFC 7634 §2). */
function keyed(name: EncryptionName, key: Uint8Array, iv: Uint8Array): Keyed {
  const keyBytes = key.length - encryptionRow(name).saltBytes;
  const nonce = concat([key.subarray(keyBytes), iv]);
  return {
    algorithm: cipherName(name, keyBytes),
    key: key.subarray(0, keyBytes),
    // RFC 3686 §4: the counter block begins with 1.
    nonce: name === 'aes-ctr' ? concat([nonce, Uint8Array.of(0, 0, 0, 1)]) : nonce,
  };
}

function seal(
  name: EncryptionName,
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const { tagBytes } = encryptionRow(name);
  const parts = keyed(name, key, iv);
  if (!parts.algorithm) return plaintext.slice();
  if (tagBytes === 0) {
    const cipher = createCipheriv(parts.algorithm, quick(parts.key), parts.nonce).setAutoPadding(false);
    return concat([cipher.update(plaintext), cipher.final()]);
  }
  // RFC 4543 §3: nothing is encrypted, everything that is sent is associated data.
  if (name === 'aes-gmac')
    return concat([plaintext, sealCombined(parts, tagBytes, concat([aad, iv, plaintext]), NOTHING)]);
  return sealCombined(parts, tagBytes, aad, plaintext);
}

function sealCombined(
  { algorithm, key, nonce }: Keyed,
  authTagLength: number,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv(algorithm as 'aes-256-ccm', quick(key), nonce, {
    authTagLength,
  }) as CipherCCM;
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  return concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function open(
  name: EncryptionName,
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const { tagBytes, blockBytes } = encryptionRow(name);
  const parts = keyed(name, key, iv);
  const textBytes = sealed.length - tagBytes;
  if (textBytes < 0 || textBytes % blockBytes !== 0) return undefined;
  if (!parts.algorithm) return sealed.slice();
  if (tagBytes === 0) {
    const cipher = createDecipheriv(parts.algorithm, quick(parts.key), parts.nonce).setAutoPadding(false);
    return concat([cipher.update(sealed), cipher.final()]);
  }
  const [text, tag] = [sealed.subarray(0, textBytes), sealed.subarray(textBytes)];
  if (name === 'aes-gmac') return openCombined(parts, concat([aad, iv, text]), NOTHING, tag) && text.slice();
  return openCombined(parts, aad, text, tag);
}

function openCombined(
  { algorithm, key, nonce }: Keyed,
  aad: Uint8Array,
  ciphertext: Uint8Array,
  tag: Uint8Array,
): Uint8Array | undefined {
  const cipher = createDecipheriv(algorithm as 'aes-256-ccm', quick(key), nonce, {
    authTagLength: tag.length,
  }) as DecipherCCM;
  cipher.setAuthTag(tag);
  cipher.setAAD(aad, { plaintextLength: ciphertext.length });
  try {
    return concat([cipher.update(ciphertext), cipher.final()]);
  } catch {
    return undefined; // the tag does not fit
  }
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
