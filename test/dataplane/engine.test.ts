// The engine of native/ against dataplane/reference.ts: same verdict, same bytes, same counter, packet by packet.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { unhex } from '../../src/crypto/bytes.ts';
import {
  type EncryptionName,
  ESP_ENCRYPTION,
  ESP_INTEGRITY,
  encryptionRow,
} from '../../src/crypto/suites.ts';
import { createEngine } from '../../src/dataplane/engine.ts';
import { packetsOf, plainFrame } from '../../src/dataplane/offload.ts';
import { unprotect } from '../../src/dataplane/reference.ts';
import { sealEsp } from '../../src/dataplane/reference-esp.ts';
import { SHARED_LINK } from '../../src/dataplane/reference-links.ts';
import type { Change, OuterHeader, SaParameters } from '../../src/policy/sad.ts';
import type { Selector } from '../../src/policy/selector.ts';
import { viewOf } from '../../src/wire/ip.ts';
import {
  bytesFrom,
  hostPacket,
  inboundOf,
  outboundSa,
  policy,
  type Random,
  randomPacket,
  range,
  type SaChoice,
  SITE_A,
  SITE_B,
  seeded,
  superFrame,
} from './packets.ts';
import {
  createTwo,
  framesOf,
  PEER,
  provider,
  receiveEsp,
  sameCounters,
  sendFrames,
  type Two,
} from './two.ts';

const PACKETS = 100_000;

/** Every encryption in every key length, those without integrity of their own with every integrity. */
const CHOICES: SaChoice[] = ESP_ENCRYPTION.flatMap((encryption) => {
  const { keyBits, tagBytes } = encryptionRow(encryption);
  return keyBits.flatMap((bits): SaChoice[] =>
    tagBytes > 0
      ? [{ encryption, keyBits: bits }]
      : ESP_INTEGRITY.map((integrity) => ({ encryption, keyBits: bits, integrity })),
  );
});
const CBC: SaChoice = { encryption: 'aes-cbc', keyBits: 128, integrity: 'hmac-sha2-256-128' };
const WINDOWS = [32, 64, 1024, 4096];
const OUTERS: OuterHeader[] = [
  { df: 'copy', dscp: 'copy' },
  { df: 'clear', dscp: 46 },
  { df: 'set', dscp: 0 },
];

/** SAs over all algorithms, with and without ESN; `spi` is their index and 256. */
function allSas(): SaParameters[] {
  return CHOICES.flatMap((choice, index) =>
    [false, true].map((esn, odd) =>
      outboundSa(256 + 2 * index + odd, choice, {
        esn,
        outer: OUTERS[(index + odd) % OUTERS.length]!,
        replayWindow: WINDOWS[(index + odd) % WINDOWS.length]!,
      }),
    ),
  );
}

test(`${PACKETS} packets out: same verdict, same bytes, same counters as the reference`, async () => {
  const two = createTwo();
  const random = seeded(1);
  await two.apply([
    { type: 'add-policy', policy: policy('t/net') },
    {
      type: 'add-policy',
      policy: policy('t/bypass', { action: 'bypass', order: -2, selectors: oneHost('10.1.9.9') }),
    },
    {
      type: 'add-policy',
      policy: policy('t/none', { action: 'discard', order: -1, selectors: oneHost('10.1.7.7') }),
    },
    ...allSas().map((sa): Change => ({ type: 'add-outbound', sa })),
  ]);
  for (let i = 0; i < PACKETS; i++) {
    if (i % 100 === 0)
      await two.apply([
        { type: 'use-outbound', policy: 't/net', spi: 256 + random(2 * CHOICES.length), remote: PEER },
      ]);
    sendFrames(two, [plainFrame(randomPacket(random))], `packet ${i}`);
    if (i % 5000 === 0) await sameCounters(two, `packet ${i}`);
  }
  await sameCounters(two, 'at the end');
  assert.ok(two.drops['outbound-malformed']! > 100n && two.drops['outbound-no-policy']! > 100n);
});

