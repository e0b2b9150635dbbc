// Auth of tunnels for simulations: a key, a certificate that is plain text, a CA that is a word.

import type { Auth, Identity, OwnKey, PeerProof } from '../../src/policy/tunnel.ts';
import { paperCertificate } from '../../src/sim/jobs.ts';

export const CA = 'Example CA';
export const NEW_SCHEMES = ['ed25519', 'ecdsa-sha256', 'ecdsa-sha384', 'rsa-sha256', 'rsa-pss-sha256'];
export const OLD_SCHEMES = ['ecdsa-sha256-old', 'rsa-sha256-old'];

/** What CERTREQ calls a CA, 20 bytes. */
export function authority(issuer: string): Uint8Array {
  return new TextEncoder().encode(issuer.padEnd(20)).slice(0, 20);
}

export function ownKey(
  key: string,
  identity: Identity,
  changes: Partial<OwnKey> & { issuer?: string } = {},
): OwnKey {
  const { issuer = CA, ...rest } = changes;
  return {
    key,
    schemes: ['ecdsa-sha256', 'ecdsa-sha256-old'],
    certificates: [paperCertificate({ key, identity, issuer })],
    raw: false,
    authorities: [authority(issuer)],
    ...rest,
  };
}

export function trusting(issuer = CA, changes: Partial<PeerProof & { method: 'signature' }> = {}): PeerProof {
  return {
    method: 'signature',
    trust: issuer,
    schemes: [...NEW_SCHEMES, ...OLD_SCHEMES],
    authorities: [authority(issuer)],
    raw: false,
    ...changes,
  };
}

export function signing(keys: OwnKey[], peer: PeerProof = trusting()): Auth {
  return { method: 'each', own: { method: 'signature', keys }, peer };
}
