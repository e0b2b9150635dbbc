// Transport mode in UDP (RFC 3948): the IP header of a packet stays behind, and whoever receives makes another one, with the
// addresses that it sees. Checksums made for other addresses are repaired (§3.1.2).

import { concat } from '../crypto/bytes.ts';
import type { SaParameters } from '../policy/sad.ts';
import { addressBytes } from '../wire/address.ts';
import type { Front } from '../wire/headers.ts';
import { checksum, type Flow, viewOf } from '../wire/ip.ts';
import { type OuterBits, outerBits, outerHeader } from './reference-outer.ts';

/** Options and extension headers in front of ESP have no place there. */
export function hasPlainHeader({ family, headers }: Front): boolean {
  return headers.length === (family === 4 ? 20 : 40);
}

/** What the packet's own header says goes on in the one around UDP. */
export function bitsInUdp(parameters: SaParameters, packet: Uint8Array): OuterBits {
  return outerBits({ ...parameters, outer: { df: 'copy', dscp: 'copy' } }, packet);
}

/** The header that was left out, of a packet that came whole. */
export function madeFromUdp(
  { local, remote, ...rest }: SaParameters,
  payload: Uint8Array,
  next: number,
  trafficClass: number,
): Uint8Array {
  const swapped = { ...rest, local: remote, remote: local };
  const header = outerHeader(swapped, { trafficClass, dontFragment: true }, 0, next, payload.length);
  return concat([header, payload]);
}

/** Where the checksum is that covers a pseudo header: TCP, UDP, DCCP, ICMPv6, UDP-Lite. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 33: 6, 58: 2, 136: 6 };
const UDP = 17;
const ICMPV6 = 58;
const UDP_LITE = 136;

/** For the addresses of the header, where the peer made it for others. */
export function repairChecksum({ original }: SaParameters, packet: Uint8Array, flow: Flow): void {
  const offset = CHECKSUM_AT[flow.protocol];
  if (!original || offset === undefined || flow.opaque) return;
  if (flow.protocol === ICMPV6 && flow.family === 4) return;
  const at = flow.transport + offset;
  if (at + 2 > flow.length) return;
  const view = viewOf(packet);
  // RFC 768: none was made.
  if (flow.protocol === UDP && view.getUint16(at) === 0) return;
  const were = [original.remote, original.local].map((address) => complement(addressBytes(address)));
  const are = [flow.source, flow.destination].map(addressBytes);
  // RFC 1624 §3: HC' = ~(~HC + ~m + m'), so that what was broken stays broken.
  const repaired = checksum(complement(packet.subarray(at, at + 2)), ...were, ...are);
  // Zero means that there is none (RFC 768), which UDP-Lite does not allow (RFC 3828 §3.1).
  const isNeverZero = flow.protocol === UDP || flow.protocol === UDP_LITE;
  view.setUint16(at, repaired === 0 && isNeverZero ? 0xffff : repaired);
}

function complement(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => ~byte);
}
