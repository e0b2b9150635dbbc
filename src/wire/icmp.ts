// ICMP echo (RFC 792, RFC 4443 §4): what a tunnel is probed with.

import { type Codec, decode, encode, rest, struct, u8, u16, WireError } from './codec.ts';
import { checksum, headerBytes4 } from './ip.ts';

//  0                   1                   2                   3
// +---------------+---------------+-------------------------------+
// |     Type      |     Code      |          Checksum             |
// +---------------+---------------+-------------------------------+
// |           Identifier          |        Sequence Number        |
// +-------------------------------+-------------------------------+
// |     Data ...

interface Message extends Echo {
  type: number;
  code: number;
  checksum: number;
}

export interface Echo {
  identifier: number;
  sequence: number;
  data: Uint8Array;
}

const message: Codec<Message> = struct({
  type: u8,
  code: u8,
  checksum: u16,
  identifier: u16,
  sequence: u16,
  data: rest,
});

const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;

/** The checksum of ICMPv6 covers the addresses, and is the kernel's to fill in. */
export function encodeEchoRequest(family: 4 | 6, echo: Echo): Uint8Array {
  const unsummed = { type: REQUEST[family], code: 0, checksum: 0, ...echo };
  const sum = family === 4 ? checksum(encode(message, unsummed)) : 0;
  return encode(message, { ...unsummed, checksum: sum });
}

/** Undefined where it is something else. `packet`: as raw sockets give it. */
export function decodeEchoReply(family: 4 | 6, packet: Uint8Array): Echo | undefined {
  try {
    const { type, identifier, sequence, data } = decode(message, messageIn(family, packet));
    return type === REPLY[family] ? { identifier, sequence, data } : undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** What a raw socket gives is the message, and over IPv4 the IP header before it. */
export function messageIn(family: 4 | 6, packet: Uint8Array): Uint8Array {
  return family === 4 ? packet.subarray(headerBytes4(packet)) : packet;
}
