import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEngine } from '../../src/dataplane/engine.ts';
import { plainFrame } from '../../src/dataplane/offload.ts';
import { loadAddon } from '../../src/native.ts';
import type { Policy } from '../../src/policy/sad.ts';
import { selectorOf } from '../../src/policy/selector.ts';
import { viewOf } from '../../src/wire/ip.ts';
import { outboundSa, policy, seeded } from './packets.ts';

const TUNNELS = 50;
const LOCAL = [selectorOf('10.1.0.0/16')!];

/** Fifty branches; the last three claim parts of what others have, or all of it. */
function branches(): Policy[] {
  const networks = Array.from({ length: TUNNELS }, (_, n) => `10.${100 + n}.0.0/16`);
  networks[47] = '10.100.7.0/24';
  networks[48] = '10.100.0.0/15';
  networks[49] = '0.0.0.0/0';
  return networks.map((network, order) =>
    policy(`t${order}/net`, { order, selectors: { local: LOCAL, remote: [selectorOf(network)!] } }),
  );
}

/** UDP from 10.1.0.1 to an address. */
function packetTo(address: readonly number[]): Uint8Array {
  const packet = new Uint8Array(28);
  packet.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, ...address, 0, 9, 0, 9, 0, 8]);
  return packet;
}

test('a hub with 50 tunnels, three of them overlapping: no packet ever leaves by another tunnel’s SA', async () => {
  const addon = loadAddon();
  const plane = addon.create();
  const engine = createEngine(addon, plane);
  const policies = branches();
  const choice = { encryption: 'aes-gcm-16', keyBits: 128 } as const;
  for (const [order, one] of policies.entries()) {
    const sa = outboundSa(1000 + order, choice, { policy: one.id, selectors: one.selectors });
    await engine.apply([
      { type: 'add-policy', policy: one },
      { type: 'add-outbound', sa },
      { type: 'use-outbound', policy: one.id, spi: sa.spi, remote: sa.remote },
    ]);
  }
  const random = seeded(7);
  const counts = new Map<number, number>();
  for (let i = 0; i < 20_000; i++) {
    const address = [10, 98 + random(56), random(9), random(256)];
    const [packet] = addon.outbound(plane, [plainFrame(packetTo(address))]);
    const number = address[1]! * 256 + address[2]!;
    const spi = 1000 + ownerOf(address[1]!, number);
    assert.equal(viewOf(packet as Uint8Array).getUint32(0), spi, address.join('.'));
    counts.set(spi, (counts.get(spi) ?? 0) + 1);
  }
  assert.ok(counts.size > 45);
  // The first tunnel goes down: its packets are dropped, and never taken by those that overlap it.
  await engine.apply([{ type: 'remove', direction: 'out', spi: 1000 }]);
  assert.deepEqual(addon.outbound(plane, [plainFrame(packetTo([10, 100, 7, 1]))]), []);
  await engine.close();
});

/** The first branch in the file that has the address. */
function ownerOf(second: number, _number: number): number {
  const own = second - 100;
  if (own >= 0 && own < 47) return own;
  return 49;
}
