// OCSP (RFC 6960; RFC 5019 where it is lighter): the question, and what an answer says.

import { createHash } from 'node:crypto';
import { hex, sameBytes, unhex } from './bytes.ts';
import { childrenOf, type DerNode, derOf, encodeOid, oidOf, readDer, TAG } from './der.ts';
import {
  type Algorithm,
  algorithmOf,
  bitsOf,
  type Certificate,
  EXTENSIONS,
  extensionOf,
  KEY_USAGE,
  MalformedError,
  readCertificate,
  timeOf,
} from './x509-certificate.ts';
import type { Link } from './x509-checks.ts';
import { nameKey } from './x509-names.ts';
import type { Answer, Budget, Inquiry } from './x509-revocation.ts';
import { EKU, PATH_BUDGET } from './x509-rules.ts';
import { isSignedBy, keyProblem, readPublicKey } from './x509-signature.ts';

const BASIC = '1.3.6.1.5.5.7.48.1.1';

/** By which a CertID may name the issuer (RFC 6960 §4.1.1, RFC 5019 §2.1.1). A name, no protection. */
const HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

/** An answer without an end is good for a day: its responder has newer ones all the time (RFC 6960 §4.2.2.1). */
const WITHOUT_END = 86_400_000;

/** RFC 6960 §4.2.1: the answer is for nobody (`malformedRequest` …). */
const STATUS_NAMES = [
  'successful',
  'malformedRequest',
  'internalError',
  'tryLater',
  '',
  'sigRequired',
  'unauthorized',
];

export interface BasicResponse {
  tbs: Uint8Array;
  algorithm: Algorithm;
  signature: Uint8Array;
  responder: { name: string } | { keyHash: Uint8Array };
  answers: readonly SingleResponse[];
  /** DER. */
  certificates: readonly Uint8Array[];
  critical: string[];
}

interface SingleResponse {
  hash: string | undefined;
  nameHash: Uint8Array;
  keyHash: Uint8Array;
  serial: string;
  status: Answer;
  thisUpdate: number;
  nextUpdate: number | undefined;
  critical: string[];
}

/** What the answer says of the certificate; `problem` where it says nothing. */
export async function askResponse(der: Uint8Array, inquiry: Inquiry, budget: Budget): Promise<Answer> {
  try {
    const response = readResponse(der);
    if (response.critical.length > 0)
      return { problem: `the answer has ${response.critical}, which is critical` };
    const single = response.answers.find((one) => isAbout(one, inquiry));
    if (!single) return { problem: 'the answer is about another certificate' };
    const problem = whyUseless(single, inquiry);
    if (problem) return { problem };
    const signer = await findSigner(response, inquiry, budget);
    if (!signer) return { problem: 'the answer is signed by none that the issuer allows' };
    return single.status;
  } catch (error) {
    return { problem: `the answer cannot be read: ${(error as Error).message}` };
  }
}

/** RFC 5019 §2.1: one certificate, SHA-1, no nonce: a responder can have the answer ready. Both are DER. */
export function ocspRequest(certificate: Uint8Array, issuer: Uint8Array): Uint8Array {
  const [own, above] = [readCertificate(certificate), readCertificate(issuer)];
  const id = derOf(
    TAG.SEQUENCE,
    derOf(TAG.SEQUENCE, encodeOid('1.3.14.3.2.26'), derOf(TAG.NULL)),
    derOf(TAG.OCTET_STRING, digest('sha1', own.issuer)),
    derOf(TAG.OCTET_STRING, digest('sha1', keyBits(above.spki))),
    derOf(TAG.INTEGER, unhex(own.serial)),
  );
  return derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, id))));
}

