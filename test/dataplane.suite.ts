// The contract of data planes: each must pass it. The peer at the other end is the memory plane, so that every plane is
// held against the reference. What a plane cannot do is a skip with its reason.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../src/crypto/node-provider.ts';
import type { DataPlane } from '../src/dataplane/dataplane.ts';
import { DataPlaneError } from '../src/dataplane/dataplane.ts';
import { createMemoryPlane, type MemoryPlane } from '../src/dataplane/memory.ts';
import type {
  Change,
  DataPlaneEvent,
  Lifetime,
  Policy,
  SaParameters,
  SelectorSet,
} from '../src/policy/sad.ts';
import { addressBytes } from '../src/wire/address.ts';
import { readFlow, viewOf } from '../src/wire/ip.ts';
import {
  inboundSa,
  mirrored,
  outboundAh,
  outboundSa,
  policy,
  range,
  type SaChoice,
  SITE_A,
  SITE_B,
  seeded,
} from './dataplane/packets.ts';

/** A gateway with hosts behind it and a network before it. */
export interface UnderTest {
  plane: DataPlane;
  /** A host sends a packet: the ESP packet that leaves, without its outer headers, or nothing. */
  outbound(packet: Uint8Array): Promise<Uint8Array | undefined>;
  /** The network brings an ESP packet: what reaches the hosts, or nothing. */
  inbound(esp: Uint8Array, from?: { address: string; port: number }): Promise<Uint8Array | undefined>;
  /** The same of whole packets: AH, and what travels in transport mode, has an IP header that is part of it. */
  whole: {
    outbound(packet: Uint8Array): Promise<Uint8Array | undefined>;
    inbound(packet: Uint8Array): Promise<Uint8Array | undefined>;
  };
  /** The same with the number of a link: the device that a packet comes from, and the one that it reaches. */
  links?: {
    outbound(packet: Uint8Array, link: number): Promise<Uint8Array | undefined>;
    inbound(esp: Uint8Array): Promise<{ packet: Uint8Array; link: number } | undefined>;
  };
  /** Hands on what the plane has to tell. */
  deliver(): void;
  /** Ends what the harness started. The plane is closed by the test, or not. */
  end(): void;
  /** Only where the plane's objects are the kernel's, which lives on. */
  machine?: Machine;
}

export interface Machine {
  /** A host sends a packet: how many packets leave in the clear. */
  leaks(packet: Uint8Array): Promise<number>;
  /** The network brings a packet in the clear: whether it reaches the hosts. */
  admits(packet: Uint8Array): Promise<boolean>;
  /** All policies that are wanted were added. */
  settle(): Promise<void>;
  /** The process is killed: nothing is closed, and the next one starts. */
  next(): Promise<UnderTest>;
  /** Somebody else removes an SA, or a policy. */
  meddle(what: 'sa' | 'policy'): void;
}

type Open = () => UnderTest | Promise<UnderTest>;

const GCM = { encryption: 'aes-gcm-16', keyBits: 256 } as const;
const CBC = { encryption: 'aes-cbc', keyBits: 128, integrity: 'hmac-sha2-256-128' } as const;
const CHACHA = { encryption: 'chacha20-poly1305', keyBits: 256 } as const;
const PEER = '198.51.100.1';
const out = outboundSa(1000, GCM);
const into = inboundSa(1001, GCM);
const useFirst = { type: 'use-outbound', policy: 't/net', spi: 1000, remote: PEER } satisfies Change;
const both: Change[] = [
  { type: 'add-policy', policy: policy('t/net', { acquire: true }) },
  { type: 'add-inbound', sa: into },
  { type: 'add-outbound', sa: out },
];

/** IPv4, UDP, from 10.1.0.9 to 10.2.0.9, and the other way. */
const PACKET = fromHex('4500002000000000401166b90a0100090a02000910002000000c00000a0b0c0d');
const REPLY = fromHex('4500002000000000401166b90a0200090a01000920001000000c00000a0b0c0d');
/** IPv6, UDP, from fd01::9 to fd02::9. */
const PACKET_V6 = fromHex(
  '60000000000c1140fd010000000000000000000000000009fd02000000000000000000000000000910002000000c7aa10a0b0c0d',
);

/** Where packets come from: as installed, from another port, from another address and port. */
const FROM = [
  [PEER, 4500],
  [PEER, 40_000],
  ['198.51.100.77', 40_001],
] as const;

export interface Choices {
  /** Titles of tests that the plane cannot pass, with the reason. */
  cannot?: Record<string, string>;
  /** Random orders of changes to try. */
  rounds?: number;
}

