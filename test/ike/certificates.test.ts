// Certificates in IKE_AUTH (RFC 7296 §2.15, §3.6 to §3.8; RFC 7427): who shows what, when, and what is believed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat } from '../../src/crypto/bytes.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import {
  decodeProof,
  encodeProof,
  SIGNATURE_SCHEMES,
  schemeRow,
} from '../../src/crypto/signature-schemes.ts';
import {
  decodeIdentity,
  encodeIdentity,
  expects,
  isPattern,
  sameIdentity,
  verifiedPeer,
} from '../../src/ike/authenticate.ts';
import { chooseKey, chooseProof, isOutdated, proofPayloads } from '../../src/ike/own-proof.ts';
import { verification } from '../../src/ike/peer-proof.ts';
import { reopen, sealMessage } from '../../src/ike/protect.ts';
import type { IkeSa, Secrets } from '../../src/ike/sa.ts';
import { heardFrom } from '../../src/ike/v2/announcements.ts';
import { notifyPayload } from '../../src/ike/v2/payloads.ts';
import type { Auth, Identity } from '../../src/policy/tunnel.ts';
import { paperCertificate } from '../../src/sim/jobs.ts';
import { type Pair, type Side, type SideName, sendPacket } from '../../src/sim/pair.ts';
import { decodeMessage, findPayload, type Payload, wireType } from '../../src/wire/ikev2.ts';
import { AUTH_METHOD, EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../src/wire/numbers.ts';
import { authority, CA, OLD_SCHEMES, ownKey, signing, trusting } from '../sim/papers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const A: Identity = { type: 'fqdn', value: 'a.example' };
const B: Identity = { type: 'fqdn', value: 'b.example' };
const [A4, B4] = ['192.0.2.1', '198.51.100.1'];

const named = {
  a: { local: { address: A4, identity: A }, remote: { addresses: [B4], identity: B } },
  b: { local: { address: B4, identity: B }, remote: { addresses: [A4], identity: A } },
};

function certified(a: Auth, b: Auth): Pair {
  return sites(1, { ...named.a, auth: a }, { ...named.b, auth: b });
}

const provider = createNodeProvider();

interface Sent {
  from: SideName;
  exchange: string;
  payloads: Payload[];
}

/** Every message sent, in order; what is sealed is opened with the keys of the sender. */
function recorded(pair: Pair): Sent[] {
  const all: Sent[] = [];
  pair.filter = (from, bytes) => {
    // A keepalive of a NAT.
    if (bytes.length === 1) return true;
    const exchange = nameOf(EXCHANGE, decodeMessage(bytes).header.exchange);
    all.push({ from: from.name, exchange, payloads: opened(from, bytes) });
    return true;
  };
  return all;
}

function opened({ gateway }: Side, bytes: Uint8Array): Payload[] {
  const { payloads } = decodeMessage(bytes);
  const state = gateway.sas()[0]?.state;
  if (!findPayload(payloads, PAYLOAD.SK) || !state) return payloads;
  if (state.name === 'established') return reopen({ provider }, state, bytes);
  return 'secrets' in state ? reopen({ provider }, state.secrets, bytes) : payloads;
}

function namesOf({ payloads }: Sent): string[] {
  return payloads.map((one) =>
    one.type === PAYLOAD.N ? nameOf(NOTIFY, one.notifyType) : nameOf(PAYLOAD, wireType(one)),
  );
}

/** What became of `up` at a, and the last reason that each side gives. */
function outcome(pair: Pair): { up: string | undefined; a: string | undefined; b: string | undefined } {
  const id = pair.command(pair.a, 'up', 't');
  pair.run(2000);
  const last = (side: Side) => side.gateway.failures().at(-1)?.code;
  return { up: pair.a.outcomes.get(id), a: last(pair.a), b: last(pair.b) };
}

/** Jobs that used a long-term secret, by side. */
function used(pair: Pair): string[] {
  const all: string[] = [];
  pair.observer = {
    judged: ({ name }, { type }) => void (/sign|verify/.test(type) && all.push(`${name} ${type}`)),
  };
  return all;
}

const KEY_A = ownKey('key of a', A);
const KEY_B = ownKey('key of b', B);

//   HDR, SA, KE, Ni, N(NAT…), N(SIGNATURE_HASH_ALGORITHMS)                        -->
//   <--  HDR, SA, KE, Nr, N(NAT…), CERTREQ, N(SIGNATURE_HASH_ALGORITHMS), N(SUPPORTED_AUTH_METHODS)
//   HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, N(SUPPORTED_AUTH_METHODS), …}         -->
//   <--  HDR, SK {IDr, CERT, AUTH, …}
test('both sides show a certificate (RFC 7296 §1.2, RFC 7427 §4, RFC 9593 §3.1)', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B]));
  const sent = recorded(pair);
  agree(established(pair));
  const [request, answer, auth, proof] = sent;
  assert.equal(namesOf(request!).at(-1), 'SIGNATURE_HASH_ALGORITHMS');
  const said = ['CERTREQ', 'SIGNATURE_HASH_ALGORITHMS', 'SUPPORTED_AUTH_METHODS'];
  assert.deepEqual(
    namesOf(answer!).filter((name) => said.includes(name)),
    said,
  );
  assert.deepEqual(namesOf(auth!).slice(0, 6), [
    'IDi',
    'CERT',
    'CERTREQ',
    'IDr',
    'AUTH',
    'SUPPORTED_AUTH_METHODS',
  ]);
  assert.deepEqual(namesOf(proof!).slice(0, 3), ['IDr', 'CERT', 'AUTH']);
  assert.equal(findPayload(auth!.payloads, PAYLOAD.AUTH)!.method, AUTH_METHOD.DIGITAL_SIGNATURE);
});

