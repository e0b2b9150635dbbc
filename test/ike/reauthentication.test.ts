// Proving anew who is there (RFC 7296 §2.8.3, RFC 4478): a new IKE SA beside the old one, and not a packet lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { sealMessage } from '../../src/ike/protect.ts';
import { selectorOf } from '../../src/policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import { type Pair, type Side, type SideName, sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader, decodeMessage, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const NETS = ['net1', 'net2', 'net3'];
const HOUR = 3_600_000;

function children(side: SideName): ChildTemplate[] {
  const [near, far] = side === 'a' ? [1, 2] : [2, 1];
  return NETS.map((name, order) => ({
    ...tunnel(side).children[0]!,
    name,
    order,
    selectors: {
      local: [selectorOf(`10.${near}.${order}.0/24`)!],
      remote: [selectorOf(`10.${far}.${order}.0/24`)!],
    },
  }));
}

function reauthenticating(side: SideName, time: number | undefined): Partial<Tunnel> {
  const { ike } = tunnel(side);
  const lifetime = 100 * HOUR;
  return {
    children: children(side),
    ike: { ...ike, lifetime, ...(time === undefined ? {} : { reauthentication: time }) },
  };
}

/** `times`: after how long each side wants a new proof. */
function pairOf(times: Partial<Record<SideName, number>>, seed = 1): Pair {
  const pair = sites(seed, reauthenticating('a', times.a), {
    ...reauthenticating('b', times.b),
    start: 'wait',
  });
  established(pair);
  return pair;
}

function times({ reports }: Side, code: string): number {
  return reports.filter((one) => one === code).length;
}

/** Runs, and says which packets found no way: every few milliseconds one each way through each child. */
function lossesWhile(pair: Pair, milliseconds: number): string[] {
  const lost: string[] = [];
  for (let passed = 0; passed < milliseconds; passed += 5) {
    pair.run(5);
    for (const side of [pair.a, pair.b])
      for (const net of NETS) {
        const fate = sendPacket(pair, side, `t/${net}`);
        if (fate !== 'received') lost.push(`${pair.now()} ${side.name} ${net}: ${fate}`);
      }
  }
  return lost;
}

/** Until the moment before the first IKE_SA_INIT of a renewal. */
function runToRenewal(pair: Pair, longest = 2 * HOUR): void {
  const before = times(pair.a, 'IKE_CONNECTING') + times(pair.b, 'IKE_CONNECTING');
  // Renewals begin after 76 % of the time at the earliest.
  if (pair.now() < 0.7 * HOUR) pair.run(0.75 * HOUR - pair.now());
  const begun = () => times(pair.a, 'IKE_CONNECTING') + times(pair.b, 'IKE_CONNECTING') > before;
  for (const end = pair.now() + longest; !begun() && pair.now() < end; ) pair.run(200);
  assert.ok(begun(), pair.ladder());
}

//   a --> b  IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, CREATE_CHILD_SA      on the new IKE SA
//   a --> b  INFORMATIONAL {D}                                            on the old one, when all have gone over
test('our own timer: every child goes over, then the old IKE SA goes; nothing is lost (RFC 7296 §2.8.3)', () => {
  const pair = pairOf({ a: HOUR });
  const before = pair.a.gateway.spis();
  runToRenewal(pair);
  assert.deepEqual(lossesWhile(pair, 3000), [], pair.ladder());
  assert.equal(times(pair.a, 'IKE_REAUTHENTICATED'), 1);
  assert.notDeepEqual(pair.a.gateway.spis(), before);
  for (const { gateway } of [pair.a, pair.b]) assert.equal(gateway.spis().length, 1, pair.ladder());
  agree(pair, NETS);
});

test('with work that takes its time on both sides, and messages that overtake: nothing is lost', () => {
  for (let seed = 0; seed < 3; seed++) {
    const pair = pairOf({ a: HOUR }, seed);
    pair.weather = { ...pair.weather, delay: [1, 60], work: [0, 90] };
    runToRenewal(pair);
    assert.deepEqual(lossesWhile(pair, 5000), [], pair.ladder());
    agree(pair, NETS);
  }
});

test('each message lost once: nothing is lost but time', () => {
  for (let lost = 0; lost < 14; lost++) {
    const pair = pairOf({ a: HOUR });
    const begin = pair.now();
    let count = 0;
    pair.filter = () => pair.now() < begin + HOUR / 2 || count++ !== lost;
    runToRenewal(pair);
    assert.deepEqual(lossesWhile(pair, 4000), [], `${lost}\n${pair.ladder()}`);
    assert.equal(times(pair.a, 'IKE_REAUTHENTICATED'), 1, pair.ladder());
    agree(pair, NETS);
  }
});

test('the responder tells how long a proof holds, and the initiator keeps to it (RFC 4478)', () => {
  const pair = pairOf({ b: HOUR });
  runToRenewal(pair);
  assert.equal(times(pair.b, 'IKE_CONNECTING'), 0, 'the initiator begins');
  assert.deepEqual(lossesWhile(pair, 3000), [], pair.ladder());
  assert.equal(times(pair.a, 'IKE_REAUTHENTICATED'), 1);
  agree(pair, NETS);
});

