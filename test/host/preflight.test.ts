import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holderOf, type Machine, type NftEntry, preflight } from '../../src/host/preflight.ts';
import { ROUTING } from '../../src/host/wanted.ts';
import type { TunnelLink } from '../../src/policy/tunnel.ts';
import type { Rule } from '../../src/wire/rtnetlink.ts';

function machine(files: Record<string, string>, ruleset: NftEntry[] = [], rules: Rule[] = []): Machine {
  return { read: (file) => files[file], ruleset: () => ruleset, rules: () => rules };
}

const QUIET = { '/proc/sys/net/ipv4/ip_forward': '1\n', '/proc/sys/net/ipv4/conf/all/rp_filter': '2\n' };
const found = (of: Machine, protocols: ('esp' | 'ah')[] = ['esp'], links: TunnelLink[] = []) =>
  preflight(of, {
    families: new Set([4]),
    ports: [500, 4500],
    protocols: new Set(protocols),
    mark: ROUTING.mark,
    links,
  });

test('a machine that is ready: nothing to say', () => {
  assert.deepEqual(found(machine(QUIET)), []);
});

for (const [what, files, code, fix] of [
  [
    'forwarding is off',
    { '/proc/sys/net/ipv4/ip_forward': '0\n' },
    'HOST_FORWARDING_OFF',
    'sysctl -w net.ipv4.ip_forward=1',
  ],
] as const) {
  test(`${what}: named with the fix`, () => {
    assert.deepEqual(
      found(machine({ ...QUIET, ...files })).map((one) => [one.code, one.fix]),
      [[code, fix]],
    );
  });
}

const NETWORK = { address: '10.2.0.0', length: 16 };
const link = (more: Partial<TunnelLink> = {}): TunnelLink => ({
  ...{ name: 'to-b', id: 1, addresses: [], routes: [NETWORK], metric: 100 },
  ...more,
});
const filters = (settings: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(settings).map(([device, mode]) => [
      `/proc/sys/net/ipv4/conf/${device}/rp_filter`,
      `${mode}\n`,
    ]),
  );
const returning = (settings: Record<string, number>, links: TunnelLink[]) =>
  found(machine({ ...QUIET, ...filters(settings) }), ['esp'], links);

for (const [settings, strict] of [
  [{ all: 1, 'to-b': 0 }, true],
  [{ all: 0, 'to-b': 1 }, true],
  [{ all: 0, default: 1 }, true],
  [{ all: 0, default: 1, 'to-b': 0 }, false],
  [{ all: 2, 'to-b': 1 }, false],
  [{ all: 1, 'to-b': 2 }, false],
  [{ all: 0, 'to-b': 0 }, false],
] as const) {
  test(`the larger setting of the filter counts: ${JSON.stringify(settings)}`, () => {
    assert.equal(returning(settings, [link({ table: 800 })]).length, strict ? 1 : 0);
  });
}

for (const [what, links, why] of [
  ['routes in a table of their own', [link({ table: 800 })], /to-b is strict.*its routes stand in table 800/],
  ['no route at all', [link({ routes: [] })], /no route of ours leads to it/],
  [
    'a better way back',
    [link({ metric: 200 }), link({ name: 'to-c' })],
    /to-b is strict.*to-c has a better route/,
  ],
] as const) {
  test(`the filter is strict, ${what}: named with what mends it for that interface alone`, () => {
    const [finding, ...more] = returning({ all: 1 }, [...links]);
    assert.deepEqual(more, []);
    assert.equal(finding!.code, 'HOST_STRICT_REVERSE_PATH');
    assert.match(finding!.problem, why);
    assert.equal(finding!.fix, 'sysctl -w net/ipv4/conf/to-b/rp_filter=2');
  });
}

for (const [what, links] of [
  ['policy-based tunnels only', []],
  ['a route in the main table', [link()]],
  ['IPv6, which is not filtered', [link({ table: 800, routes: [{ address: 'fd02::', length: 64 }] })]],
] as const) {
  test(`the filter is strict, ${what}: nothing is dropped and nothing said`, () => {
    assert.deepEqual(returning({ all: 1 }, [...links]), []);
  });
}

