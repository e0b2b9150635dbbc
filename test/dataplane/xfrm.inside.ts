// The contract on the kernel's XFRM. Runs in the guest that xfrm.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { createXfrm } from '../../src/dataplane/xfrm.ts';
import { createHost } from '../../src/host/host.ts';
import { OURS, ROUTING, wantedFor } from '../../src/host/wanted.ts';
import type { Change, DataPlaneEvent } from '../../src/policy/sad.ts';
import { testDataPlane } from '../dataplane.suite.ts';
import { inboundSa, outboundSa, policy, range, SITE_A, SITE_B } from './packets.ts';
import { addon, CHOICE, gateway, open, PACKET, peerOf, sending, towards, withPlane } from './xfrm-guest.ts';

const MOVES: [string, number][] = [
  ['198.51.100.1', 40_000],
  ['198.51.100.9', 4500],
  ['198.51.100.9', 40_001],
];
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

/** What the kernel has to tell waits for us in so few bytes; smaller is nothing (SOCK_MIN_RCVBUF). */
const NARROW = 2304;

test('xfrm: what the kernel told in vain stands in its tables all the same: limits, questions, moved peers', async () => {
  const native = addon.create(1, 0);
  addon.openPort(native, [], 0, 0, 0, true, true);
  const plane = createXfrm(addon, native, { mark: ROUTING.mark, clock: addon.bootTime, room: NARROW });
  const events: DataPlaneEvent[] = [];
  plane.onEvent((event) => events.push(event));
  const towardsSecond = (second: number) => ({
    local: SITE_A,
    remote: [range(`10.${second}.0.0`, `10.${second}.255.255`)],
  });
  const asking = (second: number) =>
    policy(`asking${second}/net`, { acquire: true, order: 1, selectors: towardsSecond(second) });
  const soft = outboundSa(1000, CHOICE, { lifetime: { softPackets: 1n, hardPackets: 9n } });
  const hard = outboundSa(1002, CHOICE, {
    policy: 'hard/net',
    selectors: towardsSecond(30),
    lifetime: { hardPackets: 1n },
  });
  const into = inboundSa(1001, CHOICE);
  await plane.apply([
    ...sending(soft),
    { type: 'add-inbound', sa: into },
    { type: 'add-policy', policy: policy('hard/net', { selectors: towardsSecond(30) }) },
    { type: 'add-outbound', sa: hard },
    { type: 'use-outbound', policy: 'hard/net', spi: 1002, remote: hard.remote },
    ...[40, 41, 42, 43, 3].map((second): Change => ({ type: 'add-policy', policy: asking(second) })),
  ]);
  // Nobody listens yet: these fill what little room there is, and the rest is lost.
  for (const second of [40, 41, 42, 43]) await gateway.fromHost(towards(second).packet);
  await gateway.fromHost(PACKET);
  for (let i = 0; i < 2; i++) await gateway.fromHost(towards(30).packet);
  await gateway.fromHost(towards(3).packet);
  const peer = await peerOf(soft, into);
  const moved = { address: '198.51.100.1', port: 40_000 };
  await gateway.fromPeer(peer.outbound(towards(2).answer)!, moved);
  addon.start(native, () => plane.deliver());
  const told = (type: DataPlaneEvent['type']) => events.filter((event) => event.type === type);
  await until(() => told('expire').length >= 2 && told('acquire').length >= 1);
  assert.deepEqual(
    told('expire').sort((one) => (one.type === 'expire' && one.hard ? 1 : -1)),
    [
      { type: 'expire', direction: 'out', spi: 1000, hard: false },
      { type: 'expire', direction: 'out', spi: 1002, hard: true },
    ],
  );
  const asked = told('acquire').map((event) => event.type === 'acquire' && event.policy);
  assert.ok(asked.includes('asking3/net'), `${asked}`);
  const { drops } = await plane.snapshot();
  assert.ok(drops['events-lost']! >= 1n, 'the loss is counted');
  // The kernel tells of a moved peer once a second.
  const mapping = { type: 'mapping', spi: 1001, remote: moved.address, remotePort: moved.port } as const;
  await until(async () => {
    await gateway.fromPeer(peer.outbound(towards(2).answer)!, moved);
    return told('mapping').length > 0;
  });
  assert.deepEqual(told('mapping')[0], mapping);
  await plane.close({ guards: 'remove' });
  addon.stop(native);
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail('nothing was told');
}

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

test('xfrm: in a window that is no power of two the first packet is taken once, as any other', () =>
  withPlane(async (plane) => {
    const received = inboundSa(1001, CHOICE, { replayWindow: 96 });
    await plane.apply([
      { type: 'add-policy', policy: policy('t/net') },
      { type: 'add-inbound', sa: received },
    ]);
    const peer = await peerOf(outboundSa(1000, CHOICE), received);
    const first = peer.outbound(towards(2).answer)!;
    const from = { address: '198.51.100.1', port: 4500 };
    assert.ok(await gateway.fromPeer(first, from));
    assert.equal(await gateway.fromPeer(first, from), undefined);
  }));

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
    'AH in both modes and ESP in transport mode over IPv4: what one side protects the other side reads':
      'first-inbound is not told, and its bridge has no IPv6 outside: the rows of each protocol and mode beside this one run, and witness.inside.ts holds both families against the reference',
    'AH in both modes and ESP in transport mode over IPv6: what one side protects the other side reads':
      'first-inbound is not told, and its bridge has no IPv6 outside: the rows of each protocol and mode beside this one run, and witness.inside.ts holds both families against the reference',
    'transport mode carries no packets of hosts behind, whatever its selectors say':
      'the kernel keeps what it asks for there under the SPI of the template, and deletes that one first; IKE agrees on no such selectors',
    'the first packet of an inbound SA is told once':
      'the kernel does not tell; the counters show it (capabilities.firstInbound)',
    'what comes before its SA arrives once it is added, where it was expected':
      'the kernel drops what comes before its SA (capabilities.expects)',
    'what was expected and is forgotten, or removed, never arrives':
      'the kernel drops what comes before its SA (capabilities.expects)',
    'two links and a tunnel without one, any selectors: each packet takes its own SA, and arrives at its own device':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
    'each link asks for an SA of its own; what none is for is dropped and counted':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
    'a policy that is set again with another link takes its SAs there':
      'its links are interfaces that the host makes, which this harness does not: a test of its own sends through them',
  },
});
