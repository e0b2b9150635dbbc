// Runs in the namespace that netlink.test.ts makes.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createKernel } from '../../src/host/netlink.ts';
import { OURS, wantedFor } from '../../src/host/wanted.ts';
import { loadAddon } from '../../src/native.ts';
import type { SelectorSet } from '../../src/policy/sad.ts';
import { selectorOf } from '../../src/policy/selector.ts';

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const networks = (...texts: string[]) => texts.map((text) => selectorOf(text)!);
const OWN = ['10.1.0.1', '10.1.1.1'];

ip('link', 'add', OURS.device, 'type', 'veth', 'peer', 'name', 'end');
ip('link', 'set', 'end', 'up');
ip('link', 'set', OURS.device, 'up');
for (const address of OWN) ip('address', 'add', `${address}/24`, 'dev', OURS.device);
const kernel = createKernel(loadAddon());

/** What stands afterwards, as `ip route` shows it. */
function applied(...pairs: SelectorSet[]): string[] {
  kernel.apply(wantedFor(pairs, OWN, 1400));
  return ip('-4', 'route', 'show', 'table', String(OURS.table)).trim().split('\n').sort();
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

// Rules of one protocol, beside those of all.
const udp = { local: networks('10.1.0.1'), remote: networks('10.1.0.9'), only: 17 };
applied(second, udp);
const table = OURS.protocolTables + 2 * 17;
const rules = ip('rule', 'show').split('\n');
assert.equal(rules.filter((line) => /ipproto udp lookup/.test(line)).length, 2, rules.join('\n'));
const via = (...to: string[]) => ip('route', 'get', ...to, 'from', '10.1.0.1').split('\n')[0]!;
assert.match(via('10.1.0.9', 'ipproto', 'udp'), new RegExp(`table ${table}`));
assert.doesNotMatch(via('10.1.0.9', 'ipproto', 'tcp'), new RegExp(`table ${table}`));
applied(second, udp);
assert.equal(kernel.rules().filter(({ ipProtocol }) => ipProtocol === 17).length, 2, 'once, however often');
assert.equal(applied(second).length, 2);
assert.equal(kernel.rules().filter(({ ipProtocol }) => ipProtocol === 17).length, 0, 'and gone');
kernel.flush();
