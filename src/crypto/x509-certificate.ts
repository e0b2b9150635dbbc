// A certificate as plain values: fields by place from strict DER, extensions by the @peculiar schemas (RFC 5280 §4).

import type { GeneralName as SchemaName } from '@peculiar/asn1-x509';
import { hex, sameBytes } from './bytes.ts';
import { asciiOf, childrenOf, type DerNode, oidOf, readDer, TAG } from './der.ts';
import { type GeneralName, generalNamesOf, nameKey, printName } from './x509-names.ts';
import { asnConvert, schemas } from './x509-schemas.ts';

/** What is wrong with bytes that should be a certificate, CRL or OCSP answer. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

/** Larger is refused unread: an IKE message cannot carry much more (RFC 7296 §3.1), and no honest one is. */
export const LARGEST_CERTIFICATE = 16_384;

export interface Algorithm {
  oid: string;
  /** DER of the parameters; undefined where absent. */
  parameters: Uint8Array | undefined;
  raw: Uint8Array;
}

export interface Extensions {
  basicConstraints?: { ca: boolean; pathLength?: number };
  /** Bits of `KEY_USAGE`. */
  keyUsage?: number;
  extendedKeyUsage?: string[];
  subjectAltName?: GeneralName[];
  nameConstraints?: { permitted: GeneralName[]; excluded: GeneralName[] };
  policies?: string[];
  policyMappings?: { issuer: string; subject: string }[];
  policyConstraints?: { requireExplicit?: number; inhibitMapping?: number };
  inhibitAnyPolicy?: number;
  subjectKeyId?: Uint8Array;
  authorityKeyId?: Uint8Array;
  crlUrls?: string[];
  ocspUrls?: string[];
}

export interface Certificate extends Extensions {
  der: Uint8Array;
  /** What the signature covers. */
  tbs: Uint8Array;
  version: number;
  /** Content of the INTEGER, as hex. */
  serial: string;
  issuer: Uint8Array;
  subject: Uint8Array;
  /** One text for all spellings of the name (RFC 5280 §7.1). */
  issuerKey: string;
  subjectKey: string;
  /** Wall time, milliseconds. */
  notBefore: number;
  notAfter: number;
  spki: Uint8Array;
  signatureAlgorithm: Algorithm;
  signature: Uint8Array;
  /** Every extension, critical or not, by OID. */
  extensions: ReadonlyMap<string, { critical: boolean; value: Uint8Array }>;
}

/** Throws MalformedError or DerError where the bytes are not one X.509 certificate in DER. */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > LARGEST_CERTIFICATE) throw new MalformedError(`it has ${der.length} bytes`);
  const [tbsNode, algorithmNode, signatureNode, ...more] = childrenOf(
    readDer(der),
    TAG.SEQUENCE,
    'a certificate',
  );
  if (more.length > 0) throw new MalformedError('something follows its signature');
  const { fields, version } = tbsFields(tbsNode);
  const [notBefore, notAfter] = childrenOf(fields.validity, TAG.SEQUENCE, 'its validity');
  const signatureAlgorithm = algorithmOf(algorithmNode);
  // RFC 5280 §4.1.1.2: both places say the same, else one of them is not signed.
  if (!sameBytes(fields.signature!.raw, signatureAlgorithm.raw))
    throw new MalformedError('it names two signature algorithms');
  const extensions = extensionsOf(fields.extensions, version);
  return {
    der,
    tbs: tbsNode!.raw,
    version,
    serial: serialOf(fields.serial!),
    issuer: fields.issuer!.raw,
    subject: fields.subject!.raw,
    issuerKey: keyOf(fields.issuer!.raw),
    subjectKey: keyOf(fields.subject!.raw),
    notBefore: timeOf(notBefore),
    notAfter: timeOf(notAfter),
    spki: fields.spki!.raw,
    signatureAlgorithm,
    signature: bitsOf(signatureNode, 'its signature'),
    extensions,
    ...decodeExtensions(extensions),
  };
}

function keyOf(name: Uint8Array): string {
  const key = nameKey(name);
  if (key === undefined) throw new MalformedError('a name in it is none');
  return key;
}

/** Printable subject, for operators; the serial number where there is no subject. */
export function nameOf(certificate: Certificate): string {
  return printName(certificate.subject) || `serial number ${certificate.serial}`;
}

/** Public values; for secrets this is not. */

export function algorithmOf(node: DerNode | undefined): Algorithm {
  const [oid, parameters, ...more] = childrenOf(node, TAG.SEQUENCE, 'an algorithm');
  if (oid?.tag !== TAG.OID || more.length > 0) throw new MalformedError('an algorithm is none');
  return { oid: oidOf(oid.value), parameters: parameters?.raw, raw: node!.raw };
}

