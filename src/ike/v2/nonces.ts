// Nonces (RFC 7296 §2.10), and which of two exchanges loses (§2.8.1).

/** Of ours; at least half of any PRF's key. */
export const NONCE_BYTES = 32;

/** RFC 7296 §2.10: 16 to 256 bytes. */
export function isNonce(data: Uint8Array): boolean {
  return data.length >= 16 && data.length <= 256;
}

export function lower(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareNonces(a, b) < 0 ? a : b;
}

/** Octet by octet (RFC 7296 §2.8.1); a prefix is lower than what continues it. */
export function compareNonces(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at === -1 ? a.length - b.length : a[at]! - (b[at] ?? -1);
}
