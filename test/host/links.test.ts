import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LinkState, vtiMeets, wantedLinks } from '../../src/host/links.ts';
import type { Tunnel, TunnelLink } from '../../src/policy/tunnel.ts';

const LINK: TunnelLink = {
  name: 'to-b',
  id: 7,
  addresses: [{ address: '10.255.0.1', length: 30 }],
  routes: [
    { address: '10.2.0.0', length: 16 },
    { address: 'fd02::', length: 64 },
  ],
  metric: 100,
};

function state(link: Partial<TunnelLink> = {}, { up = true, to = '' } = {}): LinkState {
  const children = to === '' ? [{}] : [{ probe: { to, every: 1000, lost: 4 } }];
  const tunnel = {
    name: 'office',
    local: { address: '192.0.2.1' },
    remote: { addresses: ['198.51.100.1'] },
    link: { ...LINK, ...link },
    children,
  };
  return { tunnel: tunnel as unknown as Tunnel, mtu: 1400, up };
}

function texts(one: LinkState): string[] {
  return wantedLinks([one], undefined, []).routes.map(
    ({ type, table, metric, destination: { address, length }, through }) =>
      `${type} ${table} ${address}/${length} metric ${metric}${through ? ` dev ${through}` : ''}`,
  );
}

test('while it is up: a way through the interface, and a wall behind it', () => {
  assert.deepEqual(texts(state()), [
    'unicast 254 10.2.0.0/16 metric 100 dev to-b',
    'unicast 254 fd02::/64 metric 100 dev to-b',
    'unreachable 254 10.2.0.0/16 metric 4000000',
    'unreachable 254 fd02::/64 metric 4000000',
  ]);
});

test('while it is down: the walls alone, in the table that was chosen', () => {
  assert.deepEqual(texts(state({ table: 77 }, { up: false })), [
    'unreachable 77 10.2.0.0/16 metric 4000000',
    'unreachable 77 fd02::/64 metric 4000000',
  ]);
});

test('what is probed is reached while it is down; a neighbour in the interface’s own network is anyway', () => {
  const [first] = texts(state({}, { up: false, to: '10.2.0.1' }));
  assert.equal(first, 'unicast 254 10.2.0.1/32 metric 100 dev to-b');
  assert.ok(!texts(state({}, { to: '10.255.0.2' })).some((text) => text.includes('10.255.0.2')));
});

test('guarded is what the main table leads to the interface, but for networks that this machine is in', () => {
  const near = [
    { address: '10.2.7.1', length: 24 },
    { address: '192.0.2.1', length: 24 },
  ];
  const [link] = wantedLinks([state()], undefined, near).links;
  assert.deepEqual(link!.guarded, LINK.routes);
  assert.deepEqual(link!.near, [near[0]]);
  const [chosen] = wantedLinks([state({ table: 77 })], undefined, near).links;
  assert.deepEqual([chosen!.guarded, chosen!.near], [[], []]);
});

test('of the kernel’s IPsec: an if_id, or keys and the outer addresses', () => {
  const [tun, xfrm, vti] = ([undefined, 'xfrm', 'vti'] as const).map(
    (kind) => wantedLinks([state()], kind, []).links[0]!.ipsec,
  );
  assert.equal(tun, undefined);
  assert.deepEqual(xfrm, { kind: 'xfrm', id: 7 });
  assert.deepEqual(vti, { kind: 'vti', key: 0x2d000007, local: '192.0.2.1', remote: '198.51.100.1' });
});

test('a VTI takes all that comes from its peer: no other tunnel may have the same outer addresses', () => {
  const of = (name: string, link: boolean, ...peers: string[]) => {
    const { tunnel } = state();
    const { link: _, ...rest } = { ...tunnel, name, remote: { ...tunnel.remote, addresses: peers } };
    return link ? { ...rest, link: LINK } : rest;
  };
  const [a, b] = ['198.51.100.1', '198.51.100.2'];
  assert.deepEqual(vtiMeets([of('lab', false, a), of('office', true, a)]), ['office', 'lab']);
  assert.deepEqual(vtiMeets([of('any', true), of('lab', false, b)]), ['any', 'lab']);
  assert.equal(vtiMeets([of('office', true, a), of('lab', false, b), of('more', false, b)]), undefined);
});
