// Certificate paths: bytes and a time in, a verdict out. Nothing is read or fetched here; what the last certificates
// said is remembered.

import { createHash, hash, type KeyObject } from 'node:crypto';
import { sameBytes } from './bytes.ts';
import { findPath, newBudget } from './x509-build.ts';
import { readCertificate } from './x509-certificate.ts';
import { checkPath, type Judged, type Link } from './x509-checks.ts';
import { checkNameConstraints } from './x509-constraints.ts';
import { type CertificateNames, namesOf, printName } from './x509-names.ts';
import { checkPolicies } from './x509-policies.ts';
import { checkRevocation, type Wanted } from './x509-revocation.ts';
import { PATH_BUDGET, type PathRules, type Reason } from './x509-rules.ts';
import { readPublicKey, schemeOf } from './x509-signature.ts';

export type { CertificateNames } from './x509-names.ts';
export { bindsIdentity, matchesPattern, parseName, printName, sameName } from './x509-names.ts';
export { readCertificateFile, readObjects, readPem, writePem } from './x509-pem.ts';
export type { PathRules, Reason } from './x509-rules.ts';
export { PATH_RULES } from './x509-rules.ts';

export interface PathQuestion {
  /** DER, the leaf first, the rest in any order. */
  certificates: readonly Uint8Array[];
  /** DER of the CAs we trust; a leaf of the peer, pinned, is allowed. Never changed once given: what was read is kept. */
  anchors: readonly Uint8Array[];
  /** DER. */
  crls: readonly Uint8Array[];
  ocsp: readonly Uint8Array[];
  /** Wall time, milliseconds. */
  at: number;
  rules: PathRules;
}

export interface Verdict {
  valid: boolean;
  /** Every reason that was found, not the first alone; empty where valid. */
  reasons: Reason[];
  /** DER, leaf first; ends in an anchor where one was reached. */
  path: Uint8Array[];
  /** DER of the leaf's SubjectPublicKeyInfo; empty where it could not be read. */
  publicKey: Uint8Array;
  names: CertificateNames;
  /** When the first certificate of the path ends: wall time, milliseconds. */
  notAfter: number;
  /** Empty unless the path is good but for revocation: nothing is asked of hosts that a stranger named. */
  wanted: Wanted[];
}

/** Never rejects: bytes of any kind get a verdict. */
export async function judgePath(question: PathQuestion): Promise<Verdict> {
  const tooMuch = excess(question);
  const leaf = tooMuch ? undefined : readLink(question.certificates[0]!);
  if (tooMuch || !leaf || 'code' in leaf) return refused(tooMuch ?? (leaf as Reason));
  const budget = newBudget();
  const others = readLinks(distinct(question.certificates.slice(1)));
  const anchors = readLinks(question.anchors);
  const { rules } = question;
  // Certificates count whole seconds (RFC 5280 §4.1.2.5): the last one lasts until it is over.
  const at = Math.floor(question.at / 1000) * 1000;
  const found = await findPath({
    leaf,
    others: others.links,
    anchors: anchors.links,
    rules,
    at,
    budget,
    judge,
  });
  const reasons = found.reasons.length > 0 ? [...found.reasons, ...others.reasons, ...anchors.reasons] : [];
  const trusted = found.anchored && reasons.length === 0;
  const evidence = { crls: question.crls, ocsp: question.ocsp, at, rules };
  const revocation = trusted ? await checkRevocation(found.path, evidence) : { reasons: [], wanted: [] };
  reasons.push(...revocation.reasons);
  return {
    valid: found.anchored && reasons.length === 0,
    reasons,
    path: found.path.map(({ certificate }) => certificate.der),
    publicKey: leaf.certificate.spki,
    names: namesOf(leaf.certificate),
    notAfter: Math.min(...found.path.map(({ certificate }) => certificate.notAfter)),
    wanted: revocation.wanted,
  };
}

function judge(judged: Judged): Reason[] {
  return [...checkPath(judged), ...checkNameConstraints(judged), ...checkPolicies(judged)];
}

/** SHA-1 of SubjectPublicKeyInfo, as CERTREQ names a CA (RFC 7296 §3.7). A name here, no protection. */
export function certificateKeyHash(spki: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(spki).digest());
}