test('a peer that deletes the old IKE SA at once: its children are not sent with any more when it is told so', () => {
  const pair = pairOf({ a: HOUR });
  // The renewal stands still after IKE_AUTH, which brings the first child.
  pair.filter = ({ gateway }, bytes) =>
    gateway.spis().length < 2 || decodeHeader(bytes).exchange !== EXCHANGE.CREATE_CHILD_SA;
  runToRenewal(pair);
  pair.run(200);
  const [old] = pair.a.gateway.sas();
  const sentWith = () => pair.b.changes.findLast((change) => change.type === 'use-outbound')?.spi;
  const before = sentWith();
  assert.ok(old?.state.name === 'established' && pair.b.gateway.spis().length === 2, pair.ladder());
  let told: number | undefined;
  pair.filter = (from, bytes) => {
    const { header } = decodeMessage(bytes);
    if (from.name === 'b' && header.flags.response && header.exchange === EXCHANGE.INFORMATIONAL)
      told ??= sentWith();
    return true;
  };
  const [initiatorSpi, responderSpi] = old.initiator ? [old.spi, old.peerSpi] : [old.peerSpi, old.spi];
  const flags = { initiator: old.initiator, response: false, version: false };
  const messageId = old.window.nextRequest;
  const remove: Payload = { type: PAYLOAD.D, critical: false, protocol: PROTOCOL.IKE, spis: [] };
  const { suite, keys } = old.state;
  const exchange = EXCHANGE.INFORMATIONAL;
  const fields = { initiatorSpi, responderSpi, exchange, flags, messageId };
  const bytes = sealMessage(createNodeProvider(), suite, keys, fields, [remove]);
  pair.inject(pair.b, bytes, { local: old.remote, remote: old.local });
  assert.ok(told !== undefined && told !== before, pair.ladder());
});

test('an IKE rekey is no proof: the moment stays, and the new one is renewed', () => {
  const pair = pairOf({ a: HOUR });
  pair.run(HOUR / 2);
  pair.command(pair.a, 'rekey', 't');
  pair.run(1000);
  pair.command(pair.b, 'rekey', 't');
  pair.run(1000);
  runToRenewal(pair, HOUR / 2);
  assert.deepEqual(lossesWhile(pair, 3000), [], pair.ladder());
  agree(pair, NETS);
});

test('a renewal that fails keeps the old IKE SA to the end of its proof and says why; then it starts from the beginning', () => {
  const pair = pairOf({ a: HOUR });
  const begin = pair.now();
  pair.filter = (from, bytes) =>
    from !== pair.b || bytes.length < 28 || decodeHeader(bytes).exchange !== EXCHANGE.IKE_SA_INIT;
  runToRenewal(pair);
  assert.deepEqual(lossesWhile(pair, 3000), []);
  pair.run(180_000);
  const failure = pair.a.gateway.failures().find(({ code }) => code === 'REAUTHENTICATION_FAILED');
  assert.equal(failure?.detail.why, 'PEER_UNREACHABLE', pair.ladder());
  agree(pair, NETS);
  pair.run(begin + HOUR - pair.now() + 2000);
  assert.equal(times(pair.a, 'REAUTHENTICATION_MISSED'), 1, pair.ladder());
  pair.filter = () => true;
  pair.run(300_000);
  agree(pair, NETS);
});

test('both sides renew at the same moment: one IKE SA stays', () => {
  for (let seed = 0; seed < 3; seed++) {
    const pair = sites(
      seed,
      { ...reauthenticating('a', HOUR), start: 'now' },
      { ...reauthenticating('b', undefined), start: 'now' },
    );
    pair.run(20_000);
    agree(pair, NETS);
    for (const side of [pair.a, pair.b]) {
      const sas = side.gateway.sas();
      assert.equal(sas.length, 1, pair.ladder());
    }
    runToRenewal(pair);
    assert.deepEqual(lossesWhile(pair, 8000), [], pair.ladder());
    for (const { gateway } of [pair.a, pair.b]) assert.equal(gateway.spis().length, 1, pair.ladder());
  }
});

test('the operator, or a certificate renewed on disk: at once, and answered when the children have gone over', () => {
  const pair = pairOf({});
  const before = pair.a.gateway.spis();
  const id = pair.command(pair.b, 'reauthenticate', 't');
  const lost = lossesWhile(pair, 2000);
  assert.deepEqual(lost, [], pair.ladder());
  assert.equal(pair.b.outcomes.get(id), 'OK', pair.ladder());
  assert.notDeepEqual(pair.a.gateway.spis(), before);
  agree(pair, NETS);
});

test('reauthentication on command that fails: the command is told why, the IKE SA stays', () => {
  const pair = pairOf({});
  pair.filter = (_from, bytes) => bytes.length < 28 || decodeHeader(bytes).exchange !== EXCHANGE.IKE_SA_INIT;
  const id = pair.command(pair.a, 'reauthenticate', 't');
  pair.run(150_000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_UNREACHABLE', pair.ladder());
  agree(pair, NETS);
  assert.equal(
    pair.a.outcomes.get(pair.command(pair.a, 'reauthenticate', 'nobody')),
    'CONFIG_UNKNOWN_TUNNEL',
  );
});
