// The registry of algorithms. Wire numbers, configuration names, key sizes and kernel names are views of these rows.
// Numbers: IANA "Internet Key Exchange Version 2 (IKEv2) Parameters", transform types 1 to 5.

/**
 * `implemented` rows may be offered. `legacy` and `quirk` rows only where a tunnel allows them; `reason` says why.
 * `refused` rows are known by name and never will be; `reason` says why.
 */
export interface Status {
  status: 'implemented' | 'legacy' | 'quirk' | 'refused';
  reason?: string;
  /** Taken only where a suite names it: an unnamed kind leaves it out. */
  onlyNamed?: true;
}

interface Encryption extends Status {
  id: number;
  name: string;
  rfc: string;
  keyBits: readonly number[];
  /** Bytes taken from KEYMAT behind the key (RFC 4106 §8.1). */
  saltBytes: number;
  ivBytes: number;
  /** What the IV must be: a number that never repeats under one key, or unpredictable. */
  iv: 'counter' | 'random';
  /** Bytes of the ICV of a combined-mode algorithm, 0 where a separate integrity algorithm is needed. */
  tagBytes: number;
  /** Plaintext is padded to a multiple of this; ESP pads to 4 at least (RFC 4303 §2.4). */
  blockBytes: number;
  ike: boolean;
  esp: boolean;
  kernel: string;
  /** Most packets under one key: what the mode's proof allows, with a margin. */
  packetLimit: bigint;
}

const GCM_LIMIT = 2n ** 32n; // NIST SP 800-38D §8.3 bounds invocations; a counter IV allows more, we do not use it
const CBC_LIMIT = 2n ** 32n;

const aesGcm = (id: number, tagBytes: number) =>
  ({
    id,
    rfc: 'RFC 4106',
    keyBits: [128, 192, 256],
    saltBytes: 4,
    ivBytes: 8,
    iv: 'counter',
    tagBytes,
    blockBytes: 1,
    ike: true,
    esp: true,
    kernel: 'rfc4106(gcm(aes))',
    packetLimit: GCM_LIMIT,
    status: 'implemented',
  }) as const;

const aesCcm = (id: number, tagBytes: number) =>
  ({
    id,
    rfc: 'RFC 4309',
    keyBits: [128, 192, 256],
    saltBytes: 3,
    ivBytes: 8,
    iv: 'counter',
    tagBytes,
    blockBytes: 1,
    ike: true,
    esp: true,
    kernel: 'rfc4309(ccm(aes))',
    packetLimit: GCM_LIMIT,
    status: 'implemented',
  }) as const;

/** Transform type 1. */
// biome-ignore format: one row a line
export const ENCRYPTION = [
  { name: 'aes-gcm-16', ...aesGcm(20, 16) },
  { name: 'aes-gcm-12', ...aesGcm(19, 12) },
  { name: 'aes-gcm-8', ...aesGcm(18, 8) },
  { name: 'chacha20-poly1305', id: 28, rfc: 'RFC 7634', keyBits: [256], saltBytes: 4, ivBytes: 8, iv: 'counter', tagBytes: 16, blockBytes: 1, ike: true, esp: true, kernel: 'rfc7539esp(chacha20,poly1305)', packetLimit: 2n ** 62n, status: 'implemented' },
  { name: 'aes-cbc', id: 12, rfc: 'RFC 3602', keyBits: [128, 192, 256], saltBytes: 0, ivBytes: 16, iv: 'random', tagBytes: 0, blockBytes: 16, ike: true, esp: true, kernel: 'cbc(aes)', packetLimit: CBC_LIMIT, status: 'implemented' },
  { name: 'aes-ctr', id: 13, rfc: 'RFC 3686', keyBits: [128, 192, 256], saltBytes: 4, ivBytes: 8, iv: 'counter', tagBytes: 0, blockBytes: 1, ike: true, esp: true, kernel: 'rfc3686(ctr(aes))', packetLimit: 2n ** 62n, status: 'implemented' },
  { name: 'aes-ccm-16', ...aesCcm(16, 16) },
  { name: 'aes-ccm-12', ...aesCcm(15, 12) },
  { name: 'aes-ccm-8', ...aesCcm(14, 8) },
  { name: 'aes-gmac', id: 21, rfc: 'RFC 4543', keyBits: [128, 192, 256], saltBytes: 4, ivBytes: 8, iv: 'counter', tagBytes: 16, blockBytes: 1, ike: false, esp: true, kernel: 'rfc4543(gcm(aes))', packetLimit: GCM_LIMIT, status: 'implemented' },
  { name: 'null', id: 11, rfc: 'RFC 2410', keyBits: [0], saltBytes: 0, ivBytes: 0, iv: 'counter', tagBytes: 0, blockBytes: 1, ike: false, esp: true, kernel: 'ecb(cipher_null)', packetLimit: 2n ** 62n, status: 'implemented' },
  { name: 'des', id: 2, rfc: 'RFC 2405', keyBits: [64], saltBytes: 0, ivBytes: 8, iv: 'random', tagBytes: 0, blockBytes: 8, ike: true, esp: true, kernel: 'cbc(des)', packetLimit: 0n, status: 'refused', reason: 'a 56-bit key is found in hours' },
  { name: '3des', id: 3, rfc: 'RFC 2451', keyBits: [192], saltBytes: 0, ivBytes: 8, iv: 'random', tagBytes: 0, blockBytes: 8, ike: true, esp: true, kernel: 'cbc(des3_ede)', packetLimit: 0n, status: 'refused', reason: '64-bit blocks leak after some gigabytes (Sweet32, RFC 8221 §5)' },
] as const satisfies readonly Encryption[];

