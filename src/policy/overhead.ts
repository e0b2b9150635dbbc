// How large a packet may be inside a tunnel so that what goes outside fits.

import { type EncryptionName, encryptionRow, type IntegrityName, integrityRow } from '../crypto/suites.ts';
import type { ChosenSuite, ProposalTemplate } from './proposal.ts';
import type { ChildTemplate } from './tunnel.ts';

const IP_HEADER = { 4: 20, 6: 40 } as const;
const ESP_HEADER = 8;
const TRAILER = 2;
const UDP_HEADER = 8;
const AH_HEADER = 12;
/** RFC 8200 §5: no IPv6 link is smaller. */
const LEAST = 1280;

/**
 * Largest inner packet, bytes, under the worst suite that may be negotiated, with UDP encapsulation where there can be one; in
 * transport mode with its own header, which goes outside.
 */
export function innerMtu(
  outerMtu: number,
  family: 4 | 6,
  proposals: readonly ProposalTemplate[],
  mode: ChildTemplate['mode'] = 'tunnel',
): number {
  const header = IP_HEADER[family];
  const isTransport = mode === 'transport';
  const room = outerMtu - header - UDP_HEADER;
  const within = proposals.flatMap((proposal) =>
    proposal.encryption.length === 0 ? ahRoom(outerMtu - header, family, proposal) : espRoom(room, proposal),
  );
  return Math.max(LEAST, Math.min(...within) + (isTransport ? header : 0));
}

/** Largest inner packet, bytes, in an outer one of so many, in tunnel mode under the suite of an SA. */
export function innerRoom(outer: number, family: 4 | 6, suite: ChosenSuite, udp: boolean): number {
  const room = outer - IP_HEADER[family] - (udp ? UDP_HEADER : 0);
  const { encryption, integrity } = suite;
  return encryption ? espFits(room, encryption.name, integrity) : ahFits(room, family, integrity!);
}

function espRoom(room: number, { encryption, integrity }: ProposalTemplate): number[] {
  return encryption.flatMap(({ name }) => {
    const combined = encryptionRow(name).tagBytes > 0;
    return (combined ? [undefined] : integrity).map((one) => espFits(room, name, one));
  });
}

/** RFC 4303 §2: what is left of `room` bytes behind the outer headers. */
function espFits(room: number, name: EncryptionName, integrity: IntegrityName | undefined): number {
  const { ivBytes, tagBytes, blockBytes } = encryptionRow(name);
  const icv = tagBytes > 0 ? tagBytes : integrityRow(integrity!).icvBytes;
  const unit = Math.max(4, blockBytes);
  return Math.floor((room - ESP_HEADER - ivBytes - icv) / unit) * unit - TRAILER;
}

function ahRoom(room: number, family: 4 | 6, { integrity }: ProposalTemplate): number[] {
  return integrity.map((name) => ahFits(room, family, name));
}

/** RFC 4302 §2.2: the header is a multiple of 4 bytes, in IPv6 of 8. */
function ahFits(room: number, family: 4 | 6, name: IntegrityName): number {
  const unit = family === 4 ? 4 : 8;
  const { ivBytes = 0, icvBytes } = integrityRow(name);
  return room - Math.ceil((AH_HEADER + ivBytes + icvBytes) / unit) * unit;
}
