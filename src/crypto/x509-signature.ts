// Keys and signatures of certificates: which are accepted, how strong they are, and whether one verifies.

import { constants, type KeyObject, verify } from 'node:crypto';
import { sameBytes } from './bytes.ts';
import { childrenOf, type DerNode, oidOf, readDer, smallIntegerOf, TAG } from './der.ts';
import { importPublicKey } from './spki.ts';
import { type Algorithm, algorithmOf, bitsOf } from './x509-certificate.ts';

export type KeyKind =
  | 'rsa'
  | 'rsa-pss'
  | 'ec'
  | 'ed25519'
  | 'ed448'
  | 'ml-dsa-44'
  | 'ml-dsa-65'
  | 'ml-dsa-87';

/** A public key that was looked at; `problem` says why it cannot be used, and then there is no `key`. */
export interface PublicKey {
  kind: KeyKind | 'unknown';
  /** Size of the modulus, of the field, or what the name says. */
  bits: number;
  description: string;
  key?: KeyObject;
  problem?: string;
}

/** How a certificate, CRL or OCSP answer is signed. `hash` is `identity` where the scheme has its own. */
export interface SignatureScheme {
  name: string;
  keys: readonly KeyKind[];
  hash: string;
  saltLength?: number;
}

interface KeyRow {
  kind: KeyKind;
  bits?: number;
  description: string;
}

const RSA = '1.2.840.113549.1.1';
const EC_KEY = '1.2.840.10045.2.1';
const NIST = '2.16.840.1.101.3.4';

/** By the OID of SubjectPublicKeyInfo; EC by that of the named curve (RFC 5480 §2.1.1.1: no other form). */
const KEYS: Readonly<Record<string, KeyRow>> = {
  [`${RSA}.1`]: { kind: 'rsa', description: 'RSA' },
  [`${RSA}.10`]: { kind: 'rsa-pss', description: 'RSA-PSS' },
  '1.2.840.10045.3.1.7': { kind: 'ec', bits: 256, description: 'ECDSA P-256' },
  '1.3.132.0.34': { kind: 'ec', bits: 384, description: 'ECDSA P-384' },
  '1.3.132.0.35': { kind: 'ec', bits: 521, description: 'ECDSA P-521' },
  '1.3.101.112': { kind: 'ed25519', bits: 256, description: 'Ed25519' },
  '1.3.101.113': { kind: 'ed448', bits: 456, description: 'Ed448' },
  [`${NIST}.3.17`]: { kind: 'ml-dsa-44', bits: 1312 * 8, description: 'ML-DSA-44' },
  [`${NIST}.3.18`]: { kind: 'ml-dsa-65', bits: 1952 * 8, description: 'ML-DSA-65' },
  [`${NIST}.3.19`]: { kind: 'ml-dsa-87', bits: 2592 * 8, description: 'ML-DSA-87' },
};

const ANY_RSA = ['rsa', 'rsa-pss'] as const;

/** RSASSA-PSS is not here: its parameters say what it is (RFC 4055 §3.1). */
const SCHEMES: Readonly<Record<string, SignatureScheme>> = {
  [`${RSA}.4`]: { name: 'md5WithRSA', keys: ['rsa'], hash: 'md5' },
  [`${RSA}.5`]: { name: 'sha1WithRSA', keys: ['rsa'], hash: 'sha1' },
  [`${RSA}.14`]: { name: 'sha224WithRSA', keys: ['rsa'], hash: 'sha224' },
  [`${RSA}.11`]: { name: 'sha256WithRSA', keys: ['rsa'], hash: 'sha256' },
  [`${RSA}.12`]: { name: 'sha384WithRSA', keys: ['rsa'], hash: 'sha384' },
  [`${RSA}.13`]: { name: 'sha512WithRSA', keys: ['rsa'], hash: 'sha512' },
  [`${NIST}.3.14`]: { name: 'sha3-256WithRSA', keys: ['rsa'], hash: 'sha3-256' },
  [`${NIST}.3.15`]: { name: 'sha3-384WithRSA', keys: ['rsa'], hash: 'sha3-384' },
  [`${NIST}.3.16`]: { name: 'sha3-512WithRSA', keys: ['rsa'], hash: 'sha3-512' },
  '1.2.840.10045.4.1': { name: 'ecdsaWithSHA1', keys: ['ec'], hash: 'sha1' },
  '1.2.840.10045.4.3.1': { name: 'ecdsaWithSHA224', keys: ['ec'], hash: 'sha224' },
  '1.2.840.10045.4.3.2': { name: 'ecdsaWithSHA256', keys: ['ec'], hash: 'sha256' },
  '1.2.840.10045.4.3.3': { name: 'ecdsaWithSHA384', keys: ['ec'], hash: 'sha384' },
  '1.2.840.10045.4.3.4': { name: 'ecdsaWithSHA512', keys: ['ec'], hash: 'sha512' },
  [`${NIST}.3.10`]: { name: 'ecdsaWithSHA3-256', keys: ['ec'], hash: 'sha3-256' },
  [`${NIST}.3.11`]: { name: 'ecdsaWithSHA3-384', keys: ['ec'], hash: 'sha3-384' },
  [`${NIST}.3.12`]: { name: 'ecdsaWithSHA3-512', keys: ['ec'], hash: 'sha3-512' },
  '1.3.101.112': { name: 'Ed25519', keys: ['ed25519'], hash: 'identity' },
  '1.3.101.113': { name: 'Ed448', keys: ['ed448'], hash: 'identity' },
  [`${NIST}.3.17`]: { name: 'ML-DSA-44', keys: ['ml-dsa-44'], hash: 'identity' },
  [`${NIST}.3.18`]: { name: 'ML-DSA-65', keys: ['ml-dsa-65'], hash: 'identity' },
  [`${NIST}.3.19`]: { name: 'ML-DSA-87', keys: ['ml-dsa-87'], hash: 'identity' },
};

const HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  [`${NIST}.2.4`]: 'sha224',
  [`${NIST}.2.1`]: 'sha256',
  [`${NIST}.2.2`]: 'sha384',
  [`${NIST}.2.3`]: 'sha512',
  [`${NIST}.2.8`]: 'sha3-256',
  [`${NIST}.2.9`]: 'sha3-384',
  [`${NIST}.2.10`]: 'sha3-512',
};

const NULL_PARAMETERS = Uint8Array.of(TAG.NULL, 0);

/** More is no key but an attempt to keep us busy: one check of 16,384 bits takes milliseconds. */
const LARGEST_RSA_BITS = 16_384;

/** Never throws: what cannot be used comes back with its problem. */
export function readPublicKey(spki: Uint8Array): PublicKey {
  const nothing = { kind: 'unknown' as const, bits: 0, description: 'an unknown key' };
  try {
    const [algorithmNode, keyNode, ...more] = childrenOf(readDer(spki), TAG.SEQUENCE, 'a public key');
    if (more.length > 0) return { ...nothing, problem: 'something follows it' };
    const algorithm = algorithmOf(algorithmNode);
    const row = KEYS[algorithm.oid === EC_KEY ? curveOf(algorithm) : algorithm.oid];
    if (!row || (row.kind === 'ec') !== (algorithm.oid === EC_KEY))
      return { ...nothing, problem: 'neither its kind nor its curve is one we know' };
    return checked(row, algorithm, bitsOf(keyNode, 'a public key'), spki);
  } catch {
    return { ...nothing, problem: 'it cannot be read' };
  }
}

function checked(row: KeyRow, algorithm: Algorithm, content: Uint8Array, spki: Uint8Array): PublicKey {
  const rsa = row.kind === 'rsa' || row.kind === 'rsa-pss';
  const bits = rsa ? modulusBits(content) : row.bits!;
  const facts = {
    kind: row.kind,
    bits,
    description: rsa ? `${row.description} ${bits} bits` : row.description,
  };
  const problem = rsa ? rsaProblem(content, bits) : undefined;
  if (problem) return { ...facts, problem };
  // RFC 3279 §2.3.1: NULL; RFC 8410 §3: nothing. EC has been read, PSS is OpenSSL's to read.
  const allowed = row.kind === 'ec' || row.kind === 'rsa-pss' || parametersAre(algorithm, row.kind === 'rsa');
  // OpenSSL reads a single zero as the point at infinity, for which anybody can sign (SEC 1 §2.3.4).
  if (row.kind === 'ec' && content.length < 2) return { ...facts, problem: 'it is no point of its curve' };
  if (!allowed) return { ...facts, problem: 'it has parameters that its kind does not have' };
  try {
    return { ...facts, key: importPublicKey(spki) };
  } catch {
    return { ...facts, problem: 'it is not a key of its kind' };
  }
}

function curveOf(algorithm: Algorithm): string {
  const node = algorithm.parameters && readDer(algorithm.parameters);
  return node?.tag === TAG.OID ? oidOf(node.value) : '';
}

function rsaNumbers(content: Uint8Array): { modulus: Uint8Array; exponent: Uint8Array } {
  const [modulus, exponent] = childrenOf(readDer(content), TAG.SEQUENCE, 'an RSA key');
  if (modulus?.tag !== TAG.INTEGER || exponent?.tag !== TAG.INTEGER) throw new RangeError('no RSA key');
  return { modulus: modulus.value, exponent: exponent.value };
}

function modulusBits(content: Uint8Array): number {
  const { modulus } = rsaNumbers(content);
  const start = modulus[0] === 0 ? 1 : 0;
  return (modulus.length - start) * 8 - (modulus[start] ? Math.clz32(modulus[start]) - 24 : 8);
}

