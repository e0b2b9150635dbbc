// The encrypted payload, and its form for a fragment (RFC 7296 §3.14, RFC 5282, RFC 7383 §2.5).

import { concat } from '../crypto/bytes.ts';
import { type IkeKeys, ikeKeys } from '../crypto/keymat.ts';
import type { Provider } from '../crypto/provider.ts';
import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { ChosenSuite } from '../policy/proposal.ts';
import {
  datagramsOf,
  decodeMessage,
  decodePayloads,
  encodeMessage,
  encodePayloads,
  HEADER_BYTES,
  type Header,
  type HeaderFields,
  type Message,
  type Payload,
  type SkfPayload,
  type SkPayload,
} from '../wire/ikev2.ts';
import { PAYLOAD } from '../wire/numbers.ts';
import { type IkeSa, spisOf } from './sa.ts';

/** What the messages of an IKE SA are sealed and opened with. */
export interface Protection {
  suite: ChosenSuite;
  keys: IkeKeys;
}

/** A chain of payloads in the clear: the type of the first, and the bytes of all. */
export interface Inner {
  first: number;
  bytes: Uint8Array;
}

/** Which piece of a chain a fragment carries: from 1 to `total`. */
export type Place = Pick<SkfPayload, 'fragment' | 'total'>;

/** The keys of an IKE SA (RFC 7296 §2.14) for the suite that both sides agreed on. */
export function keysOf(
  provider: Provider,
  suite: ChosenSuite,
  sa: Pick<IkeSa, 'initiator' | 'spi' | 'peerSpi'>,
  made: { skeyseed: Uint8Array; ni: Uint8Array; nr: Uint8Array },
): IkeKeys {
  const { encryption, integrity } = suite;
  return ikeKeys(provider, { prf: suite.prf!, encryption, integrity, ...made, ...spisOf(sa) });
}

/** What SA messages are under now; nothing while there are no keys yet. */
export function protectionOf({ state }: IkeSa): Protection | undefined {
  return state.name === 'established' ? state : 'secrets' in state ? state.secrets : undefined;
}

export function sealMessage(
  provider: Provider,
  suite: ChosenSuite,
  keys: IkeKeys,
  fields: HeaderFields,
  payloads: readonly Payload[],
): Uint8Array {
  return sealInner(provider, { suite, keys }, fields, encodePayloads(payloads));
}

/** One datagram: the whole chain, or with `place` the piece of it that is in `inner`. */
export function sealInner(
  provider: Provider,
  { suite, keys }: Protection,
  fields: HeaderFields,
  inner: Inner,
  place?: Place,
): Uint8Array {
  const { encryption, integrity } = ofSender(keys, fields.flags.initiator);
  const row = encryptionRow(suite.encryption!.name);
  const plaintext = padded(inner.bytes, row.blockBytes);
  const iv = row.iv === 'counter' ? counterIv(fields, place) : provider.random(row.ivBytes);
  const body = new Uint8Array(iv.length + plaintext.length + row.tagBytes + icvBytesOf(suite));
  const frame = encodeMessage(fields, [encryptedPayload(inner.first, body, place)]);
  // The associated data is all in front of the IV, with the final lengths (RFC 5282 §5.1).
  const aad = frame.subarray(0, frame.length - body.length);
  const sealed = provider.seal(suite.encryption!.name, encryption, iv, aad, plaintext);
  const message = concat([aad, iv, sealed]);
  return row.tagBytes > 0
    ? message
    : concat([message, provider.integrity(suite.integrity!, integrity, message)]);
}

function encryptedPayload(nextPayload: number, body: Uint8Array, place?: Place): SkPayload | SkfPayload {
  const common = { critical: false, nextPayload, body, offset: 0 };
  return place ? { type: PAYLOAD.SKF, ...common, ...place } : { type: PAYLOAD.SK, ...common };
}

const SK_HEADER_BYTES = 4;
const SKF_HEADER_BYTES = 8;

/** The most bytes of a chain that fit a fragment which is a message of so many bytes. */
export function fragmentBytes(suite: ChosenSuite, messageBytes: number): number {
  const { blockBytes } = encryptionRow(suite.encryption!.name);
  return Math.floor((messageBytes - around(suite, SKF_HEADER_BYTES)) / blockBytes) * blockBytes - 1;
}

/** A chain of so many bytes in one SK. */
export function sealedBytes(suite: ChosenSuite, innerBytes: number): number {
  const { blockBytes } = encryptionRow(suite.encryption!.name);
  return around(suite, SK_HEADER_BYTES) + Math.ceil((innerBytes + 1) / blockBytes) * blockBytes;
}

/** Of a chain in one SK that makes a message of so many bytes, or of the next number that a chain can make. */
export function chainBytes(suite: ChosenSuite, messageBytes: number): number {
  const { blockBytes } = encryptionRow(suite.encryption!.name);
  return Math.ceil((messageBytes - around(suite, SK_HEADER_BYTES)) / blockBytes) * blockBytes - 1;
}

/** Of a message with one encrypted payload, whose header has so many bytes, all but the plaintext. */
function around(suite: ChosenSuite, payloadHeaderBytes: number): number {
  const { ivBytes, tagBytes } = encryptionRow(suite.encryption!.name);
  return HEADER_BYTES + payloadHeaderBytes + ivBytes + tagBytes + icvBytesOf(suite);
}

