// How the peer proves who it is: whether the tunnel takes such a proof at all, the job that judges it, and its verdict.

import { decodeProof } from '../crypto/signature-schemes.ts';
import { type Identity, peerProof, type Tunnel } from '../policy/tunnel.ts';
import { findPayload, type Payload } from '../wire/ikev2.ts';
import { AUTH_METHOD, CERT_ENCODING, nameOf, PAYLOAD } from '../wire/numbers.ts';
import type { CertificateBytes, Job, JobResult, Refusal } from './boundary.ts';
import type { ReportCode } from './errors.ts';
import type { Secrets } from './sa.ts';

/** A longer chain is nobody's; bounds the work before anything is known of the peer. */
const MOST_CERTIFICATES = 16;

/** Of the kinds that we never said we would fetch (RFC 7296 §3.6) or do not read. */
const READABLE: readonly number[] = [
  CERT_ENCODING.X509_SIGNATURE,
  CERT_ENCODING.RAW_PUBLIC_KEY,
  CERT_ENCODING.CRL,
  CERT_ENCODING.OCSP_CONTENT,
];

export function takesProof({ auth }: Tunnel, method: number): boolean {
  const isShared = method === AUTH_METHOD.SHARED_KEY_MIC;
  return (peerProof(auth).method === 'psk') === isShared;
}

/** The job that judges the peer, or why no job could say yes. */
export function verification(
  tunnel: Tunnel,
  secrets: Secrets,
  identity: Identity,
  octets: Uint8Array,
  payloads: readonly Payload[],
): Job | Refusal {
  const expected = peerProof(tunnel.auth);
  const auth = findPayload(payloads, PAYLOAD.AUTH)!;
  if (!takesProof(tunnel, auth.method)) return wrongMethod(tunnel, auth.method);
  if (expected.method === 'psk') {
    const { secret } = expected;
    return { type: 'psk-verify', secret, prf: secrets.suite.prf!, octets, auth: auth.data };
  }
  const { schemes, signature } = decodeProof(auth.method, auth.data);
  const accepted = schemes.filter(({ name }) => expected.schemes.includes(name)).map(({ name }) => name);
  if (accepted.length === 0) return wrongScheme(expected.schemes, auth.method, schemes[0]?.name);
  const certificates = certificatesOf(payloads);
  if ('code' in certificates) return certificates;
  return {
    type: 'verify',
    trust: expected.trust,
    identity,
    schemes: accepted,
    octets,
    signature,
    certificates,
  };
}

function wrongMethod({ auth }: Tunnel, method: number): Refusal {
  const wanted = peerProof(auth).method === 'psk' ? 'the pre-shared key' : 'a signature';
  const message = `it proves itself by ${nameOf(AUTH_METHOD, method)}, and ${wanted} is expected`;
  return { code: 'PEER_AUTH_METHOD', message };
}

function wrongScheme(accepted: readonly string[], method: number, scheme: string | undefined): Refusal {
  const used = scheme ?? `${nameOf(AUTH_METHOD, method)} with an algorithm that we do not know`;
  return {
    code: 'PEER_SIGNATURE_SCHEME',
    message: `it signs with ${used}; we accept ${accepted.join(', ')}`,
  };
}

function certificatesOf(payloads: readonly Payload[]): CertificateBytes[] | Refusal {
  const all = payloads.flatMap((one) =>
    one.type === PAYLOAD.CERT ? [{ encoding: one.encoding, data: one.data }] : [],
  );
  if (all.length > MOST_CERTIFICATES)
    return { code: 'PEER_CERTIFICATE_INVALID', message: `it sends ${all.length} certificates` };
  const strange = all.find(({ encoding }) => !READABLE.includes(encoding));
  if (!strange) return all;
  const message = `it sends a certificate as ${nameOf(CERT_ENCODING, strange.encoding)}`;
  return { code: 'PEER_CERTIFICATE_KIND', message };
}

/** What to report of a proof that did not hold. */
export function refusalOf(result: JobResult): { code: ReportCode; message: string } {
  if (result.type !== 'verify') return { code: 'PEER_AUTH_FAILED', message: '' };
  const [first, ...others] = result.reasons;
  if (!first) return { code: 'PEER_SIGNATURE_INVALID', message: 'no reason is given' };
  return { code: first.code, message: [first, ...others].map(({ message }) => message).join('; ') };
}
