// SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) to a key object.

import { createPublicKey, type KeyObject } from 'node:crypto';

/** As text (RFC 7468 §13): Node looks at bytes for twice the time that the import takes. Throws where it is no key. */
export function importPublicKey(spki: Uint8Array): KeyObject {
  const lines = Buffer.from(spki)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n');
  return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${lines}-----END PUBLIC KEY-----\n`);
}