function icvBytesOf({ encryption, integrity }: ChosenSuite): number {
  return encryptionRow(encryption!.name).tagBytes > 0 ? 0 : integrityRow(integrity!).icvBytes;
}

/**
 * What a message carried, in the clear, whoever of the two sides sealed it. `bytes`: one datagram, or all its fragments
 * joined in their order. Undefined where one of them is not authentic.
 */
export function plainOf(
  provider: Provider,
  protection: Protection,
  bytes: Uint8Array,
): (Inner & { header: Header }) | undefined {
  const pieces = datagramsOf(bytes).map((one) => ({ one, message: decodeMessage(one) }));
  const opened = pieces.map(({ one, message }) => openPiece(provider, protection, message, one));
  const [first] = pieces;
  const encrypted = first && encryptedOf(first.message);
  if (!encrypted || opened.includes(undefined)) return undefined;
  const plain = opened.length === 1 ? opened[0]! : concat(opened as Uint8Array[]);
  return { header: first.message.header, first: encrypted.nextPayload, bytes: plain };
}

/** The payloads inside, or undefined where the message is not authentic. Throws WireError where the inside is malformed. */
export function openMessage(
  provider: Provider,
  protection: Protection,
  bytes: Uint8Array,
): Payload[] | undefined {
  const plain = plainOf(provider, protection, bytes);
  return plain && decodePayloads(plain.first, plain.bytes);
}

/** A message that was opened before and kept as it came. */
export function reopen(
  { provider }: { provider: Provider },
  protection: Protection,
  bytes: Uint8Array,
): Payload[] {
  return openMessage(provider, protection, bytes)!;
}

/** The plaintext of one datagram, without its padding. */
export function openPiece(
  provider: Provider,
  { suite, keys }: Protection,
  message: Message,
  bytes: Uint8Array,
): Uint8Array | undefined {
  const encrypted = encryptedOf(message);
  if (!encrypted) return undefined;
  const plaintext = openBody(
    provider,
    suite,
    ofSender(keys, message.header.flags.initiator),
    encrypted,
    bytes,
  );
  if (!plaintext) return undefined;
  const padBytes = plaintext.at(-1)! + 1;
  return padBytes > plaintext.length ? undefined : plaintext.subarray(0, plaintext.length - padBytes);
}

function encryptedOf({ payloads }: Message): SkPayload | SkfPayload | undefined {
  const last = payloads.at(-1);
  return last?.type === PAYLOAD.SK || last?.type === PAYLOAD.SKF ? last : undefined;
}

function openBody(
  provider: Provider,
  suite: ChosenSuite,
  keys: { encryption: Uint8Array; integrity: Uint8Array },
  sk: { body: Uint8Array; offset: number },
  bytes: Uint8Array,
): Uint8Array | undefined {
  const row = encryptionRow(suite.encryption!.name);
  const iv = sk.body.subarray(0, row.ivBytes);
  if (row.tagBytes > 0) {
    if (sk.body.length < row.ivBytes + row.tagBytes + 1) return undefined;
    return provider.open(
      suite.encryption!.name,
      keys.encryption,
      iv,
      bytes.subarray(0, sk.offset),
      sk.body.subarray(row.ivBytes),
    );
  }
  const { icvBytes } = integrityRow(suite.integrity!);
  if (sk.body.length < row.ivBytes + row.blockBytes + icvBytes) return undefined;
  const icv = provider.integrity(
    suite.integrity!,
    keys.integrity,
    bytes.subarray(0, bytes.length - icvBytes),
  );
  if (!provider.equal(icv, bytes.subarray(bytes.length - icvBytes))) return undefined;
  const ciphertext = sk.body.subarray(row.ivBytes, sk.body.length - icvBytes);
  return provider.open(suite.encryption!.name, keys.encryption, iv, new Uint8Array(0), ciphertext);
}

function ofSender(keys: IkeKeys, initiator: boolean): { encryption: Uint8Array; integrity: Uint8Array } {
  return initiator
    ? { encryption: keys.ei, integrity: keys.ai }
    : { encryption: keys.er, integrity: keys.ar };
}

/** Padding bytes, then their number (RFC 7296 §3.14). */
function padded(plaintext: Uint8Array, blockBytes: number): Uint8Array {
  const padBytes = (blockBytes - ((plaintext.length + 1) % blockBytes)) % blockBytes;
  return concat([plaintext, new Uint8Array(padBytes), Uint8Array.of(padBytes)]);
}

/**
 * RFC 5282 §3.1, RFC 5930 §2: unique under a key. Each side sends a request and a response of a number once, whole, and cut
 * into any number of fragments at most once: so number, kind and place never repeat under one key.
 */
function counterIv({ messageId, flags }: HeaderFields, { fragment, total }: Place = NOT_CUT): Uint8Array {
  const iv = new Uint8Array(8);
  const view = new DataView(iv.buffer);
  view.setUint16(0, total);
  view.setUint16(2, (fragment << 1) | (flags.response ? 1 : 0));
  view.setUint32(4, messageId);
  return iv;
}

const NOT_CUT: Place = { fragment: 0, total: 0 };