export function testDataPlane(name: string, open: Open, { cannot = {}, rounds = 50 }: Choices = {}): void {
  const contract = (title: string, run: (under: UnderTest) => Promise<void>) =>
    test(`${name}: ${title}`, { skip: cannot[title] ?? false }, async () => {
      const under = await open();
      try {
        await run(under);
      } finally {
        under.end();
      }
    });

  contract('what one side protects the other side reads, both ways', async (under) => {
    const { plane, outbound, inbound } = under;
    await plane.apply([...both, useFirst]);
    const peer = await peerOf(out, into);
    const esp = await outbound(PACKET);
    assert.ok(!Buffer.from(esp!).includes(Buffer.from('0a0b0c0d', 'hex')));
    assert.deepEqual(peer.inbound(esp!), PACKET);
    assert.deepEqual(peer.inbound((await outbound(PACKET_V6))!), PACKET_V6);
    assert.deepEqual(await inbound(peer.outbound(REPLY)!), REPLY);
    await close(plane);
  });

  contract(
    'every kind of algorithm, plain and in UDP, with and without extended sequence numbers',
    async (under) => {
      const { plane, outbound, inbound } = under;
      await plane.apply(both.slice(0, 1));
      for (const [index, { choice, changes, plain }] of KINDS.entries()) {
        const [sent, received] = [
          outboundSa(3000 + index, choice, changes),
          inboundSa(4000 + index, choice, changes),
        ];
        for (const sa of plain ? [sent, received] : []) delete sa.udp;
        await plane.apply([
          { type: 'add-inbound', sa: received },
          { type: 'add-outbound', sa: sent },
          { ...useFirst, spi: sent.spi },
        ]);
        const peer = await peerOf(sent, received);
        const what = `${choice.encryption} ${JSON.stringify(changes)}${plain ? ' plain' : ''}`;
        assert.deepEqual(peer.inbound((await outbound(PACKET))!), PACKET, what);
        const from = { address: PEER, port: plain ? 0 : 4500 };
        assert.deepEqual(await inbound(peer.outbound(REPLY)!, from), REPLY, what);
      }
      await close(plane);
    },
  );

  contract(
    'AH in tunnel mode, with and without extended numbers: both ways, and once only',
    async (under) => {
      const { plane, whole } = under;
      const names = (['hmac-sha2-256-128', 'hmac-sha1-96', 'aes-cmac-96'] as const).filter((one) =>
        plane.capabilities.authentication.includes(one),
      );
      assert.ok(names.length > 0, 'the plane does AH');
      await plane.apply(both.slice(0, 1));
      for (const [index, changes] of [{}, { esn: true, replayWindow: 4096 }].entries()) {
        for (const [more, name] of names.entries()) {
          const spi = 5000 + 100 * index + 2 * more;
          const sent = outboundAh(spi, name, changes);
          const received: SaParameters = { ...outboundAh(spi + 1, name, changes), direction: 'in' };
          await plane.apply([...addBoth(sent, received)]);
          const peer = await peerOf(sent, received);
          for (const packet of [PACKET, PACKET_V6])
            assert.deepEqual(peer.inboundPacket((await whole.outbound(packet))!), packet, name);
          const reply = peer.outbound(REPLY)!;
          assert.deepEqual(await whole.inbound(reply), REPLY, name);
          assert.equal(await whole.inbound(reply), undefined, name);
          assert.equal(await whole.inbound(damaged(peer.outbound(REPLY)!)), undefined, name);
        }
      }
      await close(plane);
    },
  );

  for (const protocol of ['esp', 'ah'] as const) {
    contract(
      `${protocol.toUpperCase()} in transport mode: between the outer addresses themselves, both ways, and nobody else`,
      async (under) => {
        const { plane, whole } = under;
        const [sent, received] = hostSas(protocol, OUTERMOST);
        await plane.apply([
          { type: 'add-policy', policy: policy('t/net', { selectors: OUTERMOST }) },
          ...addBoth(sent, received),
        ]);
        const peer = await peerOf(sent, received, { local: OUTERMOST.remote, remote: OUTERMOST.local });
        const packet = await whole.outbound(GRE);
        assert.deepEqual(peer.inboundPacket(packet!), GRE);
        const reply = peer.outbound(GRE_REPLY)!;
        assert.deepEqual(await whole.inbound(reply), GRE_REPLY);
        assert.equal(await whole.inbound(reply), undefined);
        assert.equal(await whole.outbound(PACKET), undefined);
        await close(plane);
      },
    );
  }

  contract('transport mode carries no packets of hosts behind, whatever its selectors say', async (under) => {
    const { plane, whole } = under;
    const [sent, received] = hostSas('esp', NETWORKS);
    await plane.apply([
      { type: 'add-policy', policy: policy('t/net', { selectors: NETWORKS }) },
      ...addBoth(sent, received),
    ]);
    assert.ok(await whole.outbound(GRE));
    assert.equal(await whole.outbound(PACKET), undefined);
    await close(plane);
  });

  contract(
    'ESP in transport mode in UDP: what was inside, between the addresses that we see',
    async (under) => {
      const { plane, outbound, inbound } = under;
      const udp = { localPort: 4500, remotePort: 4500 };
      const [sent, received] = hostSas('esp', OUTERMOST).map((sa) => ({ ...sa, udp })) as [
        SaParameters,
        SaParameters,
      ];
      // The peer is behind a NAT: it knows itself by another address.
      const translated = { ...received, original: { local: received.local, remote: '10.9.8.7' } };
      await plane.apply([
        { type: 'add-policy', policy: policy('t/net', { selectors: OUTERMOST }) },
        ...addBoth(sent, translated),
      ]);
      const peer = await peerOf(sent, received, { local: OUTERMOST.remote, remote: OUTERMOST.local });
      assert.deepEqual(insideOf(peer.inbound((await outbound(GRE))!)!), insideOf(GRE));
      const reply = peer.outbound(GRE_REPLY)!;
      assert.deepEqual(insideOf((await inbound(reply))!), insideOf(GRE_REPLY));
      assert.equal(await inbound(reply), undefined);
      await close(plane);
    },
  );

  contract('applying the same changes again does nothing', async ({ plane, outbound }) => {
    await plane.apply([...both, useFirst]);
    const first = await outbound(PACKET);
    await plane.apply([...both, useFirst]);
    const { sas, policies } = await plane.snapshot();
    assert.equal(policies.length, 1);
    assert.deepEqual(sas.map(({ direction, inUse, packets }) => [direction, inUse, packets]).sort(), [
      ['in', true, 0n],
      ['out', true, 1n],
    ]);
    assert.deepEqual([sequenceOf(first!), sequenceOf((await outbound(PACKET))!)], [1, 2]);
    await close(plane);
  });

  contract(
    'an SPI with other keys is refused as existing, and the rest of the changes is not applied',
    async ({ plane }) => {
      await plane.apply(both);
      for (const sa of [out, into]) {
        const other = { ...sa, encryption: { ...sa.encryption!, key: new Uint8Array(36).fill(9) } };
        const add = sa.direction === 'in' ? 'add-inbound' : 'add-outbound';
        await assert.rejects(
          plane.apply([
            { type: add, sa: other },
            { type: 'remove', direction: 'in', spi: 1001 },
          ]),
          (error) => error instanceof DataPlaneError && error.reason === 'exists',
        );
      }
      assert.equal((await plane.snapshot()).sas.length, 2);
      await close(plane);
    },
  );

  contract('an SA that does not exist cannot be used', async ({ plane }) => {
    await plane.apply(both.slice(0, 1));
    await assert.rejects(
      plane.apply([useFirst]),
      (error) => error instanceof DataPlaneError && error.reason === 'refused',
    );
    await close(plane);
  });

  contract('a policy without an SA asks once, and nothing leaves', async (under) => {
    const events = eventsOf(under.plane);
    await under.plane.apply(both);
    assert.equal(await under.outbound(PACKET), undefined);
    assert.equal(await under.outbound(PACKET), undefined);
    await told(under, () => events.length >= 1);
    assert.deepEqual(events, [ACQUIRE]);
    await close(under.plane);
  });

  contract('an SA that is removed is not used any more', async ({ plane, outbound, inbound }) => {
    await plane.apply([...both, useFirst]);
    const reply = (await peerOf(out, into)).outbound(REPLY)!;
    assert.ok(await outbound(PACKET));
    await plane.apply([
      { type: 'remove', direction: 'out', spi: 1000 },
      { type: 'remove', direction: 'in', spi: 1001 },
    ]);
    assert.equal(await outbound(PACKET), undefined);
    assert.equal(await inbound(reply), undefined);
    assert.deepEqual((await plane.snapshot()).sas, []);
    await close(plane);
  });

  contract('a policy whose SA was removed asks again', async (under) => {
    const { plane, outbound } = under;
    const events = eventsOf(plane);
    await plane.apply(both);
    await outbound(PACKET);
    await told(under, () => events.length >= 1);
    await plane.apply([useFirst, { type: 'remove', direction: 'out', spi: 1000 }]);
    await outbound(PACKET);
    await told(under, () => events.length >= 2);
    assert.deepEqual(events, [ACQUIRE, ACQUIRE]);
    await close(plane);
  });

  contract('a policy that is set again keeps its SA', async ({ plane, outbound }) => {
    await plane.apply([...both, useFirst, { type: 'add-policy', policy: policy('t/net', { order: 5 }) }]);
    assert.ok(await outbound(PACKET));
    await close(plane);
  });

  contract('the lower order is asked first', async ({ plane, outbound }) => {
    await plane.apply([
      ...both,
      useFirst,
      { type: 'add-policy', policy: policy('t/first', { order: -1, action: 'discard' }) },
    ]);
    assert.equal(await outbound(PACKET), undefined);
    assert.equal((await plane.snapshot()).drops['outbound-discard-policy'], 1n);
    await close(plane);
  });

  contract(
    'a new SA beside the old: the old one sends until the new one is used, and both are heard',
    async (under) => {
      const { plane, outbound, inbound } = under;
      const [newOut, newIn] = [outboundSa(2000, CHACHA), inboundSa(2001, CHACHA)];
      await plane.apply([...both, useFirst]);
      const [oldPeer, newPeer] = [await peerOf(out, into), await peerOf(newOut, newIn)];
      const spiNow = async () => spiOf((await outbound(PACKET))!);
      await plane.apply([{ type: 'add-inbound', sa: newIn }]);
      await plane.apply([{ type: 'add-outbound', sa: newOut }]);
      assert.equal(await spiNow(), 1000);
      assert.deepEqual(await inbound(newPeer.outbound(REPLY)!), REPLY);
      for (const spi of [2000, 1000, 2000]) {
        await plane.apply([{ ...useFirst, spi }]);
        assert.equal(await spiNow(), spi);
      }
      await plane.apply([{ type: 'remove', direction: 'out', spi: 1000 }]);
      assert.equal(await spiNow(), 2000);
      // Drained: what was under way still arrives until the inbound SA is removed.
      assert.deepEqual(await inbound(oldPeer.outbound(REPLY)!), REPLY);
      await plane.apply([{ type: 'remove', direction: 'in', spi: 1001 }]);
      assert.equal(await inbound(oldPeer.outbound(REPLY)!), undefined);
      assert.deepEqual(await inbound(newPeer.outbound(REPLY)!), REPLY);
      await close(plane);
    },
  );

  contract('what comes before its SA arrives once it is added, where it was expected', async (under) => {
    const { plane, inbound } = under;
    await plane.apply([both[0]!, { type: 'expect-inbound', spi: 1001 }]);
    const peer = await peerOf(out, into);
    const early = peer.outbound(REPLY)!;
    assert.equal(await inbound(early), undefined);
    await plane.apply([{ type: 'add-inbound', sa: into }]);
    // Threads look by themselves; here somebody else's packet makes it look.
    assert.deepEqual(await inbound(Uint8Array.of(0, 0, 0, 9, 0, 0, 0, 1)), REPLY);
    assert.equal(await inbound(early), undefined);
    const { sas, drops } = await plane.snapshot();
    assert.equal(sas[0]!.packets, 1n);
    assert.deepEqual(drops, { 'inbound-unknown-spi': 1n, 'inbound-replay': 1n });
    await close(plane);
  });

  contract('what was expected and is forgotten, or removed, never arrives', async ({ plane, inbound }) => {
    const peer = await peerOf(out, into);
    const ends: Change[] = [
      { type: 'forget-inbound', spi: 1001 },
      { type: 'remove', direction: 'in', spi: 1001 },
    ];
    await plane.apply([both[0]!]);
    for (const end of ends) {
      await plane.apply([{ type: 'expect-inbound', spi: 1001 }]);
      assert.equal(await inbound(peer.outbound(REPLY)!), undefined);
      await plane.apply([end]);
    }
    await plane.apply([{ type: 'add-inbound', sa: into }, ends[0]!]);
    assert.deepEqual(await inbound(peer.outbound(REPLY)!), REPLY);
    const { sas, drops } = await plane.snapshot();
    assert.deepEqual([sas[0]!.packets, drops], [1n, { 'inbound-early': 2n }]);
    await close(plane);
  });

  contract(
    'a packet that came already, or left the window, is dropped and counted',
    async ({ plane, inbound }) => {
      const windowed = { ...into, replayWindow: 32 };
      await plane.apply([both[0]!, { type: 'add-inbound', sa: windowed }]);
      const peer = await peerOf(out, windowed);
      const packets = Array.from({ length: 40 }, () => peer.outbound(REPLY)!);
      const arrives = async (number: number) => (await inbound(packets[number - 1]!)) !== undefined;
      const order = [1, 1, 40, 40, 9, 8, 39, 39, 10];
      const passed: boolean[] = [];
      for (const number of order) passed.push(await arrives(number));
      assert.deepEqual(passed, [true, false, true, false, true, false, true, false, true]);
      const { sas, drops } = await plane.snapshot();
      assert.equal(drops['inbound-replay'], 4n);
      assert.equal(sas[0]?.packets, 5n);
      await close(plane);
    },
  );

  contract(
    'a packet that was changed on its way is dropped, and its number stays free',
    async ({ plane, inbound }) => {
      await plane.apply([both[0]!, { type: 'add-inbound', sa: into }]);
      const esp = (await peerOf(out, into)).outbound(REPLY)!;
      const damaged = esp.slice();
      damaged[esp.length - 1]! ^= 1;
      assert.equal(await inbound(damaged), undefined);
      assert.deepEqual(await inbound(esp), REPLY);
      assert.equal((await plane.snapshot()).drops['inbound-authentication'], 1n);
      await close(plane);
    },
  );

  contract(
    'what an SA may not carry does not come out of it, though another may',
    async ({ plane, inbound }) => {
      const selectors = { local: [range('10.1.0.0', '10.1.0.7')], remote: SITE_B.slice(0, 1) };
      const wide = inboundSa(2001, GCM);
      await plane.apply([both[0]!, { type: 'add-inbound', sa: { ...into, selectors } }]);
      // The peer believes that each SA carries everything.
      const [narrowPeer, widePeer] = [await peerOf(out, into), await peerOf(out, wide)];
      assert.equal(await inbound(narrowPeer.outbound(REPLY)!), undefined);
      await plane.apply([{ type: 'add-inbound', sa: wide }]);
      assert.deepEqual(await inbound(widePeer.outbound(REPLY)!), REPLY);
      assert.equal(await inbound(narrowPeer.outbound(REPLY)!), undefined);
      await close(plane);
    },
  );

  contract('what an SA may not carry does not go into it', async ({ plane, outbound }) => {
    const narrow = {
      ...out,
      selectors: { local: SITE_A.slice(0, 1), remote: [range('10.2.0.8', '10.2.0.15')] },
    };
    await plane.apply([both[0]!, { type: 'add-outbound', sa: narrow }, useFirst]);
    assert.ok(await outbound(PACKET));
    const beside = PACKET.slice();
    beside[19] = 16; // 10.2.0.16
    beside[11]! -= 7;
    assert.equal(await outbound(beside), undefined);
    await close(plane);
  });

  contract('counters are those of each SA', async ({ plane, outbound, inbound }) => {
    await plane.apply([...both, useFirst]);
    const peer = await peerOf(out, into);
    for (let i = 0; i < 3; i++) await outbound(PACKET);
    for (let i = 0; i < 2; i++) await inbound(peer.outbound(REPLY)!);
    const { sas } = await plane.snapshot();
    const counted = sas.map(({ direction, packets }) => [direction, packets]).sort();
    assert.deepEqual(counted, [
      ['in', 2n],
      ['out', 3n],
    ]);
    for (const { packets, bytes } of sas) assert.ok(bytes >= packets * BigInt(PACKET.length));
    await close(plane);
  });

  contract('a moved peer is told where it is', async (under) => {
    const { plane, inbound } = under;
    const events = eventsOf(plane);
    await plane.apply([both[0]!, { type: 'add-inbound', sa: into }]);
    const peer = await peerOf(out, into);
    for (const [address, port] of FROM) await inbound(peer.outbound(REPLY)!, { address, port });
    const moves = () =>
      events.flatMap((event) => (event.type === 'mapping' ? `${event.remote} ${event.remotePort}` : []));
    await told(under, () => new Set(moves()).size >= 2);
    assert.deepEqual([...new Set(moves())], [`${PEER} 40000`, '198.51.100.77 40001']);
    await close(plane);
  });

  contract('the first packet of an inbound SA is told once', async (under) => {
    const events = eventsOf(under.plane);
    await under.plane.apply([both[0]!, { type: 'add-inbound', sa: into }]);
    const peer = await peerOf(out, into);
    for (let i = 0; i < 2; i++) await under.inbound(peer.outbound(REPLY)!);
    await told(under, () => events.length >= 1);
    assert.deepEqual(events, [{ type: 'first-inbound', spi: 1001 }]);
    await close(under.plane);
  });

  contract('both limits of packets are told once each, and at the hard one it stops', (under) =>
    limited(under, async () => ({ softPackets: 2n, hardPackets: 3n })),
  );

  contract('both limits of bytes are told once each, and at the hard one it stops', (under) =>
    limited(under, async () => {
      await under.plane.apply([
        both[0]!,
        { type: 'add-outbound', sa: outboundSa(5000, GCM) },
        { ...useFirst, spi: 5000 },
      ]);
      await under.outbound(PACKET);
      const size = (await under.plane.snapshot()).sas[0]!.bytes;
      await under.plane.apply([{ type: 'remove', direction: 'out', spi: 5000 }]);
      return { softBytes: 2n * size, hardBytes: 3n * size };
    }),
  );

  contract(
    'three overlapping policies never mix their SAs, in any order of changes',
    async ({ plane, outbound }) => {
      for (let seed = 0; seed < rounds; seed++) await neverMixed(plane, outbound, seed);
      await close(plane);
    },
  );

  for (const family of [4, 6] as const)
    contract(
      `AH in both modes and ESP in transport mode over IPv${family}: what one side protects the other side reads`,
      (under) => wholePackets(under, family),
    );

  contract(
    'two links and a tunnel without one, any selectors: each packet takes its own SA, and arrives at its own device',
    async ({ plane, links }) => {
      await plane.apply(LINKED.flatMap(addAll));
      const ends = await Promise.all(
        LINKED.map(async (linked) => ({ ...linked, peer: await peerOf(linked.sent, linked.received) })),
      );
      for (const { sent, link, peer } of [...ends, ...ends.toReversed()]) {
        const esp = await links!.outbound(PACKET, link);
        assert.equal(spiOf(esp!), sent.spi, `from link ${link}`);
        assert.deepEqual(peer.inbound(esp!), PACKET);
        assert.deepEqual(await links!.inbound(peer.outbound(REPLY)!), { packet: REPLY, link });
      }
      const [first] = LINKED;
      await plane.apply([{ type: 'remove-policy', policy: first!.id }]);
      assert.equal(await links!.outbound(PACKET, first!.link), undefined, 'no other takes it');
      assert.equal((await plane.snapshot()).drops['outbound-no-policy'], 1n);
      await close(plane);
    },
  );

  contract('each link asks for an SA of its own; what none is for is dropped and counted', async (under) => {
    const { plane, links } = under;
    const events = eventsOf(plane);
    const asking = (link: Linked): Change => ({ type: 'add-policy', policy: policyOf(link, true) });
    await plane.apply(LINKED.slice(0, 2).map(asking));
    for (const { link } of [...LINKED, ...LINKED])
      assert.equal(await links!.outbound(PACKET, link), undefined);
    await told(under, () => events.length >= 2);
    const asked = LINKED.slice(0, 2).map(({ id }) => ({ ...ACQUIRE, policy: id }));
    assert.deepEqual(events, asked);
    assert.equal((await plane.snapshot()).drops['outbound-no-policy'], 2n);
    await close(plane);
  });

  contract('a policy that is set again with another link takes its SAs there', async ({ plane, links }) => {
    const [from, to] = LINKED;
    await plane.apply(addAll(from!));
    await plane.apply([{ type: 'add-policy', policy: { ...policyOf(to!, false), id: from!.id } }]);
    const peer = await peerOf(from!.sent, from!.received);
    assert.equal(await links!.outbound(PACKET, from!.link), undefined);
    assert.equal(spiOf((await links!.outbound(PACKET, to!.link))!), from!.sent.spi);
    assert.deepEqual(await links!.inbound(peer.outbound(REPLY)!), { packet: REPLY, link: to!.link });
    await close(plane);
  });

  contract(
    'a machine lets nothing pass in the clear: before, between, after, and when the process is killed',
    async (under) => {
      const { plane, machine } = under;
      const { leaks, admits, next } = machine!;
      const closed = async (when: string) => {
        assert.equal(await leaks(PACKET), 0, `${when}: cleartext leaves`);
        assert.equal(await leaks(PACKET_V6), 0, `${when}: cleartext leaves`);
        assert.equal(await admits(REPLY), false, `${when}: cleartext is let in`);
      };
      assert.equal(await leaks(PACKET), 1, 'without a guard it would leave');
      assert.equal(await admits(REPLY), true, 'without a guard it would come in');
      await plane.apply(both.slice(0, 1));
      await closed('before the first SA');
      await plane.apply(both.slice(1));
      await closed('SAs that are not in use');
      await plane.apply([useFirst]);
      await closed('SAs in use');
      await plane.apply([{ type: 'remove', direction: 'out', spi: 1000 }]);
      await closed('between SAs');
      await plane.apply([...both.slice(1), useFirst]);
      const second = await next();
      await closed('killed, the next process has begun');
      await second.plane.apply([
        { type: 'add-policy', policy: policy('another/net', { selectors: ELSEWHERE }) },
      ]);
      await closed('the next process adds its policies one by one');
      await second.plane.apply(both.slice(0, 1));
      await second.machine!.settle();
      await closed('all policies are added');
      await second.plane.apply([...both.slice(1), useFirst]);
      await second.plane.close();
      await closed('closed, guards kept');
      const third = await second.machine!.next();
      await third.machine!.settle();
      assert.equal(await leaks(PACKET), 1, 'the next process does not want the policy any more');
      await third.plane.close({ guards: 'remove' });
      third.end();
    },
  );

  contract('what a killed process left is removed by the next, and nothing else', async (under) => {
    await under.plane.apply([...both, useFirst]);
    const next = await under.machine!.next();
    await next.machine!.settle();
    assert.deepEqual((await next.plane.snapshot()).sas, []);
    await next.plane.apply([...both, useFirst]);
    assert.equal(sequenceOf((await next.outbound(PACKET))!), 1);
    await close(next.plane);
    next.end();
  });

  contract(
    'what somebody else removed is missing in the snapshot, and the same changes bring it back',
    async (under) => {
      const { plane, machine } = under;
      await plane.apply([...both, useFirst]);
      machine!.meddle('sa');
      assert.deepEqual(
        (await plane.snapshot()).sas.map(({ direction }) => direction),
        ['in'],
      );
      machine!.meddle('policy');
      assert.deepEqual((await plane.snapshot()).policies, []);
      await plane.apply([...both, useFirst]);
      const { sas, policies } = await plane.snapshot();
      assert.equal(sas.length, 2);
      assert.equal(policies.length, 1);
      assert.ok(await under.outbound(PACKET));
      await close(plane);
    },
  );
}

