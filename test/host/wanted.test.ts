import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isByNetworks, pairsOf } from '../../src/host/pairs.ts';
import { OURS, ROUTING, wantedFor } from '../../src/host/wanted.ts';
import { selectorOf } from '../../src/policy/selector.ts';

function pair(local: string, remote: string) {
  return { local: [selectorOf(local)!], remote: [selectorOf(remote)!] };
}

function routeTexts(routes: ReturnType<typeof wantedFor>['routes']): string[] {
  return routes.map(
    ({ type, table, destination: { address, length }, source }) =>
      `${type} ${table} ${address}/${length}${source ? ` from ${source}` : ''}`,
  );
}

test('a pair: a way through the tunnel, a wall behind it, and the gateway itself with a source that belongs there', () => {
  const { routes, rules } = wantedFor([pair('10.1.0.0/16', '10.2.0.0/16')], ['192.0.2.1', '10.1.0.1'], 1400);
  assert.deepEqual(routeTexts(routes), [
    'unicast 4500 10.2.0.0/16 from 10.1.0.1',
    'unreachable 4500 10.2.0.0/16',
    'unicast 4501 10.2.0.0/16 from 10.1.0.1',
    'unreachable 4501 10.2.0.0/16',
  ]);
  assert.deepEqual(
    rules.map(({ table, priority, inLink }) => [table, priority, inLink]),
    [
      [4500, 4500, undefined],
      [4501, 4501, 'lo'],
    ],
  );
  assert.ok(rules.every(({ mark }) => mark?.value === 0 && mark.mask === ROUTING.mark));
});

test('without an address in the local network the gateway itself keeps out of the tunnel', () => {
  const { routes } = wantedFor([pair('10.1.0.0/16', '10.2.0.0/16')], ['192.0.2.1'], 1400);
  assert.ok(routes.every(({ table }) => table === ROUTING.table));
});

test('everything as remote network: the local one stays local', () => {
  const { routes } = wantedFor([pair('10.1.0.0/16', '0.0.0.0/0')], ['10.1.0.1'], 1400);
  assert.ok(routeTexts(routes).includes('throw 4500 10.1.0.0/16'));
  assert.ok(
    routes.every(({ table }) => table === ROUTING.table),
    'the gateway would lose its way to the peer',
  );
});

test('a range that is no network becomes the networks it is made of', () => {
  const range = { protocol: 0, startPort: 0, endPort: 65535, start: '10.2.0.1', end: '10.2.0.6' };
  const { routes } = wantedFor([{ local: [selectorOf('10.1.0.0/16')!], remote: [range] }], [], 1400);
  const through = routes.filter(({ through }) => through === OURS.device);
  assert.deepEqual(
    through.map(({ destination: { address, length } }) => `${address}/${length}`),
    ['10.2.0.1/32', '10.2.0.2/31', '10.2.0.4/31', '10.2.0.6/32'],
  );
});

const host = (address: string, protocol: number) => ({ ...selectorOf(address)!, protocol });

test('GRE in transport mode: tables and rules of that protocol alone, so that nothing else of the two hosts goes inside', () => {
  const gre = { local: [host('192.0.2.1', 47)], remote: [host('198.51.100.1', 47)] };
  const { routes, rules, guards } = wantedFor(
    pairsOf({ mode: 'transport', selectors: gre }),
    ['192.0.2.1'],
    1400,
  );
  const [table, ownTable] = [ROUTING.table + 2 + 2 * 47, ROUTING.table + 3 + 2 * 47];
  assert.deepEqual(routeTexts(routes), [
    `unicast ${table} 198.51.100.1/32 from 192.0.2.1`,
    `unreachable ${table} 198.51.100.1/32`,
    `unicast ${ownTable} 198.51.100.1/32 from 192.0.2.1`,
    `unreachable ${ownTable} 198.51.100.1/32`,
  ]);
  assert.ok(rules.every(({ ipProtocol }) => ipProtocol === 47));
  assert.deepEqual(
    guards.map(({ local }) => local[0]!.protocol),
    [47],
  );
});

test("the kernel's transport mode has no routes of ours: it sends by those that the packets have", () => {
  const selectors = { local: [host('192.0.2.1', 0)], remote: [host('198.51.100.1', 0)] };
  const pairs = [...pairsOf({ mode: 'transport', selectors }), pair('10.1.0.0/16', '10.2.0.0/16')];
  const { routes, rules, guards } = wantedFor(pairs, ['192.0.2.1'], 1400, 'xfrm');
  assert.ok(routes.every(({ destination }) => destination.address === '10.2.0.0'));
  assert.ok(routes.length > 0 && rules.length > 0);
  assert.equal(guards.length, 2);
  const { routes: withEngine } = wantedFor(pairs, ['192.0.2.1'], 1400, 'engine');
  assert.ok(withEngine.some(({ destination }) => destination.address === '198.51.100.1'));
});

test('everything in transport mode, and one protocol in tunnel mode: no packet is let alone', () => {
  const whole = {
    local: [host('192.0.2.1', 0)],
    remote: [host('198.51.100.1', 0), host('198.51.100.1', 47)],
  };
  const tcp = { local: [host('10.1.0.0/16', 6)], remote: [host('10.2.0.0/16', 6)] };
  for (const pair of [
    ...pairsOf({ mode: 'transport', selectors: whole }),
    ...pairsOf({ mode: 'tunnel', selectors: tcp }),
  ])
    assert.equal(pair.only, undefined);
  const apart = { local: [host('192.0.2.1', 17)], remote: [host('198.51.100.1', 47)] };
  assert.deepEqual(pairsOf({ mode: 'transport', selectors: apart }), [], 'no packet fits both');
});

test('the same pair twice is wanted once', () => {
  const once = wantedFor([pair('10.1.0.0/16', '10.2.0.0/16')], [], 1400);
  const twice = wantedFor([pair('10.1.0.0/16', '10.2.0.0/16'), pair('10.1.0.0/16', '10.2.0.0/16')], [], 1400);
  assert.deepEqual(twice.routes, once.routes);
  assert.deepEqual(twice.rules, once.rules);
});

test('routes and guards are of tunnels that know their packets by networks, not by a link or a mark', () => {
  const mark = { value: 7, mask: 255 };
  assert.ok(isByNetworks({}));
  assert.ok(isByNetworks({ kernel: { offload: 'auto' } }));
  assert.ok(!isByNetworks({ kernel: { mark, offload: 'off' } }));
});
