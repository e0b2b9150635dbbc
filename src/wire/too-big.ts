// A router's word that a packet of ours is larger than its next link: ICMP "fragmentation needed" (RFC 792, RFC 1191 §4) and ICMPv6
// "packet too big" (RFC 4443 §3.2), as far as what it quotes is a packet of IKE, ESP or AH.
//
//  0                   1                   2                   3
// +---------------+---------------+-------------------------------+
// |     Type      |     Code      |          Checksum             |
// +---------------+---------------+-------------------------------+
// |  ICMPv6: MTU, 32 bits; ICMP: 16 unused, then MTU, 16 bits     |
// +---------------------------------------------------------------+
// |     The beginning of the packet ...

import { formatAddress, type IpAddress } from './address.ts';
import { bytes, type Codec, decode, rest, struct, u8, u16, u32, WireError } from './codec.ts';
import { decodeEncapsulated } from './esp.ts';
import { hex } from './hex.ts';
import { messageIn } from './icmp.ts';
import { headerBytes4 } from './ip.ts';

export interface TooBig {
  /** Bytes of an IP packet that the next link takes; 0 of a router that does not say (RFC 1191 §5). */
  mtu: number;
  /** Of the packet that it quotes. */
  source: IpAddress;
  destination: IpAddress;
  /** Of ESP or AH, or both of IKE. */
  spi: number | [string, string];
}

interface Said {
  type: number;
  code: number;
  mtu: number;
  quoted: Uint8Array;
}

const head = { type: u8, code: u8, checksum: u16 };
const FORMS: Record<4 | 6, { type: number; code: number; message: Codec<Said> }> = {
  4: { type: 3, code: 4, message: struct({ ...head, unused: u16, mtu: u16, quoted: rest }) },
  6: { type: 2, code: 0, message: struct({ ...head, mtu: u32, quoted: rest }) },
};

const header4 = struct({
  versionAndLength: u8,
  tos: u8,
  length: u16,
  identification: u16,
  fragment: u16,
  ttl: u8,
  protocol: u8,
  checksum: u16,
  source: bytes(4),
  destination: bytes(4),
});
const header6 = struct({
  versionAndFlow: u32,
  length: u16,
  protocol: u8,
  hops: u8,
  source: bytes(16),
  destination: bytes(16),
});
const udp = struct({ source: u16, destination: u16, length: u16, checksum: u16, data: rest });

const [UDP, ESP, AH] = [17, 50, 51];
const [IKE_PORT, NAT_PORT] = [500, 4500];
const FRAGMENT_OFFSET = 0x1fff;

/** Undefined where it is something else, or quotes too little. `packet`: as raw sockets give it. */
export function decodeTooBig(family: 4 | 6, packet: Uint8Array): TooBig | undefined {
  try {
    const { type, code, message } = FORMS[family];
    const read = decode(message, messageIn(family, packet));
    if (read.type !== type || read.code !== code) return undefined;
    const found = family === 4 ? quoted4(read.quoted) : quoted6(read.quoted);
    return found && { mtu: read.mtu, ...found };
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

type Quoted = Omit<TooBig, 'mtu'>;

function quoted4(quoted: Uint8Array): Quoted | undefined {
  const { fragment, protocol, source, destination } = decode(header4, quoted.subarray(0, 20));
  if ((fragment & FRAGMENT_OFFSET) !== 0) return undefined;
  return named(source, destination, spiOf(protocol, quoted.subarray(headerBytes4(quoted))));
}

function quoted6(quoted: Uint8Array): Quoted | undefined {
  const { protocol, source, destination } = decode(header6, quoted.subarray(0, 40));
  return named(source, destination, spiOf(protocol, quoted.subarray(40)));
}

function named(
  source: Uint8Array,
  destination: Uint8Array,
  spi: TooBig['spi'] | undefined,
): Quoted | undefined {
  if (spi === undefined) return undefined;
  return { source: formatAddress(source), destination: formatAddress(destination), spi };
}

function spiOf(protocol: number, inside: Uint8Array): TooBig['spi'] | undefined {
  switch (protocol) {
    case ESP:
      return first(inside);
    case AH:
      return first(inside.subarray(4));
    case UDP:
      return spiInUdp(inside);
    default:
      return undefined;
  }
}

function spiInUdp(inside: Uint8Array): TooBig['spi'] | undefined {
  const { source, data } = decode(udp, inside);
  if (source === IKE_PORT) return ikeSpis(data);
  if (source !== NAT_PORT) return undefined;
  const carried = decodeEncapsulated(data);
  if (carried.kind === 'ike') return ikeSpis(carried.message);
  return carried.kind === 'esp' ? first(carried.packet) : undefined;
}

function first(data: Uint8Array): number {
  return decode(u32, data.subarray(0, 4));
}

function ikeSpis(data: Uint8Array): [string, string] {
  const spis = decode(bytes(16), data.subarray(0, 16));
  return [hex(spis.subarray(0, 8)), hex(spis.subarray(8))];
}