test('with pre-shared keys nothing is said of signatures', () => {
  const pair = sites();
  const sent = recorded(pair);
  established(pair);
  const said = sent.flatMap(namesOf);
  for (const name of ['CERTREQ', 'CERT', 'SIGNATURE_HASH_ALGORITHMS', 'SUPPORTED_AUTH_METHODS'])
    assert.ok(!said.includes(name), name);
});

test('each side in its own way: a signs, b holds the secret', () => {
  const psk = { method: 'psk', secret: 'of b' } as const;
  const pair = certified(
    { method: 'each', own: { method: 'signature', keys: [KEY_A] }, peer: psk },
    { method: 'each', own: psk, peer: trusting() },
  );
  agree(established(pair));
});

test('a certificate for another name proves nothing, and the other side gives no proof of its own (CVE-2015-4171)', () => {
  const rogue = ownKey('key of a', { type: 'fqdn', value: 'c.example' });
  const pair = certified(signing([rogue]), signing([KEY_B]));
  const jobs = used(pair);
  assert.deepEqual(outcome(pair), {
    up: 'PEER_REFUSED_AUTH',
    a: 'PEER_REFUSED_AUTH',
    b: 'PEER_CERTIFICATE_NAME',
  });
  assert.ok(!jobs.includes('b sign'), 'the responder signs for nobody');
});

test('a rogue responder with a good certificate for another name: nothing is established, no packet leaves', () => {
  const rogue = ownKey('key of b', { type: 'fqdn', value: 'c.example' });
  const pair = certified(signing([KEY_A]), signing([rogue]));
  assert.equal(outcome(pair).up, 'PEER_CERTIFICATE_NAME');
  assert.equal(pair.a.outbound.size, 0);
  assert.ok(!pair.a.reports.includes('IKE_ESTABLISHED'));
});

test('a certificate of a CA that we do not trust', () => {
  const stranger = ownKey('key of a', A, { issuer: 'Other CA' });
  const pair = certified(signing([stranger]), signing([KEY_B]));
  assert.equal(outcome(pair).b, 'PEER_CERTIFICATE_UNTRUSTED');
});

test('a signature by another key than that of the certificate', () => {
  const thief = { ...KEY_A, key: 'another key' };
  const pair = certified(signing([thief]), signing([KEY_B]));
  assert.equal(outcome(pair).b, 'PEER_SIGNATURE_INVALID');
});