/** SubjectPublicKeyInfo of a certificate; undefined where the bytes are none. */
export function publicKeyOf(der: Uint8Array): Uint8Array | undefined {
  const link = readLink(der);
  return 'code' in link ? undefined : link.certificate.spki;
}

/** The public key, where the bytes are a certificate with one that is of a kind we know. */
export function keyOf(der: Uint8Array): KeyObject | undefined {
  const link = readLink(der);
  return 'code' in link ? undefined : link.key.key;
}

/** What `pki show` and `status` say of a certificate. */
export interface CertificateDescription {
  subject: string;
  issuer: string;
  serial: string;
  /** Wall time, milliseconds. */
  notBefore: number;
  notAfter: number;
  names: CertificateNames;
  key: string;
  /** DER of SubjectPublicKeyInfo. */
  publicKey: Uint8Array;
  signature: string;
  ca: boolean;
  /** SHA-256 of the DER, hex. */
  fingerprint: string;
}

/** A Reason where the bytes are no certificate. */
export function describeCertificate(der: Uint8Array): CertificateDescription | Reason {
  const link = readLink(der);
  if ('code' in link) return link;
  const { certificate, key } = link;
  return {
    subject: printName(certificate.subject),
    issuer: printName(certificate.issuer),
    serial: certificate.serial,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    names: namesOf(certificate),
    publicKey: certificate.spki,
    key: key.problem ? `${key.description} (${key.problem})` : key.description,
    signature: schemeOf(certificate.signatureAlgorithm)?.name ?? certificate.signatureAlgorithm.oid,
    ca: certificate.basicConstraints?.ca === true,
    fingerprint: createHash('sha256').update(der).digest('hex'),
  };
}

/** Before anything is parsed. */
function excess({ certificates, anchors, crls, ocsp }: PathQuestion): Reason | undefined {
  const most = PATH_BUDGET;
  const says = (text: string): Reason => ({ code: 'TOO_BIG', certificate: '', text });
  if (certificates.length === 0) return { code: 'MALFORMED', certificate: '', text: 'no certificate came' };
  if (certificates.length > most.certificates)
    return says(`${certificates.length} certificates came, and ${most.certificates} are the most`);
  if (anchors.length > most.anchors)
    return says(`${anchors.length} anchors, and ${most.anchors} are the most`);
  if (crls.length > most.crls || ocsp.length > most.ocsp) return says('too many revocation lists or answers');
  return undefined;
}

/** The last ones read, by their SHA-256: peers come again with what they came with before. */
const LINKS_KEPT = 512;
const linksRead = new Map<string, Link | Reason>();

function readLink(der: Uint8Array): Link | Reason {
  const digest = hash('sha256', der, 'base64');
  const known = linksRead.get(digest) ?? parseLink(der);
  linksRead.delete(digest);
  linksRead.set(digest, known);
  if (linksRead.size > LINKS_KEPT) linksRead.delete(linksRead.keys().next().value!);
  return known;
}

function parseLink(der: Uint8Array): Link | Reason {
  try {
    const certificate = readCertificate(der);
    return { certificate, key: readPublicKey(certificate.spki) };
  } catch (error) {
    const fingerprint = createHash('sha256').update(der).digest('hex').slice(0, 16);
    const text = `it is not a certificate as RFC 5280 has them: ${(error as Error).message}`;
    return { code: 'MALFORMED', certificate: `SHA-256 ${fingerprint}…`, text };
  }
}

/** One that cannot be read leads nowhere; it is told where nothing else leads anywhere either. */
function readLinks(ders: readonly Uint8Array[]): { links: Link[]; reasons: Reason[] } {
  const all = ders.map(readLink);
  return {
    links: all.filter((one): one is Link => !('code' in one)),
    reasons: all.filter((one): one is Reason => 'code' in one),
  };
}

function distinct(ders: readonly Uint8Array[]): Uint8Array[] {
  return ders.filter((der, i) => ders.findIndex((other) => sameBytes(other, der)) === i);
}

function refused(reason: Reason): Verdict {
  return {
    valid: false,
    reasons: [reason],
    path: [],
    publicKey: new Uint8Array(),
    names: namesOf({ subject: Uint8Array.of(0x30, 0) }),
    notAfter: 0,
    wanted: [],
  };
}