interface Integrity extends Status {
  id: number;
  name: string;
  rfc: string;
  keyBytes: number;
  icvBytes: number;
  /** OpenSSL digest of the HMAC, where it is one. */
  digest?: string;
  kernel: string;
  /** Neither IKE nor ESP uses it: RFC 4543 has an encryption algorithm for ESP. */
  only?: 'ah';
  /** Bytes that stand in front of the ICV, in the same field; never the same ones twice under one key. */
  ivBytes?: number;
  /** Most packets under one key, where that is bounded. */
  packetLimit?: bigint;
}

/** Transform type 3. */
// biome-ignore format: one row a line
export const INTEGRITY = [
  { name: 'hmac-sha2-256-128', id: 12, rfc: 'RFC 4868', keyBytes: 32, icvBytes: 16, digest: 'sha256', kernel: 'hmac(sha256)', status: 'implemented' },
  { name: 'hmac-sha2-384-192', id: 13, rfc: 'RFC 4868', keyBytes: 48, icvBytes: 24, digest: 'sha384', kernel: 'hmac(sha384)', status: 'implemented' },
  { name: 'hmac-sha2-512-256', id: 14, rfc: 'RFC 4868', keyBytes: 64, icvBytes: 32, digest: 'sha512', kernel: 'hmac(sha512)', status: 'implemented' },
  { name: 'hmac-sha2-256-96', id: 12, rfc: 'RFC 4868', keyBytes: 32, icvBytes: 12, digest: 'sha256', kernel: 'hmac(sha256)', status: 'quirk', reason: 'a fault of old peers, which cut HMAC-SHA2-256 to 96 bits under the number of hmac-sha2-256-128' },
  { name: 'hmac-sha1-96', id: 2, rfc: 'RFC 2404', keyBytes: 20, icvBytes: 12, digest: 'sha1', kernel: 'hmac(sha1)', status: 'implemented' },
  { name: 'aes-xcbc-96', id: 5, rfc: 'RFC 3566', keyBytes: 16, icvBytes: 12, kernel: 'xcbc(aes)', status: 'implemented' },
  { name: 'aes-cmac-96', id: 8, rfc: 'RFC 4494', keyBytes: 16, icvBytes: 12, kernel: 'cmac(aes)', status: 'implemented' },
  { name: 'aes-128-gmac', id: 9, rfc: 'RFC 4543', keyBytes: 20, icvBytes: 16, kernel: 'rfc4543(gcm(aes))', only: 'ah', ivBytes: 8, packetLimit: GCM_LIMIT, status: 'implemented' },
  { name: 'aes-192-gmac', id: 10, rfc: 'RFC 4543', keyBytes: 28, icvBytes: 16, kernel: 'rfc4543(gcm(aes))', only: 'ah', ivBytes: 8, packetLimit: GCM_LIMIT, status: 'implemented' },
  { name: 'aes-256-gmac', id: 11, rfc: 'RFC 4543', keyBytes: 36, icvBytes: 16, kernel: 'rfc4543(gcm(aes))', only: 'ah', ivBytes: 8, packetLimit: GCM_LIMIT, status: 'implemented' },
  { name: 'hmac-md5-96', id: 1, rfc: 'RFC 2403', keyBytes: 16, icvBytes: 12, digest: 'md5', kernel: 'hmac(md5)', status: 'refused', reason: 'RFC 8247 §2.3: MUST NOT' },
] as const satisfies readonly Integrity[];

