// What is signed, what a verdict proves, and who is who, each against the words of its RFC.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat } from '../../src/crypto/bytes.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { parseName } from '../../src/crypto/x509-names.ts';
import {
  addIntAuth,
  decodeIdentity,
  encodeIdentity,
  expecting,
  expects,
  idBody,
  isPattern,
  sameIdentity,
  signedOctets,
  verifiedPeer,
} from '../../src/ike/authenticate.ts';
import type { JobResult } from '../../src/ike/boundary.ts';
import type { Context } from '../../src/ike/context.ts';
import type { IkeSa, Secrets } from '../../src/ike/sa.ts';
import type { Identity } from '../../src/policy/tunnel.ts';
import { encodeMessage } from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';

const provider = createNodeProvider();
const text = (value: string) => new TextEncoder().encode(value);
const A: Identity = { type: 'fqdn', value: 'a.example' };

test('only a verdict that says yes, without a reason against it, proves a peer', () => {
  const credential = { kind: 'certificate', der: text('x') } as never;
  assert.deepEqual(verifiedPeer(A, { type: 'psk-verify', valid: true }), { identity: A });
  assert.equal(verifiedPeer(A, { type: 'psk-verify', valid: false }), undefined);
  assert.deepEqual(verifiedPeer(A, { type: 'verify', valid: true, reasons: [] }), { identity: A });
  assert.deepEqual(verifiedPeer(A, { type: 'verify', valid: true, reasons: [], credential }), {
    identity: A,
    credential,
  });
  const reasons = [{ code: 'PEER_CERTIFICATE_NAME', message: 'x' } as const];
  assert.equal(verifiedPeer(A, { type: 'verify', valid: true, reasons }), undefined);
  assert.equal(verifiedPeer(A, { type: 'verify', valid: false, reasons: [] }), undefined);
  assert.equal(verifiedPeer(A, { type: 'verify', valid: false, reasons }), undefined);
  for (const other of [
    { type: 'forget' },
    { type: 'failed', fault: 'ours', message: '' },
    { type: 'psk-sign', auth: text('') },
  ])
    assert.equal(verifiedPeer(A, other as JobResult), undefined);
});

const key = (value: number) => new Uint8Array(32).fill(value);
const KEYS = { d: key(1), ai: key(2), ar: key(3), ei: key(4), er: key(5), pi: key(6), pr: key(7) };
const secrets = {
  suite: { prf: 'hmac-sha2-256' },
  keys: KEYS,
  initiatorMessage: text('first message'),
  responderMessage: text('its answer'),
  ni: text('nonce of the initiator'),
  nr: text('nonce of the responder'),
} as unknown as Secrets;
const context = { provider } as unknown as Context;
const prf = (secret: Uint8Array, data: Uint8Array) => provider.prf('hmac-sha2-256', secret, data);

test('each side signs its own first message, the other nonce and its identity under its SK_p (RFC 7296 §2.15)', () => {
  const id = idBody({ idType: 2, data: text('a.example') });
  assert.deepEqual(
    signedOctets(context, secrets, true, id),
    concat([secrets.initiatorMessage, secrets.nr, prf(KEYS.pi, id)]),
  );
  assert.deepEqual(
    signedOctets(context, secrets, false, id),
    concat([secrets.responderMessage, secrets.ni, prf(KEYS.pr, id)]),
  );
});

test('after intermediate exchanges IntAuth is signed too (RFC 9242 §3.3.2)', () => {
  const id = idBody({ idType: 2, data: text('a.example') });
  const intAuth = { initiator: key(8), responder: key(9), exchanges: 2 };
  const octets = concat([secrets.initiatorMessage, secrets.nr, prf(KEYS.pi, id)]);
  assert.deepEqual(
    signedOctets(context, { ...secrets, intAuth }, true, id),
    concat([octets, key(8), key(9), Uint8Array.of(0, 0, 0, 3)]),
  );
});

test('IntAuth grows by each exchange, by each side under its own key (RFC 9242 §3.3.2)', () => {
  const plain = (response: boolean) => ({
    header: {
      initiatorSpi: '0102030405060708',
      responderSpi: '1112131415161718',
      exchange: 43,
      flags: { initiator: !response, response, version: false },
      messageId: 1,
    },
    first: PAYLOAD.KE,
    bytes: text(response ? 'inside the answer' : 'inside the request'),
  });
  const octets = (response: boolean) => {
    const { header, first, bytes } = plain(response);
    const sk = { type: PAYLOAD.SK, critical: false, nextPayload: first, body: bytes, offset: 0 } as const;
    return encodeMessage(header, [sk]);
  };
  const once = addIntAuth(context, secrets, plain(false), plain(true));
  const initiator = prf(KEYS.pi, octets(false));
  const responder = prf(KEYS.pr, octets(true));
  assert.deepEqual(once, { initiator, responder, exchanges: 1 });
  assert.deepEqual(addIntAuth(context, { ...secrets, intAuth: once }, plain(false), plain(true)), {
    initiator: prf(KEYS.pi, concat([initiator, octets(false)])),
    responder: prf(KEYS.pr, concat([responder, octets(true)])),
    exchanges: 2,
  });
});

test('an ID payload is its type, three zeros and its data (RFC 7296 §3.5)', () => {
  assert.deepEqual(idBody({ idType: 5, data: Uint8Array.of(1, 2) }), Uint8Array.of(5, 0, 0, 0, 1, 2));
});

const DN = 'CN=a,O=Example';

