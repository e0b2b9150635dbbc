// The responder may send with a new SA as soon as it has answered, and the initiator must expect that (RFC 7296 §2.8): the data
// plane knows the SPI before the request leaves, until the SA is there or does not come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Action } from '../../src/ike/boundary.ts';
import type { Change } from '../../src/policy/sad.ts';
import { type Pair, sendPacket } from '../../src/sim/pair.ts';
import { EXCHANGE } from '../../src/wire/numbers.ts';
import { MODEST } from '../policy/capabilities.ts';
import { agree, established, sites } from '../sim/sites.ts';

const WAITS = { ...MODEST, udpEncapsulation: true, expects: true };
const waiting = (seed = 1) => sites(seed, {}, {}, { a: { capabilities: WAITS }, b: { capabilities: WAITS } });

/** Until a message of that exchange has been sent by one side. */
function runUntilSent(pair: Pair, from: 'a' | 'b', exchange: number): void {
  let sent = false;
  pair.observer = {
    sent(side, bytes) {
      sent ||= side.name === from && bytes[18] === exchange;
    },
  };
  for (let step = 0; step < 1000 && !sent; step++) pair.run(1);
  assert.ok(sent, pair.ladder());
}

const expectations = (changes: readonly Change[]) =>
  changes.flatMap((change) =>
    change.type === 'expect-inbound' || change.type === 'forget-inbound'
      ? [`${change.type} ${change.spi}`]
      : [],
  );

for (const [title, exchange] of [
  ['IKE_AUTH', EXCHANGE.IKE_AUTH],
  ['CREATE_CHILD_SA', EXCHANGE.CREATE_CHILD_SA],
] as const) {
  test(`${title}: what the responder sends right behind its answer waits for our keys`, () => {
    const pair = exchange === EXCHANGE.IKE_AUTH ? waiting() : established(waiting());
    if (exchange === EXCHANGE.IKE_AUTH) pair.command(pair.a, 'up', 't');
    else pair.command(pair.a, 'rekey', 't', 'net');
    pair.weather = { ...pair.weather, work: [40, 40] };
    runUntilSent(pair, 'b', exchange);
    const [expected] = pair.a.expected;
    assert.ok(expected !== undefined && !pair.a.inbound.has(expected), pair.ladder());
    assert.ok([...pair.b.outbound.keys()].includes(expected), pair.ladder());
    pair.b.inUse.set('t/net', expected);
    assert.equal(sendPacket(pair, pair.b, 't/net'), 'waits');
    pair.run(1000);
    assert.ok(pair.a.inbound.has(expected), pair.ladder());
    assert.deepEqual([...pair.a.expected, ...pair.b.expected], []);
    agree(pair);
  });
}

test('it is told before the request leaves', () => {
  const pair = established(waiting());
  const handle = pair.a.gateway.handle;
  const told: Action['type'][][] = [];
  pair.a.gateway.handle = (event, now) => {
    const actions = handle(event, now);
    if (actions.some((one) => one.type === 'dataplane' && expectations(one.changes).length > 0))
      told.push(actions.map(({ type }) => type));
    return actions;
  };
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(1000);
  assert.deepEqual(told[0], ['dataplane', 'send']);
});

test('a refusal, and a peer that never answers, leave nothing expected', () => {
  const refused = sites(1, {}, { children: [] }, { a: { capabilities: WAITS }, b: { capabilities: WAITS } });
  refused.command(refused.a, 'up', 't');
  refused.run(1000);
  assert.match(expectations(refused.a.changes).join(), /^expect-inbound (\d+),forget-inbound \1$/);
  const silent = established(waiting());
  silent.command(silent.a, 'rekey', 't', 'net');
  silent.filter = () => false;
  silent.run(1000);
  assert.equal(silent.a.expected.size, 1);
  silent.run(600_000);
  assert.equal(silent.a.expected.size, 0, silent.ladder());
});

test('a data plane that lets nothing wait hears nothing of it', () => {
  const pair = established(sites());
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(1000);
  assert.deepEqual(expectations(pair.a.changes), []);
});