/** CVE-2017-9022, CVE-2026-14957: a number that is zero, one, even or negative never reaches the arithmetic. */
function rsaProblem(content: Uint8Array, bits: number): string | undefined {
  const { modulus, exponent } = rsaNumbers(content);
  const small = smallIntegerOf(exponent);
  if (modulus[0]! >= 0x80 || exponent[0]! >= 0x80) return 'one of its numbers is negative';
  if ((modulus.at(-1)! & 1) === 0) return 'its modulus is even';
  if ((exponent.at(-1)! & 1) === 0 || small === 1) return 'its exponent is even or one';
  if (exponent.length > 9) return 'its exponent has more than 64 bits';
  if (bits > LARGEST_RSA_BITS) return `its modulus has more than ${LARGEST_RSA_BITS} bits`;
  return undefined;
}

/** Why nothing that the key signed is believed; undefined where it is good. */
export function keyProblem(
  { kind, bits, problem }: PublicKey,
  { minimumRsaBits }: { minimumRsaBits: number },
) {
  if (problem) return `cannot be used: ${problem}`;
  const weak = (kind === 'rsa' || kind === 'rsa-pss') && bits < minimumRsaBits;
  return weak ? `has ${bits} bits, and ${minimumRsaBits} are the least` : undefined;
}

/** The scheme an AlgorithmIdentifier names; undefined where it names none, or with parameters that it may not have. */
export function schemeOf(algorithm: Algorithm): SignatureScheme | undefined {
  if (algorithm.oid === `${RSA}.10`) return pssOf(algorithm);
  const scheme = SCHEMES[algorithm.oid];
  // RFC 4055 §5: PKCS#1 v1.5 has NULL, and absence is accepted; RFC 5758 §3.2, RFC 8410 §3: the others have nothing.
  return scheme && parametersAre(algorithm, scheme.keys[0] === 'rsa') ? scheme : undefined;
}

function parametersAre({ parameters }: Algorithm, mayBeNull: boolean): boolean {
  return parameters === undefined || (mayBeNull && sameBytes(parameters, NULL_PARAMETERS));
}

/** RFC 4055 §3.1. Absent fields mean SHA-1, which no rule allows; MGF1 with another hash is nobody's practice. */
function pssOf({ parameters }: Algorithm): SignatureScheme | undefined {
  if (!parameters) return undefined;
  try {
    const fields = new Map(
      childrenOf(readDer(parameters), TAG.SEQUENCE, 'PSS').map((one) => [one.tag, only(one)]),
    );
    const hash = hashOf(fields.get(0xa0));
    const mask = fields.has(0xa1) ? algorithmOf(fields.get(0xa1)) : undefined;
    const maskHash = mask?.oid === `${RSA}.8` && mask.parameters ? hashOf(readDer(mask.parameters)) : 'sha1';
    const salt = fields.get(0xa2);
    const saltLength = salt ? smallIntegerOf(salt.value) : 20;
    const trailer = fields.get(0xa3);
    if (hash === undefined || hash !== maskHash || saltLength === undefined || saltLength > 64)
      return undefined;
    if (trailer && smallIntegerOf(trailer.value) !== 1) return undefined;
    return { name: `RSASSA-PSS with ${hash}`, keys: ANY_RSA, hash, saltLength };
  } catch {
    return undefined;
  }
}

function only(node: DerNode): DerNode {
  const [one, ...more] = node.children;
  if (!one || more.length > 0) throw new RangeError('not one field');
  return one;
}

function hashOf(node: DerNode | undefined): string | undefined {
  if (!node) return 'sha1';
  const algorithm = algorithmOf(node);
  return parametersAre(algorithm, true) ? HASHES[algorithm.oid] : undefined;
}

interface Signed {
  data: Uint8Array;
  signature: Uint8Array;
}

/** On a thread of the pool; false for anything that does not verify, never a rejection. */
function verifies(key: KeyObject, scheme: SignatureScheme, { data, signature }: Signed): Promise<boolean> {
  const pss = scheme.saltLength !== undefined;
  const options = pss
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: scheme.saltLength! }
    : { key, dsaEncoding: 'der' as const };
  const hash = scheme.hash === 'identity' ? null : scheme.hash;
  return new Promise((resolve) => {
    try {
      verify(hash, data, options, signature, (error, good) => resolve(!error && good));
    } catch {
      resolve(false);
    }
  });
}

/** By a key and a scheme that the rules allow; false for everything else. */
export async function isSignedBy(
  { kind, key, ...rest }: PublicKey,
  algorithm: Algorithm,
  signed: Signed,
  rules: { minimumRsaBits: number; signatureHashes: readonly string[] },
): Promise<boolean> {
  const scheme = schemeOf(algorithm);
  if (!scheme || !key || kind === 'unknown' || keyProblem({ kind, ...rest }, rules)) return false;
  const allowed = scheme.hash === 'identity' || rules.signatureHashes.includes(scheme.hash);
  return allowed && scheme.keys.includes(kind) && verifies(key, scheme, signed);
}
