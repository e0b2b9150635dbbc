// The outer IP header of tunnel mode: what it takes from the inner packet (RFC 4301 §5.1.2), and what it gives back.

import type { SaParameters } from '../policy/sad.ts';
import { addressBytes, familyOf } from '../wire/address.ts';
import { checksum, type Flow, viewOf } from '../wire/ip.ts';

/** What the outer IP header says besides addresses. */
export interface OuterBits {
  /** DSCP and ECN. */
  trafficClass: number;
  dontFragment: boolean;
}

const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;
const DF = 0x40;
const HOPS = 64;

/** DSCP and DF by policy, congestion as it is inside (RFC 4301 §5.1.2, RFC 6040 §4.1 normal mode). */
export function outerBits({ outer }: SaParameters, packet: Uint8Array): OuterBits {
  const isV6 = packet[0]! >> 4 === 6;
  const inner = isV6 ? ((packet[0]! & 15) << 4) | (packet[1]! >> 4) : packet[1]!;
  const dscp = outer.dscp === 'copy' ? inner >> 2 : outer.dscp;
  const mayNotFragment = isV6 || (packet[6]! & DF) !== 0;
  return {
    trafficClass: (dscp << 2) | (inner & CE),
    dontFragment: outer.df === 'copy' ? mayNotFragment : outer.df === 'set',
  };
}

/** An outer header in front of so many bytes of `protocol`. */
export function outerHeader(
  { local, remote }: SaParameters,
  bits: OuterBits,
  identification: number,
  protocol: number,
  bytes: number,
): Uint8Array {
  return familyOf(local) === 4
    ? outerV4(local, remote, bits, identification, protocol, bytes)
    : outerV6(local, remote, bits, protocol, bytes);
}

function outerV4(
  local: string,
  remote: string,
  { trafficClass, dontFragment }: OuterBits,
  identification: number,
  protocol: number,
  bytes: number,
): Uint8Array {
  const header = new Uint8Array(20);
  const view = viewOf(header);
  header.set([0x45, trafficClass]);
  view.setUint16(2, header.length + bytes);
  view.setUint16(4, identification);
  header.set([dontFragment ? DF : 0, 0, HOPS, protocol], 6);
  header.set(addressBytes(local), 12);
  header.set(addressBytes(remote), 16);
  view.setUint16(10, checksum(header));
  return header;
}

function outerV6(
  local: string,
  remote: string,
  { trafficClass }: OuterBits,
  protocol: number,
  bytes: number,
): Uint8Array {
  const header = new Uint8Array(40);
  header.set([0x60 | (trafficClass >> 4), (trafficClass & 15) << 4, 0, 0]);
  viewOf(header).setUint16(4, bytes);
  header.set([protocol, HOPS], 6);
  header.set(addressBytes(local), 8);
  header.set(addressBytes(remote), 24);
  return header;
}

export function ecnOf(packet: Uint8Array): number {
  return (packet[0]! >> 4 === 6 ? packet[1]! >> 4 : packet[1]!) & CE;
}

/** RFC 6040 §4.2: congestion seen outside is told inside, or the packet is dropped where inside cannot be told. */
export function withCongestion(packet: Uint8Array, flow: Flow, outer: number): Uint8Array | undefined {
  const inner = ecnOf(packet);
  if (inner === 0) return outer === CE ? undefined : packet;
  const ecn = outer === CE || (outer === ECT_1 && inner === ECT_0) ? outer : inner;
  if (flow.family === 6) {
    packet[1] = (packet[1]! & 0xcf) | (ecn << 4);
    return packet;
  }
  const view = viewOf(packet);
  const before = view.getUint16(0);
  packet[1] = (packet[1]! & 0xfc) | ecn;
  // RFC 1624 §3: HC' = ~(~HC + ~m + m'), so that a header that was broken stays broken.
  const sum = (~view.getUint16(10) & 0xffff) + (~before & 0xffff) + view.getUint16(0);
  const folded = (sum & 0xffff) + (sum >> 16);
  if (ecn !== inner) view.setUint16(10, ~((folded & 0xffff) + (folded >> 16)) & 0xffff);
  return packet;
}
