// The key schedule of IKEv2 as pure functions: SKEYSEED, SK_*, KEYMAT and the octets that AUTH covers.

import { concat as joined, unhex } from './bytes.ts';
import type { Provider } from './provider.ts';
import {
  type EncryptionName,
  encryptionRow,
  type IntegrityName,
  integrityRow,
  type PrfName,
  prfRow,
} from './suites.ts';

/** The keys of an IKE SA, RFC 7296 §2.14. `ei` and `er` end with the salt; `ai` and `ar` are empty in combined mode. */
export interface IkeKeys {
  d: Uint8Array;
  ai: Uint8Array;
  ar: Uint8Array;
  ei: Uint8Array;
  er: Uint8Array;
  pi: Uint8Array;
  pr: Uint8Array;
}

/** The keys of one direction of a child. `encryption` ends with the salt; `integrity` is empty in combined mode. */
export interface DirectionKeys {
  encryption: Uint8Array;
  integrity: Uint8Array;
}

/** What decides how many bytes of key one direction needs. Without `encryption` (AH) only integrity counts. */
export interface KeySizes {
  encryption?: { name: EncryptionName; keyBits: number } | undefined;
  /** Absent in combined mode. */
  integrity?: IntegrityName | undefined;
}

export interface IkeKeyInput extends KeySizes {
  prf: PrfName;
  skeyseed: Uint8Array;
  ni: Uint8Array;
  nr: Uint8Array;
  /** 16 hex digits. */
  initiatorSpi: string;
  /** 16 hex digits. */
  responderSpi: string;
}

export interface ChildKeyInput extends KeySizes {
  prf: PrfName;
  skD: Uint8Array;
  /** The fresh shared secret, with PFS. */
  secret?: Uint8Array | undefined;
  ni: Uint8Array;
  nr: Uint8Array;
  /** Of additional key exchanges (RFC 9370 §2.2.4). */
  further?: readonly Uint8Array[] | undefined;
}

const NOTHING = new Uint8Array();

/** SKEYSEED = prf(Ni | Nr, g^ir), RFC 7296 §2.14. */
export function skeyseed(
  provider: Provider,
  prf: PrfName,
  ni: Uint8Array,
  nr: Uint8Array,
  secret: Uint8Array,
): Uint8Array {
  // RFC 7296 §2.14: these two take 64 bits of each nonce here, and whole nonces everywhere else.
  const take = prf === 'aes128-xcbc' || prf === 'aes128-cmac' ? 8 : undefined;
  return provider.prf(prf, concat(ni.subarray(0, take), nr.subarray(0, take)), secret);
}

/**
 * SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), RFC 7296 §2.18; the secrets of additional key exchanges follow (RFC 9370
 * §2.2.4). `prf` is that of the old IKE SA.
 */
export function skeyseedRekey(
  provider: Provider,
  prf: PrfName,
  skD: Uint8Array,
  secret: Uint8Array,
  ni: Uint8Array,
  nr: Uint8Array,
  further: readonly Uint8Array[] = [],
): Uint8Array {
  return provider.prf(prf, skD, concat(secret, ni, nr, ...further));
}

/** {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr), RFC 7296 §2.14. */
export function ikeKeys(provider: Provider, input: IkeKeyInput): IkeKeys {
  const preferred = prfRow(input.prf).keyBytes;
  const [a, e] = [integrityBytes(input), encryptionBytes(input)];
  const sizes = [preferred, a, a, e, e, preferred, preferred];
  const seed = concat(input.ni, input.nr, spiBytes(input.initiatorSpi), spiBytes(input.responderSpi));
  const [d, ai, ar, ei, er, pi, pr] = cut(
    prfPlus(provider, input.prf, input.skeyseed, seed, sum(sizes)),
    sizes,
  );
  return { d: d!, ai: ai!, ar: ar!, ei: ei!, er: er!, pi: pi!, pr: pr! };
}

/**
 * KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr), RFC 7296 §2.17; the secrets of additional key exchanges follow. `initiator` protects what the initiator of this
 * exchange sends; its keys come first, and encryption before integrity.
 */
