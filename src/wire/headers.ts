// The IP headers that stand in front of ESP or AH (RFC 4302 §3.1, RFC 4303 §3.1): where they end, and how they say what follows.

import { checksum, headerBytes4, viewOf } from './ip.ts';

/** The headers of one packet up to where an IPsec header stands or belongs. */
export interface Front {
  family: 4 | 6;
  headers: Uint8Array;
  /** What follows them. */
  next: number;
  /** Where `headers` says so. */
  nextAt: number;
  /** The packet is a part of another. */
  isFragment: boolean;
  payload: Uint8Array;
}

/** Extension headers that routers or the receiver act upon (RFC 8200 §4), by number. */
export const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;
const EXTENSIONS: ReadonlySet<number> = new Set(Object.values(EXTENSION));
const MOST_EXTENSIONS = 8;
const V6_BYTES = 40;

/** An IPv6 extension header as it stands in a packet. */
export interface Extension {
  kind: number;
  /** Where the header before it names this one. */
  namedAt: number;
  start: number;
  end: number;
}

/** The front of a received packet: all headers before the first that is none of IP's. Undefined where lengths do not fit. */
export function frontOf(packet: Uint8Array): Front | undefined {
  const whole = wholePacket(packet);
  if (!whole) return undefined;
  if (whole[0]! >> 4 === 4) return frontV4(whole);
  const chain = extensionsOf(whole);
  return chain && frontV6(whole, chain);
}

/**
 * Where transport mode puts the IPsec header into a packet that is sent. Over IPv6 that is behind what routers on the way
 * read; destination options stay in front only where a routing header follows them (RFC 4302 §3.1.1, RFC 4303 §3.1.1).
 */
export function transportFront(packet: Uint8Array): Front | undefined {
  const whole = wholePacket(packet);
  if (!whole) return undefined;
  if (whole[0]! >> 4 === 4) return frontV4(whole);
  const chain = extensionsOf(whole);
  if (!chain) return undefined;
  return frontV6(
    whole,
    chain.slice(0, chain.findLastIndex(({ kind }) => kind !== EXTENSION.destination) + 1),
  );
}

/** The headers in front of a packet of so many bytes in which `next` follows them. */
export function announcing({ family, headers, nextAt }: Front, next: number, bytes: number): Uint8Array {
  const copy = Uint8Array.from(headers);
  copy[nextAt] = next;
  if (family === 6) {
    viewOf(copy).setUint16(4, bytes - V6_BYTES);
    return copy;
  }
  viewOf(copy).setUint16(2, bytes);
  viewOf(copy).setUint16(10, 0);
  viewOf(copy).setUint16(10, checksum(copy));
  return copy;
}

/** The extension headers, in order, up to the first of another protocol. Undefined where one reaches beyond the packet. */
export function extensionsOf(packet: Uint8Array): Extension[] | undefined {
  const chain: Extension[] = [];
  let namedAt = 6;
  let start = V6_BYTES;
  while (EXTENSIONS.has(packet[namedAt]!)) {
    if (chain.length === MOST_EXTENSIONS || start + 8 > packet.length) return undefined;
    const kind = packet[namedAt]!;
    const end = start + (kind === EXTENSION.fragment ? 8 : packet[start + 1]! * 8 + 8);
    if (end > packet.length) return undefined;
    chain.push({ kind, namedAt, start, end });
    namedAt = start;
    start = end;
  }
  return chain;
}

/** Without what follows the length that the header claims. */
function wholePacket(packet: Uint8Array): Uint8Array | undefined {
  if (packet.length < 20) return undefined;
  const version = packet[0]! >> 4;
  if (version === 4) {
    const length = viewOf(packet).getUint16(2);
    const header = headerBytes4(packet);
    return header >= 20 && length >= header && length <= packet.length
      ? packet.subarray(0, length)
      : undefined;
  }
  if (version !== 6 || packet.length < V6_BYTES) return undefined;
  const length = viewOf(packet).getUint16(4) + V6_BYTES;
  return length <= packet.length ? packet.subarray(0, length) : undefined;
}

function frontV4(packet: Uint8Array): Front {
  const end = headerBytes4(packet);
  return {
    family: 4,
    headers: packet.subarray(0, end),
    next: packet[9]!,
    nextAt: 9,
    isFragment: (viewOf(packet).getUint16(6) & 0x3fff) !== 0,
    payload: packet.subarray(end),
  };
}

function frontV6(packet: Uint8Array, chain: readonly Extension[]): Front {
  const last = chain.at(-1);
  const end = last?.end ?? V6_BYTES;
  const nextAt = last?.start ?? 6;
  return {
    family: 6,
    headers: packet.subarray(0, end),
    next: packet[nextAt]!,
    nextAt,
    isFragment: chain.some((one) => one.kind === EXTENSION.fragment && isPart(packet, one)),
    payload: packet.subarray(end),
  };
}

/** A fragment header may say that the packet is whole (RFC 8200 §4.5: offset 0 and no more fragments). */
function isPart(packet: Uint8Array, { start }: Extension): boolean {
  return (viewOf(packet).getUint16(start + 2) & 0xfff9) !== 0;
}