const nat = { family: 'ip', table: 'nat', name: 'post', type: 'nat', hook: 'postrouting', policy: 'accept' };
const rule = (...expr: Record<string, unknown>[]): NftEntry => ({
  rule: { family: 'ip', table: 'nat', chain: 'post', expr },
});
const outOf = (device: string) => ({
  match: { op: '==', left: { meta: { key: 'oifname' } }, right: device },
});

test('a masquerade rule that would rewrite protected packets', () => {
  const [finding] = found(machine(QUIET, [{ chain: nat }, rule({ masquerade: null })]));
  assert.equal(finding!.code, 'HOST_MASQUERADE');
});

test('a masquerade rule for another device is none of our business', () => {
  assert.deepEqual(found(machine(QUIET, [{ chain: nat }, rule(outOf('wan'), { masquerade: null })])), []);
});

test('a firewall that drops what we listen for: one fix for each', () => {
  const input = {
    family: 'inet',
    table: 'filter',
    name: 'input',
    type: 'filter',
    hook: 'input',
    policy: 'drop',
  };
  const fixes = found(machine(QUIET, [{ chain: input }])).map(({ fix }) => fix);
  assert.deepEqual(fixes, [
    'nft insert rule inet filter input udp dport 500 accept',
    'nft insert rule inet filter input udp dport 4500 accept',
    'nft insert rule inet filter input meta l4proto esp accept',
  ]);
  const both = found(machine(QUIET, [{ chain: input }]), ['esp', 'ah']).map(({ fix }) => fix);
  assert.deepEqual(both.slice(3), ['nft insert rule inet filter input meta l4proto ah accept']);
});

const asks = (priority: number, value: number, mask = 0xffffffff): Rule => ({
  ...{ family: 4, table: 77, protocol: 3, priority },
  mark: { value, mask },
});
const mark = { meta: { key: 'mark' } };
const marking = (value: unknown): NftEntry => rule({ mangle: { key: mark, value } });

for (const [what, rules, ruleset] of [
  [
    'WireGuard’s, Tailscale’s and Kubernetes’ marks',
    [asks(32_765, 51_820), asks(5210, 0x80000, 0xff0000)],
    [],
  ],
  ['no mark at all', [{ family: 4, table: 77, protocol: 3, priority: 9 }], []],
  ['a mask that keeps our bits', [], [marking({ '|': [{ '&': [mark, 0xffffff00] }, 0x10] })]],
  ['the mark of a connection', [], [marking({ ct: { key: 'mark' } })]],
  ['bits of something else', [], [rule({ match: { left: { meta: { key: 'length' } }, right: 0x2d00000 } })]],
] as const) {
  test(`${what}: none of our bits`, () => {
    assert.deepEqual(found(machine(QUIET, [...ruleset], [...rules])), []);
  });
}

for (const [what, rules, ruleset, where] of [
  [
    'a rule that one of our bits leads',
    [asks(9, 0x400000)],
    [],
    /the rule of priority 9 .* mark 0x400000.* bits 0x400000 are/,
  ],
  ['a whole mark', [asks(9, 0x2d00000)], [], /bits 0x2d00000 are/],
  ['a mark that is set', [], [marking(0x100000)], /a rule in nat\/post uses the mark 0x100000/],
  ['bits that are added', [], [marking({ '|': [mark, 0x300000] })], /bits 0x100000 are/],
  [
    'a mark that is asked for among others',
    [],
    [rule({ match: { left: { '&': [mark, 0xf00000] }, right: { set: [0x800000, 1] } } })],
    /mark 0x800000/,
  ],
] as const) {
  test(`${what}: named, with bits that nobody has`, () => {
    const [finding, ...more] = found(machine(QUIET, [...ruleset], [...rules]));
    assert.deepEqual(more, []);
    assert.match(finding!.problem, where);
    assert.equal(finding!.fix, 'gateway: { routing: { mark: 0x40000000 } } and restart');
  });
}

test('another IKE daemon is named', () => {
  const udp = '  sl  local_address\n  12: 00000000:01F4 00000000:0000 07\n';
  assert.equal(holderOf(machine({ '/proc/net/udp': udp, '/run/charon.pid': '7' }), 500), 'charon');
  assert.equal(holderOf(machine({ '/proc/net/udp': udp }), 4500), undefined);
});