/** Policies of two links and of none that overlap; each link's have SAs of their own. */
const ZONES = [0, 1, 2].flatMap((link) =>
  [0, 1].map((narrow) => ({
    id: `z${link}/${narrow}`,
    link,
    spi: 256 + 2 * link + narrow,
    changes: {
      order: narrow === 1 ? -1 : link,
      ...(narrow === 1 ? { selectors: oneHost(`10.1.${link}.${link}`) } : {}),
      ...(link > 0 ? { link: { name: `to-${link}`, id: link } } : {}),
    },
  })),
);

test('packets of links among changes of policies: each by an SA of its own link, as with the reference', async () => {
  const two = createTwo();
  const random = seeded(8);
  const policies = ZONES.map(
    ({ id, changes }): Change => ({ type: 'add-policy', policy: policy(id, changes) }),
  );
  await two.apply(
    ZONES.flatMap(({ id, spi }): Change[] => [
      { type: 'add-outbound', sa: outboundSa(spi, CHOICES[0]!, { policy: id }) },
      { type: 'add-inbound', sa: inboundOf(outboundSa(spi, CHOICES[0]!, { policy: id })) },
    ]),
  );
  for (let i = 0; i < 20_000; i++) {
    const at = random(ZONES.length);
    const { id, spi } = ZONES[at]!;
    if (i % 50 === 0)
      await two.apply([policies[at]!, { type: 'use-outbound', policy: id, spi, remote: PEER }]);
    if (i % 70 === 0) await two.apply([{ type: 'remove-policy', policy: id }]);
    // The same few flows from every link.
    const packet = hostPacket({ family: 4, protocol: 17, port: 1 }, i % 65_536, bytesFrom(random, 20));
    packet.set([10, 1, random(3), random(3)], 12);
    for (const { esp } of sendFrames(two, [plainFrame(packet)], `packet ${i}`, random(3)))
      receiveEsp(two, esp, 0, `packet ${i} back`);
  }
  await sameCounters(two, 'at the end');
});

test('what is held is released by the SA of its own link, in order', async () => {
  const two = createTwo();
  const links = [1, 2];
  const held = (link: number): Change => ({
    type: 'add-policy',
    policy: policy(`z${link}`, { acquire: true, link: { name: `to-${link}`, id: link } }),
  });
  const use = (link: number): Change[] => [
    { type: 'add-outbound', sa: outboundSa(256 + link, CHOICES[0]!, { policy: `z${link}` }) },
    { type: 'use-outbound', policy: `z${link}`, spi: 256 + link, remote: PEER },
  ];
  await two.apply(links.map(held));
  const packets = [1, 2, 3].map((id) =>
    plainFrame(hostPacket({ family: 4, protocol: 17, port: 1 }, id, bytesFrom(seeded(id), 20))),
  );
  const none = (link: number) => assert.deepEqual(two.addon.outbound(two.plane, packets, link), []);
  for (const link of links) none(link);
  for (const link of links.toReversed()) {
    await two.apply(use(link));
    const sent = two.addon.outbound(two.plane, [], SHARED_LINK);
    const spis = sent
      .filter((_, index) => index % 3 === 0)
      .map((esp) => viewOf(esp as Uint8Array).getUint32(0));
    assert.deepEqual(spis, [256 + link, 256 + link, 256 + link]);
  }
  // A link whose policy is gone while packets wait gives them to nobody.
  await two.apply([{ type: 'remove', direction: 'out', spi: 257 }]);
  none(1);
  await two.apply([{ type: 'remove-policy', policy: 'z1' }]);
  assert.deepEqual(two.addon.outbound(two.plane, [], SHARED_LINK), []);
  assert.equal((await two.engine.snapshot()).drops['outbound-hold-expired'], 3n);
});

function oneHost(address: string) {
  return { local: [{ ...SITE_A[0]!, start: address, end: address }], remote: SITE_B };
}

