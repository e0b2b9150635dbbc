// Post-quantum preshared keys in IKE_AUTH (RFC 8784) and in intermediate exchanges (RFC 9867), as ladders.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ikeKeys, mixPpk, prfPlus } from '../../src/crypto/keymat.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { openMessage } from '../../src/ike/protect.ts';
import type { Secrets } from '../../src/ike/sa.ts';
import { parseTemplate } from '../../src/policy/proposal.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import { decodeHeader, decodeMessage, findNotify, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../../src/wire/numbers.ts';
import { agree, established, sites } from '../sim/sites.ts';

const provider = createNodeProvider();
type Use = 'required' | 'preferred';

const ppk = (use: Use, id = 'site-1', secret = 'the PPK'): Pick<Tunnel, 'ppk'> => ({
  ppk: { id, secret, use },
});
const used = ({ gateway }: Side) => gateway.tunnels()[0]!.ikeSa?.ppk;

/**
 * The initiator as one that knows RFC 8784 alone: its USE_PPK_INT (16445) becomes a number nobody knows, in its own copy of the
 * message as well.
 */
function onlyInAuth(bytes: Uint8Array): void {
  if (bytes.length < 28 || decodeHeader(bytes).exchange !== EXCHANGE.IKE_SA_INIT) return;
  const at = Buffer.from(bytes).indexOf(Buffer.from('000000080000403d'.slice(4), 'hex'));
  if (at > 0) bytes[at + 5] = 0x99;
}

/** Both sides use a PPK in IKE_AUTH. */
function inAuth(pair: Pair): Pair {
  const { filter } = pair;
  pair.filter = (from, bytes, count) => {
    onlyInAuth(bytes);
    return filter(from, bytes, count);
  };
  return pair;
}

/** The payloads of IKE_AUTH, the request and the answer. */
function authOf(pair: Pair): { request?: Payload[]; answer?: Payload[] } {
  const seen: { request?: Payload[]; answer?: Payload[] } = {};
  pair.filter = (from, bytes) => {
    onlyInAuth(bytes);
    const { exchange, flags } = decodeHeader(bytes);
    if (exchange !== EXCHANGE.IKE_AUTH) return true;
    const { state } = from.gateway.sas()[0]!;
    const protection = state.name === 'established' ? state : (state as { secrets: Secrets }).secrets;
    seen[flags.response ? 'answer' : 'request'] = openMessage(provider, protection, bytes)!;
    return true;
  };
  return seen;
}

const has = (payloads: Payload[] | undefined, type: number) => findNotify(payloads ?? [], type) !== undefined;

for (const [a, b] of [
  ['required', 'required'],
  ['required', 'preferred'],
  ['preferred', 'required'],
  ['preferred', 'preferred'],
] as const) {
  test(`${a} and ${b}, the same PPK: it is used (RFC 8784 §3)`, () => {
    const pair = sites(1, ppk(a), ppk(b));
    const seen = authOf(pair);
    agree(established(pair));
    assert.deepEqual([used(pair.a), used(pair.b)], ['site-1', 'site-1']);
    assert.ok(has(seen.request, NOTIFY.PPK_IDENTITY));
    assert.equal(has(seen.request, NOTIFY.NO_PPK_AUTH), a === 'preferred');
    assert.equal(findNotify(seen.answer!, NOTIFY.PPK_IDENTITY)!.data.length, 0);
    pair.command(pair.a, 'rekey', 't');
    pair.run(1000);
    assert.equal(used(pair.b), 'site-1', 'the keys of the new IKE SA come from those of the old');
    agree(pair);
  });
}

