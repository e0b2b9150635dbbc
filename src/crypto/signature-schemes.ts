// Signatures of IKE as rows: what stands in AUTH, which key makes it, which hash must have been announced.

import { concat, unhex } from './bytes.ts';

/** RFC 7296 §3.8 and the IANA registry of authentication methods. */
const METHOD = { RSA: 1, ECDSA_256: 9, ECDSA_384: 10, ECDSA_521: 11, DIGITAL_SIGNATURE: 14 } as const;

/** RFC 7427 §4; 5 is RFC 8420. */
const HASH = { sha1: 1, sha256: 2, sha384: 3, sha512: 4, identity: 5 } as const;

export type HashName = keyof typeof HASH;
export type KeyType = 'rsa' | 'ec' | 'ed25519' | 'ed448' | 'ml-dsa-44' | 'ml-dsa-65' | 'ml-dsa-87';
export type Curve = 'p-256' | 'p-384' | 'p-521';

export interface SignatureScheme {
  /** In the configuration and in reports; `old` ones are for peers without RFC 7427. */
  name: string;
  /** Of the AUTH payload. */
  method: number;
  /** `identity`: the algorithm takes the octets themselves (RFC 8420 §2). */
  hash: HashName;
  keyType: KeyType;
  /** Of an EC key, where the method fixes it (RFC 4754 §3); r and s then stand raw, without DER. */
  curve?: Curve;
  /** How an RSA signature is padded; PSS with a salt as long as the hash (RFC 7427 §A.4). */
  padding?: 'pkcs1' | 'pss';
  /** DER AlgorithmIdentifiers of method 14: the first is what we send, all are taken; none for old methods. */
  algorithms: readonly Uint8Array[];
  /** Weak by now: only where the configuration says `legacy`. */
  legacy?: true;
  /** Rests on a draft: only where the configuration names it. */
  experimental?: true;
}

const NULL = '0500';
const SHA2_OID = {
  sha256: '0609608648016503040201',
  sha384: '0609608648016503040202',
  sha512: '0609608648016503040203',
} as const;
const HASH_BYTES = { sha256: 32, sha384: 48, sha512: 64 } as const;

function tlv(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts);
  return concat([Uint8Array.of(tag, body.length), body]);
}

function sequence(...parts: (string | Uint8Array)[]): Uint8Array {
  return tlv(0x30, ...parts.map((part) => (typeof part === 'string' ? unhex(part) : part)));
}

function rsa(suffix: string): Uint8Array {
  return sequence(`06092a864886f70d0101${suffix}`, NULL);
}

/**
 * RSASSA-PSS with the same hash twice (RFC 4055 §3.1). DER leaves the default trailer out; RFC 7427 §A.4.3 writes it.
 * Parameters of a hash may be NULL or absent (RFC 4055 §2.1).
 */
function pss(hash: keyof typeof SHA2_OID): Uint8Array[] {
  const salt = tlv(0xa2, Uint8Array.of(0x02, 1, HASH_BYTES[hash]));
  const trailer = tlv(0xa3, Uint8Array.of(0x02, 1, 1));
  const forms = [true, false].flatMap((withNull) => {
    const digest = sequence(SHA2_OID[hash], ...(withNull ? [NULL] : []));
    const fields = [tlv(0xa0, digest), tlv(0xa1, sequence('06092a864886f70d010108', digest)), salt];
    return [fields, [...fields, trailer]];
  });
  return forms.map((fields) => sequence('06092a864886f70d01010a', tlv(0x30, ...fields)));
}

function ecdsa(suffix: string): Uint8Array {
  return sequence(`06082a8648ce3d0403${suffix}`);
}

type Extra = Partial<Pick<SignatureScheme, 'curve' | 'padding' | 'legacy' | 'experimental'>>;

function row(
  name: string,
  method: number,
  hash: HashName,
  keyType: KeyType,
  algorithms: readonly Uint8Array[],
  extra: Extra = {},
): SignatureScheme {
  return { name, method, hash, keyType, algorithms, ...extra };
}

const NEW = METHOD.DIGITAL_SIGNATURE;
const [PSS, PKCS1, DRAFT]: Extra[] = [{ padding: 'pss' }, { padding: 'pkcs1' }, { experimental: true }];