const HOSTS = {
  4: { local: '192.0.2.1', remote: PEER },
  6: { local: '2001:db8::1', remote: '2001:db8::2' },
} as const;

/** Each once, with what it has to count and to tell: the first packet in, the limit out, the same number again. */
async function wholePackets(under: UnderTest, family: 4 | 6): Promise<void> {
  const { plane, whole } = under;
  const events = eventsOf(plane);
  const hosts = HOSTS[family];
  const between = { local: [range(hosts.local, hosts.local)], remote: [range(hosts.remote, hosts.remote)] };
  for (const [index, { protocol, mode }] of WHOLE.entries()) {
    const inTunnel = mode === 'tunnel';
    const selectors = inTunnel ? { local: SITE_A, remote: SITE_B } : between;
    const changes = { ...hosts, protocol, mode, selectors, lifetime: { hardPackets: 1n } };
    const sent = wholeSa(outboundSa(8000 + index, CBC, changes));
    const received = wholeSa(inboundSa(9000 + index, CBC, { ...changes, lifetime: {} }));
    await plane.apply([
      { type: 'add-policy', policy: policy('t/net', { selectors }) },
      { type: 'add-inbound', sa: received },
      { type: 'add-outbound', sa: sent },
      { type: 'use-outbound', policy: 't/net', spi: sent.spi, remote: sent.remote },
    ]);
    const peer = await peerOf(sent, received, { local: selectors.remote, remote: selectors.local });
    const what = `${protocol} in ${mode} mode`;
    const [there, back] = inTunnel ? [PACKET, REPLY] : betweenHosts(family);
    assert.deepEqual(
      withoutIds(peer.inboundPacket((await whole.outbound(there))!)!),
      withoutIds(there),
      what,
    );
    assert.equal(await whole.outbound(there), undefined, `${what}: no more than its limit`);
    const reply = peer.outbound(back)!;
    assert.deepEqual(withoutIds((await whole.inbound(reply))!), withoutIds(back), what);
    assert.equal(await whole.inbound(reply), undefined, `${what}: once`);
    await told(under, () => events.length >= 2);
    assert.deepEqual(events.splice(0), [
      { type: 'expire', direction: 'out', spi: sent.spi, hard: true },
      { type: 'first-inbound', spi: received.spi },
    ]);
  }
  assert.equal((await plane.snapshot()).drops['inbound-replay'], 3n);
  await close(plane);
}

