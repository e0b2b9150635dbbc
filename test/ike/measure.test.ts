// Whether a size reaches the peer in one piece (RFC 7296 §1.4, RFC 7383 §2.5).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALM, createPair, type Pair, sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader } from '../../src/wire/ikev2.ts';
import { EXCHANGE, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, seededProvider, sites, tunnel } from '../sim/sites.ts';

const TUNNEL = { start: 'now', liveness: 0, fragmentation: 'auto' } as const;
/** IPv4, UDP, and the marker of port 4500. */
const AROUND = 20 + 8 + 4;

const CBC = {
  lifetime: 14_400_000,
  proposals: [
    {
      encryption: [{ name: 'aes-cbc', keyBits: 256 } as const],
      integrity: ['hmac-sha2-256-128' as const],
      prf: ['hmac-sha2-256' as const],
      keyExchange: ['x25519' as const],
      additionalKeyExchange: [],
      esn: [],
    },
  ],
};

/** A path that carries IP packets of so many bytes; what side a sent since then. */
function narrow(pair: Pair, most: number): Uint8Array[] {
  const sent: Uint8Array[] = [];
  pair.filter = (from, bytes) => {
    if (from === pair.a) sent.push(bytes);
    return bytes.length + AROUND <= most;
  };
  return sent;
}

function measure(pair: Pair, size: number, patience = 500): () => string | undefined {
  const id = 1_000_000 + size;
  pair.feed(pair.a, { type: 'measure', id, tunnel: 't', size, patience });
  return () => pair.a.outcomes.get(id);
}

test('a size that passes is answered at once, by a packet of exactly that size', () => {
  for (const size of [576, 1279, 1280, 1281, 1499, 1500, 9000]) {
    const pair = established(sites(1, TUNNEL));
    const sent = narrow(pair, size);
    const outcome = measure(pair, size);
    pair.run(25);
    assert.equal(outcome(), 'OK', pair.ladder());
    assert.deepEqual(
      sent.map(({ length }) => length + AROUND),
      [size],
    );
    assert.equal(decodeHeader(sent[0]!).exchange, EXCHANGE.INFORMATIONAL);
  }
});

test('where the cipher has blocks it is the next size that they make, so that what is said to pass does', () => {
  for (let size = 1400; size < 1432; size++) {
    const pair = established(sites(1, { ...TUNNEL, ike: CBC }, { ike: CBC }));
    const sent = narrow(pair, 9000);
    measure(pair, size);
    const packet = sent[0]!.length + AROUND;
    assert.ok(packet >= size && packet < size + 16, `${packet} of ${size}`);
  }
});

test('a size that does not pass: after the patience the request is completed in fragments, and says so', () => {
  const pair = established(sites(1, TUNNEL));
  const sent = narrow(pair, 1399);
  const outcome = measure(pair, 1400);
  pair.run(490);
  assert.deepEqual([sent.length, outcome()], [1, undefined]);
  pair.run(40);
  assert.equal(outcome(), 'PATH_LOST', pair.ladder());
  assert.ok(sent.length > 2 && sent.slice(1).every(({ length }) => length + AROUND <= 576));
  assert.equal(new Set(sent.map((one) => decodeHeader(one).messageId)).size, 1);
  const next = measure(pair, 1399);
  pair.run(25);
  assert.equal(next(), 'OK', pair.ladder());
});

test('no two datagrams of one number have the same IV (RFC 5282 §3.1)', () => {
  const pair = established(sites(1, TUNNEL));
  const sent = narrow(pair, 100);
  measure(pair, 1400);
  pair.run(5000);
  const different = new Set(sent.map((bytes) => Buffer.from(bytes).toString('hex')));
  const ivs = [...different].map((text) => {
    const fragment = Number.parseInt(text.slice(32, 34), 16) === 53;
    return text.slice(fragment ? 72 : 64, fragment ? 88 : 80);
  });
  assert.ok(different.size > 3, `${different.size}`);
  assert.equal(new Set(ivs).size, different.size);
});

test('whoever wants something else does not wait for it', () => {
  const pair = established(sites(1, TUNNEL));
  narrow(pair, 1000);
  const outcome = measure(pair, 1400, 100_000);
  pair.run(50);
  const rekey = pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(200);
  assert.deepEqual([outcome(), pair.a.outcomes.get(rekey)], ['PATH_UNASKED', 'OK'], pair.ladder());
});

test('the peer may ask meanwhile', () => {
  const pair = established(sites(1, TUNNEL));
  narrow(pair, 1000);
  const outcome = measure(pair, 1400, 2000);
  const rekey = pair.command(pair.b, 'rekey', 't', 'net');
  pair.run(200);
  assert.equal(pair.b.outcomes.get(rekey), 'OK', pair.ladder());
  pair.run(2000);
  assert.equal(outcome(), 'PATH_LOST');
});

test('what does not leave this machine is completed at once, and is no loss', () => {
  const pair = established(sites(1, TUNNEL));
  const sent = narrow(pair, 1000);
  const outcome = measure(pair, 1400, 100_000);
  pair.feed(pair.a, { type: 'unsent', bytes: sent[0]! });
  pair.run(25);
  assert.equal(outcome(), 'PATH_REFUSED', pair.ladder());
});

test('an answer that is lost comes with the fragments; a peer that has vanished does not live longer for it', () => {
  const pair = established(sites(1, TUNNEL));
  let answers = 0;
  pair.filter = (from) => from === pair.a || answers++ > 0;
  const outcome = measure(pair, 1400);
  pair.run(600);
  assert.equal(outcome(), 'PATH_LOST', pair.ladder());
  const dead = measure(pair, 1401);
  pair.filter = () => false;
  pair.run(300_000);
  assert.ok(pair.a.reports.includes('PEER_VANISHED'), pair.ladder());
  assert.equal(dead(), 'PEER_VANISHED');
});