test('USE_PPK is said in IKE_SA_INIT by both, and by a responder only where it was asked', () => {
  const said = (a: Partial<Tunnel>, b: Partial<Tunnel>) => {
    const pair = sites(1, a, b);
    const who: string[] = [];
    pair.filter = (from, bytes) => {
      const { header, payloads } = decodeMessage(bytes);
      if (header.exchange !== EXCHANGE.IKE_SA_INIT) return true;
      if (has(payloads, NOTIFY.USE_PPK)) who.push(from.name);
      if (has(payloads, NOTIFY.USE_PPK_INT)) who.push(`${from.name} INT`);
      return true;
    };
    established(pair);
    return who.join(', ');
  };
  assert.equal(said(ppk('preferred'), ppk('preferred')), 'a, a INT, b INT', 'one of the two is answered');
  assert.equal(said(ppk('preferred'), {}), 'a, a INT');
  assert.equal(said({}, ppk('preferred')), '');
});

for (const [name, a, b] of [
  ['the responder has none', ppk('preferred'), {}],
  ['the initiator has none', {}, ppk('preferred')],
  ['the ids differ: NO_PPK_AUTH proves the initiator', ppk('preferred'), ppk('preferred', 'site-2')],
] as const) {
  test(`${name}, and nobody requires it: made without, and told`, () => {
    const pair = sites(1, a, b);
    const seen = authOf(pair);
    agree(established(pair));
    assert.deepEqual([used(pair.a), used(pair.b)], [undefined, undefined]);
    assert.ok(!has(seen.answer, NOTIFY.PPK_IDENTITY));
    const told = [pair.a, pair.b].map(({ reports }) => reports.includes('IKE_WITHOUT_PPK'));
    assert.deepEqual(
      told,
      [a, b].map((side) => 'ppk' in side),
    );
  });
}

for (const [name, a, b, codes] of [
  ['required here, none there', ppk('required'), {}, ['PEER_NO_PPK']],
  ['none here, required there', {}, ppk('required'), ['PEER_REFUSED_AUTH', 'PEER_NO_PPK']],
  [
    'required by both, other ids',
    ppk('required'),
    ppk('required', 'site-2'),
    ['PEER_REFUSED_AUTH', 'PEER_NO_PPK'],
  ],
  [
    'required here, another id there',
    ppk('required'),
    ppk('preferred', 'site-2'),
    ['PEER_REFUSED_AUTH', 'PEER_NO_PPK'],
  ],
  [
    'preferred here, another id required there',
    ppk('preferred'),
    ppk('required', 'site-2'),
    ['PEER_REFUSED_AUTH', 'PEER_NO_PPK'],
  ],
  [
    'the same id, other secrets',
    ppk('required'),
    ppk('required', 'site-1', 'another'),
    ['PEER_REFUSED_AUTH', 'PEER_AUTH_FAILED'],
  ],
  [
    'preferred, the same id, other secrets',
    ppk('preferred'),
    ppk('preferred', 'site-1', 'another'),
    ['PEER_REFUSED_AUTH', 'PEER_AUTH_FAILED'],
  ],
] as const) {
  test(`${name}: nothing is established, and why is told`, () => {
    const pair = inAuth(sites(1, a, b));
    const up = pair.command(pair.a, 'up', 't');
    pair.run(900);
    assert.equal(pair.a.outcomes.get(up), codes[0], pair.ladder());
    if (codes[1]) assert.ok(pair.b.reports.includes(codes[1]), pair.ladder());
    assert.equal(pair.b.gateway.tunnels()[0]!.state, 'down');
    assert.equal(pair.a.gateway.tunnels()[0]!.children.length, 0);
  });
}

test('SK_d, SK_pi and SK_pr are prf+(PPK, …) of themselves, and the keys of messages stay (RFC 8784 §3)', () => {
  const key = (fill: number) => new Uint8Array(32).fill(fill);
  const secret = new TextEncoder().encode('the PPK');
  const plus = (one: Uint8Array) => prfPlus(provider, 'hmac-sha2-256', secret, one, 32);
  const made = mixPpk(provider, 'hmac-sha2-256', secret, { d: key(1), pi: key(2), pr: key(3) });
  assert.deepEqual(made, { d: plus(key(1)), pi: plus(key(2)), pr: plus(key(3)) });
});

