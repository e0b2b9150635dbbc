// What each side says before AUTH: of signatures hashes (RFC 7427 §4), certificate requests (RFC 7296 §3.7) and methods
// (RFC 9593); and that it knows intermediate exchanges (RFC 9242).

import { concat, hex } from '../../crypto/bytes.ts';
import { hashId, schemeRow } from '../../crypto/signature-schemes.ts';
import { ownProof, type PeerProof, peerProof, type Tunnel } from '../../policy/tunnel.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { AUTH_METHOD, CERT_ENCODING, NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { Announced, AnnouncedMethod, IkeSa } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

const HASH_BYTES = 20;
/** More than any peer asks for; bounds what is kept of a stranger. */
const MOST_AUTHORITIES = 64;
const MOST_METHODS = 64;

type Signing = PeerProof & { method: 'signature' };

/**
 * N(SIGNATURE_HASH_ALGORITHMS) in IKE_SA_INIT, where one side at least signs: the hashes that we verify, or where we verify
 * nothing those that we sign with, so that the peer sees that we know RFC 7427. SHA-1 is never among them.
 */
export function hashAnnouncement(tunnels: readonly Tunnel[]): Payload[] {
  const verified = signingPeers(tunnels).flatMap(({ schemes }) => schemes);
  const names = verified.length > 0 ? verified : ownSchemes(tunnels);
  const ids = new Set(names.map((name) => hashId(schemeRow(name).hash)));
  ids.delete(hashId('sha1'));
  if (ids.size === 0) return [];
  const data = Uint8Array.from([...ids].sort().flatMap((id) => [0, id]));
  return [notifyPayload(NOTIFY.SIGNATURE_HASH_ALGORITHMS, data)];
}

function ownSchemes(tunnels: readonly Tunnel[]): string[] {
  const all = tunnels.map(({ auth }) => ownProof(auth));
  return all.flatMap((own) => (own.method === 'signature' ? own.keys.flatMap(({ schemes }) => schemes) : []));
}

/** CERTREQ: the responder's in IKE_SA_INIT for all that the peer may be, the initiator's in IKE_AUTH. */
export function certificateRequests(tunnels: readonly Tunnel[]): Payload[] {
  const peers = signingPeers(tunnels);
  const authorities = distinct(peers.flatMap((peer) => peer.authorities));
  const request = (encoding: number, data: Uint8Array): Payload => ({
    type: PAYLOAD.CERTREQ,
    critical: false,
    encoding,
    data,
  });
  return [
    ...(authorities.length > 0 ? [request(CERT_ENCODING.X509_SIGNATURE, concat(authorities))] : []),
    // RFC 4806 §4: without the hash of a responder any responder will do.
    ...(peers.some(({ ocsp }) => ocsp) ? [request(CERT_ENCODING.OCSP_CONTENT, new Uint8Array(0))] : []),
    // RFC 7670 §3: no authority stands in it.
    ...(peers.some(({ raw }) => raw) ? [request(CERT_ENCODING.RAW_PUBLIC_KEY, new Uint8Array(0))] : []),
  ];
}

/** RFC 9593 §3.1: the responder begins, in IKE_SA_INIT; the initiator answers in IKE_AUTH who has begun. */
export function announcesMethods({ heard }: IkeSa): boolean {
  return heard?.methods !== undefined;
}

/** N(SUPPORTED_AUTH_METHODS), RFC 9593 §3.2: for signatures `length, method, certificate link, algorithm`. */
export function methodAnnouncement(tunnels: readonly Tunnel[]): Payload[] {
  const peers = signingPeers(tunnels);
  if (peers.length === 0) return [];
  const shared = tunnels.some(({ auth }) => peerProof(auth).method === 'psk');
  const names = [...new Set(peers.flatMap(({ schemes }) => schemes))];
  const entries = names.flatMap((name) => {
    const { method, algorithms } = schemeRow(name);
    const [algorithm = new Uint8Array(0)] = algorithms;
    return [Uint8Array.of(3 + algorithm.length, method, 0, ...algorithm)];
  });
  const all = distinct(shared ? [Uint8Array.of(2, AUTH_METHOD.SHARED_KEY_MIC), ...entries] : entries);
  return [notifyPayload(NOTIFY.SUPPORTED_AUTH_METHODS, concat(all))];
}

/** In IKE_SA_INIT, of either side: whatever was heard in an earlier try does not count. */
export function noteAnnouncements(sa: IkeSa, payloads: readonly Payload[]): void {
  sa.heard = heardFrom(payloads);
}

/** What was heard before, and what these payloads add to it. */
export function heardFrom(payloads: readonly Payload[], before?: Announced): Announced {
  const hashes = findNotify(payloads, NOTIFY.SIGNATURE_HASH_ALGORITHMS);
  const methods = findNotify(payloads, NOTIFY.SUPPORTED_AUTH_METHODS);
  const requests = payloads.filter((one) => one.type === PAYLOAD.CERTREQ);
  const authorities = requests
    .filter(({ encoding }) => encoding === CERT_ENCODING.X509_SIGNATURE)
    .flatMap(({ data }) => authoritiesIn(data));
  return {
    ...before,
    ...(hashes ? { hashes: numbersIn(hashes.data) } : {}),
    ...(methods ? { methods: methodsIn(methods.data) } : {}),
    encodings: [...(before?.encodings ?? []), ...requests.map(({ encoding }) => encoding)],
    authorities: [...(before?.authorities ?? []), ...authorities].slice(0, MOST_AUTHORITIES),
  };
}

/** What IKE_SA_INIT says where an intermediate exchange may follow (RFC 9242 §3.1). */
export function intermediateSupported(): Payload {
  return notifyPayload(NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED);
}

export function supportsIntermediate(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined;
}

function signingPeers(tunnels: readonly Tunnel[]): Signing[] {
  return tunnels
    .map(({ auth }) => peerProof(auth))
    .filter((peer): peer is Signing => peer.method === 'signature');
}

function numbersIn(data: Uint8Array): number[] {
  const count = Math.min(data.length >> 1, MOST_METHODS);
  return Array.from({ length: count }, (_, i) => (data[2 * i]! << 8) | data[2 * i + 1]!);
}

function authoritiesIn(data: Uint8Array): Uint8Array[] {
  const count = Math.min(Math.floor(data.length / HASH_BYTES), MOST_AUTHORITIES);
  return Array.from({ length: count }, (_, i) => data.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** What cannot be read ends the list: an announcement is a hint. */
function methodsIn(data: Uint8Array): AnnouncedMethod[] {
  const found: AnnouncedMethod[] = [];
  for (let at = 0; at + 2 <= data.length && found.length < MOST_METHODS; ) {
    const length = data[at]!;
    if (length < 2 || at + length > data.length) break;
    const algorithm = length > 3 ? { algorithm: data.slice(at + 3, at + length) } : {};
    found.push({ method: data[at + 1]!, ...algorithm });
    at += length;
  }
  return found;
}

function distinct(all: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(all.map((one) => [hex(one), one])).values()];
}