test('a secret where a signature is expected, and the other way round: both methods are named', () => {
  const psk = { method: 'psk', secret: 'same' } as const;
  assert.equal(outcome(certified(psk, signing([KEY_B]))).b, 'PEER_AUTH_METHOD');
  assert.equal(outcome(certified(signing([KEY_A]), psk)).b, 'PEER_AUTH_METHOD');
});

test('CERTREQ chooses among several certificates, in the order of preference (RFC 7296 §3.7)', () => {
  const other = ownKey('other key', A, { issuer: 'Other CA' });
  const pair = certified(signing([other, KEY_A]), signing([KEY_B]));
  const sent = recorded(pair);
  agree(established(pair));
  const shown = findPayload(sent[2]!.payloads, PAYLOAD.CERT)!;
  assert.deepEqual(shown.data, KEY_A.certificates[0]);
});

test('no certificate of a CA that is asked for: the first is shown all the same (RFC 7296 §3.7)', () => {
  const strange = trusting(CA, { authorities: [authority('Unknown CA')] });
  const pair = certified(signing([KEY_A]), signing([KEY_B], strange));
  agree(established(pair));
});

test('only a hash that the peer named signs (RFC 7427 §4)', () => {
  const both = ownKey('key of a', A, { schemes: ['ecdsa-sha256', 'ecdsa-sha384'] });
  const pair = certified(signing([both]), signing([KEY_B], trusting(CA, { schemes: ['ecdsa-sha384'] })));
  const sent = recorded(pair);
  agree(established(pair));
  const { data } = findPayload(sent[2]!.payloads, PAYLOAD.AUTH)!;
  assert.deepEqual(decodeProof(AUTH_METHOD.DIGITAL_SIGNATURE, data).schemes[0]!.name, 'ecdsa-sha384');
});

test('SUPPORTED_AUTH_METHODS names what hashes alone do not say (RFC 9593)', () => {
  const rsa = ownKey('key of a', A, { schemes: ['rsa-pss-sha256', 'rsa-sha256'] });
  const pair = certified(signing([rsa]), signing([KEY_B], trusting(CA, { schemes: ['rsa-sha256'] })));
  const sent = recorded(pair);
  agree(established(pair));
  const { data } = findPayload(sent[2]!.payloads, PAYLOAD.AUTH)!;
  assert.deepEqual(decodeProof(AUTH_METHOD.DIGITAL_SIGNATURE, data).schemes[0]!.name, 'rsa-sha256');
});

test('no common signature: we say which we have and which the peer takes', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B], trusting(CA, { schemes: ['ed25519'] })));
  assert.equal(outcome(pair).up, 'CONFIG_NO_SIGNATURE');
  const { detail } = pair.a.gateway.failures().at(-1)!;
  assert.deepEqual(
    [detail.configured, detail.offered],
    ['ecdsa-sha256, ecdsa-sha256-old', 'RFC 7427 with hashes 5'],
  );
});

test('a peer without RFC 7427 gets the old method, and may use it (RFC 4754)', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B]));
  const forget = (payloads: Payload[]) =>
    payloads.filter((one) => one.type !== PAYLOAD.N || one.notifyType !== NOTIFY.SIGNATURE_HASH_ALGORITHMS);
  assert.equal(chooseKey([KEY_A], heardFrom(forget([])))?.scheme, 'ecdsa-sha256-old');
  assert.equal(chooseKey([KEY_A], { hashes: [2], encodings: [], authorities: [] })?.scheme, 'ecdsa-sha256');
  agree(established(pair));
});

test('a scheme that we do not accept is refused before anything is computed', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B], trusting(CA, { schemes: OLD_SCHEMES })));
  const jobs = used(pair);
  const { up } = outcome(pair);
  assert.equal(up, 'CONFIG_NO_SIGNATURE', 'old schemes announce no hash of RFC 7427');
  assert.ok(!jobs.includes('b verify'));
});

