// Whether a peer is who it says: its signature, the path of its certificate, the name in it. Every reason against it.

import { createHash, type KeyObject } from 'node:crypto';
import type { Trust } from '../config/credentials.ts';
import { sameBytes } from '../crypto/bytes.ts';
import { suits, verifyOctets, weakness } from '../crypto/node-signatures.ts';
import { type SignatureScheme, schemeRow } from '../crypto/signature-schemes.ts';
import { importPublicKey } from '../crypto/spki.ts';
import {
  bindsIdentity,
  type CertificateNames,
  describeCertificate,
  judgePath,
  keyOf,
  type Reason,
  type Verdict,
} from '../crypto/x509.ts';
import { encodeIdentity } from '../ike/authenticate.ts';
import type { Job, JobResult, Refusal } from '../ike/boundary.ts';
import type { ReportCode } from '../ike/errors.ts';
import { CERT_ENCODING } from '../wire/numbers.ts';
import type { Revocation } from './revocation.ts';

type Question = Job & { type: 'verify' };
type Judgement = JobResult & { type: 'verify' };

export interface JudgeParts {
  trust: (name: string) => Trust | undefined;
  /** Milliseconds since 1970. */
  wallClock: () => number;
  /** Judges a path, and may ask the CAs about it. */
  revocation: Pick<Revocation, 'judge'>;
}

export function createJudge(parts: JudgeParts): (question: Question) => Promise<Judgement> {
  const { trust } = parts;
  return async (question) => {
    const known = trust(question.trust);
    if (!known)
      return refused('PEER_CERTIFICATE_UNTRUSTED', `nothing is known of ${question.trust} any more`);
    const raw = bodies(question, CERT_ENCODING.RAW_PUBLIC_KEY);
    const chain = bodies(question, CERT_ENCODING.X509_SIGNATURE);
    if (chain.length > 0 && known.anchors.length > 0) return judgeChain(parts, question, known, chain);
    if (known.publicKeys.length > 0) return judgeRawKey(question, known, raw);
    const came = raw.length > 0 ? 'a raw public key came, and a certificate is expected' : 'none came';
    return refused('PEER_NO_CERTIFICATE', came);
  };
}

function bodies({ certificates }: Question, encoding: number): Uint8Array[] {
  return certificates.filter((one) => one.encoding === encoding).map(({ data }) => data);
}

/**
 * Name, signature and path are all looked at: an operator shall hear of everything at once. Only for a peer that holds
 * the key and the name is a CA asked, and the path judged before (`Revocation`).
 */
async function judgeChain(
  { revocation, wallClock }: JudgeParts,
  question: Question,
  { anchors, crls, rules }: Trust,
  certificates: Uint8Array[],
): Promise<Judgement> {
  const leaf = describeCertificate(certificates[0]!);
  const key = keyOf(certificates[0]!);
  const signed = key ? await signatureOf(question, key) : undefined;
  const unnamed = 'code' in leaf ? [] : nameReasons(question, leaf.names);
  const path = {
    certificates,
    anchors,
    crls: [...crls, ...bodies(question, CERT_ENCODING.CRL)],
    ocsp: bodies(question, CERT_ENCODING.OCSP_CONTENT),
    at: wallClock(),
    rules,
  };
  const theirs = signed !== undefined && !('code' in signed) && unnamed.length === 0;
  const verdict = theirs
    ? await revocation.judge(path)
    : await judgePath({ ...path, rules: { ...rules, revocation: 'off' } });
  const reasons = [
    ...(signed && 'code' in signed ? [signed] : []),
    ...verdict.reasons.map(refusalFor),
    ...unnamed,
  ];
  if (!theirs || !verdict.valid || reasons.length > 0 || 'code' in leaf)
    return { type: 'verify', valid: false, reasons };
  const { subject, issuer, fingerprint } = leaf;
  const { notAfter, wanted } = verdict;
  const warnings = wanted.length > 0 ? [`nobody says whether it was revoked: ${placesOf(verdict)}`] : [];
  const credential = { subject, issuer, notAfter, fingerprint, scheme: signed.name, warnings };
  return { type: 'verify', valid: true, reasons: [], credential };
}

function placesOf({ wanted }: Verdict): string {
  return [...new Set(wanted.map(({ url }) => url))].slice(0, 3).join(', ');
}

