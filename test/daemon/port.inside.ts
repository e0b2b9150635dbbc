// Over a loopback of 1500 bytes: run by port.test.ts in a network namespace.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { openPort } from '../../src/daemon/port.ts';
import { loadAddon } from '../../src/native.ts';

execFileSync('ip', ['link', 'set', 'dev', 'lo', 'mtu', '1500', 'up']);
const addon = loadAddon();
const port = openPort(addon, addon.create(1, 0), ['127.0.0.1', '::1'], 0, false, true);
assert.ok(!('failed' in port));

/** Of packets that were fragmented before they left. */
function fragmented(family: 4 | 6): number {
  if (family === 6) return Number(/Ip6FragOKs\s+(\d+)/.exec(readFileSync('/proc/net/snmp6', 'utf8'))![1]);
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8').match(/^Ip: .*$/gm)!;
  return Number(values!.split(' ')[names!.split(' ').indexOf('FragOKs')]);
}

for (const [family, address, headers] of [
  [4, '127.0.0.1', 20 + 8],
  [6, '::1', 40 + 8],
] as const) {
  const end = { transport: 'udp', address, port: 500 } as const;
  const send = (size: number, whole?: true): boolean => {
    const bytes = new Uint8Array(size - headers);
    return port.send({ bytes, local: end, remote: end, ...(whole ? { whole } : {}) });
  };
  for (let round = 0; round < 2; round++) {
    const before = fragmented(family);
    assert.deepEqual([send(1500, true), send(1501, true)], [true, false], `whole, IPv${family}`);
    assert.equal(fragmented(family), before);
    assert.equal(send(1501), true, `in fragments, IPv${family}`);
    assert.equal(fragmented(family), before + 1);
  }
}
