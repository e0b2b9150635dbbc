import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import type { Config } from '../../src/config/config.ts';
import { linksOf } from '../../src/config/link.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { selectorText } from '../../src/policy/selector.ts';
import { folder, PSK } from './files.ts';

/** A tunnel of that name on a line of its own, from line 4 on. */
function tunnel(name: string, keys: string, peer = '198.51.100.1'): string {
  return `  ${name}: { peer: ${peer}, auth: { psk: { file: "@PSK" } }, ${keys} }\n`;
}

function load(t: TestContext, ...tunnels: string[]): ReturnType<typeof loadConfig> {
  const files = folder(t);
  const text = `gateway: { name: a, address: 192.0.2.1 }\n\ntunnels:\n${tunnels.join('')}`;
  return loadConfig(files.write('a.yaml', text.replaceAll('@PSK', files.write('good.psk', PSK))));
}

function good(t: TestContext, ...tunnels: string[]): Config {
  const { config, complaints } = load(t, ...tunnels);
  assert.ok(config, complaints.map(complaintText).join('\n'));
  assert.deepEqual(complaints, []);
  return config;
}

function complaints(t: TestContext, ...tunnels: string[]): string {
  return load(t, ...tunnels)
    .complaints.map((one) => complaintText({ ...one, file: basename(one.file) }))
    .join('\n');
}

test('mode: route needs nothing else: an interface with the name of the tunnel, and everything inside', (t) => {
  const [office] = good(t, tunnel('office', 'mode: route')).tunnels;
  const { id, ...link } = office!.link!;
  assert.deepEqual(link, { name: 'office', addresses: [], routes: [], metric: 100 });
  assert.ok(id >= 1 && id <= 0xffffff);
  const { local, remote } = office!.children[0]!.selectors;
  for (const side of [local, remote]) assert.deepEqual(side.map(selectorText), ['0.0.0.0/0', '::/0']);
});

test('local and remote narrow it; two route-based tunnels for everything are no overlap', (t) => {
  const config = good(
    t,
    tunnel('a', 'mode: route, local: 0.0.0.0/0, remote: 0.0.0.0/0'),
    tunnel('b', 'mode: route', '198.51.100.2'),
    tunnel('c', 'local: 10.1.0.0/16, remote: 10.2.0.0/16', '198.51.100.3'),
  );
  assert.equal(config.tunnels[0]!.children[0]!.selectors.local.length, 1);
  assert.deepEqual(
    config.tunnels.map(({ link }) => link?.name),
    ['a', 'b', undefined],
  );
});

test('all that can be said of an interface', (t) => {
  const said =
    'mode: route, interface: { name: vpn7, address: [10.255.0.1/30, "fd00:ff::1/126"], routes: [10.2.0.0/16, "fd02::/64"], table: 77, metric: 5, mtu: 1350 }';
  const { id: _, ...link } = good(t, tunnel('office', said)).tunnels[0]!.link!;
  assert.deepEqual(link, {
    name: 'vpn7',
    addresses: [
      { address: '10.255.0.1', length: 30 },
      { address: 'fd00:ff::1', length: 126 },
    ],
    routes: [
      { address: '10.2.0.0', length: 16 },
      { address: 'fd02::', length: 64 },
    ],
    table: 77,
    metric: 5,
    mtu: 1350,
  });
});

test('a probe goes out from the interface’s own address', (t) => {
  const keys = 'mode: route, interface: { address: 10.255.0.1/30 }, probe: { to: 10.255.0.2 }';
  assert.equal(good(t, tunnel('office', keys)).tunnels[0]!.children[0]!.probe!.from, '10.255.0.1');
});

test('names that are none for a device, or too long, are cut and told apart by their hash', () => {
  const names = ['a-very-long-name-of-a-tunnel-1', 'a-very-long-name-of-a-tunnel-2', 'Büro 7', 'lo', 'ok'];
  const links = linksOf(names.map((name) => ({ name, entry: { mode: 'route' } })));
  const made = names.map((name) => links.get(name)!.name);
  assert.equal(new Set(made).size, names.length);
  for (const name of made) assert.match(name, /^[A-Za-z0-9._-]{1,15}$/);
  assert.equal(made.at(-1), 'ok');
});