const WHOLE = [
  { protocol: 'ah', mode: 'tunnel' },
  { protocol: 'ah', mode: 'transport' },
  { protocol: 'esp', mode: 'transport' },
] as const;

/** Not in UDP; AH without encryption. */
function wholeSa({ udp: _, encryption, ...sa }: SaParameters): SaParameters {
  return sa.protocol === 'ah' ? sa : { ...sa, ...(encryption ? { encryption } : {}) };
}

/** GRE from host to host, and back. */
function betweenHosts(family: 4 | 6): [there: Uint8Array, back: Uint8Array] {
  const { local, remote } = HOSTS[family];
  const [here, far] = [local, remote].map((address) => Buffer.from(addressBytes(address)).toString('hex'));
  const front = family === 4 ? '4500001800000000402f0000' : '6000000000042f40';
  return [fromHex(`${front}${here}${far}00000800`), fromHex(`${front}${far}${here}00000800`)];
}

/** Without the identification of an IPv4 packet, which a sender may give it, and the checksum over that. */
function withoutIds(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  return packet[0]! >> 4 === 4 ? copy.fill(0, 4, 6).fill(0, 10, 12) : copy;
}

/** Tunnels of all addresses: two by an interface, and one that has none. */
interface Linked {
  id: string;
  /** 0: none. */
  link: number;
  sent: SaParameters;
  received: SaParameters;
}

