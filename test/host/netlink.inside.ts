// Runs in the namespace that netlink.test.ts makes.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { WantedLink } from '../../src/host/links.ts';
import { createKernel } from '../../src/host/netlink.ts';
import { OURS, type ProtectedPair, ROUTING, wantedFor } from '../../src/host/wanted.ts';
import { loadAddon } from '../../src/native.ts';
import { selectorOf } from '../../src/policy/selector.ts';

const READER = `
import fcntl, struct, os, time
f = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(f, 0x400454ca, struct.pack("16sH22s", b"to-b", 0x1001, b""))
print("ready", flush=True)
time.sleep(60)
`;
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const networks = (...texts: string[]) => texts.map((text) => selectorOf(text)!);
const OWN = ['10.1.0.1', '10.1.1.1'];

ip('link', 'add', OURS.device, 'type', 'veth', 'peer', 'name', 'end');
ip('link', 'set', 'end', 'up');
ip('link', 'set', OURS.device, 'up');
for (const address of OWN) ip('address', 'add', `${address}/24`, 'dev', OURS.device);
const kernel = createKernel(loadAddon());

/** What stands afterwards, as `ip route` shows it. */
function applied(...pairs: ProtectedPair[]): string[] {
  kernel.apply(wantedFor(pairs, OWN, 1400));
  return ip('-4', 'route', 'show', 'table', String(ROUTING.table)).trim().split('\n').sort();
}

const second = { local: networks('10.1.1.0/24'), remote: networks('10.2.1.0/24') };
const both = {
  local: networks('10.1.0.0/24', '10.1.1.0/24'),
  remote: networks('10.2.0.0/24', '10.2.1.0/24'),
};

assert.equal(applied(second).length, 2);
assert.match(applied(second)[0]!, /^10\.2\.1\.0\/24 dev isthmus0 .*src 10\.1\.1\.1/);
// The same destination with another source.
const changed = applied(both);
assert.equal(changed.length, 4);
assert.ok(changed.filter((line) => line.includes('dev')).every((line) => line.includes('src 10.1.0.1')));
assert.deepEqual(applied(both), changed);
assert.equal(applied(second).length, 2);

// A path that is narrower than the device, and is not any more. Of two behind one route the narrower counts.
const narrow = applied({ ...second, pathMtu: 1200 }, { ...second, pathMtu: 1100 });
assert.match(narrow[0]!, /mtu lock 1100/);
assert.equal(narrow.length, 2);
assert.doesNotMatch(applied(second)[0]!, /mtu/);
const six = { local: networks('fd01::/64'), remote: networks('fd02::/64') };
const routes6 = () => ip('-6', 'route', 'show', 'table', String(ROUTING.table));
applied(second, { ...six, pathMtu: 1300 });
assert.match(routes6(), /fd02::\/64 dev isthmus0 .*mtu lock 1300/);
applied(second, six);
assert.doesNotMatch(routes6(), /mtu/);

// Rules of one protocol, beside those of all.
const udp = { local: networks('10.1.0.1'), remote: networks('10.1.0.9'), only: 17 };
applied(second, udp);
const table = ROUTING.table + 2 + 2 * 17;
const rules = ip('rule', 'show').split('\n');
assert.equal(rules.filter((line) => /ipproto udp lookup/.test(line)).length, 2, rules.join('\n'));
const via = (...to: string[]) => ip('route', 'get', ...to, 'from', '10.1.0.1').split('\n')[0]!;
assert.match(via('10.1.0.9', 'ipproto', 'udp'), new RegExp(`table ${table}`));
assert.doesNotMatch(via('10.1.0.9', 'ipproto', 'tcp'), new RegExp(`table ${table}`));
applied(second, udp);
assert.equal(kernel.rules().filter(({ ipProtocol }) => ipProtocol === 17).length, 2, 'once, however often');
assert.equal(applied(second).length, 2);
assert.equal(kernel.rules().filter(({ ipProtocol }) => ipProtocol === 17).length, 0, 'and gone');

