// Lists and OCSP answers for tests, right and wrong.

import { createHash } from 'node:crypto';
import { unhex } from '../../src/crypto/bytes.ts';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import { readCertificate } from '../../src/crypto/x509-certificate.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { DAY, type Holder, NOON } from './ca.ts';

export interface ListWish {
  revoked?: { serial: string; reason?: number; date?: Uint8Array; extensions?: Uint8Array[] }[];
  thisUpdate?: number;
  nextUpdate?: number | null;
  number?: Uint8Array | null;
  extensions?: Uint8Array[];
  version?: number;
  signer?: Holder;
  hash?: string;
}

export function serialOf(holder: Holder): string {
  return readCertificate(holder.der).serial;
}

export const CRL_NUMBER = issue.extension('2.5.29.20', derOf(TAG.INTEGER, Uint8Array.of(1)));

export function makeList(issuer: Holder, wish: ListWish = {}): Uint8Array {
  const { key } = wish.signer ?? issuer;
  const signer = { key, ...(wish.hash && { hash: wish.hash }) };
  const entries = (wish.revoked ?? []).map(
    ({ serial, reason, date = issue.encodeTime(NOON - DAY), extensions = [] }) => {
      const all = reason === undefined ? extensions : [reasonExtension(reason), ...extensions];
      const tail = all.length > 0 ? [derOf(TAG.SEQUENCE, ...all)] : [];
      return derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, unhex(serial)), date, ...tail);
    },
  );
  const number = wish.number === undefined ? CRL_NUMBER : wish.number;
  const extensions = [...(number ? [number] : []), ...(wish.extensions ?? [])];
  const nextUpdate = wish.nextUpdate === undefined ? NOON + 7 * DAY : wish.nextUpdate;
  const tbs = derOf(
    TAG.SEQUENCE,
    derOf(TAG.INTEGER, Uint8Array.of(wish.version ?? 1)),
    issue.algorithmFor(signer),
    issuer.name,
    issue.encodeTime(wish.thisUpdate ?? NOON - DAY),
    ...(nextUpdate === null ? [] : [issue.encodeTime(nextUpdate)]),
    ...(entries.length > 0 ? [derOf(TAG.SEQUENCE, ...entries)] : []),
    ...(extensions.length > 0 ? [derOf(0xa0, derOf(TAG.SEQUENCE, ...extensions))] : []),
  );
  return issue.signed(tbs, signer);
}

function reasonExtension(reason: number): Uint8Array {
  return issue.extension('2.5.29.21', derOf(TAG.ENUMERATED, Uint8Array.of(reason)));
}

/** Flags by their tag in RFC 5280 §5.2.5: 1 user certificates, 2 CAs, 4 indirect, 5 attributes. */
export function distributionPoint(wish: { url?: string; flags?: number[]; reasons?: boolean }): Uint8Array {
  const name =
    wish.url && derOf(0xa0, derOf(0xa0, issue.encodeGeneralName({ type: 'uri', value: wish.url })));
  const parts = [
    ...(name ? [name] : []),
    ...(wish.flags ?? []).map((flag) => derOf(0x80 | flag, Uint8Array.of(0xff))),
    ...(wish.reasons ? [derOf(0x83, Uint8Array.of(6, 0x40))] : []),
  ];
  return issue.extension('2.5.29.28', derOf(TAG.SEQUENCE, ...parts), { critical: true });
}

export interface AnswerWish {
  status?: 'good' | 'revoked' | 'unknown';
  thisUpdate?: number;
  nextUpdate?: number | null;
  serial?: string;
  hash?: 'sha1' | 'sha256';
  /** Who signs; its certificate goes along where it is not the issuer. */
  responder?: Holder;
  certificates?: Uint8Array[];
  byKey?: boolean;
  extensions?: Uint8Array[];
  singleExtensions?: Uint8Array[];
}

const HASH_OIDS = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1' };

export function makeAnswer(issuer: Holder, about: Holder, wish: AnswerWish = {}): Uint8Array {
  const responder = wish.responder ?? issuer;
  const bits = (holder: Holder) => derBits(issue.spkiOf(holder.key));
  const digest = (hash: string, bytes: Uint8Array) =>
    derOf(TAG.OCTET_STRING, new Uint8Array(createHash(hash).update(bytes).digest()));
  const hash = wish.hash ?? 'sha1';
  const id = derOf(
    TAG.SEQUENCE,
    derOf(TAG.SEQUENCE, encodeOid(HASH_OIDS[hash]), derOf(TAG.NULL)),
    digest(hash, issuer.name),
    digest(hash, bits(issuer)),
    derOf(TAG.INTEGER, unhex(wish.serial ?? serialOf(about))),
  );
  const nextUpdate = wish.nextUpdate === undefined ? NOON + DAY : wish.nextUpdate;
  const single = derOf(
    TAG.SEQUENCE,
    id,
    statusOf(wish.status ?? 'good'),
    generalized(wish.thisUpdate ?? NOON - DAY),
    ...(nextUpdate === null ? [] : [derOf(0xa0, generalized(nextUpdate))]),
    ...(wish.singleExtensions ? [derOf(0xa1, derOf(TAG.SEQUENCE, ...wish.singleExtensions))] : []),
  );
  const tbs = derOf(
    TAG.SEQUENCE,
    wish.byKey ? derOf(0xa2, digest('sha1', bits(responder))) : derOf(0xa1, responder.name),
    generalized(NOON),
    derOf(TAG.SEQUENCE, single),
    ...(wish.extensions ? [derOf(0xa1, derOf(TAG.SEQUENCE, ...wish.extensions))] : []),
  );
  const signer = { key: responder.key };
  const certificates = wish.certificates ?? (wish.responder ? [wish.responder.der] : []);
  const basic = derOf(
    TAG.SEQUENCE,
    tbs,
    issue.algorithmFor(signer),
    issue.bitString(issue.signatureOf(tbs, signer)),
    ...(certificates.length > 0 ? [derOf(0xa0, derOf(TAG.SEQUENCE, ...certificates))] : []),
  );
  const wrapped = derOf(TAG.SEQUENCE, encodeOid('1.3.6.1.5.5.7.48.1.1'), derOf(TAG.OCTET_STRING, basic));
  return derOf(TAG.SEQUENCE, derOf(TAG.ENUMERATED, Uint8Array.of(0)), derOf(0xa0, wrapped));
}

/** An answer without content: 1 malformedRequest, 3 tryLater, 6 unauthorized. */
export function refusal(status: number): Uint8Array {
  return derOf(TAG.SEQUENCE, derOf(TAG.ENUMERATED, Uint8Array.of(status)));
}

function statusOf(status: 'good' | 'revoked' | 'unknown'): Uint8Array {
  if (status === 'good') return derOf(0x80);
  if (status === 'unknown') return derOf(0x82);
  return derOf(0xa1, generalized(NOON - DAY), derOf(0xa0, derOf(TAG.ENUMERATED, Uint8Array.of(1))));
}

function generalized(at: number): Uint8Array {
  const text = new Date(at).toISOString().replace(/[-:T]|\.\d+/g, '');
  return derOf(TAG.GENERALIZED_TIME, new TextEncoder().encode(text));
}

function derBits(spki: Uint8Array): Uint8Array {
  const algorithmEnd = 4 - (spki[1]! < 0x80 ? 2 : spki[1] === 0x81 ? 1 : 0);
  const at = algorithmEnd + 2 + spki[algorithmEnd + 1]!;
  const header = spki[at + 1]! < 0x80 ? 2 : spki[at + 1] === 0x81 ? 3 : 4;
  return spki.subarray(at + header + 1);
}
