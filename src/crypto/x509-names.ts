// Names: Distinguished Names compared as RFC 5280 §7.1 says, general names as values, and which identity a certificate proves.

import { formatAddress, type IpAddress } from '../wire/address.ts';
import { ID_TYPE } from '../wire/numbers.ts';
import { hex } from './bytes.ts';
import { asciiOf, childrenOf, type DerNode, derOf, encodeOid, oidOf, readDer, TAG } from './der.ts';

/** Bytes that should hold a name and do not. */
export class NameError extends Error {
  override readonly name = 'NameError';
}

/** RFC 5280 §4.2.1.6. `ip` has 4 or 16 bytes, twice as many with a mask in a constraint; `dn` is DER of a Name. */
export type GeneralName =
  | { type: 'email' | 'dns' | 'uri'; value: string }
  | { type: 'ip'; value: Uint8Array }
  | { type: 'dn'; value: Uint8Array }
  | { type: 'other'; tag: number };

/** What a certificate calls its holder. No common name stands for anything here (RFC 9525 ended that). */
export interface CertificateNames {
  /** DER of the Name; `30 00` where it is empty. */
  subject: Uint8Array;
  dns: string[];
  email: string[];
  addresses: IpAddress[];
  uris: string[];
}

/** Body of an IDi or IDr payload (RFC 7296 §3.5). */
export interface IdentityBytes {
  idType: number;
  data: Uint8Array;
}

export function namesOf(certificate: {
  subject: Uint8Array;
  subjectAltName?: GeneralName[];
}): CertificateNames {
  const all = certificate.subjectAltName ?? [];
  const texts = (type: 'email' | 'dns' | 'uri') => all.flatMap((one) => (one.type === type ? one.value : []));
  return {
    subject: certificate.subject,
    dns: texts('dns'),
    email: texts('email'),
    uris: texts('uri'),
    addresses: all.flatMap((one) => (one.type === 'ip' ? formatAddress(one.value) : [])),
  };
}

/**
 * Whether the certificate proves the identity: by type and value, RFC 4945 §3.1 and §5.1. A wildcard in a certificate
 * proves no name; whom wildcards of ours mean is `matchesPattern`.
 */
export function bindsIdentity(names: CertificateNames, { idType, data }: IdentityBytes): boolean {
  switch (idType) {
    case ID_TYPE.ID_FQDN:
      return !data.includes(STAR) && matchesText(data, names.dns, lowerAscii);
    case ID_TYPE.ID_RFC822_ADDR:
      return matchesText(data, names.email, foldMailbox);
    case ID_TYPE.ID_IPV4_ADDR:
      return data.length === 4 && names.addresses.includes(formatAddress(data));
    case ID_TYPE.ID_IPV6_ADDR:
      return data.length === 16 && names.addresses.includes(formatAddress(data));
    case ID_TYPE.ID_DER_ASN1_DN:
      return !isEmptyName(data) && sameName(data, names.subject);
    default:
      return false;
  }
}

/** Who may come, from our own configuration: `*` is one whole label, mailbox or attribute, nothing less. */
export type NamePattern = { type: 'fqdn' | 'email' | 'dn'; value: string };

/** `*.example.org`, `*@example.org`, `C=DE, O=Example, CN=*`; without `*` it is an equality. */
export function matchesPattern(pattern: NamePattern, { idType, data }: IdentityBytes): boolean {
  switch (pattern.type) {
    case 'fqdn': {
      const text = asciiOf(data);
      return idType === ID_TYPE.ID_FQDN && text !== undefined && labelsMatch(pattern.value, text);
    }
    case 'email': {
      const text = asciiOf(data);
      return idType === ID_TYPE.ID_RFC822_ADDR && text !== undefined && mailboxMatches(pattern.value, text);
    }
    case 'dn':
      return idType === ID_TYPE.ID_DER_ASN1_DN && nameMatches(pattern.value, data);
  }
}

/** RFC 5280 §7.1: attribute by attribute; order and count of the RDNs are strict, within an RDN order is none. */
export function sameName(a: Uint8Array, b: Uint8Array): boolean {
  const [left, right] = [nameKey(a), nameKey(b)];
  return left !== undefined && left === right;
}

/** One text for all spellings of a name; undefined where the bytes are no Name. */
export function nameKey(name: Uint8Array): string | undefined {
  return rdnKeys(name)?.join('\n');
}

/** A key for each RDN, in order. */
export function rdnKeys(name: Uint8Array): string[] | undefined {
  const rdns = tryRdns(name);
  return rdns?.map((rdn) => JSON.stringify(rdn.map(({ oid, value }) => `${oid}=${valueKey(value)}`).sort()));
}

