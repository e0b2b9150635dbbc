// Whether a peer is who it says: its signature, the path of its certificate, the name in it. Every reason against it.

import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import type { Trust } from '../config/credentials.ts';
import { suits, verifyOctets, weakness } from '../crypto/node-signatures.ts';
import { type SignatureScheme, schemeRow } from '../crypto/signature-schemes.ts';
import { bindsIdentity, describeCertificate, judgePath, type Reason, type Verdict } from '../crypto/x509.ts';
import { encodeIdentity } from '../ike/authenticate.ts';
import type { Job, JobResult, PeerCredential, Refusal } from '../ike/boundary.ts';
import type { ReportCode } from '../ike/errors.ts';
import { CERT_ENCODING } from '../wire/numbers.ts';

type Question = Job & { type: 'verify' };
type Judgement = JobResult & { type: 'verify' };

export interface JudgeParts {
  trust: (name: string) => Trust | undefined;
  /** Milliseconds since 1970. */
  wallClock: () => number;
}

export function createJudge({ trust, wallClock }: JudgeParts): (question: Question) => Promise<Judgement> {
  return async (question) => {
    const known = trust(question.trust);
    if (!known)
      return refused('PEER_CERTIFICATE_UNTRUSTED', `nothing is known of ${question.trust} any more`);
    const raw = bodies(question, CERT_ENCODING.RAW_PUBLIC_KEY);
    const chain = bodies(question, CERT_ENCODING.X509_SIGNATURE);
    if (chain.length > 0 && known.anchors.length > 0) return judgeChain(question, known, chain, wallClock());
    if (known.publicKeys.length > 0) return judgeRawKey(question, known, raw);
    const came = raw.length > 0 ? 'a raw public key came, and a certificate is expected' : 'none came';
    return refused('PEER_NO_CERTIFICATE', came);
  };
}

function bodies({ certificates }: Question, encoding: number): Uint8Array[] {
  return certificates.filter((one) => one.encoding === encoding).map(({ data }) => data);
}

/** The path and the signature are looked at both: an operator shall hear of everything at once. */
async function judgeChain(
  question: Question,
  { anchors, crls, rules }: Trust,
  certificates: Uint8Array[],
  at: number,
): Promise<Judgement> {
  const verdict = await judgePath({
    certificates,
    anchors,
    crls: [...crls, ...bodies(question, CERT_ENCODING.CRL)],
    ocsp: bodies(question, CERT_ENCODING.OCSP_CONTENT),
    at,
    rules,
  });
  const key = publicKey(verdict.publicKey);
  const signed = key ? await signatureOf(question, key) : undefined;
  const reasons = [
    ...(signed && 'code' in signed ? [signed] : []),
    ...verdict.reasons.map(refusalFor),
    ...nameReasons(question, verdict),
  ];
  if (reasons.length > 0 || !verdict.valid || !signed || 'code' in signed)
    return { type: 'verify', valid: false, reasons };
  return {
    type: 'verify',
    valid: true,
    reasons,
    credential: certificateCredential(certificates[0]!, signed),
  };
}

function nameReasons({ identity }: Question, { names, publicKey: { length } }: Verdict): Refusal[] {
  if (length === 0 || bindsIdentity(names, encodeIdentity(identity))) return [];
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
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
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

function certificateCredential(leaf: Uint8Array, { name }: SignatureScheme): PeerCredential {
  const found = describeCertificate(leaf);
  if ('code' in found) return { subject: '', fingerprint: fingerprintOf(leaf), scheme: name, warnings: [] };
  const { subject, issuer, notAfter, fingerprint } = found;
  return { subject, issuer, notAfter, fingerprint, scheme: name, warnings: [] };
}

function refused(code: ReportCode, message: string): Judgement {
  return { type: 'verify', valid: false, reasons: [{ code, message }] };
}

function fingerprintOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Public values. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
