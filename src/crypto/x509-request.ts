// Certification requests (RFC 2986 §4.2): written, and read with the proof that whoever asks has the key.

import { childrenOf, type DerNode, derOf, encodeOid, oidOf, readDer, TAG } from './der.ts';
import { algorithmOf, bitsOf, extensionOf, MalformedError } from './x509-certificate.ts';
import { type Signer, signed, spkiOf, subjectAltName } from './x509-issue.ts';
import { type GeneralName, generalNamesOf } from './x509-names.ts';
import { PATH_RULES } from './x509-rules.ts';
import { isSignedBy, readPublicKey } from './x509-signature.ts';

export interface CertificationRequest {
  /** DER of a Name. */
  subject: Uint8Array;
  spki: Uint8Array;
  names: GeneralName[];
}

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const SUBJECT_ALT_NAME = '2.5.29.17';

export function writeRequest(subject: Uint8Array, names: readonly GeneralName[], signer: Signer): Uint8Array {
  const extensions = derOf(TAG.SEQUENCE, ...(names.length > 0 ? [subjectAltName(names)] : []));
  const attribute = derOf(TAG.SEQUENCE, encodeOid(EXTENSION_REQUEST), derOf(TAG.SET, extensions));
  const attributes = names.length > 0 ? derOf(0xa0, attribute) : derOf(0xa0);
  const version = derOf(TAG.INTEGER, Uint8Array.of(0));
  return signed(derOf(TAG.SEQUENCE, version, subject, spkiOf(signer.key), attributes), signer);
}

/** Throws MalformedError or DerError where it is none, or is not signed by the key that it is for. */
export async function readRequest(der: Uint8Array): Promise<CertificationRequest> {
  const [info, algorithm, signature] = childrenOf(readDer(der), TAG.SEQUENCE, 'a request');
  const [version, subject, spki, attributes, ...more] = childrenOf(info, TAG.SEQUENCE, 'a request');
  if (
    version?.tag !== TAG.INTEGER ||
    subject?.tag !== TAG.SEQUENCE ||
    spki?.tag !== TAG.SEQUENCE ||
    more.length > 0
  )
    throw new MalformedError('its fields are not those of a request');
  const proof = { data: info!.raw, signature: bitsOf(signature, 'its signature') };
  if (!(await isSignedBy(readPublicKey(spki.raw), algorithmOf(algorithm), proof, PATH_RULES)))
    throw new MalformedError('it is not signed by the key that it is for, or that key is too weak');
  return { subject: subject.raw, spki: spki.raw, names: requestedNames(attributes) };
}

function requestedNames(attributes: DerNode | undefined): GeneralName[] {
  const lists = (attributes?.children ?? []).flatMap((attribute) => {
    const [oid, values] = childrenOf(attribute, TAG.SEQUENCE, 'an attribute');
    return oid?.tag === TAG.OID && oidOf(oid.value) === EXTENSION_REQUEST ? (values?.children ?? []) : [];
  });
  const extensions = lists.flatMap((list) => childrenOf(list, TAG.SEQUENCE, 'extensions').map(extensionOf));
  const names = extensions.find(({ oid }) => oid === SUBJECT_ALT_NAME);
  return names ? generalNamesOf(readDer(names.value), 'subjectAltName') : [];
}