test('two tunnels with the same name, one by secret and one by certificate: AUTH decides', () => {
  const pair = certified(signing([KEY_A]), { method: 'psk', secret: 'same' });
  const second = tunnel('b', { ...named.b, name: 'u', auth: signing([KEY_B]) });
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: second }] });
  established(pair);
  const states = pair.b.gateway.tunnels().map(({ name, state }) => `${name} ${state}`);
  assert.deepEqual(states, ['t down', 'u established']);
});

test('hash and URL was never offered: refused, nothing is fetched (RFC 7296 §3.6)', () => {
  const url: Payload = { type: PAYLOAD.CERT, critical: false, encoding: 12, data: new Uint8Array(60) };
  const judged = verdictOn([url]);
  assert.ok('code' in judged && judged.code === 'PEER_CERTIFICATE_KIND');
});

test('seventeen certificates are one too many', () => {
  const one: Payload = { type: PAYLOAD.CERT, critical: false, encoding: 4, data: new Uint8Array(9) };
  const judged = verdictOn(Array.from({ length: 17 }, () => one));
  assert.ok('code' in judged && judged.code === 'PEER_CERTIFICATE_INVALID');
  assert.ok(!('code' in verdictOn([one])));
});

/** The core's answer to an AUTH that signs with Ed25519 and those CERT payloads. */
function verdictOn(certificates: Payload[]): ReturnType<typeof verification> {
  const data = encodeProof(schemeRow('ed25519'), new Uint8Array(64));
  const auth: Payload = { type: PAYLOAD.AUTH, critical: false, method: 14, data };
  const secrets = { suite: { prf: 'hmac-sha2-256' } } as Secrets;
  return verification(tunnel('b', { auth: signing([KEY_B]) }), secrets, A, new Uint8Array(8), [
    ...certificates,
    auth,
  ]);
}

test('an AlgorithmIdentifier with any bit changed names no scheme (RFC 7427 §3)', () => {
  const forms = SIGNATURE_SCHEMES.flatMap(({ algorithms }) => [...algorithms]);
  const known = new Set(forms.map((one) => one.join()));
  for (const algorithm of forms) {
    for (let bit = 0; bit < algorithm.length * 8; bit++) {
      const changed = algorithm.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      if (known.has(changed.join())) continue;
      assert.deepEqual(decodeProof(14, proofWith(changed)).schemes, []);
    }
  }
});

test('an AlgorithmIdentifier that is missing, cut, longer or shorter than it says names no scheme', () => {
  const [algorithm] = schemeRow('rsa-sha256').algorithms;
  const good = proofWith(algorithm!);
  assert.equal(decodeProof(14, good).schemes[0]!.name, 'rsa-sha256');
  const withLength = (length: number) => Uint8Array.of(length, ...good.subarray(1));
  for (let length = 0; length < 256; length++) {
    if (length !== algorithm!.length) assert.deepEqual(decodeProof(14, withLength(length)).schemes, []);
  }
  for (let cut = 0; cut <= algorithm!.length + 1; cut++)
    assert.deepEqual(decodeProof(14, good.subarray(0, cut)).schemes, []);
  for (const method of [0, 2, 3, 12, 13, 15, 255]) assert.deepEqual(decodeProof(method, good).schemes, []);
});

function proofWith(algorithm: Uint8Array): Uint8Array {
  return concat([Uint8Array.of(algorithm.length), algorithm, new Uint8Array(64).fill(7)]);
}

test('no two schemes share an AlgorithmIdentifier: what is signed with is never a guess', () => {
  const forms = SIGNATURE_SCHEMES.flatMap(({ algorithms }) => algorithms.map((one) => one.join()));
  assert.equal(new Set(forms).size, forms.length);
});