const ANY: SelectorSet = {
  local: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
  remote: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
};

const LINKED: Linked[] = [1, 2, 0].map((link) => {
  const id = `link${link}/net`;
  const changes = { policy: id, selectors: ANY };
  return {
    id,
    link,
    sent: outboundSa(6000 + link, GCM, changes),
    received: inboundSa(7000 + link, CHACHA, changes),
  };
});

function policyOf({ id, link }: Linked, acquire: boolean): Policy {
  return policy(id, { acquire, selectors: ANY, ...(link ? { link: { name: `to-${link}`, id: link } } : {}) });
}

function addAll(linked: Linked): Change[] {
  const { id, sent, received } = linked;
  return [
    { type: 'add-policy', policy: policyOf(linked, false) },
    { type: 'add-inbound', sa: received },
    { type: 'add-outbound', sa: sent },
    { type: 'use-outbound', policy: id, spi: sent.spi, remote: PEER },
  ];
}

/** The kinds that every plane has; the vectors of each algorithm are tested with the provider and the engine. */
const KINDS: readonly { choice: SaChoice; changes: Partial<SaParameters>; plain: boolean }[] = [
  { choice: GCM, changes: {}, plain: false },
  { choice: CBC, changes: {}, plain: false },
  { choice: CHACHA, changes: {}, plain: false },
  { choice: GCM, changes: { esn: true, replayWindow: 4096 }, plain: false },
  { choice: CBC, changes: { esn: true }, plain: false },
  { choice: GCM, changes: {}, plain: true },
  { choice: CBC, changes: { esn: true }, plain: true },
];