/** The next sequence number: mostly onward, now and then back, far ahead, or the same again. */
function nextSequence(random: Random, top: bigint, sa: SaParameters): bigint {
  const most = sa.esn ? 2n ** 63n : 2n ** 32n - 1n;
  const steps = [
    1n,
    1n,
    1n,
    BigInt(random(20)),
    BigInt(random(sa.replayWindow * 2)),
    -BigInt(random(sa.replayWindow + 64)),
  ];
  const far = sa.esn ? 2n ** 31n + BigInt(random(1000)) : BigInt(random(5000));
  const next = top + (random(200) === 0 ? far : steps[random(steps.length)]!);
  return next < 0n ? 0n : next > most ? most : next;
}

function spoil(random: Random, esp: Uint8Array): Uint8Array {
  if (random(3) === 0) return esp.subarray(0, random(esp.length));
  const copy = esp.slice();
  copy[random(copy.length)]! ^= 1 << random(8);
  return copy;
}

test(`${PACKETS} packets in: replay, reorder, corruption, strange trailers: the same as the reference`, async () => {
  const two = createTwo();
  const random = seeded(2);
  const sas = allSas().map((sa) => inboundOf(sa));
  await two.apply(sas.map((sa): Change => ({ type: 'add-inbound', sa })));
  const tops = new Map(sas.map((sa) => [sa.spi, 0n]));
  let received = 0;
  for (let i = 0; i < PACKETS; i++) {
    const sa = sas[random(sas.length)]!;
    const sequence = nextSequence(random, tops.get(sa.spi)!, sa);
    const trailing = random(40) === 0 ? { bytes: bytesFrom(random, random(40)) } : {};
    const next = random(60) === 0 ? { next: [59, 4, 41, 6][random(4)]! } : {};
    const esp = sealEsp(provider, sa, sequence, randomPacket(random), () => bytesFrom(random, 16), {
      ...trailing,
      ...next,
    });
    const ecn = random(10) === 0 ? random(4) : 0;
    const sent = random(10) === 0 ? spoil(random, esp) : esp;
    if (receiveEsp(two, sent, ecn, `packet ${i}`)) {
      received++;
      if (sequence > tops.get(sa.spi)!) tops.set(sa.spi, sequence);
    }
    if (random(10) === 0) receiveEsp(two, sent, ecn, `packet ${i} again`);
    if (i % 5000 === 0) await sameCounters(two, `packet ${i}`);
  }
  await sameCounters(two, 'at the end');
  assert.ok(received > PACKETS / 4, `${received} received`);
  for (const cause of ['replay', 'authentication', 'malformed', 'selector', 'dummy', 'unknown-spi'])
    assert.ok((two.drops[`inbound-${cause}`] ?? 0n) > 50n, `${cause}: ${two.drops[`inbound-${cause}`]}`);
});

test('a forged packet far ahead does not move the window (RFC 4303 §3.4.3)', async () => {
  const two = createTwo();
  const sa = inboundOf(outboundSa(300, CHOICES[0]!));
  await two.apply([{ type: 'add-inbound', sa }]);
  const packet = randomPacket(seeded(3));
  const seal = (sequence: bigint) => sealEsp(provider, sa, sequence, packet, () => new Uint8Array(16));
  const forged = seal(10_000n);
  forged[forged.length - 1]! ^= 1;
  assert.equal(receiveEsp(two, seal(1n), 0, 'first'), true);
  assert.equal(receiveEsp(two, forged, 0, 'forged'), false);
  assert.equal(receiveEsp(two, seal(2n), 0, 'second'), true);
});

test('padding that is not 1, 2, 3 … is dropped, though it is authentic (RFC 4303 §2.4)', async () => {
  const two = createTwo();
  const sa = inboundOf(outboundSa(301, CBC));
  await two.apply([{ type: 'add-inbound', sa }]);
  const { key } = sa.encryption!;
  const iv = new Uint8Array(16);
  const body = Buffer.concat([new Uint8Array([0, 0, 1, 45, 0, 0, 0, 1]), iv]);
  const text = provider.seal('aes-cbc', key, iv, new Uint8Array(), new Uint8Array(32).fill(7));
  const covered = Buffer.concat([body, text]);
  const icv = provider.integrity('hmac-sha2-256-128', sa.integrity!.key, covered);
  assert.equal(receiveEsp(two, Uint8Array.from(Buffer.concat([covered, icv])), 0, 'padding'), false);
  assert.deepEqual(two.drops, { 'inbound-padding': 1n });
});