test('a PPK beside ML-KEM: both go into the keys', () => {
  const parsed = parseTemplate('aes-gcm-16-256 / x25519 + ml-kem-768', 'ike');
  assert.ok(!('complaint' in parsed));
  const ike = { ike: { proposals: [parsed], lifetime: 14_400_000 } };
  const pair = sites(1, { ...ike, ...ppk('preferred') }, { ...ike, ...ppk('required') });
  agree(established(pair));
  assert.equal(used(pair.a), 'site-1');
  assert.ok(pair.a.gateway.tunnels()[0]!.ikeSa!.postQuantum);
});

test('lost messages and repeated ones do not mix twice', () => {
  for (let lost = 0; lost < 4; lost++) {
    const pair = sites(1, ppk('preferred'), ppk('preferred'));
    let sent = 0;
    pair.filter = (_, bytes) => {
      onlyInAuth(bytes);
      return sent++ !== lost;
    };
    pair.command(pair.a, 'up', 't');
    pair.run(5000);
    agree(pair);
    assert.equal(used(pair.b), 'site-1');
  }
});

/** What crossed, with the notifies of RFC 9867 as far as they are in the clear for the keys of the sender. */
function watch(pair: Pair): string[] {
  const seen: string[] = [];
  pair.filter = (from, bytes) => {
    const { exchange, flags } = decodeHeader(bytes);
    const name = Object.entries(EXCHANGE).find(([, number]) => number === exchange)![0];
    const { state, window } = from.gateway.sas()[0]!;
    const own = 'secrets' in state ? state.secrets : undefined;
    // An answer is under the keys before it.
    const protection = (flags.response && window.answered?.protection) || own;
    const opened = (protection && openMessage(provider, protection, bytes)) || [];
    const notifies = [NOTIFY.PPK_IDENTITY_KEY, NOTIFY.PPK_IDENTITY].filter((type) => has(opened, type));
    seen.push([from.name, name, ...(flags.response ? ['answer'] : []), ...notifies].join(' '));
    return true;
  };
  return seen;
}

const HYBRID = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519 + ml-kem-768 + ml-kem-512';

function ike(text: string): Pick<Tunnel, 'ike'> {
  const parsed = parseTemplate(text, 'ike');
  assert.ok(!('complaint' in parsed));
  return { ike: { proposals: [parsed], lifetime: 14_400_000 } };
}

//   HDR, SAi1, KEi, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED), N(USE_PPK), N(USE_PPK_INT)  -->
//                                     <--  HDR, SAr1, KEr, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED), N(USE_PPK_INT)
//   HDR(IKE_INTERMEDIATE), SK {N(PPK_IDENTITY_KEY)}  -->
//                                                    <--  HDR(IKE_INTERMEDIATE), SK {N(PPK_IDENTITY)}
test('a PPK in an intermediate exchange of its own (RFC 9867)', () => {
  const pair = sites(1, ppk('required'), ppk('required'));
  const seen = watch(pair);
  agree(established(pair));
  assert.deepEqual(seen.slice(0, 6), [
    'a IKE_SA_INIT',
    'b IKE_SA_INIT answer',
    'a IKE_INTERMEDIATE 16446',
    'b IKE_INTERMEDIATE answer 16436',
    'a IKE_AUTH',
    'b IKE_AUTH answer',
  ]);
  assert.deepEqual([used(pair.a), used(pair.b)], ['site-1', 'site-1']);
});

test('a PPK with the last of the additional key exchanges (RFC 9867)', () => {
  const pair = sites(1, { ...ike(HYBRID), ...ppk('preferred') }, { ...ike(HYBRID), ...ppk('required') });
  const seen = watch(pair);
  agree(established(pair));
  assert.deepEqual(
    seen.filter((line) => line.includes('IKE_INTERMEDIATE')),
    [
      'a IKE_INTERMEDIATE',
      'b IKE_INTERMEDIATE answer',
      'a IKE_INTERMEDIATE 16446',
      'b IKE_INTERMEDIATE answer 16436',
    ],
  );
  assert.deepEqual([used(pair.a), used(pair.b)], ['site-1', 'site-1']);
});

