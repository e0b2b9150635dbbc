// IKE SAs without a first child (RFC 6023): the four cases of strongSwan's suite by their names, and what is between them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectorOf } from '../../src/policy/selector.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import { agree, sites, tunnel } from '../sim/sites.ts';

type Childless = Tunnel['childless'];

function pairOf(a: Childless, b: Childless): Pair {
  return sites(1, { childless: a }, { childless: b });
}

function up(pair: Pair, milliseconds = 1000): string | undefined {
  const id = pair.command(pair.a, 'up', 't');
  pair.run(milliseconds);
  return pair.a.outcomes.get(id);
}

/** The requests on the wire, in order. */
function requests(pair: Pair): string[] {
  return [...pair.ladder().matchAll(/a (?:-->|<--) +b {2}(\S+) request/g)].map(([, name]) => name!);
}

/** Whether the first child has a key exchange of its own, as both sides see it. */
function algorithms({ gateway }: Side): string {
  return gateway.tunnels()[0]!.children[0]!.algorithms;
}

// regular
//   a --> b  IKE_SA_INIT
//   a <-- b  IKE_SA_INIT {..., N(CHILDLESS_IKEV2_SUPPORTED)}
//   a --> b  IKE_AUTH {IDi, IDr, AUTH}
//   a <-- b  IKE_AUTH {IDr, AUTH}
//   a --> b  CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr}
for (const ours of ['prefer', 'require'] as const) {
  for (const theirs of ['allow', 'prefer', 'require'] as const) {
    test(`regular, ${ours} and ${theirs}: IKE_AUTH without a child, and the child with PFS (RFC 6023 §4)`, () => {
      const pair = pairOf(ours, theirs);
      assert.equal(up(pair), 'OK', pair.ladder());
      assert.deepEqual(requests(pair), ['IKE_SA_INIT', 'IKE_AUTH', 'CREATE_CHILD_SA']);
      for (const side of [pair.a, pair.b]) assert.equal(algorithms(side), 'aes-gcm-16-256 / x25519 / esn');
      agree(pair);
    });
  }
}

test('regular_manual: the child comes when the operator asks, on the IKE SA that is there', () => {
  const pair = pairOf('prefer', 'allow');
  up(pair);
  pair.command(pair.a, 'down', 't', 'net');
  pair.run(1000);
  assert.deepEqual([pair.a.inbound.size, pair.b.gateway.tunnels()[0]!.children.length], [1, 0]);
  const spis = pair.a.gateway.spis();
  const id = pair.command(pair.a, 'up', 't', 'net');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'OK', pair.ladder());
  assert.deepEqual(pair.a.gateway.spis(), spis);
  agree(pair);
});

// failure_init: nobody says CHILDLESS_IKEV2_SUPPORTED, so no IKE_AUTH is sent
test('failure_init: we require it and the peer cannot: said, and nothing more than IKE_SA_INIT is sent', () => {
  const pair = pairOf('require', 'never');
  assert.equal(up(pair, 5000), 'PEER_NOT_CHILDLESS', pair.ladder());
  assert.deepEqual([...new Set(requests(pair))], ['IKE_SA_INIT']);
  const [failure] = pair.a.gateway.failures();
  assert.equal(failure!.detail.did, 'does not offer it');
  pair.run(300_000);
  assert.ok(!pair.a.reports.includes('IKE_ESTABLISHED'));
});

test('failure_resp: the peer requires it and we send a child: the IKE SA stands, the child waits for its own exchange', () => {
  const pair = pairOf('never', 'require');
  assert.equal(up(pair), 'PEER_REFUSED_PROPOSAL', pair.ladder());
  assert.ok(pair.b.reports.includes('PEER_NOT_CHILDLESS'));
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
  pair.run(90_000);
  agree(pair);
  assert.equal(algorithms(pair.a), 'aes-gcm-16-256 / x25519 / esn');
});

test('prefer with a peer that cannot: the child comes with IKE_AUTH', () => {
  const pair = pairOf('prefer', 'never');
  assert.equal(up(pair), 'OK');
  assert.deepEqual(requests(pair), ['IKE_SA_INIT', 'IKE_AUTH']);
  agree(pair);
});

test('a child refused by the peer is the outcome of up, the IKE SA stays', () => {
  const [net] = tunnel('b').children;
  const other = { local: [selectorOf('172.16.0.0/12')!], remote: net!.selectors.remote };
  const pair = sites(1, { childless: 'prefer' }, { children: [{ ...net!, selectors: other }] });
  assert.equal(up(pair), 'PEER_TS_UNACCEPTABLE', pair.ladder());
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
});

test('each message lost once: the child is there all the same', () => {
  for (let lost = 0; lost < 6; lost++) {
    const pair = pairOf('prefer', 'allow');
    pair.filter = (_from, _bytes, count) => count !== lost;
    up(pair, 5000);
    agree(pair);
  }
});