/** The bytes of a BIT STRING without unused bits. */
export function bitsOf(node: DerNode | undefined, what: string): Uint8Array {
  if (node?.tag !== TAG.BIT_STRING || node.value[0] !== 0)
    throw new MalformedError(`${what} is not whole bytes`);
  return node.value.subarray(1);
}

/** The library takes fields in any order and passes over what follows; encoded again the bytes must be the same. */
export function decodeStrict<T>(bytes: Uint8Array, type: new () => T, what: string): T {
  const value = decode(bytes, type, what);
  const again = attempt(() => new Uint8Array(asnConvert().serialize(value)), what);
  if (!sameBytes(again, bytes)) throw new MalformedError(`${what} is not in DER`);
  return value;
}

export function decode<T>(bytes: Uint8Array, type: new () => T, what: string): T {
  return attempt(() => asnConvert().parse(bytes, type), what);
}

export function attempt<T>(work: () => T, what: string): T {
  try {
    return work();
  } catch {
    throw new MalformedError(`${what} cannot be read`);
  }
}

/** RFC 5280 §4.1.2.5: whole seconds in UTC; UTCTime through 2049, GeneralizedTime from 2050. */
export function timeOf(node: Pick<DerNode, 'tag' | 'value'> | undefined): number {
  const text = asciiOf(node?.value ?? new Uint8Array()) ?? '';
  const utc = node?.tag === TAG.UTC_TIME;
  if (utc ? !/^\d{12}Z$/.test(text) : node?.tag !== TAG.GENERALIZED_TIME || !/^\d{14}Z$/.test(text))
    throw new MalformedError('a date is not written as RFC 5280 has it');
  const digits = utc ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const part = (at: number, length = 2) => Number(digits.slice(at, at + length));
  const date = new Date(Date.UTC(2000, part(4) - 1, part(6), part(8), part(10), part(12)));
  // Date.UTC takes years below 100 for those of the last century.
  const at = date.setUTCFullYear(part(0, 4), part(4) - 1, part(6));
  const written = new Date(at).toISOString().replace(/[-:T]|\.000/g, '');
  if (written !== digits) throw new MalformedError('a date does not exist');
  return at;
}

type TbsFields = Partial<
  Record<'serial' | 'signature' | 'issuer' | 'validity' | 'subject' | 'spki' | 'extensions', DerNode>
>;

/** RFC 5280 §4.1: the fields by their place, since the library looks for them in any order. */
function tbsFields(tbs: DerNode | undefined): { fields: TbsFields; version: number } {
  const nodes = [...childrenOf(tbs, TAG.SEQUENCE, 'the signed part')];
  const version = nodes[0]?.tag === 0xa0 ? versionOf(nodes.shift()!) : 1;
  const [serial, signature, issuer, validity, subject, spki, ...optional] = nodes;
  const fields: TbsFields = {};
  const wanted = { serial, signature, issuer, validity, subject, spki };
  for (const [name, node] of Object.entries(wanted)) {
    if (node?.tag !== (name === 'serial' ? TAG.INTEGER : TAG.SEQUENCE))
      throw new MalformedError(`its ${name} is not there`);
    fields[name as keyof typeof wanted] = node;
  }
  // Unique identifiers [1] and [2] are passed over (RFC 5280 §4.1.2.8); order and count stay strict.
  for (const tag of [0x81, 0x82]) if (optional[0]?.tag === tag) optional.shift();
  const extensions = optional.shift();
  if (extensions) {
    if (extensions.tag !== 0xa3 || optional.length > 0)
      throw new MalformedError('a field that X.509 does not have');
    fields.extensions = extensions;
  }
  return { fields, version };
}