interface EspPacket {
  source: string;
  name: EncryptionName;
  key: string;
  spi: string;
  sequence: string;
  iv: string;
  plaintext: string;
  sealed: string;
}

const EVERYTHING = [range('0.0.0.0', '255.255.255.255')];
const packets: EspPacket[] = JSON.parse(readFileSync('test/vectors/esp.json', 'utf8'));

for (const one of packets.filter(({ sequence }) => sequence.length === 8)) {
  test(`${one.name}: ${one.source} is authentic, and with any other bit it is not`, async () => {
    const two = createTwo();
    const key = unhex(one.key);
    const keyBits = 8 * (key.length - encryptionRow(one.name).saltBytes);
    const selectors = { local: EVERYTHING, remote: EVERYTHING };
    const sa = inboundOf(
      outboundSa(Number.parseInt(one.spi, 16), { encryption: one.name, keyBits }, { selectors }),
    );
    await two.apply([{ type: 'add-inbound', sa: { ...sa, encryption: { name: one.name, keyBits, key } } }]);
    const esp = unhex(one.spi + one.sequence + one.iv + one.sealed);
    for (let bit = 64; bit < 8 * esp.length; bit++) {
      const forged = esp.slice();
      forged[bit >> 3]! ^= 1 << (bit & 7);
      receiveEsp(two, forged, 0, `bit ${bit}`);
    }
    assert.deepEqual(two.drops, { 'inbound-authentication': BigInt(8 * esp.length - 64) });
    // The packets of the draft say that something else than an IP packet is inside.
    const isIp = one.plaintext.startsWith('4') && one.plaintext.endsWith('04');
    assert.equal(receiveEsp(two, esp, 0, 'as published'), isIp);
    assert.equal(two.drops['inbound-authentication'], BigInt(8 * esp.length - 64));
    await sameCounters(two, 'at the end');
  });
}

test('an SA of an algorithm, a key or an ICV that does not fit is refused', async () => {
  const { engine } = createTwo();
  const good = outboundSa(300, CBC);
  const { encryption, integrity } = good;
  for (const sa of [
    { ...good, encryption: { ...encryption!, key: new Uint8Array(15) } },
    { ...good, encryption: { ...encryption!, name: '3des' as const } },
    { ...good, integrity: { ...integrity!, key: new Uint8Array(31) } },
    { ...good, integrity: { ...integrity!, name: 'hmac-md5-96' as const } },
    { ...outboundSa(300, { encryption: 'aes-ctr', keyBits: 256 }) },
    { ...outboundSa(300, { encryption: 'null', keyBits: 0 }) },
    { ...good, protocol: 'ah' as const },
  ])
    await assert.rejects(engine.apply([{ type: 'add-outbound', sa }]), { reason: 'refused' });
  await engine.apply([{ type: 'add-outbound', sa: good }]);
});

/** Both implementations with one SA each way. */
async function oneTunnel(spi: number): Promise<Two> {
  const two = createTwo();
  const sa = outboundSa(spi, CHOICES[2]!);
  await two.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-outbound', sa },
    { type: 'add-inbound', sa: inboundOf({ ...sa, replayWindow: 4096 }) },
    { type: 'use-outbound', policy: 't/net', spi, remote: PEER },
  ]);
  return two;
}

test('a change to another SA is made once no thread sends with the one before it', async () => {
  const { addon, plane } = createTwo();
  let asked = 0;
  const engine = createEngine({ ...addon, hasTurned: () => ++asked > 3 }, plane);
  const sa = outboundSa(304, CHOICES[0]!);
  await engine.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-outbound', sa },
    { type: 'use-outbound', policy: 't/net', spi: 304, remote: PEER },
  ]);
  assert.equal(asked, 4);
});

