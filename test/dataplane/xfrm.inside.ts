// The contract on the kernel's XFRM. Runs in the guest that xfrm.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createMemoryPlane, type MemoryPlane } from '../../src/dataplane/memory.ts';
import { createXfrm, type XfrmPlane } from '../../src/dataplane/xfrm.ts';
import { createHost } from '../../src/host/host.ts';
import { OURS, wantedFor } from '../../src/host/wanted.ts';
import { type Addon, loadAddon } from '../../src/native.ts';
import {
  type Change,
  type DataPlaneEvent,
  type LinkKind,
  type SaParameters,
  vtiKey,
} from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import { type Machine, testDataPlane, type UnderTest } from '../dataplane.suite.ts';
import { openKernelGateway } from './gateway.ts';
import { inboundSa, mirrored, outboundSa, policy, range, SITE_A, SITE_B } from './packets.ts';

const ip = (line: string) => execFileSync('ip', line.split(' '), { encoding: 'utf8' });
const addon = loadAddon();
const gateway = await openKernelGateway();
const sockets = addon.create(1, 0);
const failed = addon.openPort(sockets, [addressBytes('192.0.2.1')], 500, 4500, OURS.mark, true, true);
if (failed !== '') throw new Error(failed);
after(() => {
  gateway.close();
  addon.stop(sockets);
});

