import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFlow } from '../../src/wire/ip.ts';
import { generator, mutated } from './mutate.ts';

const UDP4 = Buffer.from('4500002100010000401100000a0100050a02000903e80035000d000068656c6c6f', 'hex');
const TCP6 = Buffer.from(
  `6000000000140640${'fd01'.padEnd(32, '0')}${'fd02'.padEnd(32, '0')}01bb1f9000000000000000005002000000000000`,
  'hex',
);

test('what chooses a policy is read from the headers', () => {
  const udp = readFlow(UDP4)!;
  assert.deepEqual([udp.protocol, udp.sourcePort, udp.destinationPort], [17, 1000, 53]);
  const tcp = readFlow(TCP6)!;
  assert.deepEqual([tcp.protocol, tcp.sourcePort, tcp.destinationPort], [6, 443, 8080]);
});

for (const [name, packet] of [
  ['UDP over IPv4', UDP4],
  ['TCP over IPv6', TCP6],
] as const) {
  test(`${name}: no truncation and no damage is read past its end`, () => {
    const random = generator(packet.length);
    for (let length = 0; length <= packet.length; length++) readFlow(packet.subarray(0, length));
    for (let i = 0; i < 50_000; i++) readFlow(mutated(packet, random));
  });
}
