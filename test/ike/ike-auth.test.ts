import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectorOf } from '../../src/policy/selector.ts';
import type { ChildTemplate, Identity } from '../../src/policy/tunnel.ts';
import { sendPacket } from '../../src/sim/pair.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const fqdn = (value: string): Identity => ({ type: 'fqdn', value });

function child(side: 'a' | 'b', local: string, remote: string, name = 'net', order = 0): ChildTemplate {
  const [template] = tunnel(side).children;
  return {
    ...template!,
    name,
    order,
    selectors: { local: [selectorOf(local)!], remote: [selectorOf(remote)!] },
  };
}

test('the address leaves several tunnels, the identity decides (RFC 4301 §4.4.3)', () => {
  const any = (identity: Identity) => ({ addresses: [], identity });
  const pair = sites(
    1,
    { local: { address: '192.0.2.1', identity: fqdn('c.example') } },
    { remote: any(fqdn('x.example')), auth: { method: 'psk', secret: 'of another peer' } },
  );
  const second = tunnel('b', { name: 'u', remote: any(fqdn('c.example')) });
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: second }] });
  established(pair);
  const states = pair.b.gateway.tunnels().map(({ name, state }) => `${name} ${state}`);
  assert.deepEqual(states, ['t down', 'u established']);
});

test('IDr says which of our names is meant (RFC 7296 §2.15)', () => {
  const remote = { addresses: [], identity: { type: 'ipv4', value: '192.0.2.1' } } as const;
  const local = (name: string) => ({ address: '198.51.100.1', identity: fqdn(name) });
  const pair = sites(
    1,
    { remote: { addresses: ['198.51.100.1'], identity: fqdn('second.example') } },
    { remote: { ...remote, addresses: [] }, local: local('first.example') },
  );
  const second = tunnel('b', {
    name: 'u',
    remote: { ...remote, addresses: [] },
    local: local('second.example'),
  });
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: second }] });
  established(pair);
  assert.equal(pair.b.gateway.tunnels().find(({ name }) => name === 'u')!.state, 'established');
});

test('a name that no tunnel expects is told, with the name', () => {
  const pair = sites(1, { local: { address: '192.0.2.1', identity: fqdn('stranger.example') } });
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  const [failure] = pair.b.gateway.failures();
  assert.equal(failure!.code, 'PEER_UNKNOWN');
  assert.equal(failure!.detail.identity, 'stranger.example (fqdn)');
  assert.equal(pair.a.outcomes.get(id), 'PEER_REFUSED_AUTH');
});

test('the peer answers with another name than we expect: named, not accepted', () => {
  const pair = sites(1, {}, { local: { address: '198.51.100.1', identity: fqdn('other.example') } });
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_WRONG_IDENTITY', pair.ladder());
  assert.equal(pair.a.gateway.tunnels()[0]!.children.length, 0);
});

test('selectors are narrowed to what both sides want (RFC 7296 §2.9)', () => {
  const pair = sites(
    1,
    { children: [child('a', '10.1.0.0/16', '10.2.0.0/16')] },
    { children: [child('b', '10.2.3.0/24', '10.1.0.0/17')] },
  );
  agree(established(pair));
  const [a, b] = [pair.a, pair.b].map(({ gateway }) => gateway.tunnels()[0]!.children[0]!);
  assert.deepEqual([a!.local, a!.remote], [['10.1.0.0/17'], ['10.2.3.0/24']]);
  assert.deepEqual([b!.local, b!.remote], [a!.remote, a!.local]);
});

test('nothing in common: both sides say what was wanted, and the IKE SA stays (RFC 7296 §1.3)', () => {
  const pair = sites(1, {}, { children: [child('b', '172.16.0.0/12', '10.1.0.0/16')] });
  const up = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
  assert.equal(pair.a.outcomes.get(up), 'PEER_TS_UNACCEPTABLE', 'the operator who wanted it up is told');
  const [failure] = pair.b.gateway.failures();
  assert.equal(failure!.code, 'PEER_TS_UNACCEPTABLE');
  assert.equal(failure!.detail.offered, '10.2.0.0/16 to 10.1.0.0/16');
  assert.equal(failure!.detail.configured, '172.16.0.0/12 to 10.1.0.0/16');
  assert.ok(pair.a.reports.includes('PEER_TS_UNACCEPTABLE'));
  assert.equal(pair.a.gateway.tunnels()[0]!.children.length, 0);
});

for (const start of ['wait', 'now'] as const) {
  test(`three children on one IKE SA, the other side starts ${start}: each is made once`, () => {
    const children = (side: 'a' | 'b') =>
      [1, 2, 3].map((n) => {
        const [near, far] = side === 'a' ? [1, 2] : [2, 1];
        return child(side, `10.${near}.${n}.0/24`, `10.${far}.${n}.0/24`, `net${n}`, n);
      });
    const pair = sites(1, { children: children('a') }, { children: children('b'), start });
    pair.run(5000);
    pair.command(pair.a, 'up', 't');
    pair.run(30_000);
    agree(pair, ['net1', 'net2', 'net3']);
  });
}

//   a --> b  HDR, SK {IDi, AUTH, N(INITIAL_CONTACT), SA, TS}     after a lost its memory
test('INITIAL_CONTACT: what the peer no longer knows is forgotten (RFC 7296 §2.4)', () => {
  const pair = established(sites());
  const [old] = pair.b.outbound.keys();
  pair.restart(pair.a);
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.b.outbound.has(old!), false, pair.ladder());
  agree(pair);
  assert.equal(pair.b.gateway.spis().length, 1);
});

test('a child that the data plane refuses is made later', () => {
  const pair = sites(1, { start: 'now' });
  pair.weather = { ...pair.weather, refuse: 1 };
  pair.run(1500);
  assert.ok(pair.b.reports.includes('HOST_INSTALL_FAILED'), pair.ladder());
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'no-sa');
  pair.weather = { ...pair.weather, refuse: 0 };
  pair.run(5000);
  agree(pair);
});
