// The kernel's XFRM between a host and the network, for tests that run in a guest.

import { execFileSync } from 'node:child_process';
import { after } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createMemoryPlane, type MemoryPlane } from '../../src/dataplane/memory.ts';
import { createXfrm, type XfrmPlane } from '../../src/dataplane/xfrm.ts';
import { ROUTING } from '../../src/host/wanted.ts';
import { type Addon, loadAddon } from '../../src/native.ts';
import type { Change, LinkKind, SaParameters } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import type { Machine, UnderTest } from '../dataplane.suite.ts';
import { openKernelGateway } from './gateway.ts';
import { mirrored, outboundSa, policy, range } from './packets.ts';

/** Tables of thousands are long. */
const MOST_TEXT = 2 ** 25;
export const ip = (line: string) =>
  execFileSync('ip', line.split(' '), { encoding: 'utf8', maxBuffer: MOST_TEXT });
export const addon = loadAddon();
export const gateway = await openKernelGateway();
const sockets = addon.create(1, 0);
const failed = addon.openPort(sockets, [addressBytes('192.0.2.1')], 500, 4500, ROUTING.mark, true, true);
if (failed !== '') throw new Error(failed);
after(() => {
  gateway.close();
  addon.stop(sockets);
});

export function open(through: Addon = addon, links?: LinkKind): UnderTest {
  const native = addon.create(1, 0);
  addon.openPort(native, [], 0, 0, 0, true, true);
  const plane = createXfrm(through, native, {
    mark: ROUTING.mark,
    clock: addon.bootTime,
    ...(links ? { links } : {}),
  });
  addon.start(native, () => {});
  const under: UnderTest = {
    plane,
    outbound: async (packet) => (await gateway.fromHost(packet)).esp,
    inbound: (esp, from = { address: '198.51.100.1', port: 4500 }) => gateway.fromPeer(esp, from),
    whole: {
      outbound: async (packet) => (await gateway.fromHost(packet)).whole,
      inbound: gateway.fromNetwork,
    },
    deliver: () => plane.deliver(),
    end: () => addon.stop(native),
    machine: machineOf(
      () => addon.stop(native),
      () => plane.settle(),
    ),
  };
  return under;
}

function machineOf(kill: () => void, settle: () => Promise<void>): Machine {
  return {
    leaks: async (packet) => (await gateway.fromHost(packet)).clear.length,
    admits: async (packet) => (await gateway.fromNetwork(packet)) !== undefined,
    settle,
    async next() {
      kill();
      return open();
    },
    meddle: (what) => {
      const line =
        what === 'sa'
          ? 'xfrm state delete dst 198.51.100.1 proto esp spi 1000'
          : 'xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/16 dir out';
      execFileSync('ip', line.split(' '));
    },
  };
}

export const CHOICE = { encryption: 'aes-gcm-16', keyBits: 128 } as const;
export const PACKET = Uint8Array.from(
  Buffer.from('4500002000000000401166b90a0100090a02000910002000000c00000a0b0c0d', 'hex'),
);

export function sending(sa = outboundSa(1000, CHOICE)): Change[] {
  return [
    { type: 'add-policy', policy: policy('t/net', { acquire: true }) },
    { type: 'add-outbound', sa },
    { type: 'use-outbound', policy: 't/net', spi: sa.spi, remote: sa.remote },
  ];
}

export async function withPlane(
  run: (plane: XfrmPlane) => Promise<void>,
  through: Addon = addon,
  links?: LinkKind,
): Promise<void> {
  const { plane, end } = open(through, links);
  try {
    await run(plane as XfrmPlane);
  } finally {
    await plane.close({ guards: 'remove' });
    end();
  }
}

export const ANYWHERE = {
  local: [range('0.0.0.0', '255.255.255.255')],
  remote: [range('0.0.0.0', '255.255.255.255')],
};

/** The same packet to 10.<second>.<third>.9, and the answer to it. */
export function towards(second: number, third = 0): { packet: Uint8Array; answer: Uint8Array } {
  const packet = PACKET.slice();
  packet.set([second, third], 17);
  viewOf(packet).setUint16(10, 0);
  viewOf(packet).setUint16(10, checksum(packet.subarray(0, 20)));
  const answer = packet.slice();
  answer.set(packet.subarray(16, 20), 12);
  answer.set(packet.subarray(12, 16), 16);
  return { packet, answer };
}

export async function peerOf(sent: SaParameters, received: SaParameters): Promise<MemoryPlane> {
  const peer = createMemoryPlane(createNodeProvider());
  const { local, remote } = sent.selectors;
  await peer.apply([
    { type: 'add-policy', policy: policy('t/net', { selectors: { local: remote, remote: local } }) },
    { type: 'add-inbound', sa: { ...mirrored(sent), policy: 't/net' } },
    { type: 'add-outbound', sa: { ...mirrored(received), policy: 't/net' } },
    { type: 'use-outbound', policy: 't/net', spi: received.spi, remote: received.local },
  ]);
  return peer;
}