function versionOf(node: DerNode): number {
  const value = node.children[0]?.value;
  if (node.children.length !== 1 || value?.length !== 1 || value[0]! < 1 || value[0]! > 2)
    throw new MalformedError('its version is unknown');
  return value[0]! + 1;
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes. */
function serialOf(node: DerNode): string {
  if (node.value[0]! >= 0x80 || node.value.length > 21 || (node.value.length === 21 && node.value[0] !== 0))
    throw new MalformedError('its serial number is negative or too long');
  return hex(node.value);
}

function extensionsOf(node: DerNode | undefined, version: number): Certificate['extensions'] {
  const found = new Map<string, { critical: boolean; value: Uint8Array }>();
  if (!node) return found;
  if (version !== 3) throw new MalformedError('it has extensions and is not of version 3');
  const [list, ...more] = node.children;
  const items = childrenOf(list, TAG.SEQUENCE, 'its extensions');
  if (more.length > 0 || items.length === 0) throw new MalformedError('its extensions are none');
  for (const item of items) {
    const { oid, critical, value } = extensionOf(item);
    // RFC 5280 §4.2: at most one of a kind; which of two counts would be a matter of taste.
    if (found.has(oid)) throw new MalformedError(`it has two extensions ${oid}`);
    found.set(oid, { critical, value });
  }
  return found;
}

export function extensionOf(item: DerNode): { oid: string; critical: boolean; value: Uint8Array } {
  const parts = [...childrenOf(item, TAG.SEQUENCE, 'an extension')];
  const oid = parts.shift();
  const critical = parts[0]?.tag === TAG.BOOLEAN ? parts.shift()!.value[0] === 0xff : false;
  const [value, ...more] = parts;
  if (oid?.tag !== TAG.OID || value?.tag !== TAG.OCTET_STRING || more.length > 0)
    throw new MalformedError('an extension is none');
  return { oid: oidOf(oid.value), critical, value: value.value };
}

/** RFC 5280 §4.2.1.3: bit n as 1 << n. */
export const KEY_USAGE = { digitalSignature: 1, nonRepudiation: 2, keyCertSign: 32, cRLSign: 64 } as const;

type ExtensionReader = (value: Uint8Array) => Extensions;

interface ExtensionRow {
  name: string;
  read: ExtensionReader;
  /** Where its own section leaves no choice. */
  critical?: 'always' | 'never' | 'without subject';
}

/** What is understood; anything else that is critical refuses the certificate (RFC 5280 §4.2). */
export const EXTENSIONS: Readonly<Record<string, ExtensionRow>> = {
  '2.5.29.19': { name: 'basicConstraints', read: basicConstraints },
  '2.5.29.15': { name: 'keyUsage', read: keyUsage },
  '2.5.29.37': { name: 'extKeyUsage', read: extKeyUsage },
  '2.5.29.17': {
    name: 'subjectAltName',
    critical: 'without subject',
    read: (value) => ({ subjectAltName: generalNamesOf(readDer(value), 'subjectAltName') }),
  },
  '2.5.29.30': { name: 'nameConstraints', read: nameConstraints },
  '2.5.29.32': { name: 'certificatePolicies', read: certificatePolicies },
  '2.5.29.33': { name: 'policyMappings', read: policyMappings },
  '2.5.29.36': { name: 'policyConstraints', critical: 'always', read: policyConstraints },
  '2.5.29.54': {
    name: 'inhibitAnyPolicy',
    critical: 'always',
    read: (value) => ({ inhibitAnyPolicy: countOf(readDer(value), TAG.INTEGER) }),
  },
  '2.5.29.14': {
    name: 'subjectKeyIdentifier',
    critical: 'never',
    read: (value) => ({ subjectKeyId: octetsOf(readDer(value), TAG.OCTET_STRING, 'subjectKeyIdentifier') }),
  },
  '2.5.29.35': {
    name: 'authorityKeyIdentifier',
    critical: 'never',
    read: authorityKeyIdentifier,
  },
  '2.5.29.31': { name: 'cRLDistributionPoints', read: distributionPoints },
  '1.3.6.1.5.5.7.1.1': {
    name: 'authorityInfoAccess',
    critical: 'never',
    read: authorityInfoAccess,
  },
};

function decodeExtensions(extensions: Certificate['extensions']): Extensions {
  const all: Extensions = {};
  for (const [oid, { value }] of extensions) Object.assign(all, EXTENSIONS[oid]?.read(value));
  return all;
}

/** BOOLEAN DEFAULT FALSE written out is not DER, and common (`30 03 01 01 00`): read as what it says. */
function basicConstraints(value: Uint8Array): Extensions {
  const parts = [...childrenOf(readDer(value), TAG.SEQUENCE, 'basicConstraints')];
  const ca = parts[0]?.tag === TAG.BOOLEAN ? parts.shift()!.value[0] === 0xff : false;
  const length = parts.shift();
  if (parts.length > 0) throw new MalformedError('basicConstraints has a field too many');
  if (!length) return { basicConstraints: { ca } };
  // RFC 5280 §4.2.1.9: a path length only where cA is asserted.
  if (!ca) throw new MalformedError('basicConstraints limits the path of what is no CA');
  return { basicConstraints: { ca, pathLength: countOf(length, TAG.INTEGER) } };
}

/** Bits are numbered from the left (RFC 5280 §4.2.1.3), flags from the right. */
function keyUsage(value: Uint8Array): Extensions {
  const node = readDer(value);
  if (node.tag !== TAG.BIT_STRING) throw new MalformedError('keyUsage is no BIT STRING');
  const [first = 0, second = 0] = node.value.subarray(1);
  let flags = 0;
  for (let bit = 0; bit < 9; bit++) if (((first << 8) | second) & (0x8000 >> bit)) flags |= 1 << bit;
  return { keyUsage: flags };
}

function extKeyUsage(value: Uint8Array): Extensions {
  const uses = childrenOf(readDer(value), TAG.SEQUENCE, 'extKeyUsage').map(({ tag, value: oid }) => {
    if (tag !== TAG.OID) throw new MalformedError('extKeyUsage lists what is no OID');
    return oidOf(oid);
  });
  return { extendedKeyUsage: someOf(uses) };
}

/** RFC 5280 §4.2.1.10: minimum is 0, maximum absent; an empty extension constrains nothing and may not be. */
function nameConstraints(value: Uint8Array): Extensions {
  decodeStrict(value, schemas().NameConstraints, 'nameConstraints');
  const trees = { permitted: [] as GeneralName[], excluded: [] as GeneralName[] };
  const parts = childrenOf(readDer(value), TAG.SEQUENCE, 'nameConstraints');
  for (const part of someOf([...parts])) {
    const list = part.tag === 0xa0 ? trees.permitted : trees.excluded;
    for (const subtree of someOf([...part.children])) {
      if (subtree.children.length !== 1) throw new MalformedError('a subtree has a minimum or a maximum');
      list.push(...generalNamesOf(subtree, 'a subtree', { constraint: true }));
    }
  }
  return { nameConstraints: trees };
}

function certificatePolicies(value: Uint8Array): Extensions {
  const policies = [...decode(value, schemas().CertificatePolicies, 'certificatePolicies')].map(
    (one) => one.policyIdentifier,
  );
  // RFC 5280 §4.2.1.4: a policy stands there once.
  if (new Set(policies).size !== policies.length) throw new MalformedError('it names a policy twice');
  return { policies: someOf(policies) };
}

function policyMappings(value: Uint8Array): Extensions {
  const mappings = [...decodeStrict(value, schemas().PolicyMappings, 'policyMappings')];
  return {
    policyMappings: someOf(mappings).map((one) => ({
      issuer: one.issuerDomainPolicy,
      subject: one.subjectDomainPolicy,
    })),
  };
}

/** RFC 5280 §4.2.1.11: an empty one may not be. */
function policyConstraints(value: Uint8Array): Extensions {
  const parts = childrenOf(readDer(value), TAG.SEQUENCE, 'policyConstraints');
  const read: NonNullable<Extensions['policyConstraints']> = {};
  for (const part of someOf([...parts])) {
    if (part.tag === 0x80) read.requireExplicit = countOf(part, 0x80);
    else read.inhibitMapping = countOf(part, 0x81);
  }
  return { policyConstraints: read };
}

function authorityKeyIdentifier(value: Uint8Array): Extensions {
  const parts = childrenOf(readDer(value), TAG.SEQUENCE, 'authorityKeyIdentifier');
  const id = parts.find((part) => part.tag === 0x80);
  return id ? { authorityKeyId: id.value } : {};
}

/** Only complete lists of the issuer itself: no reasons, no other issuer (RFC 5280 §4.2.1.13). */
function distributionPoints(value: Uint8Array): Extensions {
  const points = [...decode(value, schemas().CRLDistributionPoints, 'cRLDistributionPoints')];
  const names = points
    .filter((point) => !point.reasons && !point.cRLIssuer)
    .flatMap((point) => point.distributionPoint?.fullName ?? []);
  return { crlUrls: placesIn(names) };
}

const OCSP_ACCESS = '1.3.6.1.5.5.7.48.1';

function authorityInfoAccess(value: Uint8Array): Extensions {
  const entries = [...decode(value, schemas().AuthorityInfoAccessSyntax, 'authorityInfoAccess')];
  const ocsp = entries.filter((entry) => entry.accessMethod === OCSP_ACCESS);
  return { ocspUrls: placesIn(ocsp.map(({ accessLocation }) => accessLocation)) };
}

/** What could be asked: http alone, and no character that would not be one of a URL (RFC 5280 §4.2.1.13, RFC 3986 §2). */
function placesIn(names: SchemaName[]): string[] {
  return names.flatMap(({ uniformResourceIdentifier: url = '' }) =>
    /^http:\/\/[\x21-\x7e]+$/i.test(url) ? url : [],
  );
}

function someOf<T>(items: T[]): T[] {
  if (items.length === 0) throw new MalformedError('an extension lists nothing');
  return items;
}

function octetsOf(node: DerNode, tag: number, what: string): Uint8Array {
  if (node.tag !== tag) throw new MalformedError(`${what} is not what it should be`);
  return node.value;
}

/** A count that paths are held to; more than any path has is as good as the number. */
function countOf(node: DerNode, tag: number): number {
  const { value } = node;
  if (node.tag !== tag || value.length === 0 || value[0]! >= 0x80)
    throw new MalformedError('a count is negative');
  return value.length > 2 ? 0xffff : value.reduce((sum, byte) => sum * 256 + byte, 0);
}
