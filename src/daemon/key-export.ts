// Every key in Wireshark's own tables, for a diagnosis: WIRESHARK_CONFIG_DIR=FOLDER tshark -r CAPTURE.

import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hex } from '../crypto/bytes.ts';
import { type EncryptionName, encryptionRow, type IntegrityName, integrityRow } from '../crypto/suites.ts';
import type { IkeSa } from '../ike/sa.ts';
import type { ChosenSuite } from '../policy/proposal.ts';
import type { Change, SaParameters } from '../policy/sad.ts';
import { familyOf } from '../wire/address.ts';

export interface KeyExport {
  ike(sas: readonly IkeSa[]): void;
  esp(changes: readonly Change[]): void;
}

/** The folder is made, for its owner only. Rows are added, so that a capture over several runs can be read. */
export function createKeyExport(folder: string): KeyExport {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const written = new Set<string>();
  const add = (file: string, row: string | undefined) => {
    if (row === undefined || written.has(row)) return;
    written.add(row);
    appendFileSync(join(folder, file), `${row}\n`, { mode: 0o600 });
  };
  return {
    ike(sas) {
      for (const sa of sas) {
        add('ikev2_decryption_table', ikeRow(sa));
      }
    },
    esp(changes) {
      for (const change of changes) {
        if (change.type === 'add-inbound' || change.type === 'add-outbound') add('esp_sa', espRow(change.sa));
      }
    },
  };
}

function ikeRow({ state, initiator, spi, peerSpi }: IkeSa): string | undefined {
  const known = state.name === 'established' ? state : 'secrets' in state ? state.secrets : undefined;
  if (!known) return undefined;
  const { keys, suite } = known;
  const cipher = ikeCipher(suite);
  if (!cipher) return undefined;
  const [spiI, spiR] = initiator ? [spi, peerSpi] : [peerSpi, spi];
  return [
    ...[spiI, spiR, hex(keys.ei), hex(keys.er), `"${cipher}"`],
    ...ikeIntegrity(suite.integrity, hex(keys.ai), hex(keys.ar)),
  ].join(',');
}

/** A code that it cannot check it passes over, when it is told how long and is given no key. */
function ikeIntegrity(name: IntegrityName | undefined, ai: string, ar: string): string[] {
  if (!name) return [ai, ar, '"NONE [RFC4306]"'];
  const known = IKE_INTEGRITY[name];
  return known
    ? [ai, ar, `"${known}"`]
    : ['', '', `"ANY ${8 * integrityRow(name).icvBytes}-bits of Authentication [No Checking]"`];
}

/** The names of Wireshark 4.0, which refuses a whole table for one name that it does not know: such an SA has no row. */
function ikeCipher({ encryption }: ChosenSuite): string | undefined {
  const { name, keyBits } = encryption!;
  const { tagBytes } = encryptionRow(name);
  if (name === 'aes-cbc') return `AES-CBC-${keyBits} [RFC3602]`;
  if (name === 'aes-ctr') return `AES-CTR-${keyBits} [RFC5930]`;
  const mode = /^aes-([gc]cm)-/.exec(name)?.[1]?.toUpperCase();
  return mode ? `AES-${mode}-${keyBits} with ${tagBytes} octet ICV [RFC5282]` : undefined;
}

const IKE_INTEGRITY: Partial<Record<IntegrityName, string>> = {
  'hmac-sha2-256-128': 'HMAC_SHA2_256_128 [RFC4868]',
  'hmac-sha2-384-192': 'HMAC_SHA2_384_192 [RFC4868]',
  'hmac-sha2-512-256': 'HMAC_SHA2_512_256 [RFC4868]',
  'hmac-sha1-96': 'HMAC_SHA1_96 [RFC2404]',
};

const ESP_CIPHER: Partial<Record<EncryptionName, string>> = {
  'aes-cbc': 'AES-CBC [RFC3602]',
  'aes-ctr': 'AES-CTR [RFC3686]',
  'aes-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'aes-gcm-12': 'AES-GCM with 12 octet ICV [RFC4106]',
  'aes-gcm-8': 'AES-GCM with 8 octet ICV [RFC4106]',
  null: 'NULL',
};

const ESP_INTEGRITY: Partial<Record<IntegrityName, string>> = {
  'hmac-sha2-256-128': 'HMAC-SHA-256-128 [RFC4868]',
  'hmac-sha2-384-192': 'HMAC-SHA-384-192 [RFC4868]',
  'hmac-sha2-512-256': 'HMAC-SHA-512-256 [RFC4868]',
  'hmac-sha1-96': 'HMAC-SHA-1-96 [RFC2404]',
};

/** Eight columns, as Wireshark 4.0 has them: without the upper half of extended numbers. It has no table for AH. */
function espRow({ direction, local, remote, spi, encryption, integrity }: SaParameters): string | undefined {
  const cipher = encryption && ESP_CIPHER[encryption.name];
  if (!cipher) return undefined;
  const [source, destination] = direction === 'in' ? [remote, local] : [local, remote];
  const any =
    integrity && `ANY ${8 * integrityRow(integrity.name).icvBytes} bit authentication [no checking]`;
  const code = integrity && (ESP_INTEGRITY[integrity.name] ?? any);
  const key = (bytes: Uint8Array | undefined) => (bytes && bytes.length > 0 ? `0x${hex(bytes)}` : '');
  return [
    familyOf(local) === 4 ? 'IPv4' : 'IPv6',
    source,
    destination,
    `0x${spi.toString(16).padStart(8, '0')}`,
    cipher,
    key(encryption.key),
    code ?? 'NULL',
    key(integrity?.key),
  ]
    .map((value) => `"${value}"`)
    .join(',');
}
