// What RFC 5280 §6 and RFC 4945 §5 ask of each certificate of a path that already hangs together.

import { type Certificate, EXTENSIONS, KEY_USAGE, nameOf } from './x509-certificate.ts';
import { isEmptyName } from './x509-names.ts';
import type { PathRules, Reason, ReasonCode } from './x509-rules.ts';
import { keyProblem, type PublicKey, schemeOf } from './x509-signature.ts';

/** A certificate with its key looked at once. */
export interface Link {
  certificate: Certificate;
  key: PublicKey;
}

export interface Judged {
  /** The leaf first, the anchor last where one was reached. */
  path: readonly Link[];
  anchored: boolean;
  rules: PathRules;
  /** Wall time, milliseconds. */
  at: number;
}

type Check = (judged: Judged, index: number) => string | false | undefined;

/** Each check says what is wrong with the certificate at an index, or nothing. */
const CHECKS: readonly (readonly [ReasonCode, Check])[] = [
  ['NOT_YET_VALID', notYetValid],
  ['EXPIRED', expired],
  ['WEAK_KEY', weakKey],
  ['WEAK_SIGNATURE', weakSignature],
  ['NOT_A_CA', notACa],
  ['KEY_USAGE', keyUsage],
  ['EXTENDED_KEY_USAGE', extendedKeyUsage],
  ['PATH_TOO_LONG', pathLength],
  ['NAME_CONSTRAINTS', leafConstraints],
  ['CRITICAL_EXTENSION', criticalExtension],
];

export function checkPath(judged: Judged): Reason[] {
  return judged.path.flatMap(({ certificate }, index) =>
    CHECKS.flatMap(([code, check]) => {
      const text = check(judged, index);
      return text ? [{ code, certificate: nameOf(certificate), text }] : [];
    }),
  );
}

/** RFC 5280 §6.1: an issuer that names itself does not count, except as the last one. */
export function isSelfIssued(certificate: Certificate): boolean {
  return certificate.issuerKey === certificate.subjectKey;
}

function certificateAt({ path }: Judged, index: number): Certificate {
  return path[index]!.certificate;
}

function notYetValid(judged: Judged, index: number) {
  const { notBefore } = certificateAt(judged, index);
  return (
    judged.at + judged.rules.clockTolerance < notBefore &&
    `it is valid from ${day(notBefore)} on, and our clock says ${day(judged.at)}: check the clock, or wait`
  );
}

function expired(judged: Judged, index: number) {
  const { notAfter } = certificateAt(judged, index);
  return (
    judged.at - judged.rules.clockTolerance > notAfter &&
    `it ended on ${day(notAfter)}, and our clock says ${day(judged.at)}: have it issued again, or check the clock`
  );
}

function day(time: number): string {
  return new Date(time).toISOString().replace('.000', '');
}

function weakKey({ path, rules }: Judged, index: number) {
  const problem = keyProblem(path[index]!.key, rules);
  return problem && `its key ${problem}: have it issued with another key`;
}

/** The anchor is trusted for being ours, not for its signature. */
function weakSignature({ path, anchored, rules }: Judged, index: number) {
  if (anchored && index === path.length - 1) return undefined;
  const { signatureAlgorithm } = path[index]!.certificate;
  const scheme = schemeOf(signatureAlgorithm);
  if (!scheme)
    return `it is signed with ${signatureAlgorithm.oid}, which we do not accept: have it issued again`;
  return (
    scheme.hash !== 'identity' &&
    !rules.signatureHashes.includes(scheme.hash) &&
    `it is signed with ${scheme.name}, which is forgeable: have it issued again with SHA-256 or better`
  );
}

/** RFC 5280 §6.1.4 (k). Versions 1 and 2 cannot say that they are a CA. */
function notACa(judged: Judged, index: number) {
  const { basicConstraints, subject } = certificateAt(judged, index);
  if (index === 0) return undefined;
  // RFC 5280 §4.1.2.6: an issuer has a name.
  if (isEmptyName(subject)) return 'it issued a certificate and has no name: its CA is set up wrongly';
  return (
    basicConstraints?.ca !== true &&
    'it issued a certificate and is no CA by its basic constraints: the chain is forged or its CA is set up wrongly'
  );
}

/** RFC 5280 §6.1.4 (n); RFC 4945 §5.1.3.2 for the leaf. */
function keyUsage(judged: Judged, index: number) {
  const { keyUsage: bits, basicConstraints } = certificateAt(judged, index);
  if (bits === undefined) return undefined;
  // RFC 5280 §4.2.1.3: who signs certificates says that it is a CA.
  if (index === 0 && bits & KEY_USAGE.keyCertSign && !basicConstraints?.ca)
    return 'its key may sign certificates (keyCertSign) although it is no CA: have it issued without';
  if (index > 0)
    return (bits & KEY_USAGE.keyCertSign) === 0 && 'its key may not sign certificates (keyCertSign)';
  return (
    (bits & (KEY_USAGE.digitalSignature | KEY_USAGE.nonRepudiation)) === 0 &&
    'its key may not sign (digitalSignature): have it issued with that key usage'
  );
}

/** RFC 4945 §5.1.3.12: absence allows everything. A CA that is limited to other uses issues none of ours. */
function extendedKeyUsage(judged: Judged, index: number) {
  const { extendedKeyUsage: uses } = certificateAt(judged, index);
  return (
    uses !== undefined &&
    !uses.some((use) => judged.rules.extendedKeyUsages.includes(use)) &&
    'its extended key usage allows neither IKE nor TLS: have it issued with ipsecIKE, serverAuth or clientAuth'
  );
}

/** RFC 5280 §6.1.4 (l), (m). */
function pathLength({ path }: Judged, index: number) {
  const limit = path[index]!.certificate.basicConstraints?.pathLength;
  if (index === 0 || limit === undefined) return undefined;
  const below = path.slice(1, index).filter(({ certificate }) => !isSelfIssued(certificate)).length;
  return below > limit && `it allows ${limit} CAs below it, and there are ${below}`;
}

/** RFC 5280 §4.2.1.10: only a CA constrains names. */
function leafConstraints(judged: Judged, index: number) {
  const { nameConstraints, basicConstraints } = certificateAt(judged, index);
  return (
    index === 0 &&
    nameConstraints &&
    !basicConstraints?.ca &&
    'it constrains names and is no CA: have it issued without'
  );
}

/** RFC 5280 §4.2: what is critical and not understood refuses; so does what its own section has as the opposite. */
function criticalExtension(judged: Judged, index: number) {
  const { extensions, subject } = certificateAt(judged, index);
  const wrong = [...extensions].flatMap(([oid, { critical }]) => {
    const row = EXTENSIONS[oid];
    if (!row) return critical ? [`${oid} is critical, and we do not understand it`] : [];
    if (row.critical === 'never' && critical) return [`${row.name} is critical and may not be`];
    // RFC 5280 §4.2.1.6: without a subject the alternative name is all there is.
    const needed = row.critical === 'always' || (row.critical === 'without subject' && isEmptyName(subject));
    return needed && !critical ? [`${row.name} is not critical and has to be`] : [];
  });
  return (
    wrong.length > 0 && `its extensions are not as they should be (${wrong.join('; ')}): have it issued again`
  );
}
