// What a peer says it is (RFC 7296 §3.12). Shown to the operator, never acted on. AUTH covers the message that says it.

import { hex } from '../../crypto/bytes.ts';
import type { Payload } from '../../wire/ikev2.ts';
import { PAYLOAD } from '../../wire/numbers.ts';

/** How a vendor id begins, in hex. */
const KNOWN: readonly (readonly [prefix: string, name: string])[] = [
  ['882fe56d6fd20dbc2251613b2ebe5beb', 'strongSwan'], // MD5 of the name
  ['4f452d4c696272657377616e', 'Libreswan'], // OE-Libreswan
  ['434953434f', 'Cisco'], // CISCO-DELETE-REASON and others
  ['464c455856504e', 'Cisco'], // FLEXVPN-SUPPORTED
  ['1e2b516905991c7d7c96fcbfb587e461', 'Windows'], // MD5 of "MS NT5 ISAKMPOAKLEY"
];

/** The first known name among the vendor ids. */
export function vendorOf(payloads: readonly Payload[]): string | undefined {
  const ids = payloads.flatMap((payload) => (payload.type === PAYLOAD.V ? hex(payload.data) : []));
  return KNOWN.find(([prefix]) => ids.some((id) => id.startsWith(prefix)))?.[1];
}
