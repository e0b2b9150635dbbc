// A provider through which one can look: what it seals is authenticated like the real thing, and hidden from nobody.

import { concat } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import { encryptionRow } from '../crypto/suites.ts';
import { decodeMessage, decodePayloads, type Message } from '../wire/ikev2.ts';
import { PAYLOAD } from '../wire/numbers.ts';

const TAG_BYTES = 16;
const IV_BYTES = 8;

export function glass(provider: Provider): Provider {
  const tag = (key: Uint8Array, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array) =>
    provider.prf('hmac-sha2-256', key, concat([iv, aad, plaintext])).subarray(0, TAG_BYTES);
  return {
    ...provider,
    seal(name, key, iv, aad, plaintext) {
      if (encryptionRow(name).tagBytes === 0) return plaintext;
      return concat([plaintext, tag(key, iv, aad, plaintext)]);
    },
    open(name, key, iv, aad, sealed) {
      if (encryptionRow(name).tagBytes === 0) return sealed;
      const plaintext = sealed.subarray(0, sealed.length - TAG_BYTES);
      const fits = provider.equal(tag(key, iv, aad, plaintext), sealed.subarray(plaintext.length));
      return fits ? plaintext : undefined;
    },
  };
}

/** The message with the payloads that lie behind glass, for suites with AES-GCM. */
export function readThrough(bytes: Uint8Array): Message {
  const message = decodeMessage(bytes);
  const sk = message.payloads.at(-1);
  if (sk?.type !== PAYLOAD.SK) return message;
  const plaintext = sk.body.subarray(IV_BYTES, sk.body.length - TAG_BYTES);
  const inner = plaintext.subarray(0, plaintext.length - plaintext.at(-1)! - 1);
  return { ...message, payloads: decodePayloads(sk.nextPayload, inner) };
}
