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

/** A /16 each; the first claims a part of the fourth's, the last two parts of others' and all there is. */
const NETWORKS: readonly (readonly [second: number, third: number, bits: number])[] = [
  [103, 7, 24],
  ...Array.from({ length: TUNNELS - 3 }, (_, n) => [101 + n, 0, 16] as const),
  [100, 0, 15],
  [0, 0, 0],
];

function branches(): Policy[] {
  return NETWORKS.map(([second, third, bits], order) => {
    const network = bits === 0 ? '0.0.0.0/0' : `10.${second}.${third}.0/${bits}`;
    return policy(`t${order}/net`, { order, selectors: { local: LOCAL, remote: [selectorOf(network)!] } });
  });
}

/** The first tunnel in the file whose network has 10.second.third.x. */
function ownerOf(second: number, third: number): number {
  const inside = (bits: number) => ((10 << 16) | (second << 8) | third) >>> (24 - bits);
  return NETWORKS.findIndex(
    ([near, far, bits]) => bits === 0 || inside(bits) === ((10 << 16) | (near << 8) | far) >>> (24 - bits),
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
  const plane = addon.create(1, 0);
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
    const [packet] = addon.outbound(plane, [plainFrame(packetTo(address))], 0);
    const spi = 1000 + ownerOf(address[1]!, address[2]!);
    assert.equal(viewOf(packet as Uint8Array).getUint32(0), spi, address.join('.'));
    counts.set(spi, (counts.get(spi) ?? 0) + 1);
  }
  assert.equal(counts.size, TUNNELS, 'every tunnel carried something');
  // The first tunnel goes down: its packets are dropped, and never taken by those that overlap it.
  await engine.apply([{ type: 'remove', direction: 'out', spi: 1000 }]);
  assert.deepEqual(addon.outbound(plane, [plainFrame(packetTo([10, 103, 7, 1]))], 0), []);
  await engine.close();
});