export function isEmptyName(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === TAG.SEQUENCE && name[1] === 0;
}

/** `C=DE, O=Example, CN=gw`, in the order of the bytes; whatever could deceive a terminal is escaped (RFC 4514 §2.4). */
export function printName(name: Uint8Array): string {
  const rdns = tryRdns(name);
  if (!rdns) return `#${hex(name)}`;
  const attribute = ({ oid, value }: Attribute) => `${ATTRIBUTE_NAMES[oid] ?? oid}=${printValue(value)}`;
  return rdns.map((rdn) => rdn.map(attribute).join('+')).join(', ');
}

/** For operators; what is not understood by its tag. */
export function printGeneralName(name: GeneralName): string {
  switch (name.type) {
    case 'dn':
      return printName(name.value);
    case 'ip':
      return formatAddress(name.value);
    case 'other':
      return `of kind ${name.tag & 0x1f}`;
    default:
      return name.value;
  }
}

/** `C=DE, O=Example, CN=gw` to DER; undefined where the text is no name. `\,` and `\+` stand for themselves. */
export function parseName(text: string): Uint8Array | undefined {
  const rdns = splitUnescaped(text, ',').map((rdn) => splitUnescaped(rdn, '+').map(parseAttribute));
  if (rdns.length === 0 || rdns.some((rdn) => rdn.includes(undefined))) return undefined;
  const sets = rdns.map((rdn) => derOf(TAG.SET, ...(rdn as Uint8Array[]).sort(compareBytes)));
  return derOf(TAG.SEQUENCE, ...sets);
}

/** Reads GeneralNames; in a constraint an `ip` has a mask and a name may be partial. Throws NameError, DerError. */
export function generalNamesOf(node: DerNode, what: string, { constraint = false } = {}): GeneralName[] {
  const items = childrenOf(node, TAG.SEQUENCE, what);
  if (items.length === 0) throw new NameError(`${what} lists nothing`);
  return items.map((item) => generalNameOf(item, constraint));
}

function generalNameOf(node: DerNode, constraint: boolean): GeneralName {
  switch (node.tag) {
    case 0x81:
      return { type: 'email', value: textOf(node.value, constraint) };
    case 0x82:
      return { type: 'dns', value: textOf(node.value, constraint) };
    case 0x86:
      return { type: 'uri', value: textOf(node.value, constraint) };
    case 0x87:
      return { type: 'ip', value: addressOf(node.value, constraint) };
    case 0xa4: {
      const name = node.children[0]?.raw;
      if (node.children.length !== 1 || !name || !tryRdns(name))
        throw new NameError('a directory name is none');
      return { type: 'dn', value: name };
    }
    default:
      return { type: 'other', tag: node.tag };
  }
}

/** IA5String of visible characters: a NUL or a line break in a name is an attempt at something. */
function textOf(value: Uint8Array, mayBeEmpty: boolean): string {
  const text = asciiOf(value);
  if (text === undefined || !/^[\x21-\x7e]*$/.test(text) || (text === '' && !mayBeEmpty))
    throw new NameError('a name has characters that no name has');
  return text;
}

function addressOf(value: Uint8Array, constraint: boolean): Uint8Array {
  const width = constraint ? value.length / 2 : value.length;
  if (width !== 4 && width !== 16) throw new NameError('an address is neither IPv4 nor IPv6');
  if (constraint && !/^1*0*$/.test(bits(value.subarray(width)))) throw new NameError('a mask has holes');
  return value;
}

function bits(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
}

interface Attribute {
  oid: string;
  value: DerNode;
}

function tryRdns(name: Uint8Array): Attribute[][] | undefined {
  try {
    return childrenOf(readDer(name), TAG.SEQUENCE, 'a name').map(attributesOf);
  } catch {
    return undefined;
  }
}

function attributesOf(rdn: DerNode): Attribute[] {
  const items = childrenOf(rdn, TAG.SET, 'an RDN').map((item) => {
    const [oid, value, ...more] = childrenOf(item, TAG.SEQUENCE, 'an attribute');
    if (oid?.tag !== TAG.OID || !value || more.length > 0) throw new NameError('an attribute is none');
    return { oid: oidOf(oid.value), value };
  });
  if (items.length === 0) throw new NameError('an RDN is empty');
  return items;
}

/** PrintableString and UTF8String are one kind of text, IA5String another, the rest is bytes (RFC 5280 §7.1, §7.3). */
function valueKey({ tag, value, raw }: DerNode): string {
  if (tag === TAG.PRINTABLE_STRING || tag === TAG.UTF8_STRING) {
    const text = utf8(value);
    if (text !== undefined) return `t${foldText(text)}`;
  }
  if (tag === TAG.IA5_STRING) {
    const text = asciiOf(value);
    if (text !== undefined) return `i${foldText(text)}`;
  }
  return `b${hex(raw)}`;
}

