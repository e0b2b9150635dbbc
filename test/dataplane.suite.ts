// The contract of data planes: each must pass it. `open` gives a fresh one and the two ways through it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataPlane } from '../src/dataplane/dataplane.ts';
import { DataPlaneError } from '../src/dataplane/dataplane.ts';
import type { Change, DataPlaneEvent } from '../src/policy/sad.ts';
import { inboundOf, outboundSa, policy, seeded } from './dataplane/packets.ts';

export interface UnderTest {
  plane: DataPlane;
  outbound(packet: Uint8Array): Uint8Array | undefined;
  inbound(esp: Uint8Array, from?: { address: string; port: number }): Uint8Array | undefined;
  /** Hands on what the plane has to tell. */
  deliver(): void;
}

const GCM = { encryption: 'aes-gcm-16', keyBits: 256 } as const;
const PEER = '198.51.100.1';
const sa = outboundSa(1000, GCM);
const useFirst: Change = { type: 'use-outbound', policy: 't/net', spi: 1000, remote: PEER };
const both: Change[] = [
  { type: 'add-policy', policy: policy('t/net', { acquire: true }) },
  { type: 'add-inbound', sa: inboundOf(sa) },
  { type: 'add-outbound', sa },
];

/** IPv4, UDP, from 10.1.0.9 to 10.2.0.9. */
const PACKET = Uint8Array.from(
  Buffer.from('4500002000000000401166a80a0100090a02000910002000000c00000a0b0c0d', 'hex'),
);

/** Where packets come from: as installed, from another port, from another address. */
const FROM = [
  [PEER, 4500],
  [PEER, 40_000],
  ['198.51.100.77', 40_000],
  [PEER, 4500],
] as const;

