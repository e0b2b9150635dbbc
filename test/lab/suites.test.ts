// What `npm run interop` puts strongSwan to, held against the registry.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SUITES, UNABLE } from '../../lab/suites.ts';
import { ENCRYPTION, ESP_INTEGRITY, IKE_INTEGRITY, KEY_EXCHANGE, PRF } from '../../src/crypto/suites.ts';
import { type ProposalTemplate, parseTemplate } from '../../src/policy/proposal.ts';

/** Rows that strongSwan 5.9.8 with kernel-libipsec has no counterpart for. */
const ABSENT: Record<string, string> = {
  'aes-gmac-128': 'negotiated, then refused by libipsec: the row UNABLE',
  'aes-gmac-192': 'as aes-gmac-128',
  'aes-gmac-256': 'as aes-gmac-128',
  'ml-kem-512': 'strongSwan has ML-KEM from 6.0 on',
  'ml-kem-768': 'as ml-kem-512',
  'ml-kem-1024': 'as ml-kem-512',
  'hmac-sha2-256-96': 'no plugin of Debian cuts HMAC-SHA2-256 to 96 bits; only the kernel does',
};

function template(text: string, kind: 'ike' | 'esp', legacy: boolean | undefined): ProposalTemplate {
  const parsed = parseTemplate(text, kind, { legacy: legacy === true, quirks: [] });
  assert.ok(!('complaint' in parsed), text);
  return parsed;
}

const ike = SUITES.map((suite) => template(suite.ike, 'ike', suite.legacy));
const esp = SUITES.map((suite) => template(suite.esp, 'esp', suite.legacy));
const encryptionsOf = (templates: ProposalTemplate[]) =>
  templates.flatMap(({ encryption }) => encryption).map(({ name, keyBits }) => `${name}-${keyBits}`);

test('interop: every algorithm of the registry meets strongSwan, with every key length', () => {
  const usable = ({ status }: { status: string }) => ['implemented', 'legacy', 'quirk'].includes(status);
  const wanted = [
    ...ENCRYPTION.filter(usable).flatMap(({ name, keyBits }) => keyBits.map((bits) => `${name}-${bits}`)),
    ...ESP_INTEGRITY,
    ...[PRF, KEY_EXCHANGE].flatMap((rows) => rows.filter(usable).map(({ name }) => name)),
  ];
  const met = new Set<string>([
    ...encryptionsOf([...ike, ...esp]),
    ...[...ike, ...esp].flatMap(({ integrity, prf, keyExchange }) => [...integrity, ...prf, ...keyExchange]),
  ]);
  assert.deepEqual(wanted.filter((name) => !met.has(name)).sort(), Object.keys(ABSENT).sort());
});

test('interop: every family encrypts in IKE and in ESP, every integrity algorithm protects both', () => {
  const families = ENCRYPTION.filter(({ status }) => status === 'implemented');
  for (const [templates, kind] of [
    [ike, 'ike'],
    [esp, 'esp'],
  ] as const) {
    const met = new Set<string>(templates.flatMap(({ encryption }) => encryption.map(({ name }) => name)));
    const wanted = families.filter((row) => row[kind] && row.name !== 'aes-gmac');
    assert.deepEqual(
      wanted.filter(({ name }) => !met.has(name)),
      [],
      kind,
    );
    const integrity = new Set<string>(templates.flatMap((one) => one.integrity));
    assert.deepEqual(
      IKE_INTEGRITY.filter((name) => !integrity.has(name)),
      [],
      kind,
    );
  }
  assert.ok(SUITES.length >= 14 && UNABLE.suite.esp in ABSENT);
});
