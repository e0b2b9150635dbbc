// Which packets a child may carry: narrowing both ways, against what known peers do (RFC 7296 §2.9).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSelector } from '../../src/config/selectors.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { openMessage, sealMessage } from '../../src/ike/protect.ts';
import type { Selector } from '../../src/policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import { type Pair, type Side, type SideName, sendPacket } from '../../src/sim/pair.ts';

import { decodeHeader, findNotify, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

function of(...texts: string[]): Selector[] {
  return texts.map((text) => {
    const selector = parseSelector(text);
    assert.ok(!('complaint' in selector), text);
    return selector;
  });
}

function child(side: SideName, local: string[], remote: string[], name = 'net', order = 0): ChildTemplate {
  return {
    ...tunnel(side).children[0]!,
    name,
    order,
    selectors: { local: of(...local), remote: of(...remote) },
  };
}

function pairOf(a: ChildTemplate[], b: ChildTemplate[], more: Partial<Tunnel> = {}): Pair {
  const pair = sites(1, { children: a, ...more }, { children: b });
  pair.command(pair.a, 'up', 't');
  pair.run(3000);
  return pair;
}

function childrenOf({ gateway }: Side): string[] {
  return gateway
    .tunnels()[0]!
    .children.map(({ name, local, remote }) => `${name}: ${local} to ${remote}`)
    .sort();
}

function times({ reports }: Side, code: string): number {
  return reports.filter((one) => one === code).length;
}

test('several selectors in one child, on both sides: one SA carries them all (M24)', () => {
  const [near, far] = [
    ['10.1.0.0/24', '10.1.2.0/24'],
    ['10.2.0.0/24', '10.2.5.0/24', '10.2.7.0/24'],
  ];
  const pair = pairOf([child('a', near, far)], [child('b', far, near)]);
  agree(pair);
  assert.deepEqual(childrenOf(pair.a), [`net: ${near} to ${far}`]);
  for (const side of [pair.a, pair.b]) assert.equal(times(side, 'CHILD_NARROWED'), 0);
});

test('a peer that takes less of several: both sides use what is left, and ours says what has no SA (M25, S2)', () => {
  const pair = pairOf(
    [child('a', ['10.1.0.0/24', '10.1.2.0/24'], ['10.2.0.0/16'])],
    [child('b', ['10.2.0.0/24'], ['10.1.2.0/24'])],
  );
  agree(pair);
  assert.deepEqual(childrenOf(pair.a), ['net: 10.1.2.0/24 to 10.2.0.0/24']);
  assert.equal(times(pair.a, 'CHILD_NARROWED'), 1, pair.ladder());
  assert.equal(times(pair.b, 'CHILD_NARROWED'), 0, 'the other side has all that it wants');
});

test('any to any against networks: narrowed by the side that knows more (M26)', () => {
  const pair = pairOf(
    [child('a', ['0.0.0.0/0'], ['0.0.0.0/0'])],
    [child('b', ['10.2.0.0/16'], ['10.1.0.0/16'])],
  );
  agree(pair);
  assert.deepEqual(childrenOf(pair.a), ['net: 10.1.0.0/16 to 10.2.0.0/16']);
});

test('masks that differ: the smaller networks; none in common: both say so (M28)', () => {
  const pair = pairOf(
    [child('a', ['10.1.0.0/16'], ['10.2.0.0/16'])],
    [child('b', ['10.2.0.0/17'], ['10.1.128.0/17'])],
  );
  assert.deepEqual(childrenOf(pair.b), ['net: 10.2.0.0/17 to 10.1.128.0/17']);
  const none = pairOf(
    [child('a', ['10.1.0.0/16'], ['10.2.0.0/16'])],
    [child('b', ['10.3.0.0/16'], ['10.1.0.0/16'])],
  );
  assert.equal(times(none.a, 'PEER_TS_UNACCEPTABLE'), 1);
  assert.equal(none.b.gateway.failures()[0]!.detail.offered, '10.2.0.0/16 to 10.1.0.0/16');
});

test('protocols and ports are part of a selector, and of the narrowing (M28)', () => {
  const pair = pairOf(
    [child('a', ['10.1.0.0/16 tcp'], ['10.2.0.0/16 tcp'])],
    [child('b', ['10.2.0.0/16 tcp 80-90'], ['10.1.0.0/16'])],
  );
  agree(pair);
  assert.deepEqual(childrenOf(pair.a), ['net: 10.1.0.0/16 protocol 6 to 10.2.0.0/16 protocol 6 port 80-90']);
  const other = pairOf(
    [child('a', ['10.1.0.0/16 udp'], ['10.2.0.0/16'])],
    [child('b', ['10.2.0.0/16'], ['10.1.0.0/16 tcp'])],
  );
  assert.equal(times(other.a, 'PEER_TS_UNACCEPTABLE'), 1, other.ladder());
});

test('the packet that asked comes first in the request, and the policy is kept to (RFC 7296 §2.9)', () => {
  const nets = (side: SideName) => [
    child(
      side,
      side === 'a' ? ['10.1.0.0/24'] : ['10.2.0.0/24'],
      side === 'a' ? ['10.2.0.0/24'] : ['10.1.0.0/24'],
      'one',
      0,
    ),
    child(
      side,
      side === 'a' ? ['10.1.9.0/24'] : ['10.2.9.0/24'],
      side === 'a' ? ['10.2.9.0/24'] : ['10.1.9.0/24'],
      'two',
      1,
    ),
  ];
  const pair = pairOf(nets('a'), nets('b'));
  pair.command(pair.a, 'down', 't', 'two');
  pair.run(500);
  const packet = { local: '10.1.9.5', remote: '10.2.9.9', protocol: 17, localPort: 1000, remotePort: 53 };
  pair.feed(pair.a, { type: 'dataplane', event: { type: 'acquire', policy: 't/two', packet } });
  pair.run(1000);
  assert.deepEqual(childrenOf(pair.a)[1], 'two: 10.1.9.0/24 to 10.2.9.0/24', 'not the packet alone');
});

test('one pair for each child, a peer that asks for them one by one: each finds the child of its own (M24)', () => {
  const pairs = (side: SideName) =>
    [1, 2].flatMap((i) =>
      [1, 2].map((j) => {
        const [near, far] = [`10.1.${i}.0/24`, `10.2.${j}.0/24`];
        const [local, remote] = side === 'a' ? [near, far] : [far, near];
        return child(side, [local], [remote], `net.${i}.${j}`, 2 * i + j);
      }),
    );
  const pair = pairOf(pairs('a'), pairs('b').reverse());
  assert.equal(childrenOf(pair.a).length, 4, pair.ladder());
  for (const [index, name] of ['net.1.1', 'net.1.2', 'net.2.1', 'net.2.2'].entries())
    assert.equal(sendPacket(pair, pair.a, `t/${name}`), 'received', String(index));
});

test('a request that several of our children would take: the exact one is meant', () => {
  const wide = child('b', ['10.0.0.0/8'], ['10.0.0.0/8'], 'wide', 0);
  const exact = child('b', ['10.2.0.0/16'], ['10.1.0.0/16'], 'exact', 1);
  const pair = established(sites(1, {}, { children: [wide, exact] }));
  assert.deepEqual(childrenOf(pair.b), ['exact: 10.2.0.0/16 to 10.1.0.0/16'], pair.ladder());
});

test('extended sequence numbers: both where both can, none where one side will not, nothing where they exclude each other (M18)', () => {
  const esn = (side: SideName, wanted: boolean[]): Partial<Tunnel> => {
    const [net] = tunnel(side).children;
    return { children: [{ ...net!, proposals: net!.proposals.map((one) => ({ ...one, esn: wanted })) }] };
  };
  const outcome = (a: boolean[], b: boolean[]) => {
    const pair = sites(1, esn('a', a), esn('b', b));
    pair.command(pair.a, 'up', 't');
    pair.run(1000);
    const sas = [...pair.a.inbound.values(), ...pair.b.inbound.values()].map((sa) => sa.esn);
    return sas.length === 0 ? pair.b.gateway.failures()[0]?.code : sas;
  };
  assert.deepEqual(outcome([true, false], [true, false]), [true, true]);
  assert.deepEqual(outcome([true, false], [false]), [false, false]);
  assert.deepEqual(outcome([false, true], [true]), [true, true]);
  assert.equal(outcome([true], [false]), 'PEER_NO_PROPOSAL');
  assert.equal(outcome([false], [true]), 'PEER_NO_PROPOSAL');
});

// What goes on the wire

const provider = createNodeProvider();

/** What the answer of `b` to a CREATE_CHILD_SA holds, opened with the keys of `a`. */
function answered(pair: Pair): Payload[] {
  let answer = new Uint8Array(0);
  pair.filter = (from, bytes) => {
    if (from === pair.b && decodeHeader(bytes).exchange === EXCHANGE.CREATE_CHILD_SA) answer = bytes.slice();
    return true;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  const { state } = pair.a.gateway.sas()[0]!;
  assert.ok(state.name === 'established', pair.ladder());
  return openMessage(provider, state, answer)!;
}

test('ADDITIONAL_TS_POSSIBLE: other children would take the rest of what was asked for (RFC 7296 §2.9)', () => {
  const wide = { childless: 'prefer', children: [child('a', ['10.1.0.0/16'], ['10.2.0.0/16'])] } as const;
  const halves = ['10.2.0.0/17', '10.2.128.0/17'].map((net, i) =>
    child('b', [net], ['10.1.0.0/16'], `half${i}`, i),
  );
  const some = answered(sites(1, { ...wide, children: [...wide.children] }, { children: halves }));
  assert.ok(findNotify(some, NOTIFY.ADDITIONAL_TS_POSSIBLE));
  const none = answered(sites(1, { ...wide, children: [...wide.children] }, { children: halves.slice(1) }));
  assert.equal(findNotify(none, NOTIFY.ADDITIONAL_TS_POSSIBLE), undefined);
});

test('a rekey stays with its child, also where another would take the request to the letter', () => {
  const narrow = child('b', ['10.2.0.0/17'], ['10.1.0.0/16'], 'narrow', 0);
  const pair = established(sites(1, {}, { children: [narrow] }));
  const exact = child('b', ['10.2.0.0/16'], ['10.1.0.0/16'], 'exact', 1);
  const changed = tunnel('b', { children: [narrow, exact] });
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: changed }] });
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(2000);
  assert.deepEqual(childrenOf(pair.b), ['narrow: 10.2.0.0/17 to 10.1.0.0/16'], pair.ladder());
});