function nameReasons({ identity }: Question, names: CertificateNames): Refusal[] {
  if (bindsIdentity(names, encodeIdentity(identity))) return [];
  const has = [...names.dns, ...names.email, ...names.addresses];
  const message = `the names in it are ${has.join(', ') || 'none'}`;
  return [{ code: 'PEER_CERTIFICATE_NAME', message }];
}

/** RFC 7670: the key itself is known, byte for byte; whose it is stands in our configuration. */
async function judgeRawKey(
  question: Question,
  { publicKeys }: Trust,
  shown: Uint8Array[],
): Promise<Judgement> {
  const candidates = publicKeys.filter((known) => shown.length === 0 || sameBytes(known, shown[0]!));
  if (candidates.length === 0)
    return refused('PEER_KEY_UNKNOWN', `SHA-256 of the key shown: ${fingerprintOf(shown[0]!)}`);
  let last: Refusal = { code: 'PEER_SIGNATURE_INVALID', message: 'the signature does not verify' };
  for (const spki of candidates) {
    const key = publicKey(spki);
    const signed = key ? await signatureOf(question, key) : undefined;
    if (signed && !('code' in signed)) {
      const subject = `raw public key of ${question.identity.value}`;
      const credential = { subject, fingerprint: fingerprintOf(spki), scheme: signed.name, warnings: [] };
      return { type: 'verify', valid: true, reasons: [], credential };
    }
    last = signed ?? last;
  }
  return { type: 'verify', valid: false, reasons: [last] };
}

/** The scheme under which the signature verifies, or why none. */
async function signatureOf(question: Question, key: KeyObject): Promise<SignatureScheme | Refusal> {
  const weak = weakness(key);
  if (weak !== undefined) return { code: 'PEER_CERTIFICATE_INVALID', message: weak };
  const schemes = question.schemes.map(schemeRow);
  const fitting = schemes.filter((scheme) => suits(key, scheme));
  if (fitting.length === 0) {
    const message = `it signs with ${schemes[0]?.name}, and its key is ${key.asymmetricKeyType}`;
    return { code: 'PEER_SIGNATURE_INVALID', message };
  }
  for (const scheme of fitting) {
    if (await verifyOctets(key, scheme, question.octets, question.signature)) return scheme;
  }
  return { code: 'PEER_SIGNATURE_INVALID', message: 'the signature does not verify' };
}

function publicKey(spki: Uint8Array): KeyObject | undefined {
  try {
    return importPublicKey(spki);
  } catch {
    return undefined;
  }
}

const CODES: Readonly<Record<Reason['code'], ReportCode>> = {
  EXPIRED: 'PEER_CERTIFICATE_EXPIRED',
  NOT_YET_VALID: 'PEER_CERTIFICATE_EXPIRED',
  UNTRUSTED: 'PEER_CERTIFICATE_UNTRUSTED',
  REVOKED: 'PEER_CERTIFICATE_REVOKED',
  REVOCATION_UNKNOWN: 'PEER_REVOCATION_UNKNOWN',
  BAD_SIGNATURE: 'PEER_CERTIFICATE_INVALID',
  NOT_A_CA: 'PEER_CERTIFICATE_INVALID',
  PATH_TOO_LONG: 'PEER_CERTIFICATE_INVALID',
  KEY_USAGE: 'PEER_CERTIFICATE_INVALID',
  EXTENDED_KEY_USAGE: 'PEER_CERTIFICATE_INVALID',
  NAME_CONSTRAINTS: 'PEER_CERTIFICATE_INVALID',
  POLICY: 'PEER_CERTIFICATE_INVALID',
  WEAK_SIGNATURE: 'PEER_CERTIFICATE_INVALID',
  WEAK_KEY: 'PEER_CERTIFICATE_INVALID',
  CRITICAL_EXTENSION: 'PEER_CERTIFICATE_INVALID',
  MALFORMED: 'PEER_CERTIFICATE_INVALID',
  TOO_BIG: 'PEER_CERTIFICATE_INVALID',
};

function refusalFor({ code, certificate, text }: Reason): Refusal {
  return { code: CODES[code], message: certificate === '' ? text : `${certificate}: ${text}` };
}

function refused(code: ReportCode, message: string): Judgement {
  return { type: 'verify', valid: false, reasons: [{ code, message }] };
}

function fingerprintOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Public values. */