/** Throws MalformedError or DerError; also where the responder says that it has no answer. */
export function readResponse(der: Uint8Array): BasicResponse {
  if (der.length > PATH_BUDGET.ocspBytes) throw new MalformedError(`it has ${der.length} bytes`);
  const [status, wrapped] = childrenOf(readDer(der), TAG.SEQUENCE, 'an answer');
  if (status?.tag !== TAG.ENUMERATED || status.value[0] !== 0)
    throw new MalformedError(`its status is ${STATUS_NAMES[status?.value[0] ?? 4] || 'unknown'}`);
  const [type, bytes] = childrenOf(wrapped?.children[0], TAG.SEQUENCE, 'its content');
  if (type?.tag !== TAG.OID || oidOf(type.value) !== BASIC || bytes?.tag !== TAG.OCTET_STRING)
    throw new MalformedError('it is not a basic one');
  const [tbs, algorithm, signature, certificates] = childrenOf(
    readDer(bytes.value),
    TAG.SEQUENCE,
    'a basic answer',
  );
  return {
    ...readTbs(tbs),
    tbs: tbs!.raw,
    algorithm: algorithmOf(algorithm),
    signature: bitsOf(signature, 'its signature'),
    certificates: certificates
      ? childrenOf(certificates.children[0], TAG.SEQUENCE, 'its certificates').map(({ raw }) => raw)
      : [],
  };
}

function readTbs(tbs: DerNode | undefined): Pick<BasicResponse, 'responder' | 'answers' | 'critical'> {
  const fields = [...childrenOf(tbs, TAG.SEQUENCE, 'the signed part')];
  if (fields[0]?.tag === 0xa0) fields.shift();
  const [responder, produced, answers, extensions, ...more] = fields;
  if (produced?.tag !== TAG.GENERALIZED_TIME || more.length > 0)
    throw new MalformedError('its fields are not those of an answer');
  return {
    responder: responderOf(responder),
    answers: childrenOf(answers, TAG.SEQUENCE, 'the answers').map(singleOf),
    critical: criticalOf(extensions),
  };
}

function responderOf(node: DerNode | undefined): BasicResponse['responder'] {
  const inner = node?.children[0];
  const name = node?.tag === 0xa1 && inner ? nameKey(inner.raw) : undefined;
  if (name !== undefined) return { name };
  if (node?.tag !== 0xa2 || inner?.tag !== TAG.OCTET_STRING)
    throw new MalformedError('its responder is nobody');
  return { keyHash: inner.value };
}

function singleOf(node: DerNode): SingleResponse {
  const [id, status, thisUpdate, ...rest] = childrenOf(node, TAG.SEQUENCE, 'an answer');
  const [algorithm, nameHash, keyHash, serial] = childrenOf(id, TAG.SEQUENCE, 'a certificate id');
  if (nameHash?.tag !== TAG.OCTET_STRING || keyHash?.tag !== TAG.OCTET_STRING || serial?.tag !== TAG.INTEGER)
    throw new MalformedError('a certificate id is none');
  const nextUpdate = rest.find(({ tag }) => tag === 0xa0);
  return {
    hash: HASHES[algorithmOf(algorithm).oid],
    nameHash: nameHash.value,
    keyHash: keyHash.value,
    serial: hex(serial.value),
    status: statusOf(status),
    thisUpdate: timeOf(thisUpdate),
    nextUpdate: nextUpdate && timeOf(nextUpdate.children[0]),
    critical: criticalOf(rest.find(({ tag }) => tag === 0xa1)),
  };
}

function statusOf(node: DerNode | undefined): Answer {
  switch (node?.tag) {
    case 0x80:
      return { status: 'good' };
    case 0xa1: {
      const reason = node.children[1]?.children[0]?.value[0];
      return { status: 'revoked', since: timeOf(node.children[0]), ...(reason !== undefined && { reason }) };
    }
    case 0x82:
      return { problem: 'the responder does not know the certificate' };
    default:
      throw new MalformedError('a status is none');
  }
}

