import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capable, choose, parseTemplate, templateText, toProposals } from '../../src/policy/proposal.ts';
import { PROTOCOL } from '../../src/wire/numbers.ts';

function template(text: string, kind: 'ike' | 'esp' = 'esp') {
  const parsed = parseTemplate(text, kind);
  assert.ok(!('complaint' in parsed), text);
  return parsed;
}

test('a template keeps what the data plane can do, and goes when nothing is left', () => {
  const capabilities = {
    encryption: ['aes-gcm-16', 'aes-cbc'],
    integrity: ['hmac-sha2-256-128'],
    esn: false,
  } as const;
  const templates = [
    template('chacha20-poly1305 | aes-gcm-16-256'),
    template('chacha20-poly1305'),
    template('aes-cbc-256 / hmac-sha2-512-256'),
    template('aes-cbc-256 / hmac-sha2-256-128 | hmac-sha2-512-256'),
    template('aes-gcm-16-256 / esn'),
  ];
  const left = capable(templates, {
    ...capabilities,
    replayWindow: 64,
    plainEsp: true,
    udpEncapsulation: true,
    firstInbound: true,
    holds: false,
  });
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

for (const [text, complaint] of [
  ['aes-gcm-16-256 / hmac-sha2-256-128', /own integrity/],
  ['aes-cbc-256', /needs an integrity algorithm/],
  ['aes-gcm-16-256 | aes-cbc-256', /mixes encryption/],
  ['aes-gcm-16-512', /unknown algorithm/],
  ['aes-gcm-16-256 / prf-hmac-sha2-256', /belongs to IKE/],
  ['x25519', /names no encryption/],
] as const) {
  test(`"${text}" is refused: ${complaint.source}`, () => {
    const parsed = parseTemplate(text, 'esp');
    assert.match('complaint' in parsed ? parsed.complaint : '', complaint);
  });
}