// What others have: refused where we are not yet, left alone where we are.
const elsewhere = { table: 7000, priority: 700, mark: 0x40000000 };
const moved = wantedFor([second], OWN, 1400, 'engine', elsewhere);
const nothing = () => kernel.apply(wantedFor([], OWN, 1400));
nothing();
for (const [add, complaint] of [
  [['route', 'add', '203.0.113.0/24', 'dev', 'end', 'table', '4500'], /routes in table 4500 already/],
  [
    ['rule', 'add', 'fwmark', '0x1', 'lookup', '77', 'priority', '4500'],
    /a rule of priority 4500 stands already/,
  ],
] as const) {
  ip(...add);
  assert.match(kernel.taken(wantedFor([second], OWN, 1400)) ?? '', complaint);
  assert.equal(kernel.taken(moved), undefined);
}
kernel.apply(moved);
assert.match(ip('rule', 'show'), /^700:\s+from 10\.1\.1\.0\/24 fwmark 0\/0x40000000 lookup 7000 proto 45$/m);
assert.match(ip('route', 'show', 'table', '7000'), /10\.2\.1\.0\/24 dev isthmus0/);
ip('rule', 'add', 'fwmark', '0x2', 'lookup', '78', 'priority', '700');
assert.equal(kernel.taken(moved), undefined, 'it came after us');
nothing();
const left = ip('rule', 'show');
assert.match(left, /^4500:.*fwmark 0x1 lookup 77$/m);
assert.match(left, /^700:.*fwmark 0x2 lookup 78$/m);
assert.match(ip('route', 'show', 'table', '4500'), /203\.0\.113\.0\/24 dev end/);
for (const priority of ['4500', '700']) ip('rule', 'delete', 'priority', priority);
ip('route', 'flush', 'table', '4500');

// Interfaces of route-based tunnels.

const ALIAS = 'isthmus: packets for a tunnel';
const show = (...args: string[]) => ip(...args).trim();
const link = (more: Partial<WantedLink> = {}): WantedLink => ({
  name: 'to-b',
  addresses: [
    { address: '10.255.0.1', length: 30 },
    { address: 'fd00:ff::1', length: 126 },
  ],
  mtu: 1390,
  up: true,
  guarded: [],
  near: [],
  ...more,
});

/** Applied with a route to the interface while it is up, and a wall behind. */
function steered(one: WantedLink, destination = { address: '10.8.0.0', length: 16 }): void {
  const route = { family: 4 as const, table: 254, protocol: OURS.protocol, destination };
  const way = { ...route, type: 'unicast' as const, metric: 100, through: one.name };
  const wall = { ...route, type: 'unreachable' as const, metric: 4_000_000 };
  const base = wantedFor([second], OWN, 1400);
  kernel.apply({ ...base, links: [one], routes: [...base.routes, ...(one.up ? [way] : []), wall] });
}

ip('tuntap', 'add', 'dev', 'to-b', 'mode', 'tun');
assert.throws(() => steered(link()), /there is an interface to-b already and it is not ours/);
ip('link', 'set', 'dev', 'to-b', 'alias', ALIAS);
/** So that it has a carrier. */
async function read() {
  const reader = spawn('python3', ['-c', READER], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => reader.stdout.once('data', resolve));
  return reader;
}
let reader = await read();
steered(link({ up: false }));
while (!/state DORMANT/.test(show('link', 'show', 'to-b')));

for (const up of [true, false, true]) {
  steered(link({ up }));
  steered(link({ up }));
  const ways = show('route', 'show', '10.8.0.0/16').split('\n');
  assert.equal(ways.length, up ? 2 : 1, ways.join());
  assert.match(show('link', 'show', 'to-b'), up ? /state (UP|UNKNOWN)/ : /state DORMANT/);
  assert.match(show('link', 'show', 'to-b'), /mtu 1390/);
  for (const address of ['10.255.0.1/30', 'fd00:ff::1/126'])
    assert.match(show('address', 'show', 'to-b'), new RegExp(address));
}
// Whoever reads it comes and goes; up it is when somebody says so.
steered(link({ up: false }));
const gone = new Promise((resolve) => reader.once('exit', resolve));
reader.kill('SIGKILL');
await gone;
while (/LOWER_UP/.test(show('link', 'show', 'to-b')));
reader = await read();
while (!/LOWER_UP/.test(show('link', 'show', 'to-b')));
assert.match(show('link', 'show', 'to-b'), /state DORMANT mode DORMANT/);
steered(link({ addresses: [{ address: '10.255.0.5', length: 30 }], mtu: 1400 }));
assert.doesNotMatch(show('address', 'show', 'to-b'), /10\.255\.0\.1\/|fd00:ff::1/);
assert.match(show('address', 'show', 'to-b'), /10\.255\.0\.5\/30/);
assert.match(show('link', 'show', 'to-b'), /mtu 1400/);

// A route of somebody else.
ip('route', 'add', '10.9.0.0/16', 'dev', 'end', 'metric', '100');
assert.throws(
  () => steered(link(), { address: '10.9.0.0', length: 16 }),
  /a route to 10\.9\.0\.0\/16 with metric 100 stands in table 254 already and is not ours/,
);
assert.match(show('route', 'show', '10.9.0.0/16'), /dev end/);

// What is not wanted any more goes, and what another program made stays.
kernel.apply(wantedFor([second], OWN, 1400));
assert.doesNotMatch(show('link', 'show'), /to-b/);
assert.match(show('route', 'show', '10.9.0.0/16'), /dev end/);
assert.ok([undefined, 'vti', 'xfrm'].includes(kernel.linkKind()));
reader.kill();
kernel.flush();
assert.doesNotMatch(show('link', 'show'), /isthmus/);