/** What the other side makes of ESP packets that come in one batch, as packets again. */
function throughOther(two: Two, esps: readonly Uint8Array[]): { frames: number; packets: string[] } {
  const frames = framesOf(two, esps, 0);
  for (const esp of esps) unprotect(provider, two.tables, esp, 0);
  return { frames: frames.length, packets: frames.flatMap((frame) => packetsOf(frame)!).map(hex) };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** The whole of it would fill screens. */
function samePackets(actual: readonly string[], expected: readonly string[], seed: string): void {
  const at = expected.findIndex((packet, index) => packet !== actual[index]);
  assert.ok(at === -1 && actual.length === expected.length, `${seed}: packet ${at} is another one`);
}

for (const [name, protocol] of [
  ['TCP', 6],
  ['UDP', 17],
] as const) {
  test(`super-packets of ${name} up to 64 KB are cut as the reference cuts them, and join again on the other side`, async () => {
    const two = await oneTunnel(302);
    const random = seeded(4);
    let [sent, written] = [0, 0];
    for (let i = 0; i < 300; i++) {
      const family = random(2) === 0 ? 4 : 6;
      const segment = 100 + random(1300);
      // The last segment is as long as the others, or shorter; now and then the packet is as large as they come.
      const most = 65_535 - (family === 4 ? 40 : 60);
      const uneven = random(4) === 0 ? 0 : random(segment);
      const payload = random(5) === 0 ? most : segment * (1 + random(20)) + uneven;
      const frame = superFrame(random, family, segment, Math.min(payload, most), protocol);
      const packets = packetsOf(frame)!;
      const esps = sendFrames(two, [frame], `frame ${i}`).map(({ esp }) => esp);
      const other = throughOther(two, esps);
      samePackets(other.packets, packets.map(hex), `frame ${i}`);
      sent += packets.length;
      written += other.frames;
    }
    assert.ok(written < 0.8 * sent, `${sent} packets in ${written} writes`);
    await sameCounters(two, 'at the end');
  });
}

/** A stream of one host: TCP with the numbers that follow, UDP, now and then something that must not be joined. */
function createStream(random: Random, family: 4 | 6, protocol: 6 | 17, port: number) {
  let id = random(65_536);
  let sequence = random(2 ** 31);
  return () => {
    const payload = random(6) === 0 ? random(1400) : 1000;
    const transport = bytesFrom(random, (protocol === 6 ? 20 : 8) + payload);
    const view = viewOf(transport);
    if (protocol === 6) {
      view.setUint32(4, sequence);
      view.setUint32(8, 77);
      transport.set([0x50, random(12) === 0 ? [0x18, 0x11, 0x02, 0x52][random(4)]! : 0x10, 1, 0], 12);
      sequence = random(15) === 0 ? random(2 ** 31) : (sequence + payload) % 2 ** 31;
    } else {
      view.setUint16(4, transport.length);
    }
    id = random(20) === 0 ? random(65_536) : (id + 1) % 65_536;
    const packet = hostPacket({ family, protocol, port }, id, transport);
    // Broken before encryption: it must come out as broken as it went in.
    if (random(25) === 0) packet[packet.length - 1]! ^= 1;
    return packet;
  };
}

test('streams that come in turn are joined each by itself: cut apart again, every byte is what was sent, in order', async () => {
  const two = await oneTunnel(305);
  const random = seeded(6);
  const streams = Array.from({ length: 12 }, (_, n) =>
    createStream(random, n % 3 === 0 ? 6 : 4, n % 2 === 0 ? 6 : 17, 5000 + n),
  );
  let [sent, written] = [0, 0];
  for (let batch = 0; batch < 200; batch++) {
    const packets: Uint8Array[] = [];
    while (packets.length < 60) {
      const stream = streams[random(1 + random(12))]!;
      for (let run = random(12); run >= 0; run--) packets.push(stream());
    }
    const esps = sendFrames(two, packets.map(plainFrame), `batch ${batch}`).map(({ esp }) => esp);
    const other = throughOther(two, esps);
    const ofStream = (all: readonly string[], port: string) =>
      all.filter((text) => text.slice(text[0] === '4' ? 40 : 80).startsWith(port));
    for (let n = 0; n < streams.length; n++) {
      const port = (5000 + n).toString(16).padStart(4, '0');
      samePackets(
        ofStream(other.packets, port),
        ofStream(packets.map(hex), port),
        `batch ${batch}, stream ${n}`,
      );
    }
    assert.equal(other.packets.length, packets.length);
    sent += packets.length;
    written += other.frames;
  }
  assert.ok(written < 0.8 * sent, `${sent} packets in ${written} writes`);
});

test('a header that asks for impossible offload is dropped', async () => {
  const two = createTwo();
  const random = seeded(5);
  await two.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-outbound', sa: outboundSa(303, CHOICES[0]!) },
  ]);
  await two.apply([{ type: 'use-outbound', policy: 't/net', spi: 303, remote: PEER }]);
  for (let i = 0; i < 5000; i++) {
    const frame = superFrame(
      random,
      random(2) === 0 ? 4 : 6,
      1 + random(2000),
      random(3000),
      random(2) === 0 ? 6 : 17,
    );
    if (random(2) === 0) frame[1] = 0;
    frame[random(10)] = random(256);
    if (random(10) === 0) viewOf(frame).setUint16(6, random(65536));
    sendFrames(
      two,
      [frame.subarray(0, random(20) === 0 ? random(frame.length) : frame.length)],
      `frame ${i}`,
    );
  }
  await sameCounters(two, 'at the end');
});

