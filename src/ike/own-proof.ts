// How we prove who we are: the key and the scheme that the peer can verify, and the payloads that show them.

import { sameBytes } from '../crypto/bytes.ts';
import { encodeProof, hashId, isOld, schemeRow } from '../crypto/signature-schemes.ts';
import { type OwnKey, ownProof, type Tunnel } from '../policy/tunnel.ts';
import type { Payload } from '../wire/ikev2.ts';
import { AUTH_METHOD, CERT_ENCODING, PAYLOAD } from '../wire/numbers.ts';
import type { CertificateBytes, Job, JobResult } from './boundary.ts';
import type { Announced, ChosenProof, IkeSa, Secrets } from './sa.ts';

const NOTHING_HEARD: Announced = { encodings: [], authorities: [] };

/** The job that proves us, and what is to be remembered until it is done; nothing when the peer can verify none. */
export function chooseProof(
  tunnel: Tunnel,
  secrets: Secrets,
  octets: Uint8Array,
  heard: Announced = NOTHING_HEARD,
): { job: Job; proof: ChosenProof } | undefined {
  const own = ownProof(tunnel.auth);
  if (own.method === 'psk') {
    const { secret } = own;
    return {
      job: { type: 'psk-sign', secret, prf: secrets.suite.prf!, octets },
      proof: { method: 'psk' },
    };
  }
  const chosen = chooseKey(own.keys, heard);
  if (!chosen) return undefined;
  const { key, scheme } = chosen;
  return {
    job: { type: 'sign', key: key.key, scheme, octets },
    proof: { method: 'signature', scheme, certificates: certificatesFor(key, heard) },
  };
}

function certificatesFor({ raw, certificates, ocsp }: OwnKey, { encodings }: Announced): CertificateBytes[] {
  const encoding = raw ? CERT_ENCODING.RAW_PUBLIC_KEY : CERT_ENCODING.X509_SIGNATURE;
  const shown = certificates.map((data) => ({ encoding, data }));
  // RFC 4806 §3: only to who asks for it.
  const asked = ocsp !== undefined && encodings.includes(CERT_ENCODING.OCSP_CONTENT);
  return asked ? [...shown, { encoding: CERT_ENCODING.OCSP_CONTENT, data: ocsp }] : shown;
}

/**
 * The first key under a CA that the peer asks for, else the first of all: CERTREQ is a hint (RFC 7296 §3.7). Of its
 * schemes the first that the peer can verify.
 */
export function chooseKey(
  keys: readonly OwnKey[],
  heard: Announced,
): { key: OwnKey; scheme: string } | undefined {
  const asked = keys.filter((key) => isAsked(key, heard));
  for (const key of [...asked, ...keys]) {
    const scheme = key.schemes.find((name) => canVerify(name, heard));
    if (scheme !== undefined) return { key, scheme };
  }
  return undefined;
}

function isAsked({ raw, authorities }: OwnKey, heard: Announced): boolean {
  if (raw) return heard.encodings.includes(CERT_ENCODING.RAW_PUBLIC_KEY);
  return authorities.some((one) => heard.authorities.some((other) => sameBytes(one, other)));
}

/** RFC 7427 §4: with a hash that the peer named. Who named none knows only the methods before RFC 7427. */
function canVerify(name: string, { hashes, methods }: Announced): boolean {
  const row = schemeRow(name);
  if (hashes ? isOld(row) : !isOld(row)) return false;
  if (hashes && !hashes.includes(hashId(row.hash))) return false;
  if (!methods || methods.length === 0) return true;
  // RFC 9593: what is not in the list, the peer does not take.
  return methods.some(
    ({ method, algorithm }) =>
      method === row.method && (!algorithm || row.algorithms.some((one) => sameBytes(one, algorithm))),
  );
}

export function noteShown(sa: IkeSa, proof: ChosenProof): void {
  if (proof.method === 'signature') sa.shown = proof.certificates[0]!.data;
  else delete sa.shown;
}

/** What the SA rests on is no longer ours: a renewed certificate. */
export function isOutdated({ shown }: IkeSa, { auth }: Tunnel): boolean {
  const own = ownProof(auth);
  if (!shown || own.method !== 'signature') return false;
  return !own.keys.some(({ certificates }) => sameBytes(certificates[0]!, shown));
}

/** CERT payloads and AUTH; nothing when the job failed. */
export function proofPayloads(proof: ChosenProof, result: JobResult): Payload[] | undefined {
  if (proof.method === 'psk') {
    if (result.type !== 'psk-sign') return undefined;
    return [authPayload(AUTH_METHOD.SHARED_KEY_MIC, result.auth)];
  }
  if (result.type !== 'sign') return undefined;
  const { scheme, certificates } = proof;
  const row = schemeRow(scheme);
  return [
    ...certificates.map((one) => ({ type: PAYLOAD.CERT, critical: false, ...one })),
    authPayload(row.method, encodeProof(row, result.signature)),
  ];
}

function authPayload(method: number, data: Uint8Array): Payload {
  return { type: PAYLOAD.AUTH, critical: false, method, data };
}

/** For a report: what we could have signed with, and what the peer says it verifies. */
export function unsuited(tunnel: Tunnel, heard: Announced = NOTHING_HEARD): Record<string, unknown> {
  const own = ownProof(tunnel.auth);
  const keys = own.method === 'signature' ? own.keys : [];
  return {
    configured: [...new Set(keys.flatMap(({ schemes }) => schemes))].join(', '),
    offered: heard.hashes
      ? `RFC 7427 with hashes ${heard.hashes.join(', ')}`
      : 'only the methods before RFC 7427',
  };
}

/** Public values. */