test('a peer that takes no IKE fragments is not asked, nor one to whom there is no tunnel', () => {
  const { fragmentation: _, ...without } = tunnel('b');
  const pair = established(createPair(1, { a: tunnel('a', TUNNEL), b: without }, seededProvider));
  const sent = narrow(pair, 9000);
  const outcome = measure(pair, 1400);
  assert.deepEqual([sent.length, outcome()], [0, 'PATH_UNASKED']);
  const small = established(sites(1, TUNNEL));
  assert.equal(measure(small, 60)(), 'PATH_UNASKED');
  small.command(small.a, 'down', 't');
  small.run(100);
  assert.equal(measure(small, 1400)(), 'TUNNEL_DOWN');
});

test('a gateway that takes over in the middle completes it', () => {
  const pair = established(sites(1, TUNNEL));
  narrow(pair, 1000);
  measure(pair, 1400);
  pair.restart(pair.a, pair.a.gateway.sas());
  pair.run(600);
  const next = measure(pair, 900);
  pair.run(25);
  assert.equal(next(), 'OK', pair.ladder());
});

/** As strongSwan does that was built with its mediation extension: fragments are for other exchanges. */
const isCutInformational = (bytes: Uint8Array) =>
  bytes.length > 1 && decodeHeader(bytes).exchange === EXCHANGE.INFORMATIONAL && bytes[16] === PAYLOAD.SKF;

test('a peer that takes no fragments of this exchange gets it bit by bit, and the next time at once', () => {
  const pair = established(sites(1, TUNNEL));
  const sent = narrow(pair, 9000);
  let whole = 0;
  const drops = (bytes: Uint8Array) =>
    isCutInformational(bytes) || (bytes.length > 1200 && whole++ % 2 === 0);
  const { filter } = pair;
  pair.filter = (from, bytes, count) => filter(from, bytes, count) && !(from === pair.a && drops(bytes));
  const outcome = measure(pair, 1400);
  pair.run(2000);
  assert.equal(outcome(), 'PATH_LOST', pair.ladder());
  assert.deepEqual(sent[0], sent.at(-1));
  const next = measure(pair, 1399);
  pair.run(525);
  assert.equal(next(), 'PATH_LOST', pair.ladder());
});

/** Of a peer that got a size in no form. */
function stuck(): { pair: Pair; outcome: () => string | undefined } {
  const pair = established(sites(1, TUNNEL));
  pair.filter = (_from, bytes) => !isCutInformational(bytes) && bytes.length < 1200;
  const outcome = measure(pair, 1400);
  pair.run(20_000);
  return { pair, outcome };
}

test('a peer that gets it in no form keeps its tunnel by a new IKE SA, and is not asked for a day', () => {
  const { pair, outcome } = stuck();
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
  assert.equal(sendPacket(pair, pair.b, 't/net'), 'received', pair.ladder());
  assert.deepEqual(
    ['PATH_STUCK', 'PEER_VANISHED'].map((code) => pair.a.reports.includes(code)),
    [true, false],
    pair.ladder(),
  );
  assert.notEqual(outcome(), undefined);
  assert.equal(measure(pair, 1300)(), 'PATH_UNASKED');
  pair.run(86_400_000 - 60_000);
  assert.equal(measure(pair, 1301)(), 'PATH_UNASKED');
  pair.filter = () => true;
  pair.run(60_000);
  const next = measure(pair, 1302);
  pair.run(25);
  assert.equal(next(), 'OK', pair.ladder());
});

test('nor before its configuration is another', () => {
  const { pair } = stuck();
  assert.equal(measure(pair, 1300)(), 'PATH_UNASKED');
  pair.filter = () => true;
  pair.feed(pair.a, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnel('a', TUNNEL) }] });
  const next = measure(pair, 1301);
  pair.run(25);
  assert.equal(next(), 'OK', pair.ladder());
});

test('a peer that says it lost the IKE SA has not failed at a size, and is asked as before', () => {
  const pair = established(sites(1, TUNNEL));
  const outcome = measure(pair, 1400);
  pair.restart(pair.b);
  pair.run(5000);
  assert.deepEqual(
    ['PATH_STUCK', 'PEER_VANISHED'].map((code) => pair.a.reports.includes(code)),
    [false, true],
    pair.ladder(),
  );
  assert.notEqual(outcome(), undefined);
  const next = measure(pair, 1400);
  pair.run(25);
  assert.equal(next(), 'OK', pair.ladder());
});

test('forty storms, while sizes are asked for and both sides rekey: every question is answered, and both agree', () => {
  for (let seed = 0; seed < 40; seed++) {
    const pair = sites(seed, { ...TUNNEL, liveness: 30_000 }, { start: 'now' });
    pair.weather = { loss: 0.3, duplicate: 0.1, delay: [1, 400], work: [0, 900], refuse: 0, fail: 0 };
    pair.filter = (_from, bytes) => bytes.length < 1200;
    pair.run(20_000);
    const outcomes: (() => string | undefined)[] = [];
    for (let size = 1100; size < 1400; size += 15) {
      outcomes.push(measure(pair, size, 300));
      if (size % 10 === 0)
        pair.command(size % 20 === 0 ? pair.a : pair.b, 'rekey', 't', seed % 2 ? 'net' : undefined);
      pair.run(2000);
    }
    pair.weather = CALM;
    pair.run(200_000);
    try {
      assert.deepEqual(
        outcomes.flatMap((outcome, index) => (outcome() === undefined ? [index] : [])),
        [],
      );
      agree(pair);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${pair.ladder()}`);
    }
  }
});