for (const [name, a, b, outcome] of [
  ['other ids, nobody requires it', ppk('preferred'), ppk('preferred', 'site-2'), 'OK'],
  ['other secrets, nobody requires it', ppk('preferred'), ppk('preferred', 'site-1', 'another'), 'OK'],
  ['other ids, required here', ppk('required'), ppk('preferred', 'site-2'), 'PEER_NO_PPK'],
  ['other secrets, required here', ppk('required'), ppk('preferred', 'site-1', 'another'), 'PEER_NO_PPK'],
  ['other ids, required there', ppk('preferred'), ppk('required', 'site-2'), 'PEER_REFUSED_AUTH'],
  [
    'other secrets, required there',
    ppk('preferred'),
    ppk('required', 'site-1', 'another'),
    'PEER_REFUSED_AUTH',
  ],
] as const) {
  for (const suite of [undefined, HYBRID]) {
    test(`RFC 9867, ${name}, ${suite ? 'with' : 'without'} ML-KEM: ${outcome}`, () => {
      const both = suite ? ike(suite) : {};
      const pair = sites(1, { ...both, ...a }, { ...both, ...b });
      const up = pair.command(pair.a, 'up', 't');
      pair.run(900);
      assert.equal(pair.a.outcomes.get(up), outcome, pair.ladder());
      if (outcome !== 'OK') return assert.equal(pair.b.gateway.tunnels()[0]!.children.length, 0);
      agree(pair);
      assert.equal(used(pair.a), undefined);
      for (const { reports } of [pair.a, pair.b]) assert.ok(reports.includes('IKE_WITHOUT_PPK'));
    });
  }
}

test('the PPK is in every key of the IKE SA: SKEYSEED is prf+(PPK, SK_d), and shown by prf(PPK, Ni | Nr | SPIi | SPIr)', () => {
  const pair = sites(1, ppk('required'), ppk('required'));
  let before: Secrets | undefined;
  let after: Secrets | undefined;
  let named: Uint8Array | undefined;
  pair.filter = (from, bytes) => {
    const { exchange } = decodeHeader(bytes);
    if (exchange === EXCHANGE.IKE_INTERMEDIATE && from === pair.a) {
      before = (pair.b.gateway.sas()[0]!.state as { secrets: Secrets }).secrets;
      named = findNotify(openMessage(provider, before, bytes)!, NOTIFY.PPK_IDENTITY_KEY)!.data;
    }
    if (exchange === EXCHANGE.IKE_AUTH && from === pair.a)
      after ??= (pair.b.gateway.sas()[0]!.state as { secrets: Secrets }).secrets;
    return true;
  };
  established(pair);
  const { ni, nr, keys, responderMessage } = before!;
  const { initiatorSpi, responderSpi } = decodeHeader(responderMessage);
  const secret = new TextEncoder().encode('the PPK');
  const seed = Buffer.concat([ni, nr, Buffer.from(initiatorSpi + responderSpi, 'hex')]);
  const shown = provider.prf('hmac-sha2-256', secret, seed).subarray(0, 8);
  assert.deepEqual(Buffer.from(named!), Buffer.concat([Uint8Array.of(2), Buffer.from('site-1'), shown]));
  const skeyseed = prfPlus(provider, 'hmac-sha2-256', secret, keys.d, 32);
  const encryption = { name: 'aes-gcm-16', keyBits: 256 } as const;
  const made = { prf: 'hmac-sha2-256', encryption, skeyseed, ni, nr, initiatorSpi, responderSpi } as const;
  assert.deepEqual(after!.keys, ikeKeys(provider, made));
});

test('RFC 9867: lost messages, each once', () => {
  for (let lost = 0; lost < 8; lost++) {
    const pair = sites(1, { ...ike(HYBRID), ...ppk('required') }, { ...ike(HYBRID), ...ppk('required') });
    let sent = 0;
    pair.filter = () => sent++ !== lost;
    pair.command(pair.a, 'up', 't');
    pair.run(5000);
    agree(pair);
    assert.equal(used(pair.b), 'site-1');
  }
});
