// One AH packet (RFC 4302 §3): the headers in front, AH, what follows, all of it under the ICV.

import { concat } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import { integrityRow } from '../crypto/suites.ts';
import type { SaParameters } from '../policy/sad.ts';
import { AH_BYTES, type AhHeader, coveredFront, decodeAh, encodeAh } from '../wire/ah.ts';
import { WireError } from '../wire/codec.ts';
import { bigEndian, withHigh } from './reference-esp.ts';

export const AH = 51;
const NOTHING = new Uint8Array();

/** How many bytes AH takes in front of what it protects. */
export function ahBytes({ integrity }: SaParameters, family: 4 | 6): number {
  return AH_BYTES + fieldBytes(integrity!, family);
}

/** `front` already announces AH and the whole length. Undefined where nobody can tell how it arrives. */
export function sealAh(
  provider: Provider,
  parameters: SaParameters,
  sequence: bigint,
  front: Uint8Array,
  next: number,
  payload: Uint8Array,
): Uint8Array | undefined {
  const integrity = parameters.integrity!;
  const icv = new Uint8Array(fieldBytes(integrity, front[0]! >> 4 === 6 ? 6 : 4));
  const { spi, esn } = parameters;
  const header = { next, reserved: 0, spi, sequence: Number(sequence & 0xffffffffn), icv };
  const text = covered(front, header, payload, sequence, esn);
  if (!text) return undefined;
  // RFC 4543 §3.1: a number that never repeats is a good IV.
  const iv = bigEndian(sequence).subarray(0, ivBytesOf(integrity));
  icv.set(iv);
  icv.set(codeOf(provider, integrity, iv, text), iv.length);
  return concat([front, encodeAh(header), payload]);
}

export interface OpenedAh {
  header: AhHeader;
  /** What AH stands in front of. */
  payload: Uint8Array;
}

/** The header and what follows it, not yet verified; undefined where its length is not one that this SA can have. */
export function readAh({ integrity }: SaParameters, packet: Uint8Array): OpenedAh | undefined {
  try {
    const header = decodeAh(packet);
    const expected = [fieldBytes(integrity!, 4), fieldBytes(integrity!, 6)];
    if (!expected.includes(header.icv.length)) return undefined;
    return { header, payload: packet.subarray(AH_BYTES + header.icv.length) };
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** Undefined where the headers in front are malformed; else whether the packet is authentic (RFC 4302 §3.4.4). */
export function verifyAh(
  provider: Provider,
  { integrity, esn }: SaParameters,
  sequence: bigint,
  front: Uint8Array,
  { header, payload }: OpenedAh,
): boolean | undefined {
  const { icvBytes } = integrityRow(integrity!.name);
  const ivBytes = ivBytesOf(integrity!);
  const icv = header.icv.slice().fill(0, 0, ivBytes + icvBytes);
  const text = covered(front, { ...header, icv }, payload, sequence, esn);
  if (!text) return undefined;
  const code = codeOf(provider, integrity!, header.icv.subarray(0, ivBytes), text);
  return provider.equal(code, header.icv.subarray(ivBytes, ivBytes + icvBytes));
}

/**
 * RFC 4302 §3.3.3.1: the front as it arrives, AH with zeros for the ICV and an IV in its field, the payload, and the high
 * half of an extended number. Implicit padding (§3.3.3.2.2) is for codes that take whole blocks only; none of ours does.
 */
function covered(
  front: Uint8Array,
  header: AhHeader,
  payload: Uint8Array,
  sequence: bigint,
  esn: boolean,
): Uint8Array | undefined {
  const fixed = coveredFront(front);
  return fixed && withHigh(concat([fixed, encodeAh(header), payload]), sequence, esn);
}

type Integrity = NonNullable<SaParameters['integrity']>;

/** AES-GMAC is AES-GCM that encrypts nothing; its IV stands in front of the code (RFC 4543 §4). */
function codeOf(provider: Provider, { name, key }: Integrity, iv: Uint8Array, text: Uint8Array): Uint8Array {
  if (iv.length > 0) return provider.seal('aes-gcm-16', key, iv, text, NOTHING);
  return provider.integrity(name, key, text);
}

/** IV and ICV, padded: AH is of whole 64-bit words over IPv6, of 32-bit words over IPv4 (RFC 4302 §3.3.3.2.1). */
function fieldBytes(integrity: Integrity, family: 4 | 6): number {
  const bytes = AH_BYTES + ivBytesOf(integrity) + integrityRow(integrity.name).icvBytes;
  const unit = family === 6 ? 8 : 4;
  return Math.ceil(bytes / unit) * unit - AH_BYTES;
}

function ivBytesOf({ name }: Integrity): number {
  return integrityRow(name).ivBytes ?? 0;
}
