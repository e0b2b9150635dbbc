import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { tsharkIsMissing } from '../../lab/tshark.ts';
import {
  ENCRYPTION,
  ESP_ENCRYPTION,
  ESP_INTEGRITY,
  encryptionRow,
  IKE_INTEGRITY,
  integrityRow,
} from '../../src/crypto/suites.ts';
import { createKeyExport } from '../../src/daemon/key-export.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { outboundSa } from '../dataplane/packets.ts';

/** libpcap's header and no packet. */
const EMPTY = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');

const ike = ENCRYPTION.filter((row) => row.ike && row.status === 'implemented');

/** As much of an IKE SA as the export reads. */
function ikeSas(): IkeSa[] {
  const suites = ike.flatMap(({ name, keyBits, tagBytes }) =>
    (tagBytes > 0 ? [undefined] : IKE_INTEGRITY).flatMap((integrity) =>
      keyBits.map((bits) => ({ encryption: { name, keyBits: bits }, integrity })),
    ),
  );
  return suites.map(({ encryption, integrity }, index) => {
    const e = new Uint8Array(encryption.keyBits / 8 + encryptionRow(encryption.name).saltBytes).fill(1);
    const a = new Uint8Array(integrity ? integrityRow(integrity).keyBytes : 0).fill(2);
    const keys = { d: a, ai: a, ar: a, ei: e, er: e, pi: a, pr: a };
    const spi = index.toString(16).padStart(16, '1');
    const suite = { encryption, ...(integrity ? { integrity } : {}) };
    return { state: { name: 'established', keys, suite }, initiator: true, spi, peerSpi: spi } as IkeSa;
  });
}

test('tshark reads the tables of every suite without a complaint', { skip: tsharkIsMissing() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-keys-'));
  try {
    const keys = createKeyExport(folder);
    keys.ike(ikeSas());
    const choices = ESP_ENCRYPTION.flatMap((encryption) => {
      const { keyBits, tagBytes } = encryptionRow(encryption);
      const codes = tagBytes > 0 ? [{}] : ESP_INTEGRITY.map((integrity) => ({ integrity }));
      return codes.map((code) => ({ encryption, keyBits: keyBits[0]!, ...code }));
    });
    keys.esp(choices.map((choice, i) => ({ type: 'add-outbound', sa: outboundSa(256 + i, choice) })));
    const rows = (file: string) => readFileSync(join(folder, file), 'utf8').trim().split('\n').length;
    // Wireshark 4.0 has no ChaCha20-Poly1305; in ESP neither AES-CCM nor AES-GMAC.
    assert.equal(rows('ikev2_decryption_table'), ikeSas().length - 1);
    assert.equal(rows('esp_sa'), choices.length - 5);
    writeFileSync(join(folder, 'empty.pcap'), EMPTY);
    const { stderr, status } = spawnSync('tshark', ['-r', join(folder, 'empty.pcap')], {
      env: { ...process.env, WIRESHARK_CONFIG_DIR: folder },
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, /Error loading table/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