/** In order of preference for each type of key. */
export const SIGNATURE_SCHEMES: readonly SignatureScheme[] = [
  row('ed448', NEW, 'identity', 'ed448', [sequence('06032b6571')]),
  row('ed25519', NEW, 'identity', 'ed25519', [sequence('06032b6570')]),
  row('ecdsa-sha256', NEW, 'sha256', 'ec', [ecdsa('02')]),
  row('ecdsa-sha384', NEW, 'sha384', 'ec', [ecdsa('03')]),
  row('ecdsa-sha512', NEW, 'sha512', 'ec', [ecdsa('04')]),
  // PKCS#1 v1.5 first: of the peers that know RFC 7427 not all can PSS, and none says so without RFC 9593.
  row('rsa-sha256', NEW, 'sha256', 'rsa', [rsa('0b')], PKCS1),
  row('rsa-sha384', NEW, 'sha384', 'rsa', [rsa('0c')], PKCS1),
  row('rsa-sha512', NEW, 'sha512', 'rsa', [rsa('0d')], PKCS1),
  row('rsa-pss-sha256', NEW, 'sha256', 'rsa', pss('sha256'), PSS),
  row('rsa-pss-sha384', NEW, 'sha384', 'rsa', pss('sha384'), PSS),
  row('rsa-pss-sha512', NEW, 'sha512', 'rsa', pss('sha512'), PSS),
  // draft-ietf-ipsecme-ikev2-pqc-auth: pure ML-DSA, empty context, in the frame of RFC 8420.
  row('ml-dsa-44', NEW, 'identity', 'ml-dsa-44', [sequence('0609608648016503040311')], DRAFT),
  row('ml-dsa-65', NEW, 'identity', 'ml-dsa-65', [sequence('0609608648016503040312')], DRAFT),
  row('ml-dsa-87', NEW, 'identity', 'ml-dsa-87', [sequence('0609608648016503040313')], DRAFT),
  // RFC 4754: the method says curve and hash.
  row('ecdsa-sha256-old', METHOD.ECDSA_256, 'sha256', 'ec', [], { curve: 'p-256' }),
  row('ecdsa-sha384-old', METHOD.ECDSA_384, 'sha384', 'ec', [], { curve: 'p-384' }),
  row('ecdsa-sha512-old', METHOD.ECDSA_521, 'sha512', 'ec', [], { curve: 'p-521' }),
  // RFC 7296 §3.8: the signature itself names its hash; SHA-1 is the default of old peers.
  row('rsa-sha1-old', METHOD.RSA, 'sha1', 'rsa', [], { ...PKCS1, legacy: true }),
  row('rsa-sha256-old', METHOD.RSA, 'sha256', 'rsa', [], PKCS1),
  row('rsa-sha384-old', METHOD.RSA, 'sha384', 'rsa', [], PKCS1),
  row('rsa-sha512-old', METHOD.RSA, 'sha512', 'rsa', [], PKCS1),
];

/** Throws RangeError: names come from the table. */
export function schemeRow(name: string): SignatureScheme {
  const found = SIGNATURE_SCHEMES.find((one) => one.name === name);
  if (!found) throw new RangeError(`there is no signature scheme ${name}`);
  return found;
}

/** Of SIGNATURE_HASH_ALGORITHMS, RFC 7427 §4. */
export function hashId(name: HashName): number {
  return HASH[name];
}

export function isOld({ method }: SignatureScheme): boolean {
  return method !== NEW;
}

/** The data of AUTH. Method 14: a byte for the length of the AlgorithmIdentifier, that, the signature (RFC 7427 §3). */
export function encodeProof({ method, algorithms }: SignatureScheme, signature: Uint8Array): Uint8Array {
  if (method !== NEW) return signature;
  const [algorithm] = algorithms;
  return concat([Uint8Array.of(algorithm!.length), algorithm!, signature]);
}

/**
 * Which schemes AUTH may mean, and the signature; none where method or AlgorithmIdentifier are not in the table. The
 * identifier is compared byte for byte: no parser stands between the attacker and the choice of an algorithm.
 */
export function decodeProof(
  method: number,
  data: Uint8Array,
): { schemes: SignatureScheme[]; signature: Uint8Array } {
  const rows = SIGNATURE_SCHEMES.filter((one) => one.method === method);
  if (method !== NEW) return { schemes: rows, signature: data };
  const length = data[0] ?? 0;
  const algorithm = data.subarray(1, 1 + length);
  const complete = data.length > 1 + length;
  return {
    schemes: complete ? rows.filter(({ algorithms }) => algorithms.some((one) => same(one, algorithm))) : [],
    signature: data.subarray(1 + length),
  };
}

/** Public values. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
