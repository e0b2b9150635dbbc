import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holderOf, type Machine, type NftEntry, preflight } from '../../src/host/preflight.ts';

function machine(files: Record<string, string>, ruleset: NftEntry[] = []): Machine {
  return { read: (file) => files[file], ruleset: () => ruleset };
}

const QUIET = { '/proc/sys/net/ipv4/ip_forward': '1\n', '/proc/sys/net/ipv4/conf/all/rp_filter': '2\n' };
const found = (of: Machine, protocols: ('esp' | 'ah')[] = ['esp']) =>
  preflight(of, new Set([4]), [500, 4500], new Set(protocols));

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
  [
    'the reverse-path filter is strict',
    { '/proc/sys/net/ipv4/conf/all/rp_filter': '1\n' },
    'HOST_STRICT_REVERSE_PATH',
    'sysctl -w net.ipv4.conf.all.rp_filter=2',
  ],
] as const) {
  test(`${what}: named with the fix`, () => {
    assert.deepEqual(
      found(machine({ ...QUIET, ...files })).map((one) => [one.code, one.fix]),
      [[code, fix]],
    );
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

test('another IKE daemon is named', () => {
  const udp = '  sl  local_address\n  12: 00000000:01F4 00000000:0000 07\n';
  assert.equal(holderOf(machine({ '/proc/net/udp': udp, '/run/charon.pid': '7' }), 500), 'charon');
  assert.equal(holderOf(machine({ '/proc/net/udp': udp }), 4500), undefined);
});
