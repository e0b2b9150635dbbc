// What may be negotiated (templates), what was proposed (proposals), and the choice between them.

import type { EncryptionName, IntegrityName, KeyExchangeName, PrfName } from '../crypto/suites.ts';

/** Alternatives of one proposal, each list in order of preference. */
export interface ProposalTemplate {
  encryption: { name: EncryptionName; keyBits: number }[];
  /** Empty with combined-mode encryption. */
  integrity: IntegrityName[];
  /** IKE only. */
  prf: PrfName[];
  /** For IKE at least one; for a child empty means no PFS. */
  keyExchange: KeyExchangeName[];
  /** Further key exchanges (RFC 9370), transform types 6 to 12 in order; empty lists are not offered. */
  additionalKeyExchange: KeyExchangeName[][];
  /** Child only, in order of preference: true is extended sequence numbers. */
  esn: boolean[];
}
