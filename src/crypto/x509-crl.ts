// Certificate revocation lists (RFC 5280 §5, §6.3): complete ones of the issuer itself, and nothing cleverer.

import { setImmediate } from 'node:timers/promises';
import { hex, sameBytes } from './bytes.ts';
import { childrenOf, type DerNode, elementsOf, fewElementsOf, readDer, TAG } from './der.ts';
import {
  type Algorithm,
  algorithmOf,
  bitsOf,
  type Certificate,
  extensionOf,
  KEY_USAGE,
  MalformedError,
  timeOf,
} from './x509-certificate.ts';
import { generalNamesOf, nameKey } from './x509-names.ts';
import type { Answer, Budget, Inquiry } from './x509-revocation.ts';
import { PATH_BUDGET } from './x509-rules.ts';
import { isSignedBy } from './x509-signature.ts';

export interface RevocationList {
  tbs: Uint8Array;
  algorithm: Algorithm;
  signature: Uint8Array;
  issuerKey: string;
  thisUpdate: number;
  nextUpdate: number;
  /** Entries, one after the other, unread. */
  entries: Uint8Array;
  extensions: ReadonlyMap<string, { critical: boolean; value: Uint8Array }>;
}

const OID = {
  crlNumber: '2.5.29.20',
  reason: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  deltaIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  authorityKeyId: '2.5.29.35',
  freshest: '2.5.29.46',
} as const;

/** Those that may be critical or not; a delta or another issuer of entries is found among the rest, and refuses. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.authorityKeyId,
  OID.issuingDistributionPoint,
  OID.freshest,
]);

/** What the list says of the certificate; `problem` where it says nothing. */
export async function askList(der: Uint8Array, inquiry: Inquiry, budget: Budget): Promise<Answer> {
  try {
    const list = readList(der);
    const problem = whyUseless(list, inquiry);
    if (problem) return { problem };
    const { issuer, rules } = inquiry;
    if (--budget.signatures < 0) return { problem: 'too many signatures would have to be checked' };
    const signed = { data: list.tbs, signature: list.signature };
    if (!(await isSignedBy(issuer.key, list.algorithm, signed, rules)))
      return { problem: 'the list is not signed by the issuer' };
    return await findEntry(list.entries, inquiry.certificate.serial);
  } catch (error) {
    return { problem: `the list cannot be read: ${(error as Error).message}` };
  }
}

/** Throws MalformedError or DerError. Entries stay unread. */
export function readList(der: Uint8Array): RevocationList {
  if (der.length > PATH_BUDGET.crlBytes) throw new MalformedError(`it has ${der.length} bytes`);
  const [tbs, algorithm, signature, ...more] = partsOf(der);
  if (!tbs || !algorithm || more.length > 0) throw new MalformedError('it has not three parts');
  const fields = partsOf(tbs.raw);
  const take = (tag: number) => (fields[0]?.tag === tag ? fields.shift() : undefined);
  const version = take(TAG.INTEGER);
  const inner = take(TAG.SEQUENCE);
  const issuer = take(TAG.SEQUENCE);
  const thisUpdate = fields.shift();
  const nextUpdate =
    fields[0]?.tag === TAG.UTC_TIME || fields[0]?.tag === TAG.GENERALIZED_TIME ? fields.shift() : undefined;
  const entries = take(TAG.SEQUENCE);
  const extensions = take(0xa0);
  // RFC 5280 §5.1: version 2, and both dates; older lists say neither when they end nor what they are.
  if (version?.value[0] !== 1 || !nextUpdate || !extensions)
    throw new MalformedError('it is not of version 2');
  if (!inner || !issuer || fields.length > 0) throw new MalformedError('its fields are not those of a list');
  const outer = algorithmOf(readDer(algorithm.raw));
  if (!sameBytes(inner.raw, outer.raw)) throw new MalformedError('it names two signature algorithms');
  const issuerKey = nameKey(issuer.raw);
  if (issuerKey === undefined) throw new MalformedError('its issuer is no name');
  return {
    tbs: tbs.raw,
    algorithm: outer,
    signature: bitsOf(signature && readDer(signature.raw), 'its signature'),
    issuerKey,
    thisUpdate: timeOf(thisUpdate),
    nextUpdate: timeOf(nextUpdate),
    entries: entries?.value ?? new Uint8Array(),
    extensions: extensionsOf(extensions.raw),
  };
}

/** A list has seven, of which two may be missing (RFC 5280 §5.1). */
const MOST_FIELDS = 7;

/** One level of a SEQUENCE. */
function partsOf(der: Uint8Array) {
  const [outer, ...more] = fewElementsOf(der, 2);
  if (outer?.tag !== TAG.SEQUENCE || more.length > 0) throw new MalformedError('it is not one sequence');
  return fewElementsOf(outer.value, MOST_FIELDS);
}