/** OIDs of critical extensions: none is understood, nonces are not asked for. */
function criticalOf(node: DerNode | undefined): string[] {
  if (!node) return [];
  const items = childrenOf(node.children[0], TAG.SEQUENCE, 'extensions').map(extensionOf);
  return items.filter(({ critical }) => critical).map(({ oid }) => oid);
}

function isAbout(
  { hash, nameHash, keyHash, serial }: SingleResponse,
  { certificate, issuer }: Inquiry,
): boolean {
  return (
    hash !== undefined &&
    serial === certificate.serial &&
    sameBytes(nameHash, digest(hash, certificate.issuer)) &&
    sameBytes(keyHash, digest(hash, keyBits(issuer.certificate.spki)))
  );
}

function whyUseless(
  { thisUpdate, nextUpdate, critical }: SingleResponse,
  { at, rules }: Inquiry,
): string | undefined {
  if (critical.length > 0) return `the answer has ${critical}, which is critical`;
  if (thisUpdate > at + rules.revocationSkew) return 'the answer is from the future: check the clock';
  if ((nextUpdate ?? thisUpdate + WITHOUT_END) < at - rules.clockTolerance)
    return 'the answer is out of date';
  return undefined;
}

/** The issuer itself, or whom it named for that by a certificate of its own (RFC 6960 §4.2.2.2). */
async function findSigner(
  response: BasicResponse,
  inquiry: Inquiry,
  budget: Budget,
): Promise<Link | undefined> {
  const { issuer, rules } = inquiry;
  const delegates = response.certificates.slice(0, MOST_DELEGATES).flatMap((der) => tryLink(der) ?? []);
  for (const signer of [issuer, ...delegates]) {
    if (!isResponder(response, signer.certificate)) continue;
    budget.signatures -= 2;
    if (budget.signatures < 0) return undefined;
    if (signer !== issuer && !(await isDelegate(signer, inquiry))) continue;
    const signed = { data: response.tbs, signature: response.signature };
    if (await isSignedBy(signer.key, response.algorithm, signed, rules)) return signer;
  }
  return undefined;
}

const MOST_DELEGATES = 4;

function tryLink(der: Uint8Array): Link | undefined {
  try {
    const certificate = readCertificate(der);
    return { certificate, key: readPublicKey(certificate.spki) };
  } catch {
    return undefined;
  }
}

function isResponder({ responder }: BasicResponse, { subjectKey, spki }: Certificate): boolean {
  return 'name' in responder
    ? responder.name === subjectKey
    : sameBytes(responder.keyHash, digest('sha1', keyBits(spki)));
}

/** Issued by the issuer directly, for OCSP, valid now; whether it was withdrawn itself is the CA's care. */
async function isDelegate({ certificate, key }: Link, { issuer, at, rules }: Inquiry): Promise<boolean> {
  const { keyUsage = KEY_USAGE.digitalSignature, extendedKeyUsage = [], notBefore, notAfter } = certificate;
  const unknown = [...certificate.extensions].some(([oid, { critical }]) => critical && !(oid in EXTENSIONS));
  if (!extendedKeyUsage.includes(EKU.ocspSigning) || (keyUsage & KEY_USAGE.digitalSignature) === 0 || unknown)
    return false;
  if (at + rules.clockTolerance < notBefore || at - rules.clockTolerance > notAfter || keyProblem(key, rules))
    return false;
  if (certificate.issuerKey !== issuer.certificate.subjectKey) return false;
  const signed = { data: certificate.tbs, signature: certificate.signature };
  return isSignedBy(issuer.key, certificate.signatureAlgorithm, signed, rules);
}

/** What a CertID and a ResponderID hash of a key: the bits, without their tag (RFC 6960 §4.1.1). */
function keyBits(spki: Uint8Array): Uint8Array {
  return bitsOf(childrenOf(readDer(spki), TAG.SEQUENCE, 'a public key')[1], 'a public key');
}

function digest(hash: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash).update(bytes).digest());
}