interface Prf extends Status {
  id: number;
  name: string;
  rfc: string;
  /** Preferred key size and output size, bytes (RFC 7296 §2.13). */
  keyBytes: number;
  digest?: string;
}

/** Transform type 2. */
// biome-ignore format: one row a line
export const PRF = [
  { name: 'hmac-sha2-256', id: 5, rfc: 'RFC 4868', keyBytes: 32, digest: 'sha256', status: 'implemented' },
  { name: 'hmac-sha2-384', id: 6, rfc: 'RFC 4868', keyBytes: 48, digest: 'sha384', status: 'implemented' },
  { name: 'hmac-sha2-512', id: 7, rfc: 'RFC 4868', keyBytes: 64, digest: 'sha512', status: 'implemented' },
  { name: 'hmac-sha1', id: 2, rfc: 'RFC 2104', keyBytes: 20, digest: 'sha1', status: 'implemented', onlyNamed: true },
  { name: 'aes128-xcbc', id: 4, rfc: 'RFC 4434', keyBytes: 16, status: 'implemented', onlyNamed: true },
  { name: 'aes128-cmac', id: 8, rfc: 'RFC 4615', keyBytes: 16, status: 'implemented', onlyNamed: true },
  { name: 'hmac-md5', id: 1, rfc: 'RFC 2104', keyBytes: 16, digest: 'md5', status: 'refused', reason: 'RFC 8247 §2.2: MUST NOT' },
] as const satisfies readonly Prf[];

interface KeyExchange extends Status {
  id: number;
  name: string;
  rfc: string;
  /** Bytes of the public value in the KE payload. */
  publicBytes: number;
  /** Bytes of the answer, where it is a ciphertext and not another public value. */
  ciphertextBytes?: number;
  kind: 'modp' | 'ecp' | 'montgomery' | 'kem';
  /** Name in `node:crypto`: a curve, a MODP group or a key type. */
  node?: string;
}

const SUBGROUP = 'RFC 8247 §2.4: a small subgroup in a prime of unknown origin';
const SHORT_CURVE = 'a curve of less than 128 bits of strength (RFC 8247 §2.4 names larger ones)';