test('every type of identity is written and read (RFC 7296 §3.5)', () => {
  const cases: [Identity, number, Uint8Array][] = [
    [{ type: 'ipv4', value: '192.0.2.1' }, 1, Uint8Array.of(192, 0, 2, 1)],
    [A, 2, text('a.example')],
    [{ type: 'email', value: 'a@example' }, 3, text('a@example')],
    [{ type: 'ipv6', value: '2001:db8::1' }, 5, Uint8Array.of(0x20, 1, 0x0d, 0xb8, ...new Uint8Array(11), 1)],
    [{ type: 'key-id', value: 'some key' }, 11, text('some key')],
    [{ type: 'key-id', value: 'hex:00ff' }, 11, Uint8Array.of(0, 0xff)],
  ];
  for (const [identity, idType, data] of cases) {
    assert.deepEqual(encodeIdentity(identity), { idType, data });
    assert.deepEqual(decodeIdentity({ idType, data }), identity);
  }
  const der = parseName(DN)!;
  assert.deepEqual(encodeIdentity({ type: 'dn', value: DN }), { idType: 9, data: der });
  assert.deepEqual(encodeIdentity({ type: 'dn', value: 'anything', der }), { idType: 9, data: der });
  const read = decodeIdentity({ idType: 9, data: der });
  assert.ok(read?.type === 'dn' && read.der === der && read.value.includes('Example'));
});

test('a key id is hexadecimal only as a whole', () => {
  for (const value of ['hex:0', 'hex:', 'xhex:00', 'hex:00g0', 'hex:00 '])
    assert.deepEqual(encodeIdentity({ type: 'key-id', value }).data, text(value));
  assert.deepEqual(encodeIdentity({ type: 'key-id', value: 'HEX:aB12' }).data, Uint8Array.of(0xab, 0x12));
});

test('bytes that are not of their type are nobody', () => {
  for (const length of [0, 3, 5, 16])
    assert.equal(decodeIdentity({ idType: 1, data: new Uint8Array(length) }), undefined);
  for (const length of [0, 4, 15, 17])
    assert.equal(decodeIdentity({ idType: 5, data: new Uint8Array(length) }), undefined);
  for (const idType of [0, 4, 6, 7, 8, 10, 12, 255])
    assert.equal(decodeIdentity({ idType, data: text('a') }), undefined);
  assert.equal(decodeIdentity({ idType: 9, data: text('no DER') }), undefined);
  assert.deepEqual(decodeIdentity({ idType: 2, data: Uint8Array.of(0xff) }), {
    type: 'fqdn',
    value: 'hex:ff',
  });
});

test('names are compared without case, everything else as it is, and never across types', () => {
  const same = (a: Identity, b: Identity) => sameIdentity(a, b);
  assert.ok(same(A, { type: 'fqdn', value: 'A.EXAMPLE' }));
  assert.ok(same({ type: 'email', value: 'X@a' }, { type: 'email', value: 'x@A' }));
  assert.equal(same({ type: 'key-id', value: 'K' }, { type: 'key-id', value: 'k' }), false);
  assert.ok(same({ type: 'key-id', value: 'K' }, { type: 'key-id', value: 'K' }));
  assert.equal(same(A, { type: 'fqdn', value: 'b.example' }), false);
  assert.equal(same({ type: 'fqdn', value: '192.0.2.1' }, { type: 'ipv4', value: '192.0.2.1' }), false);
  assert.equal(same({ type: 'fqdn', value: 'x' }, { type: 'key-id', value: 'x' }), false);
  assert.ok(same({ type: 'dn', value: DN }, { type: 'dn', value: 'CN=A,O=example' }));
  assert.equal(same({ type: 'dn', value: DN }, { type: 'dn', value: 'CN=b,O=Example' }), false);
});

test('a star of our own configuration is a pattern for names only', () => {
  for (const type of ['fqdn', 'email', 'dn'] as const)
    assert.ok(isPattern({ type, value: type === 'dn' ? 'CN=*' : '*.example' }));
  for (const type of ['key-id', 'ipv4', 'ipv6'] as const)
    assert.equal(isPattern({ type, value: '*' }), false);
  assert.equal(isPattern(A), false);
  assert.ok(expects({ type: 'fqdn', value: '*.example' }, A));
  assert.equal(expects({ type: 'fqdn', value: '*.example' }, { type: 'fqdn', value: 'a.b.example' }), false);
  assert.equal(expects({ type: 'fqdn', value: '*.example' }, { type: 'email', value: 'a.example' }), false);
  assert.equal(expects(A, { type: 'fqdn', value: '*.example' }), false);
  assert.ok(expects({ type: 'key-id', value: '*' }, { type: 'key-id', value: '*' }));
  assert.equal(expects({ type: 'key-id', value: '*' }, { type: 'key-id', value: 'x' }), false);
});

test('candidates: those for the address before those for any, a whole name before a pattern', () => {
  const remotes: Record<string, { addresses: string[]; identity: Identity }> = {
    anyPattern: { addresses: [], identity: { type: 'fqdn', value: '*.example' } },
    any: { addresses: [], identity: A },
    pattern: { addresses: ['192.0.2.1'], identity: { type: 'fqdn', value: '*.example' } },
    exact: { addresses: ['192.0.2.1'], identity: A },
    other: { addresses: ['192.0.2.1'], identity: { type: 'fqdn', value: 'b.example' } },
  };
  const tunnels = { get: (name: string) => remotes[name] && { tunnel: { remote: remotes[name] } } };
  const sa = { candidates: [...Object.keys(remotes), 'gone'] } as unknown as IkeSa;
  const found = expecting({ tunnels } as unknown as Context, sa, A);
  assert.deepEqual(found, ['exact', 'pattern', 'any', 'anyPattern']);
});
