import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unhex } from '../../src/crypto/bytes.ts';
import { vendorOf } from '../../src/ike/v2/vendors.ts';
import type { Pair } from '../../src/sim/pair.ts';
import { decodeHeader, decodeMessage, findNotify } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites } from '../sim/sites.ts';
import { MESSAGES } from '../wire/samples.ts';
import { forgedInit, forgedNotify } from './forge.ts';

const PATH = {
  local: { transport: 'udp', address: '192.0.2.1', port: 500 },
  remote: { transport: 'udp', address: '198.51.100.1', port: 500 },
} as const;

/** Calls `act` with the first IKE_SA_INIT request, before the true answer can arrive. */
function atFirstRequest(pair: Pair, act: (request: Uint8Array) => void): void {
  let seen = false;
  pair.filter = (_from, bytes) => {
    if (!seen) {
      seen = true;
      act(bytes.slice());
    }
    return true;
  };
}

function count(reports: readonly string[], code: string): number {
  return reports.filter((one) => one === code).length;
}

//   a --> b  HDR, SAi1, KEi, Ni
//   a <-- b  HDR, N(COOKIE)                     b keeps nothing
//   a --> b  HDR, N(COOKIE), SAi1, KEi, Ni
//   a <-- b  HDR, SAr1, KEr, Nr
test('COOKIE: a stranger shows that it receives before anything is kept (RFC 7296 §2.6)', () => {
  const pair = sites(1, {}, {}, { b: { cookieThreshold: 0 } });
  const cookies: Uint8Array[] = [];
  const kept: number[] = [];
  pair.filter = (from, bytes) => {
    if (decodeHeader(bytes).exchange !== EXCHANGE.IKE_SA_INIT) return true;
    const cookie = findNotify(decodeMessage(bytes).payloads, NOTIFY.COOKIE);
    if (cookie) cookies.push(cookie.data);
    if (cookie && from === pair.b) kept.push(pair.b.gateway.spis().length);
    return true;
  };
  agree(established(pair));
  assert.deepEqual(cookies[0], cookies[1]);
  assert.deepEqual(kept, [0]);
});

test('a cookie for another address is not taken', () => {
  const pair = sites(1, {}, {}, { b: { cookieThreshold: 0 } });
  const requests: Uint8Array[] = [];
  pair.filter = (from, bytes) => {
    if (from === pair.a) requests.push(bytes.slice());
    return requests.length < 2;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(100);
  const elsewhere = { ...PATH.local, address: '192.0.2.99' };
  pair.inject(pair.b, requests[1]!, { local: PATH.remote, remote: elsewhere });
  assert.equal(pair.b.gateway.spis().length, 0, 'state for a cookie that was made for another address');
});

test('forged errors are hints: told once, and the attempt goes on (RFC 7296 §2.21.1)', () => {
  const pair = sites();
  atFirstRequest(pair, (request) => {
    for (const type of [NOTIFY.NO_PROPOSAL_CHOSEN, NOTIFY.INVALID_SYNTAX, NOTIFY.NO_PROPOSAL_CHOSEN])
      pair.inject(pair.a, forgedNotify(request, type), PATH);
  });
  agree(established(pair));
  assert.equal(count(pair.a.reports, 'PEER_REFUSED_PROPOSAL'), 1);
  assert.equal(count(pair.a.reports, 'PEER_ERROR'), 0);
});

test('a forged answer that comes first does not end the attempt (RFC 7296 §2.4)', () => {
  const pair = sites();
  atFirstRequest(pair, (request) => {
    for (const spi of ['00000000000000aa', '00000000000000bb'])
      pair.inject(pair.a, forgedInit(request, spi), PATH);
  });
  pair.command(pair.a, 'up', 't');
  pair.run(10_000);
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
  agree(pair);
  assert.equal(count(pair.a.reports, 'IKE_CONNECTING'), 1, 'the first attempt came through');
});

test('only a group of ours is followed (RFC 7296 §1.2)', () => {
  const pair = sites();
  atFirstRequest(pair, (request) => {
    for (const group of [14, 1])
      pair.inject(pair.a, forgedNotify(request, NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(0, group)), PATH);
  });
  established(pair);
  assert.match(pair.a.gateway.tunnels()[0]!.ikeSa!.algorithms, /x25519/);
});

test('a repeated request gets the same answer, byte for byte (RFC 7296 §2.1)', () => {
  const pair = sites();
  const answers: Uint8Array[] = [];
  let request = new Uint8Array(0);
  pair.filter = (from, bytes) => {
    if (from === pair.a && request.length === 0) request = bytes.slice();
    if (from === pair.b) answers.push(bytes.slice());
    return from === pair.a;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(100);
  pair.inject(pair.b, request, { local: PATH.remote, remote: PATH.local });
  assert.equal(answers.length, 2);
  assert.deepEqual(answers[0], answers[1]);
  assert.equal(pair.b.gateway.spis().length, 1);
});

test('a vendor id that we know gives the peer a name, any other none (RFC 7296 §3.12)', () => {
  const id = (data: Uint8Array) => ({ type: PAYLOAD.V, critical: false, data });
  const strongswan = unhex('882fe56d6fd20dbc2251613b2ebe5beb');
  assert.equal(vendorOf([id(new Uint8Array(16)), id(strongswan)]), 'strongSwan');
  assert.equal(vendorOf([id(new TextEncoder().encode('CISCO(COPYRIGHT)&'))]), 'Cisco');
  assert.equal(vendorOf([id(new Uint8Array(16)), id(new Uint8Array(0))]), undefined);
});

test('the last fifty failed negotiations are kept, strangers included, and no more', () => {
  const pair = sites();
  const request = MESSAGES['IKE_SA_INIT request']!.slice();
  for (let stranger = 1; stranger <= 60; stranger++) {
    request[7] = stranger;
    const remote = { ...PATH.local, address: `203.0.113.${stranger}` };
    pair.inject(pair.b, request, { local: PATH.remote, remote });
  }
  const kept = pair.b.gateway.failures();
  assert.equal(kept.length, 50);
  assert.deepEqual([kept[0]!.detail.remote, kept.at(-1)!.detail.remote], ['203.0.113.11', '203.0.113.60']);
  assert.equal(pair.b.gateway.spis().length, 0);
});

test('a group that does not fit its public value costs no state', () => {
  const pair = sites();
  atFirstRequest(pair, () => {});
  pair.inject(pair.b, new Uint8Array(28), { local: PATH.remote, remote: PATH.local });
  pair.inject(pair.b, Uint8Array.of(1, 2, 3), { local: PATH.remote, remote: PATH.local });
  assert.equal(pair.b.gateway.spis().length, 0);
  assert.equal(pair.b.gateway.nextTimeout(), undefined);
});
