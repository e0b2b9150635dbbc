// Writes and signs certificates, requests, lists and answers: what `isthmus pki` and the tests make their own from.

import { constants, createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { derOf, encodeOid, TAG } from './der.ts';
import type { GeneralName } from './x509-names.ts';

export interface CertificateFields {
  /** DER of Names. */
  subject: Uint8Array;
  issuer: Uint8Array;
  /** DER of SubjectPublicKeyInfo. */
  spki: Uint8Array;
  /** Content of the INTEGER, positive. */
  serial: Uint8Array;
  /** Wall time, milliseconds. */
  notBefore: number;
  notAfter: number;
  extensions: readonly Uint8Array[];
}

/** How to sign: `pss` with an RSA key takes RSASSA-PSS in place of PKCS#1 v1.5. */
export interface Signer {
  key: KeyObject;
  pss?: boolean;
  hash?: string;
}

export function issueCertificate(fields: CertificateFields, signer: Signer): Uint8Array {
  const algorithm = algorithmFor(signer);
  const tbs = derOf(
    TAG.SEQUENCE,
    derOf(0xa0, derOf(TAG.INTEGER, Uint8Array.of(2))),
    derOf(TAG.INTEGER, fields.serial),
    algorithm,
    fields.issuer,
    derOf(TAG.SEQUENCE, encodeTime(fields.notBefore), encodeTime(fields.notAfter)),
    fields.subject,
    fields.spki,
    ...(fields.extensions.length > 0 ? [derOf(0xa3, derOf(TAG.SEQUENCE, ...fields.extensions))] : []),
  );
  return signed(tbs, signer);
}

/** SEQUENCE { what is signed, algorithm, signature }: the shape of certificates, requests and lists alike. */
export function signed(tbs: Uint8Array, signer: Signer): Uint8Array {
  return derOf(TAG.SEQUENCE, tbs, algorithmFor(signer), bitString(signatureOf(tbs, signer)));
}

export function signatureOf(data: Uint8Array, { key, pss = false, hash }: Signer): Uint8Array {
  const row = signingRow(key, hash);
  const options = pss
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_BYTES[row.hash!]! }
    : { key, dsaEncoding: 'der' as const };
  return new Uint8Array(sign(row.hash, data, options));
}

/** DER of the AlgorithmIdentifier that a signer's signatures carry. */
export function algorithmFor({ key, pss = false, hash }: Signer): Uint8Array {
  const row = signingRow(key, hash);
  if (pss) return pssAlgorithm(row.hash!);
  return derOf(TAG.SEQUENCE, encodeOid(row.oid), ...(row.oid.startsWith(PKCS1) ? [derOf(TAG.NULL)] : []));
}

export function bitString(bytes: Uint8Array): Uint8Array {
  return derOf(TAG.BIT_STRING, Uint8Array.of(0), bytes);
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049. */
export function encodeTime(at: number): Uint8Array {
  const digits = new Date(at).toISOString().replace(/[-:T]|\.\d+/g, '');
  const year = Number(digits.slice(0, 4));
  const utc = year >= 1950 && year < 2050;
  return derOf(utc ? TAG.UTC_TIME : TAG.GENERALIZED_TIME, ascii(utc ? digits.slice(2) : digits));
}

export function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }));
}

export function extension(oid: string, value: Uint8Array, { critical = false } = {}): Uint8Array {
  const flag = critical ? [derOf(TAG.BOOLEAN, Uint8Array.of(0xff))] : [];
  return derOf(TAG.SEQUENCE, encodeOid(oid), ...flag, derOf(TAG.OCTET_STRING, value));
}

export function basicConstraints(ca: boolean, pathLength?: number): Uint8Array {
  const flag = ca ? [derOf(TAG.BOOLEAN, Uint8Array.of(0xff))] : [];
  const length = pathLength === undefined ? [] : [derOf(TAG.INTEGER, Uint8Array.of(pathLength))];
  return extension('2.5.29.19', derOf(TAG.SEQUENCE, ...flag, ...length), { critical: true });
}

/** Bits by their place in RFC 5280 §4.2.1.3: 0 digitalSignature … 5 keyCertSign, 6 cRLSign. */
export function keyUsage(...places: number[]): Uint8Array {
  const byte = places.reduce((sum, place) => sum | (0x80 >> place), 0);
  const unused = byte === 0 ? 0 : 31 - Math.clz32(byte & -byte);
  const content = byte === 0 ? Uint8Array.of(0) : Uint8Array.of(unused, byte);
  return extension('2.5.29.15', derOf(TAG.BIT_STRING, content), { critical: true });
}