test('announcements of any bytes are read as far as they go', () => {
  const notify = (notifyType: number, data: Uint8Array): Payload => notifyPayload(notifyType, data);
  for (let length = 0; length < 300; length++) {
    const data = Uint8Array.from({ length }, (_, i) => (i * 31 + length) & 255);
    const heard = heardFrom([
      notify(NOTIFY.SIGNATURE_HASH_ALGORITHMS, data),
      notify(NOTIFY.SUPPORTED_AUTH_METHODS, data),
      { type: PAYLOAD.CERTREQ, critical: false, encoding: 4, data },
    ]);
    assert.ok(heard.authorities.length <= 64 && heard.methods!.length <= 64 && heard.hashes!.length <= 64);
  }
});

test('a tunnel for this address before one for any, a whole name before a pattern', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B]));
  const meant = (name: string, addresses: string[], value: string) => {
    const remote = { addresses, identity: { type: 'fqdn', value } as const };
    const other = tunnel('b', { ...named.b, name, remote, auth: signing([KEY_B]) });
    return { type: 'set-tunnel', tunnel: other } as const;
  };
  const [any, pattern] = [meant('any', [], 'a.example'), meant('pattern', [A4], '*.example')];
  const exact = meant('exact', [A4], 'a.example');
  pair.feed(pair.b, {
    type: 'configure',
    changes: [{ type: 'remove-tunnel', tunnel: 't' }, any, pattern, exact],
  });
  established(pair);
  const up = pair.b.gateway.tunnels().filter(({ state }) => state === 'established');
  assert.deepEqual(
    up.map(({ name }) => name),
    ['exact'],
  );
});

test('a renewed certificate of ours is shown within seconds, and no packet is without an SA', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B]));
  established(pair);
  const [before] = pair.a.gateway.sas();
  const renewed = ownKey('key of a', A, {
    certificates: [paperCertificate({ key: 'key of a', identity: A, issuer: CA, padding: 'new' })],
  });
  const auth = signing([renewed]);
  pair.feed(pair.a, {
    type: 'configure',
    changes: [{ type: 'set-tunnel', tunnel: tunnel('a', { ...named.a, auth }) }],
  });
  for (let second = 0; second < 60; second++) {
    pair.run(1000);
    assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
  }
  const [after] = pair.a.gateway.sas();
  assert.notEqual(after!.spi, before!.spi, pair.ladder());
  assert.deepEqual(after!.shown, renewed.certificates[0]);
});

test('the same certificate configured again moves nothing', () => {
  const pair = established(certified(signing([KEY_A]), signing([KEY_B])));
  const [before] = pair.a.gateway.sas();
  const again = tunnel('a', { ...named.a, auth: signing([ownKey('key of a', A)]) });
  pair.feed(pair.a, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: again }] });
  pair.run(60_000);
  assert.equal(pair.a.gateway.sas()[0]!.spi, before!.spi);
});

//   --> HDR, SK {IDi, …}, <-- HDR, SK {IDr, …}, --> INFORMATIONAL, SK {N(AUTHENTICATION_FAILED)}
test('the initiator does not believe the responder: both sides give the SA up, and both say why (RFC 7296 §2.21.2)', () => {
  const thief = { ...KEY_B, key: 'another key' };
  const pair = certified(signing([KEY_A]), signing([thief]));
  const up = pair.command(pair.a, 'up', 't');
  pair.run(500);
  assert.equal(pair.a.outcomes.get(up), 'PEER_SIGNATURE_INVALID');
  assert.deepEqual(
    pair.b.gateway.failures().map(({ code }) => code),
    ['PEER_REFUSED_AUTH'],
    pair.ladder(),
  );
  assert.equal(pair.b.gateway.tunnels()[0]!.state, 'down');
  assert.equal(pair.b.outbound.size, 0);
});

/** The IKE_AUTH request of a, with other payloads, under the right keys. */
function otherAuth(pair: Pair, change: (payloads: Payload[]) => Payload[], sent: Sent[]): Uint8Array {
  const [sa] = pair.a.gateway.sas();
  assert.ok(sa!.state.name === 'auth-sent');
  const { suite, keys } = sa!.state.secrets;
  const flags = { initiator: true, response: false, version: false };
  const header = {
    initiatorSpi: sa!.spi,
    responderSpi: sa!.peerSpi,
    exchange: EXCHANGE.IKE_AUTH,
    flags,
    messageId: 1,
  };
  const { payloads } = sent.findLast(({ from, exchange }) => from === 'a' && exchange === 'IKE_AUTH')!;
  return sealMessage(provider, suite, keys, header, change(payloads));
}

