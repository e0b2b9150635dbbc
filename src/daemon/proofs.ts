// By what both sides of each established IKE SA proved themselves, for `isthmus show sa`.

import { createHash } from 'node:crypto';
import { describeCertificate } from '../crypto/x509.ts';
import type { PeerCredential } from '../ike/boundary.ts';
import type { TunnelView } from '../ike/view.ts';

export interface Proof {
  /** What the peer calls itself. */
  identity: string;
  /** Its certificate or raw key; missing with a pre-shared key. */
  peer?: PeerCredential;
  own?: { subject: string; issuer?: string; notAfter?: number; fingerprint: string };
}

export function proofsOf(views: readonly TunnelView[]): Map<string, Proof> {
  return new Map(
    views.flatMap(({ name, ikeSa }): [string, Proof][] => {
      if (!ikeSa) return [];
      const { peer, shown } = ikeSa;
      const proof: Proof = {
        identity: peer.identity.value,
        ...(peer.credential ? { peer: peer.credential } : {}),
        ...(shown ? { own: describeOwn(shown) } : {}),
      };
      return [[name, proof]];
    }),
  );
}

function describeOwn(der: Uint8Array): NonNullable<Proof['own']> {
  const found = describeCertificate(der);
  if ('code' in found)
    return { subject: 'raw public key', fingerprint: createHash('sha256').update(der).digest('hex') };
  const { subject, issuer, notAfter, fingerprint } = found;
  return { subject, issuer, notAfter, fingerprint };
}
