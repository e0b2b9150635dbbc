// How large a packet may be inside a tunnel so that what goes outside fits.

import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { ProposalTemplate } from './proposal.ts';

const ESP_HEADER = 8;
const TRAILER = 2;
const UDP_HEADER = 8;
/** RFC 8200 §5: no IPv6 link is smaller. */
const LEAST = 1280;

/** Largest inner packet, bytes, under the worst suite that may be negotiated (RFC 4303 §2), with UDP encapsulation. */
export function innerMtu(outerMtu: number, family: 4 | 6, proposals: readonly ProposalTemplate[]): number {
  const room = outerMtu - (family === 4 ? 20 : 40) - UDP_HEADER - ESP_HEADER;
  const sizes = proposals.flatMap(({ encryption, integrity }) =>
    encryption.flatMap(({ name }) => {
      const { ivBytes, tagBytes, blockBytes } = encryptionRow(name);
      const icvs = tagBytes > 0 ? [tagBytes] : integrity.map((one) => integrityRow(one).icvBytes);
      const unit = Math.max(4, blockBytes);
      return icvs.map((icv) => Math.floor((room - ivBytes - icv) / unit) * unit - TRAILER);
    }),
  );
  return Math.max(LEAST, Math.min(...sizes));
}