test('SINGLE_PAIR_REQUIRED: the operator is told what to write (RFC 7296 §2.9)', () => {
  const [near, far] = [['10.1.0.0/24', '10.1.2.0/24'], ['10.2.0.0/24']];
  const pair = sites(
    1,
    { childless: 'prefer', children: [child('a', near, far)] },
    { children: [child('b', far, near)] },
  );
  pair.filter = (from, bytes) => from !== pair.a || decodeHeader(bytes).exchange !== EXCHANGE.CREATE_CHILD_SA;
  const id = pair.command(pair.a, 'up', 't');
  pair.run(100);
  const sa = pair.b.gateway.sas()[0]!;
  assert.ok(sa.state.name === 'established');
  const fields = {
    initiatorSpi: sa.peerSpi,
    responderSpi: sa.spi,
    exchange: EXCHANGE.CREATE_CHILD_SA,
    flags: { initiator: false, response: true, version: false },
    messageId: 2,
  };
  const notify: Payload = {
    type: PAYLOAD.N,
    critical: false,
    protocol: 0,
    spi: new Uint8Array(0),
    notifyType: NOTIFY.SINGLE_PAIR_REQUIRED,
    data: new Uint8Array(0),
  };
  const { suite, keys } = sa.state;
  const bytes = sealMessage(provider, suite, keys, fields, [notify]);
  pair.inject(pair.a, bytes, { local: sa.remote, remote: sa.local });
  pair.run(10);
  assert.equal(pair.a.outcomes.get(id), 'PEER_SINGLE_PAIR', pair.ladder());
});
