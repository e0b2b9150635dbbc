// One ESP packet (RFC 4303 §2): sealed and opened, whatever is in it.

import { concat } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { SaParameters } from '../policy/sad.ts';
import { viewOf } from '../wire/ip.ts';

export const ESP = 50;
export const NEXT_IPV4 = 4;
export const NEXT_IPV6 = 41;
const HEADER = 8;

/** What stands behind the payload, where it is not what follows from the payload. */
export interface Trailing {
  /** RFC 4303 §2.7. */
  bytes?: Uint8Array;
  next?: number;
}

/** An ESP packet around a payload: an inner packet, or with `next` what that protocol sends. */
export function sealEsp(
  provider: Provider,
  parameters: SaParameters,
  sequence: bigint,
  payload: Uint8Array,
  iv: () => Uint8Array,
  trailing: Trailing = {},
): Uint8Array {
  const { name, key } = parameters.encryption!;
  const row = encryptionRow(name);
  const next = trailing.next ?? (payload[0]! >> 4 === 6 ? NEXT_IPV6 : NEXT_IPV4);
  const header = new Uint8Array(HEADER);
  viewOf(header).setUint32(0, parameters.spi);
  viewOf(header).setUint32(4, Number(sequence & 0xffffffffn));
  const whole = concat([payload, trailing.bytes ?? new Uint8Array()]);
  const text = padded(whole, Math.max(row.blockBytes, 4), next);
  // RFC 4106 §3.1: a number that never repeats is a good IV of a counter mode.
  const vector = row.iv === 'counter' ? bigEndian(sequence).subarray(0, row.ivBytes) : iv();
  const aad = associatedData(header, sequence, parameters.esn);
  const sealed = concat([header, vector, provider.seal(name, key, vector, aad, text)]);
  const { integrity } = parameters;
  if (!integrity) return sealed;
  return concat([
    sealed,
    provider.integrity(integrity.name, integrity.key, withHigh(sealed, sequence, parameters.esn)),
  ]);
}

/** RFC 4303 §2.7: zeros that hide how long the packet is. */
export function flowPadding({ mode, padTo = 0 }: SaParameters, packet: Uint8Array): Uint8Array {
  return new Uint8Array(mode === 'tunnel' ? Math.max(0, padTo - packet.length) : 0);
}

/** Whether the lengths can be those of an ESP packet of this SA. */
export function isEspOf({ encryption, integrity }: SaParameters, esp: Uint8Array): boolean {
  const row = encryptionRow(encryption!.name);
  const icvBytes = row.tagBytes || icvOf(integrity);
  return esp.length >= HEADER + row.ivBytes + icvBytes + 4 && esp.length % 4 === 0;
}

/** What was sealed, with its trailer; undefined where it is not authentic. */
export function openEsp(
  provider: Provider,
  { encryption, integrity, esn }: SaParameters,
  sequence: bigint,
  esp: Uint8Array,
): Uint8Array | undefined {
  const { name, key } = encryption!;
  const row = encryptionRow(name);
  const body = esp.subarray(0, esp.length - icvOf(integrity));
  const text = body.subarray(HEADER + row.ivBytes);
  if ((text.length - row.tagBytes) % row.blockBytes !== 0) return undefined;
  if (integrity) {
    const icv = provider.integrity(integrity.name, integrity.key, withHigh(body, sequence, esn));
    if (!provider.equal(icv, esp.subarray(body.length))) return undefined;
  }
  const aad = associatedData(esp, sequence, esn);
  return provider.open(name, key, esp.subarray(HEADER, HEADER + row.ivBytes), aad, text);
}

/** The payload and what it says it is; undefined where the padding is not 1, 2, 3 … (RFC 4303 §2.4). */
export function withoutTrailer(text: Uint8Array): { payload: Uint8Array; next: number } | undefined {
  const end = text.length - 2 - text[text.length - 2]!;
  if (end < 0 || !text.subarray(end, -2).every((byte, index) => byte === index + 1)) return undefined;
  return { payload: text.subarray(0, end), next: text[text.length - 1]! };
}

/** The high half is covered by the ICV and not sent (RFC 4303 §2.2.1, RFC 4302 §2.5.1). */
export function withHigh(body: Uint8Array, sequence: bigint, esn: boolean): Uint8Array {
  return esn ? concat([body, bigEndian(sequence).subarray(0, 4)]) : body;
}

export function bigEndian(number: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, number);
  return bytes;
}

function icvOf(integrity: SaParameters['integrity']): number {
  return integrity ? integrityRow(integrity.name).icvBytes : 0;
}

/** 1, 2, 3 … behind the text, the length of that, the next header (RFC 4303 §2.4 to §2.6). */
function padded(text: Uint8Array, unit: number, next: number): Uint8Array {
  const pad = (unit - ((text.length + 2) % unit)) % unit;
  const padding = Uint8Array.from({ length: pad }, (_, index) => index + 1);
  return concat([text, padding, Uint8Array.of(pad, next)]);
}

/** SPI and sequence number, the whole one where it is extended (RFC 4106 §5). */
function associatedData(esp: Uint8Array, sequence: bigint, esn: boolean): Uint8Array {
  return esn ? concat([esp.subarray(0, 4), bigEndian(sequence)]) : esp.subarray(0, HEADER);
}
