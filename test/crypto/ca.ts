// A small CA for tests: certificates of every kind, right and wrong, made when they are needed.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import { PATH_RULES, type PathQuestion, type PathRules, parseName } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import type { GeneralName } from '../../src/crypto/x509-names.ts';

export const NOON = Date.UTC(2030, 5, 1, 12);
export const DAY = 86_400_000;

export type TestKey = 'rsa' | 'rsa-pss' | 'p256' | 'p384' | 'p521' | 'ed25519' | 'ed448' | 'ml-dsa-65';

/** RSA takes long to make: each of a kind and number is made once a process. */
const keys = new Map<string, KeyObject>();

export function testKey(kind: TestKey = 'p256', number = 0, bits = 2048): KeyObject {
  const name = `${kind} ${number} ${bits}`;
  const key = keys.get(name) ?? makeKey(kind, bits);
  keys.set(name, key);
  return key;
}

function makeKey(kind: TestKey, bits: number): KeyObject {
  const curves = { p256: 'P-256', p384: 'P-384', p521: 'P-521' } as const;
  switch (kind) {
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;
    case 'rsa-pss':
      return generateKeyPairSync('rsa-pss', { modulusLength: bits }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'ed448':
      return generateKeyPairSync('ed448').privateKey;
    case 'ml-dsa-65':
      return generateKeyPairSync('ml-dsa-65').privateKey;
    default:
      return generateKeyPairSync('ec', { namedCurve: curves[kind] }).privateKey;
  }
}

/** A certificate with the key that belongs to it. */
export interface Holder {
  der: Uint8Array;
  key: KeyObject;
  name: Uint8Array;
}

export interface Wish {
  name?: string;
  key?: KeyObject;
  notBefore?: number;
  notAfter?: number;
  serial?: number;
  extensions?: Uint8Array[];
  spki?: Uint8Array;
  pss?: boolean;
  hash?: string;
}

let serials = 1;

export function nameOf(text: string): Uint8Array {
  return text === '' ? Uint8Array.of(0x30, 0) : parseName(text)!;
}

/** Signed by `issuer`, or by itself. */
export function certify(issuer: Holder | undefined, wish: Wish): Holder {
  const key = wish.key ?? testKey();
  const name = nameOf(wish.name ?? 'CN=leaf');
  const signer = {
    key: issuer?.key ?? key,
    ...(wish.pss && { pss: true }),
    ...(wish.hash && { hash: wish.hash }),
  };
  const fields = {
    subject: name,
    issuer: issuer?.name ?? name,
    spki: wish.spki ?? issue.spkiOf(key),
    serial: Uint8Array.of(0x40, (wish.serial ?? serials) >> 8, (wish.serial ?? serials++) & 0xff),
    notBefore: wish.notBefore ?? NOON - 30 * DAY,
    notAfter: wish.notAfter ?? NOON + 300 * DAY,
    extensions: wish.extensions ?? [],
  };
  return { der: issue.issueCertificate(fields, signer), key, name };
}

export const CA_EXTENSIONS = [issue.basicConstraints(true), issue.keyUsage(5, 6)];

export function makeCa(issuer?: Holder, wish: Wish = {}): Holder {
  return certify(issuer, {
    name: 'C=DE, O=Example, CN=Root',
    key: testKey('p256', 1),
    extensions: CA_EXTENSIONS,
    ...wish,
  });
}

export function makeLeaf(issuer: Holder, wish: Wish & { dns?: string } = {}): Holder {
  const san = issue.subjectAltName([{ type: 'dns', value: wish.dns ?? 'gw.example.org' }]);
  return certify(issuer, {
    name: 'C=DE, O=Example, CN=gw',
    key: testKey('p256', 2),
    extensions: [san],
    ...wish,
  });
}

/** A question with everything else as it should be. */
export function ask(
  chain: readonly (Holder | Uint8Array)[],
  anchors: readonly (Holder | Uint8Array)[],
  more: Partial<Omit<PathQuestion, 'rules'>> & { rules?: Partial<PathRules> } = {},
): PathQuestion {
  const der = (one: Holder | Uint8Array) => (one instanceof Uint8Array ? one : one.der);
  return {
    certificates: chain.map(der),
    anchors: anchors.map(der),
    crls: [],
    ocsp: [],
    at: NOON,
    ...more,
    rules: { ...PATH_RULES, revocation: 'off', ...more.rules },
  };
}

/** Bases as GeneralNames; an `ip` has its mask behind it. */
export function nameConstraints(permitted: GeneralName[], excluded: GeneralName[] = []): Uint8Array {
  const trees = (tag: number, bases: GeneralName[]) =>
    bases.length === 0
      ? []
      : [derOf(tag, ...bases.map((one) => derOf(TAG.SEQUENCE, issue.encodeGeneralName(one))))];
  const value = derOf(TAG.SEQUENCE, ...trees(0xa0, permitted), ...trees(0xa1, excluded));
  return issue.extension('2.5.29.30', value, { critical: true });
}

export function policies(...oids: string[]): Uint8Array {
  return issue.extension(
    '2.5.29.32',
    derOf(TAG.SEQUENCE, ...oids.map((oid) => derOf(TAG.SEQUENCE, encodeOid(oid)))),
  );
}

export function policyMappings(...pairs: [string, string][]): Uint8Array {
  const items = pairs.map(([from, to]) => derOf(TAG.SEQUENCE, encodeOid(from), encodeOid(to)));
  return issue.extension('2.5.29.33', derOf(TAG.SEQUENCE, ...items), { critical: true });
}

export function policyConstraints(limits: { explicit?: number; mapping?: number }): Uint8Array {
  const explicit = limits.explicit === undefined ? [] : [derOf(0x80, Uint8Array.of(limits.explicit))];
  const mapping = limits.mapping === undefined ? [] : [derOf(0x81, Uint8Array.of(limits.mapping))];
  return issue.extension('2.5.29.36', derOf(TAG.SEQUENCE, ...explicit, ...mapping), { critical: true });
}

export function inhibitAnyPolicy(count: number): Uint8Array {
  return issue.extension('2.5.29.54', derOf(TAG.INTEGER, Uint8Array.of(count)), { critical: true });
}
