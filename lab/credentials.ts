// A CA of the laboratory: certificates of every kind of key, right and wrong ones, as the files of either side.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { derOf, TAG } from '../src/crypto/der.ts';
import { parseName, writePem } from '../src/crypto/x509.ts';
import * as issue from '../src/crypto/x509-issue.ts';

const DAY = 86_400_000;

export const KEY_KINDS = {
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'p-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'p-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'p-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: () => generateKeyPairSync('ed25519'),
  ed448: () => generateKeyPairSync('ed448'),
} as const;

export type KeyKind = keyof typeof KEY_KINDS;

export interface Holder {
  certificate: Uint8Array;
  key: KeyObject;
  name: Uint8Array;
  serial: Uint8Array;
}

export interface Wish {
  kind?: KeyKind;
  /** In its subjectAltName. */
  dns?: string;
  /** Days from now. */
  from?: number;
  to?: number;
}

let serials = 0;

function certify(issuer: Holder | undefined, subject: string, wish: Wish, extensions: Uint8Array[]): Holder {
  const { privateKey: key } = KEY_KINDS[wish.kind ?? 'p-256']();
  const name = parseName(subject)!;
  const serial = Uint8Array.of(0x40, ++serials);
  const spki = issue.spkiOf(key);
  const above = issuer ? issue.spkiOf(issuer.key) : spki;
  const certificate = issue.issueCertificate(
    {
      subject: name,
      issuer: issuer?.name ?? name,
      spki,
      serial,
      notBefore: Date.now() + (wish.from ?? -1) * DAY,
      notAfter: Date.now() + (wish.to ?? 30) * DAY,
      extensions: [...extensions, issue.subjectKeyId(spki), issue.authorityKeyId(above)],
    },
    { key: issuer?.key ?? key },
  );
  return { certificate, key, name, serial };
}

/** `keyUsage` bits 5 and 6: it signs certificates and lists. */
export function makeCa(subject: string, issuer?: Holder): Holder {
  return certify(issuer, subject, {}, [issue.basicConstraints(true), issue.keyUsage(5, 6)]);
}

export function makeLeaf(issuer: Holder, dns: string, wish: Wish = {}): Holder {
  const names = issue.subjectAltName([{ type: 'dns', value: wish.dns ?? dns }]);
  return certify(issuer, `C=DE, O=Example, CN=${dns}`, wish, [names, issue.keyUsage(0)]);
}

/** A list with those on it. */
export function makeCrl(issuer: Holder, revoked: readonly Holder[]): Uint8Array {
  const entries = revoked.map(({ serial }) =>
    derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, serial), issue.encodeTime(Date.now() - DAY)),
  );
  const number = issue.extension('2.5.29.20', derOf(TAG.INTEGER, Uint8Array.of(1)));
  const signer = { key: issuer.key };
  const tbs = derOf(
    TAG.SEQUENCE,
    derOf(TAG.INTEGER, Uint8Array.of(1)),
    issue.algorithmFor(signer),
    issuer.name,
    issue.encodeTime(Date.now() - DAY),
    issue.encodeTime(Date.now() + 7 * DAY),
    ...(entries.length > 0 ? [derOf(TAG.SEQUENCE, ...entries)] : []),
    derOf(0xa0, derOf(TAG.SEQUENCE, number, issue.authorityKeyId(issue.spkiOf(issuer.key)))),
  );
  return issue.signed(tbs, signer);
}

export function certificatePem(...holders: Holder[]): string {
  return holders.map(({ certificate }) => writePem('CERTIFICATE', certificate)).join('');
}

export function keyPem({ key }: Holder): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

export function publicPem({ key }: Holder): string {
  return writePem('PUBLIC KEY', issue.spkiOf(key));
}
