// The contract on the kernel's XFRM. Runs in the guest that xfrm.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { createXfrm, type XfrmPlane } from '../../src/dataplane/xfrm.ts';
import { createHost } from '../../src/host/host.ts';
import { OURS, wantedFor } from '../../src/host/wanted.ts';
import { type Addon, loadAddon } from '../../src/native.ts';
import type { Change, DataPlaneEvent } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { type Machine, testDataPlane, type UnderTest } from '../dataplane.suite.ts';
import { openKernelGateway } from './gateway.ts';
import { outboundSa, policy, range, SITE_A, SITE_B } from './packets.ts';

const addon = loadAddon();
const gateway = await openKernelGateway();
const sockets = addon.create(1, 0);
const failed = addon.openPort(sockets, [addressBytes('192.0.2.1')], 500, 4500, OURS.mark, true, true);
if (failed !== '') throw new Error(failed);
after(() => {
  gateway.close();
  addon.stop(sockets);
});

function open(through: Addon = addon): UnderTest {
  const native = addon.create(1, 0);
  addon.openPort(native, [], 0, 0, 0, true, true);
  const plane = createXfrm(through, native, { mark: OURS.mark, clock: addon.bootTime });
  addon.start(native, () => {});
  const under: UnderTest = {
    plane,
    outbound: async (packet) => (await gateway.fromHost(packet)).esp,
    inbound: (esp, from = { address: '198.51.100.1', port: 4500 }) => gateway.fromPeer(esp, from),
    deliver: () => plane.deliver(),
    end: () => addon.stop(native),
    machine: machineOf(
      () => addon.stop(native),
      () => plane.settle(),
    ),
  };
  return under;
}

