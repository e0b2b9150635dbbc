// AES-XCBC-MAC (RFC 3566) and AES-CMAC (RFC 4493) on nothing but AES in CBC mode, and their PRFs.

const BLOCK = 16;
const ZERO = new Uint8Array(BLOCK);

/** AES-128-CBC with an IV of zeros over whole blocks, no padding. */
export type AesCbc = (key: Uint8Array, blocks: Uint8Array) => Uint8Array;

/** 16 bytes; callers truncate. `key` is 16 bytes. */
export type AesMac = (aes: AesCbc, key: Uint8Array, data: Uint8Array) => Uint8Array;

export const xcbc: AesMac = (aes, key, data) => {
  const derived = (value: number) => aes(key, new Uint8Array(BLOCK).fill(value));
  return chained(aes, derived(1), data, derived(2), derived(3));
};

export const cmac: AesMac = (aes, key, data) => {
  const whole = doubled(aes(key, ZERO));
  return chained(aes, key, data, whole, doubled(whole));
};

/** PRFs take keys of any length (RFC 4434 §2, RFC 4615 §3). They differ in what becomes of a short key. */
export function xcbcPrf(aes: AesCbc, key: Uint8Array, data: Uint8Array): Uint8Array {
  const padded = new Uint8Array(BLOCK);
  padded.set(key.length > BLOCK ? xcbc(aes, ZERO, key) : key);
  return xcbc(aes, padded, data);
}

export function cmacPrf(aes: AesCbc, key: Uint8Array, data: Uint8Array): Uint8Array {
  return cmac(aes, key.length === BLOCK ? key : cmac(aes, ZERO, key), data);
}

/** The last block is covered with `whole`, or padded with 1 and zeros and covered with `part` (RFC 3566 §4, RFC 4493 §2.4). */
function chained(
  aes: AesCbc,
  key: Uint8Array,
  data: Uint8Array,
  whole: Uint8Array,
  part: Uint8Array,
): Uint8Array {
  const blocks = new Uint8Array(Math.max(1, Math.ceil(data.length / BLOCK)) * BLOCK);
  blocks.set(data);
  if (data.length < blocks.length) blocks[data.length] = 0x80;
  const cover = data.length === blocks.length ? whole : part;
  const last = blocks.subarray(-BLOCK);
  for (let i = 0; i < BLOCK; i++) last[i]! ^= cover[i]!;
  return aes(key, blocks).slice(-BLOCK);
}

/** Twice the value in GF(2^128) (RFC 4493 §2.3). */
function doubled(value: Uint8Array): Uint8Array {
  const twice = value.map((byte, i) => (byte << 1) | ((value[i + 1] ?? 0) >> 7));
  if (value[0]! & 0x80) twice[BLOCK - 1]! ^= 0x87;
  return twice;
}