/** Networks, ranges, single hosts, protocols and ports, as nobody would mix them. */
function randomSelector(random: Random, second: number): Selector {
  const third = random(4);
  const [start, end] = [
    [`10.${second}.0.0`, `10.${second}.255.255`],
    [`10.${second}.${third}.0`, `10.${second}.${third}.255`],
    [`10.${second}.${third}.7`, `10.${second}.${third + 1}.200`],
    [`10.${second}.${third}.9`, `10.${second}.${third}.9`],
  ][random(4)]!;
  const port = random(3);
  const ports = [
    { startPort: 0, endPort: 65_535 },
    { startPort: port, endPort: port },
    { startPort: port, endPort: port + 1 },
  ][random(3)]!;
  return { protocol: [0, 0, 6, 17][random(4)]!, ...ports, start: start!, end: end! };
}

function smallPacket(random: Random): Uint8Array {
  const packet = new Uint8Array(28);
  const tail = () => [random(5), [7, 9, 100][random(3)]!];
  packet.set([
    0x45,
    0,
    0,
    28,
    0,
    0,
    random(20) === 0 ? 0x20 : 0,
    random(20) === 0 ? 1 : 0,
    64,
    [6, 17, 1][random(3)]!,
  ]);
  packet.set([10, 1, ...tail(), 10, 2, ...tail()], 12);
  packet.set([0, random(4), 0, random(4), 0, 8, 0, 0], 20);
  return packet;
}

test('hundreds of overlapping policies of every form: the first that holds a packet, as a walk through all finds it', async () => {
  const random = seeded(8);
  for (let round = 0; round < 5; round++) {
    const two = createTwo();
    const policies = Array.from({ length: 200 }, (_, n) => {
      const selectors = {
        local: Array.from({ length: 1 + random(2) }, () => randomSelector(random, 1)),
        remote: Array.from({ length: 1 + random(3) }, () => randomSelector(random, 2)),
      };
      return policy(`t${n}/net`, { order: random(100), selectors });
    });
    await two.apply(policies.map((one): Change => ({ type: 'add-policy', policy: one })));
    for (const [n, one] of policies.entries()) {
      const sa = outboundSa(1000 + n, CHOICES[0]!, { policy: one.id, selectors: one.selectors });
      await two.apply([
        { type: 'add-outbound', sa },
        { type: 'use-outbound', policy: one.id, spi: sa.spi, remote: PEER },
      ]);
    }
    for (let i = 0; i < 2000; i++)
      sendFrames(two, [plainFrame(smallPacket(random))], `round ${round}, packet ${i}`);
    await sameCounters(two, `round ${round}`);
  }
});
