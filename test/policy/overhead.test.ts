import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { AH_INTEGRITY, ESP_ENCRYPTION, ESP_INTEGRITY, encryptionRow } from '../../src/crypto/suites.ts';
import { ahBytes } from '../../src/dataplane/reference-ah.ts';
import { sealEsp } from '../../src/dataplane/reference-esp.ts';
import { innerMtu, innerRoom } from '../../src/policy/overhead.ts';
import type { ProposalTemplate } from '../../src/policy/proposal.ts';
import { outboundAh, outboundSa } from '../dataplane/packets.ts';

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
          const suite = { encryption: { name, keyBits }, ...(integrity ? { integrity } : {}) };
          assert.equal(innerRoom(outer, family, suite, true), inner);
          assert.equal(innerRoom(outer - UDP, family, suite, false), inner);
        }
      }
    });
  }
}

for (const integrity of AH_INTEGRITY) {
  test(`AH with ${integrity}: the inner packet and all headers fill the outer one; in transport mode one header less`, () => {
    const template: ProposalTemplate = {
      encryption: [],
      integrity: [integrity],
      prf: [],
      keyExchange: [],
      additionalKeyExchange: [],
      esn: [false],
    };
    for (const [family, header] of [[4, 20] as const, [6, 40] as const]) {
      const ah = ahBytes(outboundAh(300, integrity), family);
      assert.equal(innerMtu(1500, family, [template]), 1500 - header - ah);
      assert.equal(innerRoom(1000, family, { integrity }, false), 1000 - header - ah);
      assert.equal(innerMtu(1500, family, [template], 'transport'), 1500 - ah);
    }
  });
}

test('ESP in transport mode: the packet keeps its own header outside, in UDP where there is a NAT', () => {
  const template: ProposalTemplate = {
    encryption: [{ name: 'aes-gcm-16', keyBits: 128 }],
    integrity: [],
    prf: [],
    keyExchange: [],
    additionalKeyExchange: [],
    esn: [false],
  };
  // 1500 - 20 (IP) - 8 (UDP) - 8 (SPI, number) - 8 (IV) - 16 (ICV) = 1440, a multiple of four, of which two are the trailer.
  assert.equal(innerMtu(1500, 4, [template], 'transport'), 1440 - 2 + 20);
});

function packet(bytes: number): Uint8Array {
  const made = new Uint8Array(bytes);
  made[0] = 0x45;
  return made;
}
