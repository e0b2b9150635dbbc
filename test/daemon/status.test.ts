import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTraffic, type Proofs, statusOfTunnel, type TunnelStatus } from '../../src/daemon/status.ts';
import type { TunnelView } from '../../src/ike/view.ts';
import type { InstalledSa } from '../../src/policy/sad.ts';
import type { Pair } from '../../src/sim/pair.ts';
import { established, sites, tunnel } from '../sim/sites.ts';

/** An SA of the child as the data plane tells of it. */
function installed(direction: 'in' | 'out', last: number | undefined, spi = 1000): InstalledSa {
  const counters = last === undefined ? { packets: 0n, bytes: 0n } : { packets: 3n, bytes: 300n, last };
  return { spi, direction, policy: 't/net', inUse: true, ...counters };
}

function proofs(...sas: InstalledSa[]): Proofs {
  const traffic = createTraffic();
  traffic.update({ policies: [], sas, drops: {} });
  return { traffic };
}

function statusOf(pair: Pair, shown: Proofs, view: TunnelView = viewOf(pair)): TunnelStatus {
  return statusOfTunnel(view, tunnel('a', { rehearsal: true }), shown, undefined, pair.now());
}

const viewOf = (pair: Pair) => pair.a.gateway.tunnels()[0]!;

test('keys alone are negotiated, packets both ways are passing, one way is degraded', () => {
  const pair = established(sites());
  const { upSince } = viewOf(pair).ikeSa!;
  const [came, went] = [installed('in', upSince + 5), installed('out', upSince + 9)];
  assert.equal(statusOf(pair, proofs()).state, 'negotiated');
  assert.equal(statusOf(pair, proofs(came, went)).state, 'passing');
  for (const one of [came, went]) {
    const { state, why } = statusOf(pair, proofs(one));
    assert.equal(state, 'degraded');
    assert.match(why!, one === came ? /missing route on this side/ : /on the other side/);
  }
});

test('what the network interface does is told of the SA in use', () => {
  const pair = established(sites());
  const offload = { by: 'off', reason: 'it does not encrypt' } as const;
  const old: InstalledSa = { ...installed('out', 1, 999), inUse: false, offload: { by: 'crypto' } };
  const [child] = statusOf(
    pair,
    proofs(old, { ...installed('out', 1), offload }, installed('in', 1)),
  ).children;
  assert.deepEqual([child!.out.offload, child!.in.offload], [offload, undefined]);
});

test('counters go on over a rekey, and prove nothing once the tunnel broke', () => {
  const pair = established(sites());
  const { upSince } = viewOf(pair).ikeSa!;
  const { traffic } = proofs(installed('in', upSince + 5, 1000), installed('out', upSince + 9, 1001)) as {
    traffic: ReturnType<typeof createTraffic>;
  };
  const after = [installed('in', undefined, 2000), installed('out', undefined, 2001)];
  traffic.update({ policies: [], sas: after, drops: {} });
  assert.equal(statusOf(pair, { traffic }).state, 'passing');
  assert.equal(statusOf(pair, { traffic }).children[0]!.in.packets, 3);
  const view = viewOf(pair);
  const broken = { ...view, ikeSa: { ...view.ikeSa!, upSince: upSince + 500 } };
  assert.equal(statusOf(pair, { traffic }, broken).state, 'negotiated');
});

test('a child that is missing is named', () => {
  const pair = established(sites());
  const { state, why } = statusOf(pair, proofs(), { ...viewOf(pair), children: [] });
  assert.deepEqual([state, why], ['degraded', 'net is not established']);
});

test('the verdict of the rehearsal, its age and its sentence', () => {
  const pair = established(sites());
  const rekeyOf = (rehearsal: TunnelView['children'][number]['rehearsal']) => {
    const view = viewOf(pair);
    const children = view.children.map((child) => ({ ...child, ...(rehearsal ? { rehearsal } : {}) }));
    return statusOf(pair, proofs(), { ...view, children }).children[0]!.rekey;
  };
  assert.deepEqual(rekeyOf(undefined), { verdict: 'pending' });
  const at = pair.now() - 700;
  assert.deepEqual(rekeyOf({ at }), { verdict: 'rehearsed', age: 700 });
  const detail = { remote: '198.51.100.1', child: 'net', notify: 'NO_ADDITIONAL_SAS' };
  const refused = rekeyOf({ at, refusal: { code: 'PEER_REKEY_REFUSED', detail } });
  assert.equal(refused.verdict, 'refused');
  assert.match(
    refused.sentence!,
    /198\.51\.100\.1 made net and refuses its first rekey with NO_ADDITIONAL_SAS/,
  );
});

test('when the peer was last heard stands beside it', () => {
  const pair = established(sites());
  pair.run(5000);
  const { heard, age } = statusOf(pair, proofs());
  assert.ok(heard! >= 4900 && heard! <= age!, `${heard} of ${age}`);
});

test('looking at the status touches no IKE SA', () => {
  const pair = established(sites());
  const before = pair.a.gateway.visits();
  pair.a.gateway.tunnels();
  pair.a.gateway.carriedSince('t', 'net');
  assert.equal(pair.a.gateway.visits(), before);
});

test('a peer that answers nothing any more: degraded, long before it is given up', () => {
  const pair = established(sites());
  const { upSince } = viewOf(pair).ikeSa!;
  const shown = proofs(installed('in', upSince + 5), installed('out', upSince + 9));
  pair.filter = () => false;
  pair.run(40_000);
  const { state, why } = statusOf(pair, shown);
  assert.equal(state, 'degraded', pair.ladder());
  assert.match(why!, /transmissions unanswered/);
  pair.filter = () => true;
  pair.run(20_000);
  assert.equal(statusOf(pair, shown).state, 'passing', pair.ladder());
});