export function extendedKeyUsage(...oids: string[]): Uint8Array {
  return extension('2.5.29.37', derOf(TAG.SEQUENCE, ...oids.map(encodeOid)));
}

export function subjectAltName(names: readonly GeneralName[]): Uint8Array {
  return extension('2.5.29.17', derOf(TAG.SEQUENCE, ...names.map(encodeGeneralName)));
}

export function encodeGeneralName(name: GeneralName): Uint8Array {
  switch (name.type) {
    case 'email':
      return derOf(0x81, ascii(name.value));
    case 'dns':
      return derOf(0x82, ascii(name.value));
    case 'uri':
      return derOf(0x86, ascii(name.value));
    case 'ip':
      return derOf(0x87, name.value);
    case 'dn':
      return derOf(0xa4, name.value);
    case 'other':
      return derOf(name.tag);
  }
}

/** RFC 5280 §4.2.1.2, method (1). */
export function keyIdOf(spki: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(spki).digest());
}

export function subjectKeyId(spki: Uint8Array): Uint8Array {
  return extension('2.5.29.14', derOf(TAG.OCTET_STRING, keyIdOf(spki)));
}

export function authorityKeyId(spki: Uint8Array): Uint8Array {
  return extension('2.5.29.35', derOf(TAG.SEQUENCE, derOf(0x80, keyIdOf(spki))));
}

/** Where the issuer's list can be had. */
export function crlDistributionPoint(url: string): Uint8Array {
  const name = derOf(0xa0, derOf(0xa0, encodeGeneralName({ type: 'uri', value: url })));
  return extension('2.5.29.31', derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, name)));
}

/** Where the issuer's responder answers. */
export function ocspAccess(url: string): Uint8Array {
  const entry = derOf(
    TAG.SEQUENCE,
    encodeOid('1.3.6.1.5.5.7.48.1'),
    encodeGeneralName({ type: 'uri', value: url }),
  );
  return extension('1.3.6.1.5.5.7.1.1', derOf(TAG.SEQUENCE, entry));
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

interface SigningRow {
  oid: string;
  hash: string | null;
}

const PKCS1 = '1.2.840.113549.1.1';
const HASH_BYTES: Readonly<Record<string, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };
const RSA_OIDS: Readonly<Record<string, string>> = { sha1: '5', sha256: '11', sha384: '12', sha512: '13' };
const CURVES: Readonly<Record<string, SigningRow>> = {
  prime256v1: { oid: '1.2.840.10045.4.3.2', hash: 'sha256' },
  secp384r1: { oid: '1.2.840.10045.4.3.3', hash: 'sha384' },
  secp521r1: { oid: '1.2.840.10045.4.3.4', hash: 'sha512' },
};
const OWN_HASH: Readonly<Record<string, string>> = {
  ed25519: '1.3.101.112',
  ed448: '1.3.101.113',
  'ml-dsa-44': '2.16.840.1.101.3.4.3.17',
  'ml-dsa-65': '2.16.840.1.101.3.4.3.18',
  'ml-dsa-87': '2.16.840.1.101.3.4.3.19',
};

function signingRow(key: KeyObject, hash = 'sha256'): SigningRow {
  const type = key.asymmetricKeyType ?? '';
  if (type === 'rsa' || type === 'rsa-pss') return { oid: `${PKCS1}.${RSA_OIDS[hash]}`, hash };
  const row = type === 'ec' ? CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] : undefined;
  if (row) return row;
  const oid = OWN_HASH[type];
  if (!oid) throw new RangeError(`a key of type ${type} signs no certificates`);
  return { oid, hash: null };
}

const HASH_OIDS: Readonly<Record<string, string>> = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
};

/** RFC 4055 §3.1: every field written out, the salt as long as the hash. */
function pssAlgorithm(hash: string): Uint8Array {
  const hashAlgorithm = derOf(TAG.SEQUENCE, encodeOid(HASH_OIDS[hash]!), derOf(TAG.NULL));
  const mask = derOf(TAG.SEQUENCE, encodeOid(`${PKCS1}.8`), hashAlgorithm);
  const salt = derOf(TAG.INTEGER, Uint8Array.of(HASH_BYTES[hash]!));
  const parameters = derOf(TAG.SEQUENCE, derOf(0xa0, hashAlgorithm), derOf(0xa1, mask), derOf(0xa2, salt));
  return derOf(TAG.SEQUENCE, encodeOid(`${PKCS1}.10`), parameters);
}
