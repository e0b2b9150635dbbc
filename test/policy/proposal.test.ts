import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENCRYPTION } from '../../src/crypto/suites.ts';
import {
  capable,
  choose,
  parseTemplate,
  proposalText,
  type SuiteKind,
  suiteText,
  templateText,
  toAnswer,
  toProposals,
} from '../../src/policy/proposal.ts';
import type { Capabilities } from '../../src/policy/sad.ts';
import { PROTOCOL } from '../../src/wire/numbers.ts';
import { MODEST } from './capabilities.ts';

function template(text: string, kind: SuiteKind = 'esp') {
  const parsed = parseTemplate(text, kind);
  assert.ok(!('complaint' in parsed), text);
  return parsed;
}

test('a template keeps what the data plane can do, and goes when nothing is left', () => {
  const capabilities: Capabilities = {
    ...MODEST,
    encryption: ['aes-gcm-16', 'aes-cbc'],
    integrity: ['hmac-sha2-256-128'],
    esn: false,
  };
  const templates = [
    template('chacha20-poly1305 | aes-gcm-16-256'),
    template('chacha20-poly1305'),
    template('aes-cbc-256 / hmac-sha2-512-256'),
    template('aes-cbc-256 / hmac-sha2-256-128 | hmac-sha2-512-256'),
    template('aes-gcm-16-256 / esn'),
  ];
  const left = capable(templates, capabilities);
  assert.deepEqual(left.map(templateText), ['aes-gcm-16-256', 'aes-cbc-256 / hmac-sha2-256-128']);
  assert.ok(left.every(({ esn }) => !esn.includes(true)));
});

test('our order of preference decides, whatever order the peer offers in', () => {
  const ours = [template('aes-gcm-16-256 | aes-gcm-16-128 / x25519 | ecp-256')];
  const theirs = toProposals(
    [template('aes-gcm-16-128 | aes-gcm-16-256 / ecp-256 | x25519')],
    PROTOCOL.ESP,
    Uint8Array.of(1, 2, 3, 4),
    { keyExchange: true },
  );
  const chosen = choose(ours, theirs, PROTOCOL.ESP, { keyExchange: true });
  assert.deepEqual(chosen!.suite.encryption, { name: 'aes-gcm-16', keyBits: 256 });
  assert.equal(chosen!.suite.keyExchange, 'x25519');
});

test('a transform type nobody knows makes a proposal unacceptable (RFC 7296 §3.3.6)', () => {
  const ours = [template('aes-gcm-16-256')];
  const [theirs] = toProposals(ours, PROTOCOL.ESP, Uint8Array.of(1, 2, 3, 4), { keyExchange: false });
  assert.ok(choose(ours, [theirs!], PROTOCOL.ESP, { keyExchange: false }));
  const strange = { ...theirs!, transforms: [...theirs!.transforms, { type: 240, id: 1 }] };
  assert.equal(choose(ours, [strange], PROTOCOL.ESP, { keyExchange: false }), undefined);
});

for (const row of ENCRYPTION.filter(({ status }) => status === 'implemented')) {
  for (const keyBits of row.keyBits) {
    const name = row.keyBits.length > 1 ? `${row.name}-${keyBits}` : row.name;
    const text = row.tagBytes > 0 ? name : `${name} / aes-cmac-96`;
    test(`${text}: read, written, offered and chosen`, () => {
      const ours = [template(text)];
      assert.equal(templateText(ours[0]!), text);
      const offers = toProposals(ours, PROTOCOL.ESP, Uint8Array.of(1, 2, 3, 4), { keyExchange: false });
      const chosen = choose(ours, offers, PROTOCOL.ESP, { keyExchange: false });
      assert.deepEqual(chosen!.suite.encryption, { name: row.name, keyBits });
      assert.equal(proposalText(offers[0]!), text);
    });
  }
}

test('a suite without a PRF or a group takes the usual ones, and none that must be named or allowed', () => {
  const { prf, keyExchange } = template('aes-gcm-16-256', 'ike');
  assert.deepEqual(prf, ['hmac-sha2-256', 'hmac-sha2-384', 'hmac-sha2-512']);
  assert.ok(keyExchange.includes('x25519') && keyExchange.includes('modp-2048'));
  for (const name of ['modp-1024', 'modp-1536', 'modp-8192', 'brainpool-256'] as const)
    assert.ok(!keyExchange.includes(name), name);
});

test('legacy groups need legacy; no other refusal is lifted by it', () => {
  const text = 'aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha1 / modp-1024 | modp-1536';
  const parsed = parseTemplate(text, 'ike', { legacy: true, quirks: [] });
  assert.ok(!('complaint' in parsed));
  assert.deepEqual(parsed.keyExchange, ['modp-1024', 'modp-1536']);
  assert.ok('complaint' in parseTemplate('aes-gcm-16 / modp-768', 'ike', { legacy: true, quirks: [] }));
  assert.ok('complaint' in parseTemplate('3des / hmac-sha1-96', 'esp', { legacy: true, quirks: [] }));
});