/** Until b has the certificate and works on it. */
function verifying(pair: Pair): Sent[] {
  const sent = recorded(pair);
  pair.command(pair.a, 'up', 't');
  pair.run(30);
  pair.weather = { ...pair.weather, work: [2000, 2000] };
  for (let i = 0; i < 50 && pair.b.gateway.sas()[0]?.state.name !== 'peer-verifying'; i++) pair.run(1);
  assert.equal(pair.b.gateway.sas()[0]!.state.name, 'peer-verifying', pair.ladder());
  return sent;
}

test('a peer that changes its mind while it is verified: what came first counts, and no other name is proven by it', () => {
  const pair = certified(signing([KEY_A]), signing([KEY_B]));
  const sent = verifying(pair);
  const [sa] = pair.a.gateway.sas();
  const changes: ((payloads: Payload[]) => Payload[])[] = [
    (all) => all.map((one) => (one.type === PAYLOAD.IDi ? { ...one, ...encodeIdentity(B) } : one)),
    (all) =>
      all.map((one) => (one.type === PAYLOAD.AUTH ? { ...one, method: AUTH_METHOD.SHARED_KEY_MIC } : one)),
    (all) => all.filter(({ type }) => type !== PAYLOAD.CERT),
    (all) => all.filter(({ type }) => type !== PAYLOAD.AUTH),
  ];
  for (const change of changes)
    pair.inject(pair.b, otherAuth(pair, change, sent), { local: sa!.remote, remote: sa!.local });
  pair.run(30_000);
  agree(pair);
  const [mine] = pair.b.gateway.sas();
  assert.ok(mine!.state.name === 'established');
  assert.deepEqual(mine!.state.peer.identity, A);
});

test('another method, no certificate, no AUTH or another name at the first go: refused, nothing is signed for it', () => {
  for (const change of [
    (all: Payload[]) =>
      all.map((one) => (one.type === PAYLOAD.AUTH ? { ...one, method: AUTH_METHOD.SHARED_KEY_MIC } : one)),
    (all: Payload[]) => all.map((one) => (one.type === PAYLOAD.AUTH ? { ...one, method: 1 } : one)),
    (all: Payload[]) => all.map((one) => (one.type === PAYLOAD.IDi ? { ...one, ...encodeIdentity(B) } : one)),
    (all: Payload[]) => all.filter(({ type }) => type !== PAYLOAD.CERT),
    (all: Payload[]) => all.filter(({ type }) => type !== PAYLOAD.AUTH),
    (all: Payload[]) => all.filter(({ type }) => type !== PAYLOAD.IDi),
  ]) {
    const pair = certified(signing([KEY_A]), signing([KEY_B]));
    const jobs = used(pair);
    const sent = recorded(pair);
    const record = pair.filter;
    pair.filter = (from, bytes, count) => {
      record(from, bytes, count);
      return from === pair.b || decodeMessage(bytes).header.exchange !== EXCHANGE.IKE_AUTH;
    };
    pair.command(pair.a, 'up', 't');
    pair.run(200);
    const [sa] = pair.a.gateway.sas();
    pair.inject(pair.b, otherAuth(pair, change, sent), { local: sa!.remote, remote: sa!.local });
    pair.run(100);
    assert.ok(!jobs.includes('b sign'), pair.ladder());
    assert.ok(!pair.b.reports.includes('IKE_ESTABLISHED'));
    assert.equal(pair.b.gateway.failures().length, 1, pair.ladder());
  }
});

