import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ENCRYPTION,
  ESP_ENCRYPTION,
  ESP_INTEGRITY,
  encryptionRow,
  IKE_INTEGRITY,
} from '../../src/crypto/suites.ts';
import { type ProposalTemplate, parseTemplate } from '../../src/policy/proposal.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

/** One suite of each encryption; those without integrity of their own with one integrity after the other. */
function suitesOf(names: readonly string[], integrity: readonly string[], rest: string): string[] {
  const separate = (name: string) => ENCRYPTION.find((row) => row.name === name)!.tagBytes === 0;
  return names.flatMap((name) =>
    separate(name) ? integrity.map((one) => `${name} / ${one}${rest}`) : `${name}${rest}`,
  );
}

const ike = ENCRYPTION.filter((row) => row.ike && row.status === 'implemented').map(({ name }) => name);
const prfs = ['hmac-sha2-256', 'hmac-sha2-384', 'hmac-sha2-512', 'hmac-sha1', 'aes128-xcbc', 'aes128-cmac'];
const ikeSuites = suitesOf(ike, IKE_INTEGRITY, '').flatMap((suite) =>
  prfs.map((prf) => `${suite} / prf-${prf}`),
);
const espSuites = suitesOf(ESP_ENCRYPTION, ESP_INTEGRITY, ' / esn');

function template(text: string, kind: 'ike' | 'esp'): ProposalTemplate {
  const parsed = parseTemplate(text, kind, { legacy: true, quirks: ['hmac-sha2-256-96'] });
  assert.ok(!('complaint' in parsed), text);
  return parsed;
}

function pairWith(ikeSuite: string, espSuite: string, seed: number) {
  const changes = (side: 'a' | 'b') => {
    const { ike, children } = tunnel(side);
    return {
      ike: { ...ike, proposals: [template(`${ikeSuite} / x25519`, 'ike')] },
      children: children.map((child) => ({ ...child, proposals: [template(espSuite, 'esp')] })),
    };
  };
  return sites(seed, changes('a'), changes('b'));
}

function keyText({ encryption, integrity }: SaParameters): string {
  return Buffer.concat([encryption!.key, integrity?.key ?? new Uint8Array()]).toString('hex');
}

test('with every suite the tunnel comes up, both sides have the same keys, and a rekey keeps it up', () => {
  assert.ok(ikeSuites.length > 90 && espSuites.length > 25);
  for (const [index, ikeSuite] of ikeSuites.entries()) {
    const espSuite = espSuites[index % espSuites.length]!;
    const pair = established(pairWith(ikeSuite, espSuite, index));
    for (const what of ['net', undefined]) {
      pair.command(pair.a, 'rekey', 't', what);
      pair.run(10_000);
      agree(pair);
      const [spi, sa] = [...pair.a.outbound][0]!;
      assert.equal(keyText(sa), keyText(pair.b.inbound.get(spi)!), `${ikeSuite}, ${espSuite}`);
      const { saltBytes } = encryptionRow(sa.encryption!.name);
      assert.equal(sa.encryption!.key.length, sa.encryption!.keyBits / 8 + saltBytes);
    }
  }
});
