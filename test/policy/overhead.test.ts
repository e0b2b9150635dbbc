import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { ESP_ENCRYPTION, ESP_INTEGRITY, encryptionRow } from '../../src/crypto/suites.ts';
import { sealEsp } from '../../src/dataplane/reference-esp.ts';
import { innerMtu } from '../../src/policy/overhead.ts';
import type { ProposalTemplate } from '../../src/policy/proposal.ts';
import { outboundSa } from '../dataplane/packets.ts';

const provider = createNodeProvider();
const UDP = 8;

for (const name of ESP_ENCRYPTION) {
  const combined = encryptionRow(name).tagBytes > 0;
  for (const integrity of combined ? [undefined] : ESP_INTEGRITY) {
    test(`${name}${integrity ? ` / ${integrity}` : ''}: the largest inner packet fits, and one byte more does not`, () => {
      const keyBits = encryptionRow(name).keyBits[0]!;
      const template: ProposalTemplate = {
        encryption: [{ name, keyBits }],
        integrity: integrity ? [integrity] : [],
        prf: [],
        keyExchange: [],
        additionalKeyExchange: [],
        esn: [false],
      };
      const sa = outboundSa(300, { encryption: name, keyBits, ...(integrity ? { integrity } : {}) });
      for (const [family, header] of [[4, 20] as const, [6, 40] as const]) {
        for (const outer of [1500, 1501, 1502, 1503, 9000]) {
          const inner = innerMtu(outer, family, [template]);
          const size = (bytes: number) =>
            header + UDP + sealEsp(provider, sa, 1n, packet(bytes), () => new Uint8Array(16)).length;
          assert.ok(size(inner) <= outer, `${inner} in ${outer}`);
          assert.ok(size(inner + 1) > outer, `${inner + 1} in ${outer}`);
        }
      }
    });
  }
}

function packet(bytes: number): Uint8Array {
  const made = new Uint8Array(bytes);
  made[0] = 0x45;
  return made;
}
