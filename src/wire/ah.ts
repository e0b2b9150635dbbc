// AH as it stands on the wire (RFC 4302 §2), and what its ICV covers of the IP headers in front of it (§3.3.3.1).

import { type Codec, encode, type Field, Reader, rest, struct, u8, u16, u32 } from './codec.ts';
import { EXTENSION, type Extension, extensionsOf } from './headers.ts';
import { viewOf } from './ip.ts';

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Next Header   |  Payload Len  |          RESERVED             |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                 Security Parameters Index (SPI)               |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                    Sequence Number Field                      |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                Integrity Check Value-ICV (variable)           ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 4302 §2. `sequence` is the low half where the SA has extended numbers. */
export interface AhHeader {
  next: number;
  /** Zero when sent; covered as it came. */
  reserved: number;
  spi: number;
  sequence: number;
  /** With what pads it. */
  icv: Uint8Array;
}

/** Bytes in front of the ICV. */
export const AH_BYTES = 12;

const icv: Codec<Uint8Array> = rest;
const fields = { next: u8, length: u8, reserved: u16, spi: u32, sequence: u32 };
const fixed: Codec<Omit<AhHeader, 'icv'> & { length: number }> = struct(fields);

/** Throws WireError where the header is cut off, or shorter than its own fields. */
export function decodeAh(packet: Uint8Array, trace?: Field[]): AhHeader {
  const r = new Reader(packet, 'ah', trace);
  const { length, ...header } = fixed.read(r);
  // RFC 4302 §2.2: in words of 32 bits, less two.
  const bytes = (length + 2) * 4 - AH_BYTES;
  if (bytes < 0) r.fail('payload length is too small');
  return { ...header, icv: r.sub(bytes).field('icv', icv) };
}

/** Throws RangeError where the ICV is not of whole words. */
export function encodeAh({ icv, ...header }: AhHeader): Uint8Array {
  const length = (AH_BYTES + icv.length) / 4 - 2;
  return Uint8Array.of(...encode(fixed, { ...header, length }), ...icv);
}

/**
 * The IP headers in front of AH as its ICV covers them: what may change on the way is zero, what will have changed is as it
 * will be at the receiver. Undefined where options or extension headers are malformed, or nobody can tell what becomes of them.
 */
export function coveredFront(headers: Uint8Array): Uint8Array | undefined {
  const version = headers[0]! >> 4;
  if (version === 4) return headers.length >= 20 ? coveredV4(Uint8Array.from(headers)) : undefined;
  return version === 6 && headers.length >= 40 ? coveredV6(Uint8Array.from(headers)) : undefined;
}

const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;

/** RFC 4302 §A1: security (three kinds), router alert, sender directed delivery. Every other option is zeroed whole. */
const IMMUTABLE_OPTIONS = new Set([130, 133, 134, 148, 149]);

/** RFC 4302 §3.3.3.1.1: DSCP and ECN, flags and fragment offset, TTL, checksum. */
function coveredV4(header: Uint8Array): Uint8Array | undefined {
  header[1] = 0;
  header.fill(0, 6, 9);
  header.fill(0, 10, 12);
  let at = 20;
  while (at < header.length) {
    const type = header[at]!;
    if (type === END_OF_OPTIONS) break;
    if (type === NO_OPERATION) {
      at++;
      continue;
    }
    const length = header[at + 1] ?? 0;
    if (length < 2 || at + length > header.length) return undefined;
    const option = header.subarray(at, at + length);
    if ((type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) && !arrived(header, option))
      return undefined;
    if (!IMMUTABLE_OPTIONS.has(type)) option.fill(0);
    at += length;
  }
  return header;
}

/** A source route (RFC 791 §3.1) ends at its last address, unless all of it lies behind. */
function arrived(header: Uint8Array, route: Uint8Array): boolean {
  const pointer = route[2] ?? 0;
  if (route.length < 3 || (route.length - 3) % 4 !== 0 || pointer < 4) return false;
  if (pointer <= route.length) header.set(route.subarray(-4), 16);
  return true;
}

/** RFC 4302 §3.3.3.1.2: traffic class, flow label, hop limit; then the extension headers, each by its kind. */
function coveredV6(headers: Uint8Array): Uint8Array | undefined {
  const chain = extensionsOf(headers);
  if (!chain) return undefined;
  headers.set([0x60, 0, 0, 0]);
  headers[7] = 0;
  for (const extension of chain) {
    if (!coverExtension(headers, extension)) return undefined;
  }
  return withoutFragmentHeaders(headers, chain);
}

/** False where it is malformed or what becomes of it is not known. */
function coverExtension(headers: Uint8Array, { kind, start, end }: Extension): boolean {
  switch (kind) {
    case EXTENSION.hopByHop:
    case EXTENSION.destination:
      return clearMutableOptions(headers.subarray(start + 2, end));
    case EXTENSION.routing:
      return arriveByRoute(headers, headers.subarray(start, end));
    default:
      return true;
  }
}

const PAD1 = 0;
/** RFC 8200 §4.2: the third bit of the type says that the data may change on the way. */
const MAY_CHANGE = 0x20;

/** Only the data is zeroed: type and length stay (RFC 4302 §3.3.3.1.2.2). */
function clearMutableOptions(options: Uint8Array): boolean {
  let at = 0;
  while (at < options.length) {
    if (options[at] === PAD1) {
      at++;
      continue;
    }
    const end = at + 2 + (options[at + 1] ?? options.length);
    if (end > options.length) return false;
    if (options[at]! & MAY_CHANGE) options.fill(0, at + 2, end);
    at = end;
  }
  return true;
}

/**
 * RFC 4302 §A2: a routing header of type 0 is as the receiver will see it, no segments left and the addresses that
 * were passed in the place of those that were named. What any other type does with segments left is not known here.
 */
function arriveByRoute(headers: Uint8Array, route: Uint8Array): boolean {
  const [type, left] = [route[2]!, route[3]!];
  if (left === 0) return true;
  const addresses = route.subarray(8);
  if (type !== 0 || addresses.length % 16 !== 0 || left > addresses.length / 16) return false;
  const named = addresses.slice(addresses.length - 16 * left);
  addresses.set([...headers.subarray(24, 40), ...named.subarray(0, -16)], addresses.length - 16 * left);
  headers.set(named.subarray(-16), 24);
  route[3] = 0;
  return true;
}

/** RFC 4302 §A2: a fragment header of a whole packet is passed over, as if it were not there. */
function withoutFragmentHeaders(headers: Uint8Array, chain: readonly Extension[]): Uint8Array {
  let kept = headers;
  for (const { namedAt, start, end } of chain.filter(({ kind }) => kind === EXTENSION.fragment).reverse()) {
    kept[namedAt] = kept[start]!;
    kept = Uint8Array.of(...kept.subarray(0, start), ...kept.subarray(end));
  }
  if (kept.length !== headers.length)
    viewOf(kept).setUint16(4, viewOf(kept).getUint16(4) - (headers.length - kept.length));
  return kept;
}