function extensionsOf(der: Uint8Array): RevocationList['extensions'] {
  const [list] = readDer(der).children;
  const found = childrenOf(list, TAG.SEQUENCE, 'its extensions').map(extensionOf);
  if (new Set(found.map(({ oid }) => oid)).size !== found.length)
    throw new MalformedError('two extensions of a kind');
  return new Map(found.map((one) => [one.oid, one]));
}

/** Cheapest first; nothing here needs a signature to be true, for it only takes away. */
function whyUseless(list: RevocationList, { certificate, issuer, at, rules }: Inquiry): string | undefined {
  if (list.issuerKey !== certificate.issuerKey) return 'the list is of another issuer';
  const { keyUsage } = issuer.certificate;
  // RFC 5280 §6.3.3 (f).
  if (keyUsage !== undefined && (keyUsage & KEY_USAGE.cRLSign) === 0)
    return 'the issuer may not sign lists (cRLSign)';
  if (list.thisUpdate > at + rules.revocationSkew) return 'the list is from the future: check the clock';
  if (list.nextUpdate < at - rules.clockTolerance) return 'the list is out of date';
  return whyNotComplete(list, certificate);
}

function whyNotComplete({ extensions }: RevocationList, certificate: Certificate): string | undefined {
  if (extensions.has(OID.deltaIndicator)) return 'the list tells only what changed (delta)';
  // RFC 5280 §5.2.3: each list is numbered, and the number is not critical.
  if (extensions.get(OID.crlNumber)?.critical !== false)
    return 'the list is not numbered as RFC 5280 §5.2.3 has it';
  for (const [oid, { critical }] of extensions)
    if (critical && !UNDERSTOOD.has(oid))
      return `the list has a critical extension that we do not understand (${oid})`;
  const point = extensions.get(OID.issuingDistributionPoint);
  return point && whyNotMeant(point.value, certificate);
}

/** RFC 5280 §5.2.5, §6.3.3 (b): a list for a part of the certificates must be for this one. */
function whyNotMeant(value: Uint8Array, certificate: Certificate): string | undefined {
  const parts = childrenOf(readDer(value), TAG.SEQUENCE, 'the issuing distribution point');
  const isCa = certificate.basicConstraints?.ca === true;
  for (const part of parts) {
    const flag = part.value.some((byte) => byte !== 0);
    if (part.tag === 0xa0 && !isPointOf(part.children[0]?.raw, certificate))
      return 'the list is for another distribution point';
    if (part.tag === 0x81 && flag && isCa) return 'the list is for certificates that are no CA';
    if (part.tag === 0x82 && flag && !isCa) return 'the list is for CAs';
    if (part.tag === 0x83) return 'the list is for some reasons only';
    if ((part.tag === 0x84 || part.tag === 0x85) && flag) return 'the list is indirect, or for attributes';
    if (part.tag !== 0xa0 && (part.tag < 0x81 || part.tag > 0x85))
      return 'the list says what it is for in a way we do not know';
  }
  return undefined;
}

function isPointOf(name: Uint8Array | undefined, { crlUrls = [] }: Certificate): boolean {
  if (name?.[0] !== 0xa0) return false;
  const [full] = [readDer(name)];
  const names = generalNamesOf({ ...full!, tag: TAG.SEQUENCE }, 'a distribution point');
  return names.some((one) => one.type === 'uri' && crlUrls.includes(one.value));
}

/** Between so many entries others get their turn: a list may have a hundred thousand. */
const ENTRIES_A_TURN = 2048;

/** RFC 5280 §5.3: an entry that cannot be understood makes the list useless, whosever entry it is. */
async function findEntry(entries: Uint8Array, serial: string): Promise<Answer> {
  let found: Answer = { status: 'good' };
  let count = 0;
  for (const entry of elementsOf(entries)) {
    if (++count % ENTRIES_A_TURN === 0) await setImmediate();
    const [number, date, extensions] = fewElementsOf(entry.value, 3);
    if (entry.tag !== TAG.SEQUENCE || number?.tag !== TAG.INTEGER)
      throw new MalformedError('an entry is none');
    const reason = extensions && reasonOf(extensions.raw);
    if (hex(number.value) === serial)
      found = { status: 'revoked', since: sinceOf(date), ...(reason !== undefined && { reason }) };
  }
  return found;
}

/** Undefined where the date is none: that it was withdrawn is true all the same. */
function sinceOf(date: Pick<DerNode, 'tag' | 'value'> | undefined): number | undefined {
  try {
    return timeOf(date);
  } catch {
    return undefined;
  }
}

function reasonOf(der: Uint8Array): number | undefined {
  let reason: number | undefined;
  for (const item of childrenOf(readDer(der), TAG.SEQUENCE, 'extensions of an entry')) {
    const { oid, critical, value } = extensionOf(item);
    if (oid === OID.reason) reason = readDer(value).value[0];
    else if (critical && oid !== OID.invalidityDate)
      throw new MalformedError(`an entry has ${oid}, which is critical`);
  }
  return reason;
}
