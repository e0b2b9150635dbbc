// Pre-shared keys from files: who may read them, what they hold, whether they are worth anything.

import { readFileSync, statSync } from 'node:fs';

/** Fewer bytes can be guessed from one recorded IKE_AUTH (RFC 7296 §2.15: as much entropy as the strongest key). */
const LEAST_BYTES = 16;
const LEAST_DISTINCT = 6;

/** The secret, or a sentence. One newline at the end is not part of it; `hex:` and `base64:` are decoded. */
export function readSecret(file: string): Uint8Array | { complaint: string } {
  try {
    const { mode } = statSync(file);
    if ((mode & 0o077) !== 0)
      return { complaint: `others can read the secret in ${file}: chmod 600 ${file}` };
    return checked(decodeSecret(readFileSync(file)), file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : (code ?? 'it cannot be read');
    return { complaint: `the secret file ${file} cannot be read: ${why}` };
  }
}

function decodeSecret(content: Buffer): Uint8Array | undefined {
  const text = content.toString('latin1').replace(/\r?\n$/, '');
  if (text.startsWith('hex:')) {
    const digits = text.slice(4);
    return /^([0-9a-f]{2})*$/i.test(digits) ? Uint8Array.from(Buffer.from(digits, 'hex')) : undefined;
  }
  if (text.startsWith('base64:')) return Uint8Array.from(Buffer.from(text.slice(7), 'base64'));
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

function checked(secret: Uint8Array | undefined, file: string): Uint8Array | { complaint: string } {
  if (!secret) return { complaint: `the secret in ${file} is not the hex that it says it is` };
  if (secret.length < LEAST_BYTES || new Set(secret).size < LEAST_DISTINCT)
    return {
      complaint: `the secret in ${file} is weak (${secret.length} bytes, at least ${LEAST_BYTES} of random ones are needed): openssl rand -base64 24 > ${file}`,
    };
  return secret;
}
