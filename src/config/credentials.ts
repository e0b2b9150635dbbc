// Certificates and keys from files: read once a load, checked, named by what is wrong with them.

import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { weakness } from '../crypto/node-signatures.ts';
import {
  type CertificateDescription,
  describeCertificate,
  type PathRules,
  readCertificateFile,
  readPem,
} from '../crypto/x509.ts';
import { readSecret } from './secret.ts';

/** What a peer is judged by. DER. */
export interface Trust {
  anchors: Uint8Array[];
  /** SubjectPublicKeyInfo of raw keys that are known (RFC 7670). */
  publicKeys: Uint8Array[];
  crls: Uint8Array[];
  rules: PathRules;
}

export interface Complained {
  complaint: string;
}

/** Every file is read once, however many tunnels name it. */
export interface Files {
  certificates(file: string): Uint8Array[] | Complained;
  crls(file: string): Uint8Array[] | Complained;
  ocsp(file: string): Uint8Array | Complained;
  publicKey(file: string): Uint8Array | Complained;
  privateKey(file: string): KeyObject | Complained;
  secret(file: string): Uint8Array | Complained;
  /** All that were asked for. */
  paths(): string[];
}

export function createFiles(): Files {
  const paths = new Set<string>();
  const remembered = <T>(read: (file: string) => T) => remember(paths, read);
  return {
    paths: () => [...paths],
    certificates: remembered((file) => reading(file, 'certificate', readCertificateFile)),
    crls: remembered((file) => reading(file, 'revocation list', crlsOf)),
    ocsp: remembered((file) => reading(file, 'OCSP answer', (content) => content)),
    publicKey: remembered((file) => reading(file, 'public key', publicKeyOf)),
    privateKey: remembered(readPrivateKey),
    secret: remembered(readSecret),
  };
}

/** The same files, named from a folder. */
export function filesIn(files: Files, folder: string): Files {
  const from =
    <T>(read: (file: string) => T) =>
    (file: string) =>
      read(resolve(folder, file));
  return {
    certificates: from(files.certificates),
    crls: from(files.crls),
    ocsp: from(files.ocsp),
    publicKey: from(files.publicKey),
    privateKey: from(files.privateKey),
    secret: from(files.secret),
    paths: files.paths,
  };
}

export function isComplaint<T extends object>(value: T | Complained): value is Complained {
  return 'complaint' in value;
}

/** Why a private key does not belong to a certificate, or undefined. */
export function misfit(key: KeyObject, certificate: Uint8Array): string | undefined {
  try {
    return new X509Certificate(certificate).checkPrivateKey(key)
      ? undefined
      : 'the key does not belong to the certificate';
  } catch {
    return 'the certificate cannot be read';
  }
}

/** The description, or why the bytes are none. */
export function described(certificate: Uint8Array): CertificateDescription | Complained {
  const found = describeCertificate(certificate);
  return 'code' in found ? { complaint: found.text } : found;
}

function remember<T>(paths: Set<string>, read: (file: string) => T): (file: string) => T {
  const known = new Map<string, T>();
  return (file) => {
    paths.add(file);
    const value = known.get(file) ?? read(file);
    known.set(file, value);
    return value;
  };
}

function reading<T>(file: string, what: string, decode: (content: Uint8Array) => T): T | Complained {
  try {
    return decode(new Uint8Array(readFileSync(file)));
  } catch (error) {
    return { complaint: `the ${what} ${file} cannot be read: ${reasonOf(error)}` };
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  return error instanceof RangeError ? message : (code ?? message);
}

function crlsOf(content: Uint8Array): Uint8Array[] {
  if (content[0] === 0x30) return [content];
  const found = readPem(new TextDecoder('latin1').decode(content)).filter(
    ({ label }) => label === 'X509 CRL',
  );
  if (found.length === 0) throw new RangeError('there is no X509 CRL in it');
  return found.map(({ bytes }) => bytes);
}

/** SubjectPublicKeyInfo, from a PEM of a public key or of a certificate. */
function publicKeyOf(content: Uint8Array): Uint8Array {
  const key = createPublicKey(
    content[0] === 0x30
      ? { key: Buffer.from(content), format: 'der', type: 'spki' }
      : new TextDecoder('latin1').decode(content),
  );
  const weak = weakness(key);
  if (weak !== undefined) throw new RangeError(weak);
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
}

function readPrivateKey(file: string): KeyObject | Complained {
  try {
    const { mode } = statSync(file);
    if ((mode & 0o077) !== 0)
      return { complaint: `others can read the private key in ${file}: chmod 600 ${file}` };
    const content = readFileSync(file);
    if (content.includes('ENCRYPTED'))
      return {
        complaint: `the private key in ${file} is locked with a password: openssl pkey -in ${file} takes it off`,
      };
    const key = createPrivateKey(content);
    const weak = weakness(key);
    return weak === undefined ? key : { complaint: `the private key in ${file} is not used: ${weak}` };
  } catch (error) {
    // What OpenSSL says of a key may quote it.
    const { code = '' } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'there is no such file' : /^E[A-Z]+$/.test(code) ? code : 'it is no PEM key';
    return { complaint: `the private key ${file} cannot be read: ${why}` };
  }
}