export function childKeys(
  provider: Provider,
  input: ChildKeyInput,
): { initiator: DirectionKeys; responder: DirectionKeys } {
  const [a, e] = [integrityBytes(input), encryptionBytes(input)];
  const seed = concat(input.secret ?? new Uint8Array(), input.ni, input.nr, ...(input.further ?? []));
  const keymat = prfPlus(provider, input.prf, input.skD, seed, 2 * (e + a));
  const [ei, ai, er, ar] = cut(keymat, [e, a, e, a]);
  return {
    initiator: { encryption: ei!, integrity: ai! },
    responder: { encryption: er!, integrity: ar! },
  };
}

/**
 * prf+(K, S) = T1 | T2 | …, Tn = prf(K, Tn-1 | S | n), RFC 7296 §2.13. `length` in bytes.
 * Throws RangeError beyond 255 blocks: the counter is one byte.
 */
export function prfPlus(
  provider: Provider,
  prf: PrfName,
  key: Uint8Array,
  seed: Uint8Array,
  length: number,
): Uint8Array {
  const out = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array();
  for (let [at, n] = [0, 1]; at < length; at += block.length, n++) {
    if (n > 255) throw new RangeError(`prf+ gives at most 255 blocks, ${length} bytes of ${prf} are more`);
    block = provider.prf(prf, key, concat(block, seed, Uint8Array.of(n)));
    out.set(block.subarray(0, length - at), at);
  }
  return out;
}

/** The keys that a PPK goes into (RFC 8784 §3). */
export type PpkKeys = Pick<IkeKeys, 'd' | 'pi' | 'pr'>;

/** SK_d = prf+(PPK, SK_d'), and SK_pi and SK_pr likewise, RFC 8784 §3. */
export function mixPpk(provider: Provider, prf: PrfName, ppk: Uint8Array, { d, pi, pr }: PpkKeys): PpkKeys {
  const mix = (key: Uint8Array) => prfPlus(provider, prf, ppk, key, key.length);
  return { d: mix(d), pi: mix(pi), pr: mix(pr) };
}

/** The first eight bytes of prf(PPK, Ni | Nr | SPIi | SPIr): both hold the same PPK (RFC 9867). */
export function ppkConfirmation(
  provider: Provider,
  prf: PrfName,
  ppk: Uint8Array,
  seed: Uint8Array,
): Uint8Array {
  return provider.prf(prf, ppk, seed).slice(0, 8);
}

/** SKEYSEED' = prf+(PPK, SK_d), as long as a key of the PRF (RFC 9867). */
export function ppkSkeyseed(provider: Provider, prf: PrfName, ppk: Uint8Array, skD: Uint8Array): Uint8Array {
  return prfPlus(provider, prf, ppk, skD, prfRow(prf).keyBytes);
}

/** MACedIDFor* = prf(SK_p*, RestOf*IDPayload), RFC 7296 §2.15. `idBody` is the ID payload behind its generic header. */
export function macedId(provider: Provider, prf: PrfName, skP: Uint8Array, idBody: Uint8Array): Uint8Array {
  return provider.prf(prf, skP, idBody);
}

/**
 * *SignedOctets = RealMessage | NonceOfTheOther | MACedID, RFC 7296 §2.15. `message` is the signer's own IKE_SA_INIT
 * message as sent, without a non-ESP marker; `nonce` is the data of the other side's nonce.
 */
export function authOctets(message: Uint8Array, nonce: Uint8Array, macedId: Uint8Array): Uint8Array {
  return concat(message, nonce, macedId);
}

function encryptionBytes({ encryption }: KeySizes): number {
  return encryption ? encryption.keyBits / 8 + encryptionRow(encryption.name).saltBytes : 0;
}

function integrityBytes({ integrity }: KeySizes): number {
  return integrity ? integrityRow(integrity).keyBytes : 0;
}

function spiBytes(spi: string): Uint8Array {
  if (!/^[0-9a-f]{16}$/i.test(spi))
    throw new RangeError(`an IKE SPI is 16 hex digits, not ${JSON.stringify(spi)}`);
  return unhex(spi);
}

/** Views of one piece: the keys of an SA come and go together. Empty ones are all the same. */
function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  let end = 0;
  return sizes.map((size) => {
    end += size;
    return size === 0 ? NOTHING : bytes.subarray(end - size, end);
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return joined(parts);
}