test('numbers are unique, and those of the other tunnels stay when one comes or goes', () => {
  const entries = Array.from({ length: 5000 }, (_, n) => ({
    name: `t${n}`,
    entry: { mode: 'route' as const },
  }));
  const all = linksOf(entries);
  assert.equal(new Set([...all.values()].map(({ id }) => id)).size, entries.length);
  const fewer = linksOf(entries.filter((_, index) => index !== 17));
  const moved = [...fewer].filter(([name, { id }]) => all.get(name)!.id !== id);
  assert.ok(moved.length <= 1, 'only one that had to give way to the one that went');
});

for (const [what, keys, complaint] of [
  [
    'interface without mode: route',
    'interface: { name: x }, local: 10.1.0.0/16, remote: 10.2.0.0/16',
    /a\.yaml:4:\d+: an interface is of route-based tunnels/,
  ],
  [
    'a name that is too long',
    'mode: route, interface: { name: sixteen-bytes-xx }',
    /a\.yaml:4:\d+: "sixteen-bytes-xx" is too long for an interface: 15 bytes/,
  ],
  ['a name with a space', 'mode: route, interface: { name: "a b" }', /no spaces, slashes/],
  [
    'the shared device’s name',
    'mode: route, interface: { name: isthmus0 }',
    /"isthmus0" is no name for an interface of ours/,
  ],
  [
    'an address without a length',
    'mode: route, interface: { address: 10.255.0.1 }',
    /is not an address with a prefix length/,
  ],
  [
    'a route that is no network',
    'mode: route, interface: { routes: [nowhere] }',
    /"nowhere" is not a network/,
  ],
  [
    'a route with bits of a host',
    'mode: route, interface: { routes: [10.2.0.5\u002f16] }',
    /the network is 10\.2\.0\.0\/16/,
  ],
  [
    'a route to the peer itself',
    'mode: route, interface: { routes: [198.51.0.0\u002f16] }',
    /198\.51\.100\.1, the peer itself/,
  ],
  [
    'a table of the policy-based tunnels',
    'mode: route, interface: { table: 4500 }',
    /the tables 4500 to 5013 are of the policy-based tunnels/,
  ],
  [
    'a table of the policy-based tunnels of transport mode',
    'mode: route, interface: { table: 5013 }',
    /the tables 4500 to 5013/,
  ],
  [
    'transport mode',
    'mode: route, transport: true',
    /a\.yaml:4:\d+: transport mode is for packets of the outer addresses/,
  ],
] as const) {
  test(`refused: ${what}`, (t) => assert.match(complaints(t, tunnel('office', keys)), complaint));
}

test('refused: two tunnels that want the same interface, or the same route', (t) => {
  const same = complaints(
    t,
    tunnel('a', 'mode: route, interface: { name: vpn }'),
    tunnel('b', 'mode: route, interface: { name: vpn }', '198.51.100.2'),
  );
  assert.match(same, /a\.yaml:5:\d+: the interface vpn is that of a already/);
  const routed = (metric: number) =>
    complaints(
      t,
      tunnel('a', 'mode: route, interface: { routes: 10.2.0.0/16 }'),
      tunnel('b', `mode: route, interface: { routes: 10.2.0.0/16, metric: ${metric} }`, '198.51.100.2'),
    );
  assert.match(routed(100), /a\.yaml:5:\d+: 10\.2\.0\.0\/16 is routed to a with the same metric/);
  assert.equal(routed(200), '');
});

for (const [what, keys, effect] of [
  ['its routes', 'mode: route, interface: { routes: 10.2.0.0/16 }', 'untouched'],
  ['its addresses', 'mode: route, interface: { address: 10.255.0.1/30 }', 'untouched'],
  ['its metric and its MTU', 'mode: route, interface: { metric: 7, mtu: 1300 }', 'untouched'],
  ['its name', 'mode: route, interface: { name: other }', 'restart'],
  ['the mode', 'local: 0.0.0.0/0, remote: 0.0.0.0/0', 'restart'],
] as const) {
  test(`a reload that changes ${what} leaves the tunnel ${effect}`, (t) => {
    const [before, after] = [good(t, tunnel('office', 'mode: route')), good(t, tunnel('office', keys))];
    // The secrets lie in two folders; what is compared is what they are.
    assert.deepEqual(
      planReload(before, after).map((one) => one.effect),
      [effect],
    );
  });
}