/** Transform type 4. */
// biome-ignore format: one row a line
export const KEY_EXCHANGE = [
  { name: 'x25519', id: 31, rfc: 'RFC 8031', publicBytes: 32, kind: 'montgomery', node: 'x25519', status: 'implemented' },
  { name: 'ecp-256', id: 19, rfc: 'RFC 5903', publicBytes: 64, kind: 'ecp', node: 'prime256v1', status: 'implemented' },
  { name: 'ecp-384', id: 20, rfc: 'RFC 5903', publicBytes: 96, kind: 'ecp', node: 'secp384r1', status: 'implemented' },
  { name: 'modp-2048', id: 14, rfc: 'RFC 3526', publicBytes: 256, kind: 'modp', node: 'modp14', status: 'implemented' },
  { name: 'modp-3072', id: 15, rfc: 'RFC 3526', publicBytes: 384, kind: 'modp', node: 'modp15', status: 'implemented' },
  { name: 'modp-4096', id: 16, rfc: 'RFC 3526', publicBytes: 512, kind: 'modp', node: 'modp16', status: 'implemented' },
  { name: 'modp-6144', id: 17, rfc: 'RFC 3526', publicBytes: 768, kind: 'modp', node: 'modp17', status: 'implemented', onlyNamed: true },
  { name: 'modp-8192', id: 18, rfc: 'RFC 3526', publicBytes: 1024, kind: 'modp', node: 'modp18', status: 'implemented', onlyNamed: true },
  { name: 'ecp-521', id: 21, rfc: 'RFC 5903', publicBytes: 132, kind: 'ecp', node: 'secp521r1', status: 'implemented' },
  { name: 'brainpool-224', id: 27, rfc: 'RFC 6954', publicBytes: 56, kind: 'ecp', node: 'brainpoolP224r1', status: 'refused', reason: SHORT_CURVE },
  { name: 'brainpool-256', id: 28, rfc: 'RFC 6954', publicBytes: 64, kind: 'ecp', node: 'brainpoolP256r1', status: 'implemented', onlyNamed: true },
  { name: 'brainpool-384', id: 29, rfc: 'RFC 6954', publicBytes: 96, kind: 'ecp', node: 'brainpoolP384r1', status: 'implemented', onlyNamed: true },
  { name: 'brainpool-512', id: 30, rfc: 'RFC 6954', publicBytes: 128, kind: 'ecp', node: 'brainpoolP512r1', status: 'implemented', onlyNamed: true },
  { name: 'x448', id: 32, rfc: 'RFC 8031', publicBytes: 56, kind: 'montgomery', node: 'x448', status: 'implemented' },
  { name: 'ml-kem-512', id: 35, rfc: 'draft-ietf-ipsecme-ikev2-mlkem', publicBytes: 800, ciphertextBytes: 768, kind: 'kem', node: 'ml-kem-512', status: 'implemented', onlyNamed: true },
  { name: 'ml-kem-768', id: 36, rfc: 'draft-ietf-ipsecme-ikev2-mlkem', publicBytes: 1184, ciphertextBytes: 1088, kind: 'kem', node: 'ml-kem-768', status: 'implemented', onlyNamed: true },
  { name: 'ml-kem-1024', id: 37, rfc: 'draft-ietf-ipsecme-ikev2-mlkem', publicBytes: 1568, ciphertextBytes: 1568, kind: 'kem', node: 'ml-kem-1024', status: 'implemented', onlyNamed: true },
  { name: 'modp-768', id: 1, rfc: 'RFC 7296', publicBytes: 96, kind: 'modp', node: 'modp1', status: 'refused', reason: 'RFC 8247 §2.4: MUST NOT, 768 bits are within reach of a university' },
  { name: 'modp-1024', id: 2, rfc: 'RFC 7296', publicBytes: 128, kind: 'modp', node: 'modp2', status: 'legacy', reason: 'RFC 8247 §2.4: a group of 1024 bits is within reach of a rich attacker' },
  { name: 'modp-1536', id: 5, rfc: 'RFC 3526', publicBytes: 192, kind: 'modp', node: 'modp5', status: 'legacy', reason: 'RFC 8247 §2.4: a group of 1536 bits is too small to last' },
  { name: 'modp-1024-160', id: 22, rfc: 'RFC 5114', publicBytes: 128, kind: 'modp', status: 'refused', reason: SUBGROUP },
  { name: 'modp-2048-224', id: 23, rfc: 'RFC 5114', publicBytes: 256, kind: 'modp', status: 'refused', reason: SUBGROUP },
  { name: 'modp-2048-256', id: 24, rfc: 'RFC 5114', publicBytes: 256, kind: 'modp', status: 'refused', reason: SUBGROUP },
  { name: 'ecp-192', id: 25, rfc: 'RFC 5114', publicBytes: 48, kind: 'ecp', status: 'refused', reason: SHORT_CURVE },
  { name: 'ecp-224', id: 26, rfc: 'RFC 5114', publicBytes: 56, kind: 'ecp', status: 'refused', reason: SHORT_CURVE },
] as const satisfies readonly KeyExchange[];

export type EncryptionName = (typeof ENCRYPTION)[number]['name'];
export type IntegrityName = (typeof INTEGRITY)[number]['name'];
export type PrfName = (typeof PRF)[number]['name'];
export type KeyExchangeName = (typeof KEY_EXCHANGE)[number]['name'];

/** What ESP may be made of, whoever carries it out. */
export const ESP_ENCRYPTION: readonly EncryptionName[] = ENCRYPTION.filter(
  ({ esp, status }) => esp && status === 'implemented',
).map(({ name }) => name);
/** What AH may be made of. */
export const AH_INTEGRITY: readonly IntegrityName[] = INTEGRITY.filter(
  ({ status }) => status === 'implemented' || status === 'quirk',
).map(({ name }) => name);
export const ESP_INTEGRITY: readonly IntegrityName[] = AH_INTEGRITY.filter(
  (name) => integrityRow(name).only !== 'ah',
);
/** The same without what only a quirk allows. */
export const IKE_INTEGRITY: readonly IntegrityName[] = ESP_INTEGRITY.filter(
  (name) => integrityRow(name).status === 'implemented',
);

export type EncryptionRow = Encryption & { name: EncryptionName };
export type IntegrityRow = Integrity & { name: IntegrityName };
export type PrfRow = Prf & { name: PrfName };
export type KeyExchangeRow = KeyExchange & { name: KeyExchangeName };

/** The row of a name; the name's type guarantees that there is one. */
export const encryptionRow = (name: EncryptionName): EncryptionRow =>
  ENCRYPTION.find((row) => row.name === name)!;
export function integrityRow(name: IntegrityName): IntegrityRow {
  return INTEGRITY.find((row) => row.name === name)!;
}
export const prfRow = (name: PrfName): PrfRow => PRF.find((row) => row.name === name)!;
export const keyExchangeRow = (name: KeyExchangeName): KeyExchangeRow =>
  KEY_EXCHANGE.find((row) => row.name === name)!;