/** GRE with four bytes in it, from our outer address to the peer's, and the other way. */
const GRE = fromHex('4500001c12340000402f7c49c0000201c6336401000008000a0b0c0d');
const GRE_REPLY = fromHex('4500001c12340000402f7c49c6336401c0000201000008000a0b0c0d');
const OUTERMOST: SelectorSet = { local: [range('192.0.2.1', '192.0.2.1')], remote: [range(PEER, PEER)] };
const NETWORKS: SelectorSet = {
  local: [range('10.1.0.0', '10.1.255.255'), ...OUTERMOST.local],
  remote: [range('10.2.0.0', '10.2.255.255'), ...OUTERMOST.remote],
};

/** An SA in each direction, in transport mode. */
function hostSas(protocol: 'esp' | 'ah', selectors: SelectorSet): [SaParameters, SaParameters] {
  const changes = { mode: 'transport', selectors } as const;
  const make = (spi: number): SaParameters => {
    if (protocol === 'ah') return outboundAh(spi, 'hmac-sha2-256-128', changes);
    const { udp, ...sa } = outboundSa(spi, GCM, changes);
    return sa;
  };
  return [make(8000), { ...make(8001), direction: 'in' }];
}

/** The rest of its header stays behind where a packet travels in UDP. */
function insideOf(packet: Uint8Array) {
  const { source, destination, protocol, transport } = readFlow(packet)!;
  return { source, destination, protocol, payload: packet.subarray(transport) };
}