test('the quirk cuts HMAC-SHA2-256 of ESP, and of ESP only', () => {
  const quirks = ['hmac-sha2-256-96'] as const;
  const integrity = (text: string, kind: 'ike' | 'esp') => {
    const parsed = parseTemplate(text, kind, { legacy: false, quirks });
    return 'complaint' in parsed ? parsed.complaint : parsed.integrity;
  };
  const text = 'aes-cbc-256 / hmac-sha2-256-128 | hmac-sha2-384-192';
  assert.deepEqual(integrity(text, 'esp'), ['hmac-sha2-256-96', 'hmac-sha2-384-192']);
  assert.deepEqual(integrity(text, 'ike'), ['hmac-sha2-256-128', 'hmac-sha2-384-192']);
  assert.deepEqual(integrity('aes-cbc-256 / hmac-sha2-256-96', 'esp'), ['hmac-sha2-256-96']);
  assert.match(String(integrity('aes-cbc-256 / hmac-sha2-256-96', 'ike')), /belongs to ESP/);
});

test('cut to 96 bits it has the same number on the wire', () => {
  const ours = [template('aes-cbc-256 / hmac-sha2-256-128')];
  const theirs = parseTemplate('aes-cbc-256 / hmac-sha2-256-96', 'esp', {
    legacy: false,
    quirks: ['hmac-sha2-256-96'],
  });
  assert.ok(!('complaint' in theirs));
  const spi = Uint8Array.of(1, 2, 3, 4);
  const offers = toProposals(ours, PROTOCOL.ESP, spi, { keyExchange: false });
  assert.deepEqual(toProposals([theirs], PROTOCOL.ESP, spi, { keyExchange: false }), offers);
  const chosen = choose([theirs], offers, PROTOCOL.ESP, { keyExchange: false });
  assert.equal(chosen!.suite.integrity, 'hmac-sha2-256-96');
});

for (const [text, complaint] of [
  ['aes-gcm-16-256 / hmac-sha2-256-128', /own integrity/],
  ['aes-cbc-256', /needs an integrity algorithm/],
  ['aes-gcm-16-256 | aes-cbc-256', /mixes encryption/],
  ['aes-gcm-16-512', /unknown algorithm/],
  ['aes-gcm-16-256 / prf-hmac-sha2-256', /belongs to IKE/],
  ['x25519', /names no encryption/],
  ['null', /needs an integrity algorithm/],
  ['null-128 / hmac-sha1-96', /unknown algorithm/],
  ['3des / hmac-sha1-96', /3des is refused: 64-bit blocks/],
  ['aes-cbc-256 / hmac-md5-96', /MUST NOT/],
  ['aes-cbc-256 / hmac-sha2-256-96', /quirks: \[hmac-sha2-256-96\]/],
  ['aes-gcm-16-256 / modp-1024', /weak.*legacy: true/],
  ['aes-gcm-16-256 / modp-1536', /weak.*legacy: true/],
  ['aes-gcm-16-256 / modp-768', /modp-768 is refused: .*MUST NOT/],
  ['aes-gcm-16-256 / modp-2048-256', /refused: .*subgroup/],
  ['aes-gcm-16-256 / ecp-192', /refused: .*128 bits/],
  ['aes-gcm-16-256 / brainpool-224', /refused: .*128 bits/],
  ['aes-cbc-256 / aes-128-gmac', /belongs to AH/],
] as const) {
  test(`"${text}" is refused: ${complaint.source}`, () => {
    const parsed = parseTemplate(text, 'esp');
    assert.match('complaint' in parsed ? parsed.complaint : '', complaint);
  });
}

test('suites of AH: integrity alone, with a group and extended numbers (RFC 7296 §3.3.3)', () => {
  const ours = [template('hmac-sha2-256-128 | hmac-sha2-512-256 / x25519', 'ah')];
  assert.deepEqual(ours[0]!.encryption, []);
  assert.equal(templateText(ours[0]!), 'ah hmac-sha2-256-128|hmac-sha2-512-256 / x25519');
  const spi = Uint8Array.of(1, 2, 3, 4);
  const [offer] = toProposals(ours, PROTOCOL.AH, spi, { keyExchange: true });
  assert.deepEqual(
    offer!.transforms.map(({ type }) => type),
    [3, 3, 4, 5, 5],
  );
  assert.equal(proposalText(offer!), templateText(ours[0]!));
  const theirs = [template('hmac-sha2-512-256 / x25519 / no-esn', 'ah')];
  const chosen = choose(theirs, [offer!], PROTOCOL.AH, { keyExchange: true })!;
  assert.equal(suiteText(chosen.suite), 'ah hmac-sha2-512-256 / x25519');
  assert.deepEqual(toAnswer(chosen.suite, 1, PROTOCOL.AH, spi).transforms.length, 3);
  assert.equal(
    choose(theirs, [{ ...offer!, protocol: PROTOCOL.ESP }], PROTOCOL.AH, { keyExchange: true }),
    undefined,
  );
  const esp = [template('aes-cbc-256 / hmac-sha2-512-256 / x25519')];
  assert.equal(choose(esp, [offer!], PROTOCOL.AH, { keyExchange: true }), undefined, 'ESP is not AH');
});

