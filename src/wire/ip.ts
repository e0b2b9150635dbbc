// IP packets as far as a gateway reads them, said the slow and plain way: the counterpart of native/core/ip.cc.

import { formatAddress } from '../wire/address.ts';

/** What chooses a policy (RFC 4301 §4.4.1.1). */
export interface Flow {
  family: 4 | 6;
  protocol: number;
  /** A fragment other than the first: the ports are not in this packet. */
  opaque: boolean;
  source: string;
  destination: string;
  /** 0 where the protocol has none. */
  sourcePort: number;
  destinationPort: number;
  /** Where the transport header begins, bytes. */
  transport: number;
  /** Bytes that the IP header claims. */
  length: number;
}

const PORTS = new Set([6, 17, 33, 132, 136]); // TCP, UDP, DCCP, SCTP, UDP-Lite
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const EXTENSIONS = new Set([0, 43, FRAGMENT, AUTHENTICATION, 60, 135]);
const MOST_EXTENSIONS = 8;

/** Undefined where the bytes are no packet: wrong version, lengths that do not fit, a header chain without end. */
export function readFlow(packet: Uint8Array): Flow | undefined {
  if (packet.length < 20) return undefined;
  const version = packet[0]! >> 4;
  const flow = version === 4 ? readV4(packet) : version === 6 ? readV6(packet) : undefined;
  if (!flow || flow.opaque || !PORTS.has(flow.protocol)) return flow;
  if (flow.transport + 4 > flow.length) return undefined;
  const view = viewOf(packet);
  return {
    ...flow,
    sourcePort: view.getUint16(flow.transport),
    destinationPort: view.getUint16(flow.transport + 2),
  };
}

function readV4(packet: Uint8Array): Flow | undefined {
  const view = viewOf(packet);
  const transport = headerBytes4(packet);
  const length = view.getUint16(2);
  if (transport < 20 || length < transport || length > packet.length) return undefined;
  return {
    family: 4,
    protocol: packet[9]!,
    opaque: (view.getUint16(6) & 0x1fff) !== 0,
    source: formatAddress(packet.subarray(12, 16)),
    destination: formatAddress(packet.subarray(16, 20)),
    sourcePort: 0,
    destinationPort: 0,
    transport,
    length,
  };
}

/** What an IPv4 header says of its own length, options and all. */
export function headerBytes4(packet: Uint8Array): number {
  return ((packet[0] ?? 0) & 15) * 4;
}

function readV6(packet: Uint8Array): Flow | undefined {
  if (packet.length < 40) return undefined;
  const length = viewOf(packet).getUint16(4) + 40;
  const upper = length <= packet.length ? upperLayer(packet.subarray(0, length)) : undefined;
  if (!upper) return undefined;
  return {
    family: 6,
    ...upper,
    source: formatAddress(packet.subarray(8, 24)),
    destination: formatAddress(packet.subarray(24, 40)),
    sourcePort: 0,
    destinationPort: 0,
    length,
  };
}

/** Walks the extension headers (RFC 8200 §4). */
function upperLayer(packet: Uint8Array): Pick<Flow, 'protocol' | 'opaque' | 'transport'> | undefined {
  let protocol = packet[6]!;
  let transport = 40;
  for (let count = 0; EXTENSIONS.has(protocol); count++) {
    if (count === MOST_EXTENSIONS || transport + 8 > packet.length) return undefined;
    const opaque = protocol === FRAGMENT && (viewOf(packet).getUint16(transport + 2) & 0xfff8) !== 0;
    const size = extensionBytes(protocol, packet[transport + 1]!);
    protocol = packet[transport]!;
    transport += size;
    if (transport > packet.length) return undefined;
    if (opaque) return { protocol, opaque, transport };
  }
  return { protocol, opaque: false, transport };
}

function extensionBytes(protocol: number, length: number): number {
  if (protocol === FRAGMENT) return 8;
  return protocol === AUTHENTICATION ? length * 4 + 8 : length * 8 + 8;
}

/** The Internet checksum (RFC 1071) of the parts, one behind the other; all but the last have an even length. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (const [index, byte] of part.entries()) sum += index % 2 === 0 ? byte << 8 : byte;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** What a transport checksum covers beside the segment (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoHeader(packet: Uint8Array, flow: Flow, transportBytes: number): Uint8Array {
  const addresses = flow.family === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const header = new Uint8Array(addresses.length + 8);
  header.set(addresses);
  viewOf(header).setUint32(addresses.length, transportBytes);
  header[addresses.length + 7] = flow.protocol;
  return header;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