function addBoth(sent: SaParameters, received: SaParameters): Change[] {
  return [
    { type: 'add-inbound', sa: received },
    { type: 'add-outbound', sa: sent },
    { ...useFirst, spi: sent.spi },
  ];
}

function damaged(packet: Uint8Array): Uint8Array {
  packet[packet.length - 1]! ^= 1;
  return packet;
}

const ELSEWHERE: SelectorSet = {
  local: [range('10.5.0.0', '10.5.255.255')],
  remote: [range('10.6.0.0', '10.6.0.9')],
};

const ACQUIRE: DataPlaneEvent = {
  type: 'acquire',
  policy: 't/net',
  packet: { local: '10.1.0.9', remote: '10.2.0.9', protocol: 17, localPort: 4096, remotePort: 8192 },
};

/** Three packets pass. */
async function limited(under: UnderTest, limits: () => Promise<Lifetime>): Promise<void> {
  const { plane, outbound } = under;
  const lifetime = await limits();
  const events = eventsOf(plane);
  const add: Change = { type: 'add-policy', policy: policy('t/net') };
  await plane.apply([add, { type: 'add-outbound', sa: { ...out, lifetime } }, useFirst]);
  const left: boolean[] = [];
  for (let i = 0; i < 5; i++) left.push((await outbound(PACKET)) !== undefined);
  assert.deepEqual(left, [true, true, true, false, false]);
  await told(under, () => events.length >= 2);
  assert.equal(await outbound(PACKET), undefined);
  under.deliver();
  assert.deepEqual(events, [
    { type: 'expire', direction: 'out', spi: 1000, hard: false },
    { type: 'expire', direction: 'out', spi: 1000, hard: true },
  ]);
  await close(plane);
}

