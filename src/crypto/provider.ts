// What the core asks of a crypto library. All calls are synchronous and use session keys only.

import type { EncryptionName, IntegrityName, PrfName } from './suites.ts';

export interface Provider {
  /** Fresh random bytes. */
  random(length: number): Uint8Array;
  /** prf(key, data), RFC 7296 §2.13. */
  prf(name: PrfName, key: Uint8Array, data: Uint8Array): Uint8Array;
  /** The truncated ICV over `data`. */
  integrity(name: IntegrityName, key: Uint8Array, data: Uint8Array): Uint8Array;
  /**
   * Combined mode: returns ciphertext and tag in one piece. `key` ends with the salt; the nonce is salt and `iv`.
   * Other modes: `aad` is ignored, `plaintext` is a multiple of the block, no tag.
   */
  seal(
    name: EncryptionName,
    key: Uint8Array,
    iv: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
  ): Uint8Array;
  /** The reverse; undefined where the tag does not fit. */
  open(
    name: EncryptionName,
    key: Uint8Array,
    iv: Uint8Array,
    aad: Uint8Array,
    sealed: Uint8Array,
  ): Uint8Array | undefined;
  /** SHA-1, for NAT detection only (RFC 7296 §2.23). */
  sha1(data: Uint8Array): Uint8Array;
  /** Compares in constant time; lengths may differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
}
