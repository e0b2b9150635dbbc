// Signatures of AUTH on node:crypto: padding, salt and the form of raw r and s are said; DER of ECDSA is what it has of itself.

import { constants, type KeyObject, type SigningOptions, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { type Curve, type KeyType, SIGNATURE_SCHEMES, type SignatureScheme } from './signature-schemes.ts';

/** OpenSSL's names of the curves, and the bytes of a number on them. */
const CURVES: Readonly<Record<string, { curve: Curve; bytes: number; hash: string }>> = {
  prime256v1: { curve: 'p-256', bytes: 32, hash: 'sha256' },
  secp384r1: { curve: 'p-384', bytes: 48, hash: 'sha384' },
  secp521r1: { curve: 'p-521', bytes: 66, hash: 'sha512' },
};

/** NIST SP 800-131A rev. 2 §3. */
const LEAST_RSA_BITS = 2048;
/** More keeps us busy and protects nobody. */
const MOST_RSA_BITS = 16_384;

const KEY_TYPES: readonly (KeyType | 'rsa-pss')[] = [
  'rsa',
  'rsa-pss',
  'ec',
  'ed25519',
  'ed448',
  'ml-dsa-44',
  'ml-dsa-65',
  'ml-dsa-87',
];

const HASH_BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64, identity: 0 } as const;

/** Why no signature of this key is made or believed. */
export function weakness(key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key;
  if (!KEY_TYPES.some((one) => one === type)) return `a key of type ${type} cannot sign IKE`;
  if (type === 'ec' && !CURVES[details.namedCurve ?? ''])
    return `its curve ${details.namedCurve} is none of P-256, P-384 and P-521`;
  if (type !== 'rsa' && type !== 'rsa-pss') return undefined;
  const { modulusLength = 0, publicExponent = 0n } = details;
  if (modulusLength < LEAST_RSA_BITS)
    return `its RSA modulus has ${modulusLength} bits, ${LEAST_RSA_BITS} are the least`;
  if (modulusLength > MOST_RSA_BITS) return `its RSA modulus has more than ${MOST_RSA_BITS} bits`;
  return publicExponent < 3n || publicExponent % 2n === 0n
    ? 'its RSA exponent is even or less than 3'
    : undefined;
}

/** Whether the scheme is one for such a key. */
export function suits(key: KeyObject, scheme: SignatureScheme): boolean {
  if (key.asymmetricKeyType === 'rsa-pss') return scheme.padding === 'pss' && allowsHash(key, scheme);
  if (key.asymmetricKeyType !== scheme.keyType) return false;
  if (!scheme.curve) return true;
  return CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']?.curve === scheme.curve;
}

/** RFC 4055 §3.3: a key for PSS alone may name the hashes and the shortest salt; without them all are allowed. */
function allowsHash({ asymmetricKeyDetails = {} }: KeyObject, { hash }: SignatureScheme): boolean {
  const { hashAlgorithm = hash, mgf1HashAlgorithm = hash, saltLength = 0 } = asymmetricKeyDetails;
  return hashAlgorithm === hash && mgf1HashAlgorithm === hash && saltLength <= HASH_BYTES[hash];
}

/** What a key can sign with, the best first: with a curve goes the hash of its size (RFC 8422 and RFC 4754 agree). */
export function schemesFor(key: KeyObject): SignatureScheme[] {
  if (weakness(key) !== undefined) return [];
  const own = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']?.hash;
  const suiting = SIGNATURE_SCHEMES.filter((scheme) => suits(key, scheme));
  return [...suiting.filter(({ hash }) => hash === own), ...suiting.filter(({ hash }) => hash !== own)];
}

const signAsync = promisify(sign) as (
  hash: string | null,
  data: Uint8Array,
  key: SigningKey,
) => Promise<Buffer>;
const verifyAsync = promisify(verify) as (
  hash: string | null,
  data: Uint8Array,
  key: SigningKey,
  signature: Uint8Array,
) => Promise<boolean>;

type SigningKey = (SigningOptions & { key: KeyObject }) | KeyObject;

/** A tenth of a millisecond: handing it to the thread pool costs half as much again. */
function isQuick({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === 'ed25519' || asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

/** On a thread of the pool where it takes long. Rejects where key and scheme do not belong together. */
export async function signOctets(
  key: KeyObject,
  scheme: SignatureScheme,
  octets: Uint8Array,
): Promise<Uint8Array> {
  if (!suits(key, scheme)) throw new RangeError(`${scheme.name} is nothing for this key`);
  if (isQuick(key)) return new Uint8Array(sign(hashOf(scheme), octets, parameters(key, scheme)));
  return new Uint8Array(await signAsync(hashOf(scheme), octets, parameters(key, scheme)));
}

/** On a thread of the pool where it takes long; false for whatever does not verify. */
export async function verifyOctets(
  key: KeyObject,
  scheme: SignatureScheme,
  octets: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (weakness(key) !== undefined || !suits(key, scheme) || !hasLength(key, scheme, signature)) return false;
  try {
    if (isQuick(key)) return verify(hashOf(scheme), octets, parameters(key, scheme), signature);
    return await verifyAsync(hashOf(scheme), octets, parameters(key, scheme), signature);
  } catch {
    return false;
  }
}

function hashOf({ hash }: SignatureScheme): string | null {
  return hash === 'identity' ? null : hash;
}

function parameters(key: KeyObject, { keyType, padding, hash, curve }: SignatureScheme): SigningKey {
  // The key alone where that says it all: Node looks at an object around it for longer.
  if (keyType === 'ec') return curve ? { key, dsaEncoding: 'ieee-p1363' } : key;
  if (padding === 'pkcs1') return { key, padding: constants.RSA_PKCS1_PADDING };
  // RFC 7427 §A.4: the salt is as long as the hash, neither more nor less.
  if (padding === 'pss')
    return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_BYTES[hash] };
  return key;
}

/** Where the length is fixed (RFC 8017 §8.1.2, RFC 4754 §7); DER of ECDSA has none. */
function hasLength(key: KeyObject, { keyType, curve }: SignatureScheme, { length }: Uint8Array): boolean {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (keyType === 'rsa') return length === Math.ceil(modulusLength / 8);
  return !curve || length === 2 * CURVES[namedCurve]!.bytes;
}