/** The packet belongs to the first of the three that is there; what leaves carries that one's SPI or does not leave. */
async function neverMixed(plane: DataPlane, outbound: UnderTest['outbound'], seed: number): Promise<void> {
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
    const esp = await outbound(PACKET);
    assert.equal(esp && spiOf(esp), expected, `seed ${seed}, step ${step}`);
  }
  await plane.apply([0, 1, 2].map((n) => ({ type: 'remove-policy', policy: `t${n}/net` }) as const));
  await plane.apply([0, 1, 2].map((n) => ({ type: 'remove', direction: 'out', spi: 2000 + n }) as const));
}

/** The other end of two SAs. */
async function peerOf(
  sent: SaParameters,
  received: SaParameters,
  selectors: SelectorSet = { local: SITE_B, remote: SITE_A },
): Promise<MemoryPlane> {
  const peer = createMemoryPlane(createNodeProvider());
  await peer.apply([
    { type: 'add-policy', policy: policy('t/net', { selectors }) },
    { type: 'add-inbound', sa: mirrored(sent) },
    { type: 'add-outbound', sa: mirrored(received) },
    { type: 'use-outbound', policy: 't/net', spi: received.spi, remote: received.local },
  ]);
  return peer;
}

function close(plane: DataPlane): Promise<void> {
  return plane.close({ guards: 'remove' });
}

/** Waits, for a while, for what another thread has to tell. */
async function told(under: UnderTest, enough: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    under.deliver();
    if (enough()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function eventsOf(plane: DataPlane): DataPlaneEvent[] {
  const events: DataPlaneEvent[] = [];
  plane.onEvent((event) => events.push(event));
  return events;
}

function spiOf(esp: Uint8Array): number {
  return viewOf(esp).getUint32(0);
}

function sequenceOf(esp: Uint8Array): number {
  return viewOf(esp).getUint32(4);
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}