function open(through: Addon = addon, links?: LinkKind): UnderTest {
  const native = addon.create(1, 0);
  addon.openPort(native, [], 0, 0, 0, true, true);
  const plane = createXfrm(through, native, {
    mark: OURS.mark,
    clock: addon.bootTime,
    ...(links ? { links } : {}),
  });
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

async function withPlane(
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
  assert.equal(addon.openLink(native, OURS.device, 0), '');
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

const ANYWHERE = {
  local: [range('0.0.0.0', '255.255.255.255')],
  remote: [range('0.0.0.0', '255.255.255.255')],
};

/** The same packet to 10.<second>.0.9, and the answer to it. */
function towards(second: number): { packet: Uint8Array; answer: Uint8Array } {
  const packet = PACKET.slice();
  packet[17] = second;
  viewOf(packet).setUint16(10, 0);
  viewOf(packet).setUint16(10, checksum(packet.subarray(0, 20)));
  const answer = packet.slice();
  answer.set(packet.subarray(16, 20), 12);
  answer.set(packet.subarray(12, 16), 16);
  return { packet, answer };
}

async function peerOf(sent: SaParameters, received: SaParameters): Promise<MemoryPlane> {
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

test('xfrm: VTIs of the same selectors, and a policy beside them: each packet goes the way it is routed', () => {
  const links = [1, 2].map((id) => ({ name: `vti${id}`, id, remote: `198.51.100.${id}`, to: 20 + id }));
  for (const { name, id, remote, to } of links) {
    const key = `0x${vtiKey({ id }).toString(16)}`;
    ip(`link add ${name} type vti local 192.0.2.1 remote ${remote} key ${key}`);
    ip(`link set dev ${name} up`);
    ip(`route add 10.${to}.0.0/16 dev ${name}`);
  }
  return withPlane(
    async (plane) => {
      const sas = links.map(({ name, id, remote }) => {
        const more = { policy: `${name}/net`, remote, selectors: ANYWHERE };
        return [outboundSa(1000 + id, CHOICE, more), inboundSa(2000 + id, CHOICE, more)] as const;
      });
      for (const [index, { name, id }] of links.entries()) {
        const [sent, received] = sas[index]!;
        await plane.apply([
          { type: 'add-policy', policy: policy(`${name}/net`, { selectors: ANYWHERE, link: { name, id } }) },
          { type: 'add-inbound', sa: received },
          { type: 'add-outbound', sa: sent },
          { type: 'use-outbound', policy: `${name}/net`, spi: sent.spi, remote: sent.remote },
        ]);
      }
      await plane.apply([
        { type: 'add-policy', policy: policy('t/net', { selectors: { local: SITE_A, remote: SITE_B } }) },
        { type: 'add-outbound', sa: outboundSa(1009, CHOICE, { remote: '198.51.100.9' }) },
        { type: 'use-outbound', policy: 't/net', spi: 1009, remote: '198.51.100.9' },
      ]);
      for (const [index, { remote, to }] of links.entries()) {
        const [sent, received] = sas[index]!;
        const peer = await peerOf(sent, received);
        const { packet, answer } = towards(to);
        const left = await gateway.fromHost(packet);
        assert.deepEqual([left.clear.length, left.to?.address], [0, remote]);
        assert.deepEqual(peer.inbound(left.esp!), packet);
        const back = await gateway.fromPeer(peer.outbound(answer)!, { address: remote, port: 4500 });
        assert.deepEqual(back, answer);
      }
      assert.equal((await gateway.fromHost(towards(2).packet)).to?.address, '198.51.100.9');
      const { policies, sas: installed } = await plane.snapshot();
      assert.deepEqual([policies.length, installed.length], [3, 5]);
      assert.deepEqual(
        installed.map(({ packets }) => packets),
        [1n, 1n, 1n, 1n, 1n],
      );
      // An SA that is gone: nothing passes by another way.
      await plane.apply([{ type: 'remove', direction: 'out', spi: 1001 }]);
      const { esp, clear } = await gateway.fromHost(towards(21).packet);
      assert.deepEqual([esp, clear.length], [undefined, 0]);
    },
    addon,
    'vti',
  ).finally(() => {
    for (const { name } of links) ip(`link delete ${name}`);
  });
});

const NUMBERS = Array.from({ length: 200 }, (_, index) => index);

/** A tunnel of its own to 10.20.<index>.0/24. */
function numberedTunnel(index: number): Change[] {
  const selectors = { local: SITE_A, remote: [range(`10.20.${index}.0`, `10.20.${index}.255`)] };
  const name = `t${index}/net`;
  const remote = `198.51.100.${1 + index}`;
  return [
    { type: 'add-policy', policy: policy(name, { selectors }) },
    { type: 'add-inbound', sa: inboundSa(20_000 + index, CHOICE, { policy: name, remote, selectors }) },
    { type: 'add-outbound', sa: outboundSa(10_000 + index, CHOICE, { policy: name, remote, selectors }) },
    { type: 'use-outbound', policy: name, spi: 10_000 + index, remote },
  ];
}

/** An SA of another program. */
function plant(change: 'add' | 'delete', source: string, destination: string, spi: number): void {
  const place = ['src', source, 'dst', destination, 'proto', 'esp', 'spi', `${spi}`];
  const more = ['mode', 'tunnel', 'aead', 'rfc4106(gcm(aes))', `0x${'42'.repeat(20)}`, '128'];
  execFileSync('ip', ['xfrm', 'state', change, ...place, ...(change === 'add' ? more : [])]);
}

test('xfrm: many change sets of one turn go together; those that other programs stand in the way of fail, and no others', () =>
  withPlane(async (plane) => {
    const foreign = 'src 10.1.0.0/16 dst 10.20.7.0/24 dir out';
    execFileSync('ip', `xfrm policy add ${foreign} action block`.split(' '));
    plant('add', '192.0.2.1', '198.51.100.12', 10_011);
    plant('add', '198.51.100.99', '192.0.2.1', 20_013);
    const results = await Promise.allSettled(NUMBERS.map((index) => plane.apply(numberedTunnel(index))));
    const failed = results.flatMap((result, index) =>
      result.status === 'rejected' ? [[index, result.reason.reason, result.reason.message]] : [],
    );
    assert.deepEqual(failed, [
      [7, 'refused', 'another program has a policy with these selectors: ip xfrm policy'],
      [11, 'exists', 'that SPI is in use with other keys'],
      [13, 'exists', 'that SPI is in use with other keys'],
    ]);
    // Another SPI does it.
    const [first, ...others] = numberedTunnel(13);
    const again = others.map((change): Change => {
      if (change.type === 'add-inbound') return { ...change, sa: { ...change.sa, spi: 30_013 } };
      return change;
    });
    await plane.apply([first!, ...again]);
    const { policies, sas } = await plane.snapshot();
    assert.equal(policies.length, NUMBERS.length - 1);
    // Of the one whose second SA failed the first one stays, as the contract says.
    assert.equal(sas.filter((sa) => sa.policy !== '?').length, 2 * (NUMBERS.length - 3) + 2 + 1);
    await plane.close({ guards: 'remove' });
    const left = execFileSync('ip', ['xfrm', 'state'], { encoding: 'utf8' });
    const spis = [...left.matchAll(/spi 0x0*([1-9a-f][0-9a-f]*) /g)].map(([, spi]) =>
      Number.parseInt(spi!, 16),
    );
    assert.deepEqual(spis.sort(), [10_011, 20_013], 'what others have stays');
    execFileSync('ip', `xfrm policy delete ${foreign}`.split(' '));
    plant('delete', '192.0.2.1', '198.51.100.12', 10_011);
    plant('delete', '198.51.100.99', '192.0.2.1', 20_013);
  }));

test('xfrm: in one set of thousands nothing behind a failed change is there', () =>
  withPlane(async (plane) => {
    plant('add', '192.0.2.1', '198.51.100.101', 10_100);
    const adds = (type: Change['type']) =>
      NUMBERS.flatMap((index) => numberedTunnel(index).filter((change) => change.type === type));
    const sets = [...adds('add-policy'), ...adds('add-inbound'), ...adds('add-outbound')];
    await assert.rejects(plane.apply(sets), /that SPI is in use/);
    const { policies, sas } = await plane.snapshot();
    assert.equal(policies.length, NUMBERS.length);
    const outbound = sas.filter(({ direction }) => direction === 'out').map(({ spi }) => spi);
    assert.deepEqual(
      outbound.sort((a, b) => a - b),
      NUMBERS.slice(0, 100).map((index) => 10_000 + index),
    );
    plant('delete', '192.0.2.1', '198.51.100.101', 10_100);
  }));

testDataPlane('xfrm', () => open(), {
  rounds: 5,
  cannot: {
    'the first packet of an inbound SA is told once':
      'the kernel does not tell; the counters show it (capabilities.firstInbound)',
    'two links and a tunnel without one, any selectors: each packet takes its own SA, and arrives at its own device':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
    'each link asks for an SA of its own; what none is for is dropped and counted':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
    'a policy that is set again with another link takes its SAs there':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
  },
});