test('the tunnel is removed, or made for another peer, while the peer is verified: nobody is let in', () => {
  const other = { addresses: [A4], identity: { type: 'fqdn', value: 'd.example' } } as const;
  const gone = { type: 'remove-tunnel', tunnel: 't' } as const;
  const instead = tunnel('b', { ...named.b, remote: { ...other, addresses: [A4] }, auth: signing([KEY_B]) });
  for (const changes of [[gone], [gone, { type: 'set-tunnel', tunnel: instead } as const]]) {
    const pair = certified(signing([KEY_A]), signing([KEY_B]));
    verifying(pair);
    pair.feed(pair.b, { type: 'configure', changes });
    pair.run(5000);
    assert.ok(!pair.b.reports.includes('IKE_ESTABLISHED'), pair.ladder());
  }
});

test('a verdict that says yes and gives a reason against it is none', () => {
  const reasons = [{ code: 'PEER_CERTIFICATE_REVOKED', message: 'x' }] as const;
  assert.equal(verifiedPeer(A, { type: 'verify', valid: true, reasons: [...reasons] }), undefined);
  assert.equal(verifiedPeer(A, { type: 'verify', valid: false, reasons: [] }), undefined);
  assert.equal(verifiedPeer(A, { type: 'psk-verify', valid: false }), undefined);
  assert.equal(verifiedPeer(A, { type: 'sign', signature: new Uint8Array(64) }), undefined);
  assert.deepEqual(verifiedPeer(A, { type: 'verify', valid: true, reasons: [] })?.identity, A);
});

test('identities: every pair of types with the same bytes is two (RFC 7296 §3.5)', () => {
  const all = ['ipv4', 'ipv6', 'fqdn', 'email', 'dn', 'key-id'] as const;
  const value = (type: (typeof all)[number]) =>
    ({ ipv4: '192.0.2.1', ipv6: '2001:db8::1', dn: 'CN=a.example' })[type as 'ipv4'] ?? 'a.example';
  for (const one of all) {
    for (const two of all) {
      const [a, b] = [
        { type: one, value: value(one) },
        { type: two, value: value(two) },
      ];
      assert.equal(sameIdentity(a, b), one === two, `${one} ${two}`);
      assert.deepEqual(decodeIdentity(encodeIdentity(a))!.type, one);
    }
  }
});

test('a key id of any bytes comes back as it was; two that are not text are two', () => {
  const ids = [Uint8Array.of(0xff, 0xfe), Uint8Array.of(0xff, 0xfd), new TextEncoder().encode('plain')];
  const texts = ids.map((data) => decodeIdentity({ idType: 11, data })!);
  assert.deepEqual(
    texts.map(({ value }) => value),
    ['hex:fffe', 'hex:fffd', 'plain'],
  );
  for (const [index, identity] of texts.entries())
    assert.deepEqual(encodeIdentity(identity).data, ids[index]);
});

test('* of our own configuration is one whole part of a name of that type, and nothing else', () => {
  const id = (type: Identity['type'], value: string): Identity => ({ type, value });
  const yes: [Identity, Identity][] = [
    [id('fqdn', '*.example'), id('fqdn', 'a.example')],
    [id('email', '*@example.org'), id('email', 'vpn@example.org')],
    [id('dn', 'C=DE, O=Example, CN=*'), id('dn', 'C=DE, O=Example, CN=gw')],
    [id('key-id', '*'), id('key-id', '*')],
    [id('fqdn', 'A.example'), id('fqdn', 'a.EXAMPLE')],
  ];
  const no: [Identity, Identity][] = [
    [id('fqdn', '*.example'), id('fqdn', 'x.a.example')],
    [id('fqdn', '*.example'), id('fqdn', 'example')],
    [id('fqdn', '*.example'), id('key-id', 'a.example')],
    [id('fqdn', '*.example'), id('email', 'a.example')],
    [id('email', '*@example.org'), id('fqdn', 'vpn@example.org')],
    [id('email', '*@example.org'), id('email', 'vpn@b.example.org')],
    [id('dn', 'C=DE, O=Example, CN=*'), id('dn', 'C=DE, O=Other, CN=gw')],
    [id('dn', 'C=DE, CN=*'), id('fqdn', 'gw')],
    [id('key-id', '*'), id('key-id', 'any')],
    [id('fqdn', 'a.example'), id('fqdn', '*.example')],
  ];
  for (const [expected, given] of yes)
    assert.ok(expects(expected, given), `${expected.value} ${given.value}`);
  for (const [expected, given] of no)
    assert.ok(!expects(expected, given), `${expected.value} ${given.value}`);
  assert.deepEqual(
    yes.map(([one]) => isPattern(one)),
    [true, true, true, false, false],
  );
});