function machineOf(kill: () => void, settle: () => void): Machine {
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

const MOVES: [string, number][] = [
  ['198.51.100.1', 40_000],
  ['198.51.100.9', 4500],
  ['198.51.100.9', 40_001],
];
const CHOICE = { encryption: 'aes-gcm-16', keyBits: 128 } as const;
const PACKET = Uint8Array.from(
  Buffer.from('4500002000000000401166b90a0100090a02000910002000000c00000a0b0c0d', 'hex'),
);

function sending(sa = outboundSa(1000, CHOICE)): Change[] {
  return [
    { type: 'add-policy', policy: policy('t/net', { acquire: true }) },
    { type: 'add-outbound', sa },
    { type: 'use-outbound', policy: 't/net', spi: sa.spi, remote: sa.remote },
  ];
}

async function withPlane(run: (plane: XfrmPlane) => Promise<void>, through: Addon = addon): Promise<void> {
  const { plane, end } = open(through);
  try {
    await run(plane as XfrmPlane);
  } finally {
    await plane.close({ guards: 'remove' });
    end();
  }
}

test('xfrm: a moved SA sends to the new place, under numbers that it never used', () =>
  withPlane(async (plane) => {
    await plane.apply(sending());
    await gateway.fromHost(PACKET);
    const places: unknown[] = [];
    const sequences: number[] = [];
    for (const [remote, remotePort] of MOVES) {
      await plane.apply([{ type: 'move', direction: 'out', spi: 1000, remote, remotePort }]);
      const { esp, to } = await gateway.fromHost(PACKET);
      places.push([to?.address, to?.port]);
      sequences.push(Buffer.from(esp!).readUInt32BE(4));
    }
    assert.deepEqual(places, MOVES);
    assert.equal(sequences[0], 2);
    assert.ok(sequences[1]! > 1_000_000 && sequences[2]! === sequences[1]! + 1);
    const { sas } = await plane.snapshot();
    assert.deepEqual(
      sas.map(({ spi, direction, inUse, packets }) => [spi, direction, inUse, packets]),
      [[1000, 'out', true, 4n]],
    );
  }));

test('xfrm: what the kernel told in vain stands in its tables all the same', () =>
  withPlane(
    async (plane) => {
      const events: DataPlaneEvent[] = [];
      plane.onEvent((event) => events.push(event));
      const limited = outboundSa(1000, CHOICE, { lifetime: { softPackets: 1n, hardPackets: 9n } });
      const asking = policy('asking/net', {
        acquire: true,
        order: 1,
        selectors: { local: SITE_A, remote: [range('10.3.0.0', '10.3.255.255')] },
      });
      await plane.apply([...sending(limited), { type: 'add-policy', policy: asking }]);
      await gateway.fromHost(PACKET);
      const elsewhere = PACKET.slice();
      elsewhere.set([0x66, 0xb8], 10);
      elsewhere[17] = 3;
      await gateway.fromHost(elsewhere);
      plane.deliver();
      plane.deliver();
      assert.deepEqual(
        events.map((event) => (event.type === 'acquire' ? [event.type, event.policy] : event)),
        [
          { type: 'expire', direction: 'out', spi: 1000, hard: false },
          ['acquire', 'asking/net'],
          ['acquire', 'asking/net'],
        ],
      );
      execFileSync('ip', 'xfrm state delete dst 198.51.100.1 proto esp spi 1000'.split(' '));
      plane.deliver();
      assert.deepEqual(events.at(-2), { type: 'expire', direction: 'out', spi: 1000, hard: true });
    },
    { ...addon, heard: () => [new Uint8Array(), true] },
  ));

test('xfrm: a policy of another program is not replaced, and stays', () =>
  withPlane(async (plane) => {
    const foreign = 'src 10.1.0.0/16 dst 10.2.0.0/16 dir out';
    execFileSync('ip', `xfrm policy add ${foreign} action block`.split(' '));
    await assert.rejects(plane.apply(sending().slice(0, 1)), /another program has a policy/);
    await plane.close();
    await withPlane(async (next) => next.settle());
    const listed = execFileSync('ip', `xfrm policy get ${foreign}`.split(' '), { encoding: 'utf8' });
    assert.match(listed, /action block/);
    execFileSync('ip', `xfrm policy delete ${foreign}`.split(' '));
  }));

test('xfrm: routes into a device that nobody reads are a second wall outwards, on a kernel without nftables', async () => {
  const native = addon.create(1, 0);
  assert.equal(addon.openTun(native, OURS.device), '');
  const host = createHost(addon);
  assert.equal((await gateway.fromHost(PACKET)).clear.length, 1);
  host.apply(wantedFor([{ local: SITE_A, remote: SITE_B }], [], 1400, 'xfrm'));
  assert.equal((await gateway.fromHost(PACKET)).clear.length, 0);
  // The way through an SA leads past that device.
  await withPlane(async (plane) => {
    await plane.apply(sending());
    assert.ok((await gateway.fromHost(PACKET)).esp);
  });
  assert.deepEqual(host.stopped(), { out: 0n, in: 0n });
  assert.ok(host.flush() > 0);
  assert.equal((await gateway.fromHost(PACKET)).clear.length, 1);
  addon.stop(native);
});

test('xfrm: keys of ours are in no snapshot and no journal', () =>
  withPlane(async (plane) => {
    const sa = outboundSa(1000, CHOICE);
    await plane.apply(sending(sa));
    const key = Buffer.from(sa.encryption!.key).toString('hex').slice(0, 16);
    const journals = execFileSync('sh', ['-c', 'cat /run/isthmus/*.journal'], { encoding: 'utf8' });
    assert.match(journals, /^\d+$/m);
    const text =
      journals +
      JSON.stringify(await plane.snapshot(), (_, value) => (typeof value === 'bigint' ? `${value}` : value));
    assert.ok(!text.includes(key));
  }));

testDataPlane('xfrm', () => open(), {
  rounds: 5,
  cannot: {
    'the first packet of an inbound SA is told once':
      'the kernel does not tell; the counters show it (capabilities.firstInbound)',
  },
});
