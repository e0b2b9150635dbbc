// The encrypted payload (RFC 7296 §3.14, RFC 5282).

import { concat } from '../crypto/bytes.ts';
import { type IkeKeys, ikeKeys } from '../crypto/keymat.ts';
import type { Provider } from '../crypto/provider.ts';
import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { ChosenSuite } from '../policy/proposal.ts';
import {
  decodeMessage,
  decodePayloads,
  encodeMessage,
  encodePayloads,
  HEADER_BYTES,
  type HeaderFields,
  type Message,
  type Payload,
} from '../wire/ikev2.ts';
import { PAYLOAD } from '../wire/numbers.ts';
import type { IkeSa } from './sa.ts';

/** The keys of an IKE SA (RFC 7296 §2.14) for the suite that both sides agreed on. */
export function keysOf(
  provider: Provider,
  suite: ChosenSuite,
  { initiator, spi, peerSpi }: Pick<IkeSa, 'initiator' | 'spi' | 'peerSpi'>,
  made: { skeyseed: Uint8Array; ni: Uint8Array; nr: Uint8Array },
): IkeKeys {
  const [initiatorSpi, responderSpi] = initiator ? [spi, peerSpi] : [peerSpi, spi];
  const { encryption, integrity } = suite;
  return ikeKeys(provider, { prf: suite.prf!, encryption, integrity, ...made, initiatorSpi, responderSpi });
}

/** Bytes of the generic payload header between the message header and the IV. */
const SK_HEADER_BYTES = 4;

export function sealMessage(
  provider: Provider,
  suite: ChosenSuite,
  keys: IkeKeys,
  fields: HeaderFields,
  payloads: readonly Payload[],
): Uint8Array {
  const { encryption, integrity } = ofSender(keys, fields.flags.initiator);
  const row = encryptionRow(suite.encryption.name);
  const inner = encodePayloads(payloads);
  const plaintext = padded(inner.bytes, row.blockBytes);
  const iv = row.iv === 'counter' ? counterIv(fields) : provider.random(row.ivBytes);
  const icvBytes = row.tagBytes > 0 ? 0 : integrityRow(suite.integrity!).icvBytes;
  const sk = (body: Uint8Array) =>
    encodeMessage(fields, [{ type: PAYLOAD.SK, critical: false, nextPayload: inner.first, body, offset: 0 }]);
  // The associated data is all in front of the IV, with the final lengths (RFC 5282 §5.1).
  const frame = sk(new Uint8Array(iv.length + plaintext.length + row.tagBytes + icvBytes));
  const aad = frame.subarray(0, HEADER_BYTES + SK_HEADER_BYTES);
  const sealed = provider.seal(suite.encryption.name, encryption, iv, aad, plaintext);
  const message = concat([aad, iv, sealed]);
  return row.tagBytes > 0
    ? message
    : concat([message, provider.integrity(suite.integrity!, integrity, message)]);
}

/** The payloads inside, or undefined where the message is not authentic. Throws WireError where the inside is malformed. */
export function openMessage(
  provider: Provider,
  suite: ChosenSuite,
  keys: IkeKeys,
  { header, payloads }: Message,
  bytes: Uint8Array,
): Payload[] | undefined {
  const sk = payloads.at(-1);
  if (sk?.type !== PAYLOAD.SK) return undefined;
  const plaintext = openBody(provider, suite, ofSender(keys, header.flags.initiator), sk, bytes);
  if (!plaintext) return undefined;
  const padBytes = plaintext.at(-1)! + 1;
  if (padBytes > plaintext.length) return undefined;
  return decodePayloads(sk.nextPayload, plaintext.subarray(0, plaintext.length - padBytes));
}

function openBody(
  provider: Provider,
  suite: ChosenSuite,
  keys: { encryption: Uint8Array; integrity: Uint8Array },
  sk: { body: Uint8Array; offset: number },
  bytes: Uint8Array,
): Uint8Array | undefined {
  const row = encryptionRow(suite.encryption.name);
  const iv = sk.body.subarray(0, row.ivBytes);
  if (row.tagBytes > 0) {
    if (sk.body.length < row.ivBytes + row.tagBytes + 1) return undefined;
    return provider.open(
      suite.encryption.name,
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
  return provider.open(suite.encryption.name, keys.encryption, iv, new Uint8Array(0), ciphertext);
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

/** RFC 5282 §3.1, RFC 5930 §2: unique under a key. Each side sends a request and a response of a number once, so number and kind never repeat under one key. */
function counterIv({ messageId, flags }: HeaderFields): Uint8Array {
  const iv = new Uint8Array(8);
  const view = new DataView(iv.buffer);
  view.setUint32(0, flags.response ? 1 : 0);
  view.setUint32(4, messageId);
  return iv;
}

/** A message that was opened before and kept as it came. */
export function reopen(
  { provider }: { provider: Provider },
  secrets: { suite: ChosenSuite; keys: IkeKeys },
  bytes: Uint8Array,
): Payload[] {
  return openMessage(provider, secrets.suite, secrets.keys, decodeMessage(bytes), bytes)!;
}
