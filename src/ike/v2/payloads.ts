// Payloads that every exchange needs.

import { hex } from '../../crypto/bytes.ts';
import type { Payload } from '../../wire/ikev2.ts';
import { PAYLOAD } from '../../wire/numbers.ts';

const NONE = new Uint8Array(0);

export function notifyPayload(
  notifyType: number,
  data: Uint8Array = NONE,
  protocol = 0,
  spi: Uint8Array = NONE,
): Payload {
  return { type: PAYLOAD.N, critical: false, protocol, spi, notifyType, data };
}

export function spiBytes(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, (spi >> 16) & 0xff, (spi >> 8) & 0xff, spi & 0xff);
}

export function spiNumber(bytes: Uint8Array): number | undefined {
  return bytes.length === 4
    ? ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0
    : undefined;
}

/** The SPI of an IKE SA as 16 hex digits: eight bytes, not all zero (RFC 7296 §3.3.1, §2.6). */
export function ikeSpiText(spi: Uint8Array): string | undefined {
  return spi.length === 8 && spi.some((byte) => byte !== 0) ? hex(spi) : undefined;
}

/** What a message deletes: a payload for each protocol (RFC 7296 §3.11). */
export function deletesOf(payloads: readonly Payload[]): { protocol: number; spis: Uint8Array[] }[] {
  return payloads.flatMap((payload) => (payload.type === PAYLOAD.D ? [payload] : []));
}

/** The first error among the notifications (RFC 7296 §3.10.1: types below 16384). */
export function errorOf(payloads: Payload[]): number | undefined {
  const found = payloads.find((payload) => payload.type === PAYLOAD.N && payload.notifyType < 16384);
  return found?.type === PAYLOAD.N ? found.notifyType : undefined;
}
