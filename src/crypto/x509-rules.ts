// What a certificate path is held to, and the reasons that it may fail for.

/** How hard it is tried to know that nothing was withdrawn: `soft` accepts that nobody answers, `hard` does not. */
export type RevocationRule = 'off' | 'soft' | 'hard';

export interface PathRules {
  revocation: RevocationRule;
  minimumRsaBits: number;
  /** Names of `node:crypto`; EdDSA and ML-DSA bring their own and are always allowed. */
  signatureHashes: readonly string[];
  /** Certificates in a path, leaf and anchor counted. */
  longestPath: number;
  /** Milliseconds by which a clock, ours or the CA's, may be wrong. */
  clockTolerance: number;
  /** Milliseconds by which a list or an answer may be younger than our clock: responders sign on demand. */
  revocationSkew: number;
  /** One of these, where a certificate says what its key is for (RFC 4945 §5.1.3.12); an issuer too. */
  extendedKeyUsages: readonly string[];
  /** OIDs of certificate policies, one of which has to hold for the whole path; absent, none has to. */
  acceptedPolicies?: readonly string[];
}

export const EKU = {
  any: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  /** The next three are older than `ipsecIke`, and CAs still write them. */
  ipsecEndSystem: '1.3.6.1.5.5.7.3.5',
  ipsecTunnel: '1.3.6.1.5.5.7.3.6',
  ipsecUser: '1.3.6.1.5.5.7.3.7',
  ocspSigning: '1.3.6.1.5.5.7.3.9',
  ipsecIke: '1.3.6.1.5.5.7.3.17',
  /** Of Microsoft's and Apple's clients, from before there was a registered one. */
  ikeIntermediate: '1.3.6.1.5.5.8.2.2',
} as const;

export const PATH_RULES: PathRules = {
  revocation: 'soft',
  // NIST SP 800-131A rev. 2 §3 and RFC 8247 §3: 2048 bits are the least, SHA-1 is no more.
  minimumRsaBits: 2048,
  signatureHashes: ['sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512'],
  longestPath: 8,
  clockTolerance: 0,
  revocationSkew: 5 * 60_000,
  extendedKeyUsages: [
    EKU.any,
    EKU.ipsecIke,
    EKU.ipsecEndSystem,
    EKU.ipsecTunnel,
    EKU.ipsecUser,
    EKU.ikeIntermediate,
    EKU.serverAuth,
    EKU.clientAuth,
  ],
};

/** What one question may cost, whoever asks it. */
export const PATH_BUDGET = {
  /** Certificates of the peer. */
  certificates: 10,
  anchors: 1000,
  /** Signatures checked while a path is sought, and afterwards those of lists and answers. */
  signatures: 16,
  revocationSignatures: 32,
  /** Candidates looked at while a path is sought. */
  steps: 500,
  /** Lists and answers. */
  crls: 20,
  ocsp: 20,
  /** Bytes of a certificate revocation list, of an OCSP answer. */
  crlBytes: 4 * 1024 * 1024,
  ocspBytes: 65_536,
} as const;

export type ReasonCode =
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'UNTRUSTED'
  | 'BAD_SIGNATURE'
  | 'NOT_A_CA'
  | 'PATH_TOO_LONG'
  | 'KEY_USAGE'
  | 'EXTENDED_KEY_USAGE'
  | 'NAME_CONSTRAINTS'
  | 'POLICY'
  | 'WEAK_SIGNATURE'
  | 'WEAK_KEY'
  | 'REVOKED'
  | 'REVOCATION_UNKNOWN'
  | 'CRITICAL_EXTENSION'
  | 'MALFORMED'
  | 'TOO_BIG';

export interface Reason {
  code: ReasonCode;
  /** Its subject, printable. */
  certificate: string;
  /** A sentence for an operator: what is wrong, and what to do. */
  text: string;
}