/** RFC 4518 §2 as far as it can only make equal what looks equal. */
function foldText(text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();
}

function utf8(value: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    return undefined;
  }
}

function printValue({ tag, value, raw }: DerNode): string {
  const text = tag === TAG.BMP_STRING ? undefined : utf8(value);
  if (text === undefined || tag & 0x20) return `#${hex(raw)}`;
  return text
    .replace(/[\\,+"<>;]/g, '\\$&')
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (odd) => hex(new TextEncoder().encode(odd)).replace(/../g, '\\$&'));
}

function matchesText(data: Uint8Array, names: readonly string[], fold: (text: string) => string): boolean {
  const text = asciiOf(data);
  if (text === undefined || text === '') return false;
  return names.some((name) => fold(name) === fold(text));
}

function lowerAscii(text: string): string {
  return text.toLowerCase();
}

/** RFC 5280 §7.5: the mailbox as written, the host without regard to case. */
function foldMailbox(text: string): string {
  const at = text.lastIndexOf('@');
  return text.slice(0, at + 1) + text.slice(at + 1).toLowerCase();
}

function labelsMatch(pattern: string, text: string): boolean {
  const [wanted, given] = [pattern.toLowerCase().split('.'), text.toLowerCase().split('.')];
  return (
    wanted.length === given.length &&
    wanted.every((label, i) => (label === '*' ? isLabel(given[i]!) : label === given[i]))
  );
}

function isLabel(label: string): boolean {
  return /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label);
}

function mailboxMatches(pattern: string, text: string): boolean {
  if (!pattern.startsWith('*@')) return foldMailbox(pattern) === foldMailbox(text);
  const at = text.lastIndexOf('@');
  return at > 0 && text.slice(at + 1).toLowerCase() === pattern.slice(2).toLowerCase();
}

function nameMatches(pattern: string, name: Uint8Array): boolean {
  const parsed = parseName(pattern);
  const wanted = parsed && tryRdns(parsed);
  const given = tryRdns(name);
  if (!wanted || !given || wanted.length === 0 || wanted.length !== given.length) return false;
  return wanted.every((rdn, i) => rdnMatches(rdn, given[i]!));
}

function rdnMatches(wanted: Attribute[], given: Attribute[]): boolean {
  return (
    wanted.length === given.length &&
    // Each of ours stands for one of theirs: what is left over would be a name that nobody looked at.
    new Set(wanted.map(({ oid }) => oid)).size === wanted.length &&
    wanted.every(({ oid, value }) =>
      given.some(
        (one) => one.oid === oid && (valueKey(value) === ANYTHING || valueKey(value) === valueKey(one.value)),
      ),
    )
  );
}

const ANYTHING = 't*';
const STAR = '*'.charCodeAt(0);

function splitUnescaped(text: string, separator: string): string[] {
  return text.match(separator === ',' ? /(\\.|[^,\\])+/g : /(\\.|[^+\\])+/g) ?? [];
}

function parseAttribute(text: string): Uint8Array | undefined {
  const found = /^\s*([A-Za-z][A-Za-z0-9-]*|[012](?:\.\d{1,9})+)\s*=\s*(.*?)\s*$/s.exec(text);
  if (!found) return undefined;
  const name = found[1]!;
  const oid = /^[0-9]/.test(name) ? name : ATTRIBUTE_OIDS[name.toUpperCase()];
  const value = new TextEncoder().encode(found[2]!.replace(/\\(.)/gs, '$1'));
  if (!oid || value.length === 0) return undefined;
  return derOf(TAG.SEQUENCE, encodeOid(oid), derOf(STRING_TAGS[oid] ?? TAG.UTF8_STRING, value));
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const [left, right] = [hex(a), hex(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** RFC 4514 §3 and the ones that site certificates carry besides. */
const ATTRIBUTE_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.17': 'postalCode',
  '2.5.4.42': 'GN',
  '2.5.4.46': 'dnQualifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'E',
};

const ATTRIBUTE_OIDS: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(ATTRIBUTE_NAMES).map(([oid, name]) => [name.toUpperCase(), oid]),
);

/** RFC 5280 appendix A: what may not be a UTF8String. */
const STRING_TAGS: Readonly<Record<string, number>> = {
  '2.5.4.5': TAG.PRINTABLE_STRING,
  '2.5.4.6': TAG.PRINTABLE_STRING,
  '2.5.4.46': TAG.PRINTABLE_STRING,
  '0.9.2342.19200300.100.1.25': TAG.IA5_STRING,
  '1.2.840.113549.1.9.1': TAG.IA5_STRING,
};