test('sixteen certificates are looked at; what is expected in place of a signature or a secret is said', () => {
  const one: Payload = { type: PAYLOAD.CERT, critical: false, encoding: 4, data: new Uint8Array(9) };
  assert.ok(!('code' in verdictOn(Array.from({ length: 16 }, () => one))));
  const psk = { method: 'psk', secret: 'same' } as const;
  const message = (pair: Pair) => {
    outcome(pair);
    return pair.b.gateway.failures().at(-1)!.detail.message;
  };
  assert.match(
    String(message(certified(psk, signing([KEY_B])))),
    /SHARED_KEY_MIC, and a signature is expected/,
  );
  assert.match(String(message(certified(signing([KEY_A]), psk))), /ECDSA_256, and the pre-shared key/);
});

test('a key among several CAs, a form among several of one algorithm, an OCSP answer only to who asks', () => {
  const [upper, lower] = [authority('Upper CA'), authority('Lower CA')];
  const other = ownKey('other', A, { issuer: 'Other CA' });
  const key = ownKey('key', A, { authorities: [lower, upper] });
  const heard = (authorities: Uint8Array[]) => ({ hashes: [2], encodings: [], authorities });
  assert.equal(chooseKey([other, key], heard([authority('Third CA'), upper]))?.key.key, 'key');
  assert.equal(chooseKey([other, key], heard([authority('Third CA')]))?.key.key, 'other');
  const pss = schemeRow('rsa-pss-sha256');
  const rsa = ownKey('rsa', A, { schemes: ['rsa-sha256', 'rsa-pss-sha256'] });
  for (const algorithm of pss.algorithms)
    assert.equal(
      chooseKey([rsa], { ...heard([]), methods: [{ method: 14, algorithm }] })?.scheme,
      'rsa-pss-sha256',
    );
  const secrets = { suite: { prf: 'hmac-sha2-256' } } as Secrets;
  const kinds = (ocsp: Uint8Array | undefined, encodings: number[]) => {
    const auth = signing([{ ...key, ...(ocsp ? { ocsp } : {}) }]);
    const chosen = chooseProof(tunnel('a', { auth }), secrets, new Uint8Array(8), {
      ...heard([]),
      encodings,
    });
    const payloads = proofPayloads(chosen!.proof, { type: 'sign', signature: new Uint8Array(8) })!;
    assert.ok(payloads.every(({ critical }) => !critical));
    return payloads.flatMap((one) => (one.type === PAYLOAD.CERT ? one.encoding : []));
  };
  assert.deepEqual(kinds(new Uint8Array(9), [4, 14]), [4, 14]);
  assert.deepEqual(kinds(new Uint8Array(9), [4]), [4]);
  assert.deepEqual(kinds(undefined, [4, 14]), [4]);
});

test('what an IKE SA rests on is outdated when it is no certificate of ours any more', () => {
  const [one, two] = [ownKey('one', A), ownKey('two', A)];
  const sa = (shown: Uint8Array | undefined) => (shown ? { shown } : {}) as IkeSa;
  const both = tunnel('a', { auth: signing([one, two]) });
  assert.equal(isOutdated(sa(one.certificates[0]), both), false);
  assert.equal(isOutdated(sa(two.certificates[0]), both), false);
  assert.equal(isOutdated(sa(two.certificates[0]), tunnel('a', { auth: signing([one]) })), true);
  assert.equal(isOutdated(sa(undefined), both), false, 'a secret proved us');
  assert.equal(
    isOutdated(sa(one.certificates[0]), tunnel('a')),
    false,
    'a secret will: the tunnel begins anew',
  );
});