export function testDataPlane(name: string, open: () => UnderTest): void {
  test(`${name}: what one side protects the other side reads`, async () => {
    const { plane, outbound, inbound } = open();
    await plane.apply([...both, useFirst]);
    const esp = outbound(PACKET)!;
    assert.ok(!Buffer.from(esp).includes(Buffer.from('0a0b0c0d', 'hex')));
    assert.deepEqual(inbound(esp), PACKET);
    await plane.close();
  });

  test(`${name}: applying the same changes again does nothing`, async () => {
    const { plane, outbound } = open();
    await plane.apply([...both, useFirst]);
    outbound(PACKET);
    await plane.apply([...both, useFirst]);
    const { sas, policies } = await plane.snapshot();
    assert.equal(policies.length, 1);
    assert.deepEqual(sas.map(({ direction, inUse, packets }) => [direction, inUse, packets]).sort(), [
      ['in', true, 0n],
      ['out', true, 1n],
    ]);
    await plane.close();
  });

  test(`${name}: an SPI with other keys is refused as existing, and the rest of the changes is not applied`, async () => {
    const { plane } = open();
    await plane.apply(both);
    const other = { ...sa, encryption: { ...sa.encryption!, key: new Uint8Array(36).fill(9) } };
    await assert.rejects(
      plane.apply([
        { type: 'add-outbound', sa: other },
        { type: 'remove', direction: 'in', spi: 1000 },
      ]),
      (error) => error instanceof DataPlaneError && error.reason === 'exists',
    );
    assert.equal((await plane.snapshot()).sas.length, 2);
    await plane.close();
  });

  test(`${name}: an SA that does not exist cannot be used`, async () => {
    const { plane } = open();
    await plane.apply(both.slice(0, 1));
    await assert.rejects(
      plane.apply([useFirst]),
      (error) => error instanceof DataPlaneError && error.reason === 'refused',
    );
    await plane.close();
  });

  test(`${name}: a policy without an SA asks once, and nothing leaves`, async () => {
    const under = open();
    const events = eventsOf(under.plane);
    await under.plane.apply(both);
    assert.equal(under.outbound(PACKET), undefined);
    assert.equal(under.outbound(PACKET), undefined);
    under.deliver();
    assert.deepEqual(events, [
      {
        type: 'acquire',
        policy: 't/net',
        packet: { local: '10.1.0.9', remote: '10.2.0.9', protocol: 17, localPort: 4096, remotePort: 8192 },
      },
    ]);
    await under.plane.close();
  });

  test(`${name}: an SA that is removed is not used any more`, async () => {
    const { plane, outbound, inbound } = open();
    await plane.apply([...both, useFirst]);
    const esp = outbound(PACKET)!;
    await plane.apply([
      { type: 'remove', direction: 'out', spi: 1000 },
      { type: 'remove', direction: 'in', spi: 1000 },
    ]);
    assert.equal(outbound(PACKET), undefined);
    assert.equal(inbound(esp), undefined);
    assert.deepEqual((await plane.snapshot()).sas, []);
    await plane.close();
  });

  test(`${name}: a policy that is set again keeps its SA`, async () => {
    const { plane, outbound } = open();
    await plane.apply([...both, useFirst, { type: 'add-policy', policy: policy('t/net', { order: 5 }) }]);
    assert.ok(outbound(PACKET));
    await plane.close();
  });

  test(`${name}: the lower order is asked first`, async () => {
    const { plane, outbound } = open();
    await plane.apply([
      ...both,
      useFirst,
      { type: 'add-policy', policy: policy('t/first', { order: -1, action: 'discard' }) },
    ]);
    assert.equal(outbound(PACKET), undefined);
    assert.equal((await plane.snapshot()).drops['outbound-discard-policy'], 1n);
    await plane.close();
  });

  test(`${name}: the first packet in, a moved peer and both limits are told once each`, async () => {
    const under = open();
    const events = eventsOf(under.plane);
    const limited = { ...sa, lifetime: { softPackets: 2n, hardPackets: 3n } };
    await under.plane.apply([
      both[0]!,
      { type: 'add-inbound', sa: inboundOf(sa) },
      { type: 'add-outbound', sa: limited },
      useFirst,
    ]);
    for (let i = 0; i < 4; i++) {
      const esp = under.outbound(PACKET);
      assert.equal(esp !== undefined, i < 3, 'at the hard limit it stops');
      const [address, port] = FROM[i]!;
      if (esp) under.inbound(esp, { address, port });
    }
    under.deliver();
    const told = events.filter(({ type }) => type !== 'mapping');
    assert.deepEqual(told, [
      { type: 'first-inbound', spi: 1000 },
      { type: 'expire', direction: 'out', spi: 1000, hard: false },
      { type: 'expire', direction: 'out', spi: 1000, hard: true },
    ]);
    const moves = events.flatMap((event) =>
      event.type === 'mapping' ? `${event.remote} ${event.remotePort}` : [],
    );
    assert.deepEqual([...new Set(moves)], [`${PEER} 40000`, '198.51.100.77 40000']);
    await under.plane.close();
  });

  test(`${name}: three overlapping policies never mix their SAs, in any order of changes`, async () => {
    for (let seed = 0; seed < 50; seed++) await neverMixed(open(), seed);
  });
}

/** The packet belongs to the first of the three that is there; what leaves carries that one's SPI or does not leave. */
async function neverMixed({ plane, outbound }: UnderTest, seed: number): Promise<void> {
  const random = seeded(seed);
  const there = new Map<number, boolean>();
  for (let step = 0; step < 40; step++) {
    const n = random(3);
    const [id, spi] = [`t${n}/net`, 2000 + n];
    const add: Change[] = [{ type: 'add-policy', policy: policy(id, { order: n }) }];
    const use: Change[] = [
      { type: 'add-outbound', sa: outboundSa(spi, GCM, { policy: id }) },
      { type: 'use-outbound', policy: id, spi, remote: PEER },
    ];
    const choice = random(4);
    if (choice === 0) await plane.apply([{ type: 'remove-policy', policy: id }]);
    else if (choice === 1) await plane.apply([{ type: 'remove', direction: 'out', spi }]);
    else await plane.apply([...add, ...use]);
    if (choice === 0) there.delete(n);
    else if (choice === 1) there.has(n) && there.set(n, false);
    else there.set(n, true);
    const first = [0, 1, 2].find((one) => there.has(one));
    const expected = first !== undefined && there.get(first) ? 2000 + first : undefined;
    const esp = outbound(PACKET);
    assert.equal(esp && Buffer.from(esp).readUInt32BE(0), expected, `seed ${seed}, step ${step}`);
  }
  await plane.close();
}

function eventsOf(plane: DataPlane): DataPlaneEvent[] {
  const events: DataPlaneEvent[] = [];
  plane.onEvent((event) => events.push(event));
  return events;
}
