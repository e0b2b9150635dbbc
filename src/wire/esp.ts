// ESP as it stands on the wire (RFC 4303 §2), and what shares UDP port 4500 with it (RFC 3948 §2).

import { type Codec, type Field, Reader, rest, struct, u32 } from './codec.ts';

//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |               Security Parameters Index (SPI)                 |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                      Sequence Number                          |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~              IV, ciphertext, ICV                              ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 4303 §2. `sequence` is the low half where the SA has extended numbers; only the SA's keys open `body`. */
export interface EspPacket {
  spi: number;
  sequence: number;
  body: Uint8Array;
}

const esp: Codec<EspPacket> = struct({ spi: u32, sequence: u32, body: rest });

/** Throws WireError where the header is cut off. */
export function decodeEsp(packet: Uint8Array, trace?: Field[]): EspPacket {
  return new Reader(packet, '', trace).field('esp', esp);
}

/** What a datagram on port 4500 is. */
export type Encapsulated =
  /** Behind four zero bytes: the non-ESP marker. */
  { kind: 'ike'; message: Uint8Array } | { kind: 'esp'; packet: Uint8Array } | { kind: 'keepalive' };

/** RFC 3948 §2.2 to §2.4. Throws WireError where it is none of the three. */
export function decodeEncapsulated(datagram: Uint8Array): Encapsulated {
  if (datagram.length === 1 && datagram[0] === 0xff) return { kind: 'keepalive' };
  const r = new Reader(datagram);
  const marker = r.field('marker', u32);
  return marker === 0
    ? { kind: 'ike', message: r.field('message', rest) }
    : { kind: 'esp', packet: datagram };
}