for (const [text, complaint] of [
  ['aes-gcm-16-256', /AH has none: protocol: esp/],
  ['x25519', /needs an integrity algorithm/],
  ['hmac-sha2-256-128 / prf-hmac-sha2-256', /belongs to IKE/],
  ['hmac-md5-96', /MUST NOT/],
] as const) {
  test(`of AH "${text}" is refused: ${complaint.source}`, () => {
    const parsed = parseTemplate(text, 'ah');
    assert.match('complaint' in parsed ? parsed.complaint : '', complaint);
  });
}

const HYBRID = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519|ecp-256 + ml-kem-768|none + ml-kem-1024';

test('further key exchanges behind a + are read, shown, offered and chosen each for itself (RFC 9370)', () => {
  const hybrid = template(HYBRID, 'ike');
  assert.equal(templateText(hybrid), HYBRID);
  const proposals = toProposals([hybrid], PROTOCOL.IKE, new Uint8Array(0), { keyExchange: true });
  assert.equal(proposalText(proposals[0]!), HYBRID);
  const { suite } = choose([hybrid], proposals, PROTOCOL.IKE, { keyExchange: true })!;
  assert.equal(suiteText(suite), 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519 + ml-kem-768 + ml-kem-1024');
  const answer = toAnswer(suite, 1, PROTOCOL.IKE, new Uint8Array(0));
  assert.deepEqual(choose([hybrid], [answer], PROTOCOL.IKE, { keyExchange: true })!.suite, suite);
});

test('a child in IKE_AUTH has no key exchange, and no further ones', () => {
  const esp = template('aes-gcm-16-256 / x25519 + ml-kem-768');
  const proposals = toProposals([esp], PROTOCOL.ESP, Uint8Array.of(1, 2, 3, 4), { keyExchange: false });
  assert.deepEqual(
    proposals[0]!.transforms.map(({ type }) => type),
    [1, 5, 5],
  );
  const { suite } = choose([esp], proposals, PROTOCOL.ESP, { keyExchange: false })!;
  assert.equal(suite.additionalKeyExchange, undefined);
});

test('an IKE suite that begins with a + takes the usual groups', () => {
  const [plus, plain] = [template('aes-gcm-16-256 / + ml-kem-768', 'ike'), template('aes-gcm-16-256', 'ike')];
  assert.deepEqual(plus.keyExchange, plain.keyExchange);
  assert.deepEqual(plus.additionalKeyExchange, [['ml-kem-768']]);
});

for (const [text, complaint] of [
  ['aes-gcm-16-256 + ml-kem-768', /key exchange stands before the first \+/],
  ['aes-gcm-16-256 / + ml-kem-768', /unknown algorithm|key exchange stands before/],
  ['aes-gcm-16-256 / x25519 + aes-cbc-256', /behind a \+ is not a key exchange/],
  ['aes-gcm-16-256 / x25519 + modp-1024', /weak/],
  ['aes-gcm-16-256 / x25519 + ml-kem-768 / ecp-256 + ml-kem-512', /one list with \+/],
  [`aes-gcm-16-256 / x25519${' + none'.repeat(8)}`, /at most 7/],
] as const) {
  test(`"${text}" is refused: ${complaint.source}`, () => {
    const parsed = parseTemplate(text, 'esp');
    assert.match('complaint' in parsed ? parsed.complaint : '', complaint);
  });
}

test('ml-kem-1024 alone is for children: IKE_SA_INIT is never fragmented', () => {
  const parsed = parseTemplate('aes-gcm-16-256 / ml-kem-1024', 'ike');
  assert.match('complaint' in parsed ? parsed.complaint : '', /does not fit into IKE_SA_INIT/);
  assert.ok('encryption' in parseTemplate('aes-gcm-16-256 / ml-kem-1024', 'esp'));
});

for (const token of ['null / hmac-sha2-256-128', 'aes-gmac-256']) {
  test(`"${token}" is for ESP only`, () => {
    const parsed = parseTemplate(token, 'ike');
    assert.match('complaint' in parsed ? parsed.complaint : '', /belongs to ESP/);
  });
}
