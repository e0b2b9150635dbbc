// Every key in Wireshark's own tables, for a diagnosis: WIRESHARK_CONFIG_DIR=FOLDER tshark -r CAPTURE.

import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hex } from '../crypto/bytes.ts';
import { encryptionRow, type IntegrityName } from '../crypto/suites.ts';
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
  const add = (file: string, row: string) => {
    if (written.has(row)) return;
    written.add(row);
    appendFileSync(join(folder, file), `${row}\n`, { mode: 0o600 });
  };
  return {
    ike(sas) {
      for (const sa of sas) {
        const row = ikeRow(sa);
        if (row) add('ikev2_decryption_table', row);
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
  const [spiI, spiR] = initiator ? [spi, peerSpi] : [peerSpi, spi];
  const integrity = suite.integrity ? `${IKE_INTEGRITY[suite.integrity]} [RFC4868]` : 'NONE [RFC4306]';
  return [
    spiI,
    spiR,
    hex(keys.ei),
    hex(keys.er),
    `"${ikeCipher(suite)}"`,
    hex(keys.ai),
    hex(keys.ar),
    `"${integrity}"`,
  ].join(',');
}

/** Wireshark's names. What it does not know stays encrypted there. */
function ikeCipher({ encryption: { name, keyBits } }: ChosenSuite): string {
  if (name === 'aes-cbc') return `AES-CBC-${keyBits} [RFC3602]`;
  return encryptionRow(name).tagBytes === 16 && name === 'aes-gcm-16'
    ? `AES-GCM-${keyBits} with 16 octet ICV [RFC5282]`
    : name;
}

const IKE_INTEGRITY: Partial<Record<IntegrityName, string>> = {
  'hmac-sha2-256-128': 'HMAC_SHA2_256_128',
  'hmac-sha2-384-192': 'HMAC_SHA2_384_192',
  'hmac-sha2-512-256': 'HMAC_SHA2_512_256',
};

const ESP_CIPHER: Record<string, string> = {
  'aes-cbc': 'AES-CBC [RFC3602]',
  'aes-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'chacha20-poly1305': 'ChaCha20 with Poly1305 [RFC7634]',
};

const ESP_INTEGRITY: Partial<Record<IntegrityName, string>> = {
  'hmac-sha2-256-128': 'HMAC-SHA-256-128 [RFC4868]',
  'hmac-sha2-384-192': 'HMAC-SHA-384-192 [RFC4868]',
  'hmac-sha2-512-256': 'HMAC-SHA-512-256 [RFC4868]',
};

/** Eight columns, as Wireshark 4.0 has them: without the upper half of extended numbers. */
function espRow({ direction, local, remote, spi, encryption, integrity }: SaParameters): string {
  const [source, destination] = direction === 'in' ? [remote, local] : [local, remote];
  return [
    familyOf(local) === 4 ? 'IPv4' : 'IPv6',
    source,
    destination,
    `0x${spi.toString(16).padStart(8, '0')}`,
    encryption ? (ESP_CIPHER[encryption.name] ?? encryption.name) : 'NULL',
    encryption ? `0x${hex(encryption.key)}` : '',
    integrity ? (ESP_INTEGRITY[integrity.name] ?? integrity.name) : 'NULL',
    integrity ? `0x${hex(integrity.key)}` : '',
  ]
    .map((value) => `"${value}"`)
    .join(',');
}
