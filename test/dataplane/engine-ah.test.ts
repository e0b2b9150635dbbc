// AH and transport mode in the engine of native/ against dataplane/reference.ts: same verdict, same bytes, same counter.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat } from '../../src/crypto/bytes.ts';
import { AH_INTEGRITY, integrityRow } from '../../src/crypto/suites.ts';
import { packetsOf, plainFrame } from '../../src/dataplane/offload.ts';
import { AH, ahBytes, sealAh } from '../../src/dataplane/reference-ah.ts';
import { ESP, sealEsp } from '../../src/dataplane/reference-esp.ts';
import { outerHeader } from '../../src/dataplane/reference-outer.ts';
import type { Change, SaParameters, SelectorSet } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { announcing, frontOf, transportFront } from '../../src/wire/headers.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import {
  bytesFrom,
  outboundSa,
  policy,
  type Random,
  randomPacket,
  range,
  SITE_A,
  SITE_B,
  seeded,
  superFrame,
} from './packets.ts';
import {
  createTwo,
  framesOfPackets,
  manyDropped,
  provider,
  receiveEsp,
  receivePacket,
  sameCounters,
  sendFrames,
  sendThrough,
  type Two,
} from './two.ts';

const PACKETS = 100_000;
const HOSTS = {
  4: { local: '192.0.2.1', remote: '198.51.100.1' },
  6: { local: '2001:db8::1', remote: '2001:db8:1::1' },
} as const;
const ANYONE: SelectorSet = {
  local: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
  remote: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
};
const SITES: SelectorSet = { local: SITE_A, remote: SITE_B };
const GCM = { encryption: 'aes-gcm-16', keyBits: 128 } as const;
const KINDS_OF_ESP = [
  GCM,
  { encryption: 'aes-cbc', keyBits: 256, integrity: 'hmac-sha2-256-128' },
  { encryption: 'aes-ctr', keyBits: 128, integrity: 'aes-xcbc-96' },
  { encryption: 'aes-gmac', keyBits: 128 },
  { encryption: 'null', keyBits: 0, integrity: 'hmac-sha2-512-256' },
  { encryption: 'chacha20-poly1305', keyBits: 256 },
] as const;
const OUTERS = [
  { df: 'copy', dscp: 'copy' },
  { df: 'clear', dscp: 46 },
  { df: 'set', dscp: 0 },
] as const;
const WINDOWS = [32, 64, 1024, 4096];

function plainSa(spi: number, family: 4 | 6, changes: Partial<SaParameters>): SaParameters {
  const { udp: _, ...sa } = outboundSa(spi, GCM, { ...HOSTS[family], ...changes });
  return sa;
}

function ahSa(
  spi: number,
  name: (typeof AH_INTEGRITY)[number],
  family: 4 | 6,
  changes: Partial<SaParameters>,
): SaParameters {
  const { encryption: _, ...sa } = plainSa(spi, family, changes);
  const key = bytesFrom(seeded(spi), integrityRow(name).keyBytes);
  return { ...sa, protocol: 'ah', integrity: { name, key } };
}

/** AH with every algorithm in both modes, ESP of every kind in transport mode; over both families, with and without ESN. */
function allSas(): SaParameters[] {
  const sas: SaParameters[] = [];
  const more = () => ({
    esn: sas.length % 2 === 1,
    outer: OUTERS[sas.length % OUTERS.length]!,
    replayWindow: WINDOWS[sas.length % WINDOWS.length]!,
  });
  for (const family of [4, 6] as const) {
    for (const mode of ['tunnel', 'transport'] as const) {
      const selectors = mode === 'tunnel' ? SITES : ANYONE;
      for (const name of AH_INTEGRITY)
        for (const _ of [0, 1])
          sas.push(ahSa(256 + sas.length, name, family, { mode, selectors, ...more() }));
    }
    for (const choice of KINDS_OF_ESP) {
      const { encryption, integrity } = outboundSa(256 + sas.length, choice);
      const changes = { mode: 'transport', selectors: ANYONE, encryption: encryption!, ...more() } as const;
      sas.push(plainSa(256 + sas.length, family, { ...changes, ...(integrity ? { integrity } : {}) }));
    }
  }
  return sas;
}

const familyOfSa = ({ local }: SaParameters) => (local.includes(':') ? 6 : 4);

/** A packet as it may be in an SA of that mode: between the sites, or between the hosts themselves. */
function packetFor(random: Random, sa: SaParameters): Uint8Array {
  for (;;) {
    const packet = sa.mode === 'transport' ? withOptions(random, randomPacket(random)) : randomPacket(random);
    if (sa.mode === 'tunnel') return packet;
    const family = packet[0]! >> 4;
    if (family !== familyOfSa(sa) && random(30) !== 0) continue;
    if ((family !== 4 && family !== 6) || packet.length < 40 || random(30) === 0) return packet;
    const { local, remote } = HOSTS[family];
    packet.set(addressBytes(local), family === 4 ? 12 : 8);
    packet.set(addressBytes(remote), family === 4 ? 16 : 24);
    if (family === 4 && random(3) === 0) viewOf(packet).setUint16(4, random(65_536));
    return packet;
  }
}

/** Options of IPv4 in the room that a packet has for them, and options in the extension headers of IPv6. */
function withOptions(random: Random, packet: Uint8Array): Uint8Array {
  if (packet[0]! >> 4 === 4) {
    const end = Math.min((packet[0]! & 15) * 4, packet.length);
    fillOptions(random, packet.subarray(20, end), [130, 131, 137, 133, 134, 148, 149, 7, 68, 82, 99]);
    return packet;
  }
  if (packet.length < 40) return packet;
  let [next, at] = [packet[6]!, 40];
  while ((next === 0 || next === 43 || next === 60) && at + 8 <= packet.length) {
    const end = at + 8 * packet[at + 1]! + 8;
    if (next !== 43) fillOptions6(random, packet.subarray(at + 2, Math.min(end, packet.length)));
    else if (random(2) === 0) packet.set([0, random(2)], at + 2);
    [next, at] = [packet[at]!, end];
  }
  return packet;
}

function fillOptions(random: Random, room: Uint8Array, kinds: readonly number[]): void {
  for (let at = 0; at < room.length; ) {
    const size = 3 + 4 * random(3);
    if (at + size > room.length || random(5) === 0) {
      room[at++] = random(20) === 0 ? 0 : 1;
      continue;
    }
    room[at] = kinds[random(kinds.length)]!;
    // Now and then of no length, or longer than the header.
    room[at + 1] = random(60) === 0 ? [0, 1, 255][random(3)]! : size;
    room[at + 2] = 4 + 4 * random(4);
    at += size;
  }
}

function fillOptions6(random: Random, room: Uint8Array): void {
  for (let at = 0; at < room.length; ) {
    const size = 2 + random(6);
    if (at + size > room.length) {
      room[at++] = 0;
      continue;
    }
    room[at] = random(256) || 1;
    room[at + 1] = random(60) === 0 ? 255 : size - 2;
    at += size;
  }
}

const policyOf = (sa: SaParameters) => (sa.mode === 'tunnel' ? 't/net' : 't/host');

test(`${PACKETS} packets out in AH and in transport mode: same verdict, same bytes, same counters as the reference`, async () => {
  const two = createTwo();
  const random = seeded(11);
  const sas = allSas().map((sa) => ({ ...sa, policy: policyOf(sa) }));
  await two.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-policy', policy: policy('t/host', { order: 1, selectors: ANYONE }) },
  ]);
  const sent = await sendThrough(two, sas, random, PACKETS, packetFor);
  assert.ok(sent > PACKETS / 2, `${sent} sent`);
  manyDropped(two, ['outbound-malformed', 'outbound-fragment', 'outbound-selector']);
});

/** The same SA inbound: what the peer sends comes to us as if it were sent to the peer. */
function inboundOf(sa: SaParameters): SaParameters {
  const { local, remote, selectors } = sa;
  const turned = { local: selectors.remote, remote: selectors.local };
  return { ...sa, direction: 'in', local: remote, remote: local, selectors: turned };
}

/** What the peer sends in an SA, or nothing where the packet cannot be sent in it. */
function sealedFor(
  random: Random,
  sa: SaParameters,
  sequence: bigint,
  packet: Uint8Array,
): Uint8Array | undefined {
  const iv = () => bytesFrom(random, 16);
  if (sa.mode === 'tunnel') {
    const bits = { trafficClass: random(256), dontFragment: random(2) === 0 };
    const bytes = ahBytes(sa, familyOfSa(sa)) + packet.length;
    const header = outerHeader(sa, bits, random(65_536), AH, bytes);
    return sealAh(provider, sa, sequence, header, packet[0]! >> 4 === 6 ? 41 : 4, packet);
  }
  const front = transportFront(packet);
  if (!front) return undefined;
  const { headers, next, payload } = front;
  if (sa.protocol === 'esp') {
    const esp = sealEsp(provider, sa, sequence, payload, iv, { next });
    return concat([announcing(front, ESP, headers.length + esp.length), esp]);
  }
  const bytes = headers.length + ahBytes(sa, front.family) + payload.length;
  return sealAh(provider, sa, sequence, announcing(front, AH, bytes), next, payload);
}

/** Routers write what they may, and now and then what they may not; lines lose bytes. */
function onTheWay(random: Random, packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const isV6 = copy[0]! >> 4 === 6;
  copy[isV6 ? 7 : 8] = random(256);
  if (random(4) === 0) copy[1] = isV6 ? (copy[1]! & 15) | (random(16) << 4) : random(256);
  if (!isV6 && random(4) === 0) viewOf(copy).setUint16(10, random(65_536));
  if (random(12) === 0) return copy.subarray(0, random(copy.length));
  if (random(12) === 0) copy[random(copy.length)]! ^= 1 << random(8);
  if (random(30) === 0) copy[random(Math.min(copy.length, 80))] = random(256);
  return copy;
}

test(`${PACKETS} packets in with AH and in transport mode: routers, replay, reorder, corruption: the same as the reference`, async () => {
  const two = createTwo();
  const random = seeded(12);
  const sas = allSas();
  const sequences = new Map(sas.map((sa) => [sa.spi, 0n]));
  await two.apply(sas.map((sa): Change => ({ type: 'add-inbound', sa: inboundOf(sa) })));
  let received = 0;
  for (let i = 0; i < PACKETS; i++) {
    const sa = sas[random(sas.length)]!;
    const top = sequences.get(sa.spi)!;
    const step =
      random(40) === 0 ? BigInt(random(5000)) : BigInt(random(random(4) === 0 ? sa.replayWindow : 3));
    const sequence = random(6) === 0 && top > step ? top - step : top + step;
    const made = sealedFor(random, sa, sequence, packetFor(random, sa));
    if (!made) continue;
    const came = onTheWay(random, made);
    if (receivePacket(two, came, `packet ${i}`)) {
      received++;
      if (sequence > top) sequences.set(sa.spi, sequence);
    }
    if (random(10) === 0) receivePacket(two, came, `packet ${i} again`);
    if (i % 5000 === 0) await sameCounters(two, `packet ${i}`);
  }
  await sameCounters(two, 'at the end');
  assert.ok(received > PACKETS / 4, `${received} received`);
  const causes = ['replay', 'authentication', 'malformed', 'fragment', 'selector', 'unknown-spi'];
  manyDropped(
    two,
    causes.map((cause) => `inbound-${cause}`),
  );
});

/** Both with an outbound SA in use and its other end. */
async function pairOf(sa: SaParameters): Promise<Two> {
  const two = createTwo();
  await two.apply([
    { type: 'add-policy', policy: policy('t/net', { selectors: sa.selectors }) },
    { type: 'add-outbound', sa },
    { type: 'add-inbound', sa: inboundOf(sa) },
    { type: 'use-outbound', policy: 't/net', spi: sa.spi, remote: sa.remote },
  ]);
  return two;
}

for (const family of [4, 6] as const) {
  test(`over IPv${family}, super-packets in AH come out as the packets they stand for`, async () => {
    const two = await pairOf(ahSa(700, 'hmac-sha2-256-128', family, { replayWindow: 4096 }));
    const random = seeded(13);
    for (let i = 0; i < 60; i++) {
      const frame = superFrame(random, random(2) === 0 ? 4 : 6, 100 + random(1300), 1 + random(30_000));
      const made = sendFrames(two, [frame], `frame ${i}`);
      const frames = framesOfPackets(
        two,
        made.map(({ esp }) => esp),
      );
      const packets = frames.flatMap((one) => packetsOf(one)!);
      assert.deepEqual(packets.map(hex), packetsOf(frame)!.map(hex), `frame ${i}`);
    }
  });

  test(`over IPv${family}, AH of every length, and packets of every size, are never accepted and always counted`, async () => {
    const sa = ahSa(701, 'hmac-sha2-256-128', family, {});
    const two = createTwo();
    await two.apply([{ type: 'add-inbound', sa: inboundOf(sa) }]);
    const random = seeded(14);
    const genuine = sealedFor(random, sa, 1n, randomPacket(seeded(1)))!;
    const at = frontOf(genuine)!.headers.length;
    let asked = 0n;
    for (let length = 0; length < 256; length++, asked++) {
      const packet = genuine.slice();
      if (packet[at + 1] === length) packet[at + 4 + 8]! ^= 1;
      else packet[at + 1] = length;
      assert.equal(receivePacket(two, packet, `length ${length}`), false);
    }
    for (let size = 0; size <= 64; size++, asked += 2n) {
      assert.equal(receivePacket(two, genuine.subarray(0, size), `${size} bytes`), false);
      assert.equal(receivePacket(two, cutTo(genuine, Math.max(size, at)), `${size} whole bytes`), false);
    }
    const { drops } = await two.engine.snapshot();
    const counted = Object.values(drops).reduce((sum, one) => sum + one, 0n);
    assert.equal(counted, asked);
    assert.equal(receivePacket(two, genuine, 'genuine'), true);
    await sameCounters(two, 'at the end');
  });
}

/** A packet that says of itself that it is no longer. */
function cutTo(packet: Uint8Array, size: number): Uint8Array {
  const copy = packet.slice(0, size);
  const isV6 = copy[0]! >> 4 === 6;
  viewOf(copy).setUint16(isV6 ? 4 : 2, isV6 ? size - 40 : size);
  return copy;
}

test('a walk over options or extension headers ends whatever their lengths say', async () => {
  const two = createTwo();
  await two.apply([
    { type: 'add-inbound', sa: inboundOf(ahSa(702, 'aes-cmac-96', 4, {})) },
    { type: 'add-inbound', sa: inboundOf(ahSa(703, 'aes-cmac-96', 6, {})) },
  ]);
  const random = seeded(15);
  let asked = 0n;
  for (let i = 0; i < 20_000; i++, asked++) {
    const packet = random(2) === 0 ? strangeV4(random) : strangeV6(random);
    assert.equal(receivePacket(two, packet, `packet ${i}`), false);
  }
  const { drops } = await two.engine.snapshot();
  assert.equal(
    Object.values(drops).reduce((sum, one) => sum + one, 0n),
    asked,
  );
  await sameCounters(two, 'at the end');
});

const zeroOr = (random: Random) => (random(2) === 0 ? 0 : random(256));

/** AH behind options whose lengths are often zero. */
function strangeV4(random: Random): Uint8Array {
  const header = 20 + 4 * random(11);
  const packet = bytesFrom(random, header + random(80));
  for (let at = 21; at < header; at += 1 + random(4)) packet[at] = zeroOr(random);
  packet.set([0x40 | (header / 4), 0, packet.length >> 8, packet.length & 255, 0, 0, 0, 0, 64, AH]);
  if (packet.length >= header + 12) packet.set([4, 4, 0, 0, 0, 0, 702 >> 8, 702 & 255, 0, 0, 0, 1], header);
  return packet;
}

/** AH behind extension headers whose lengths, and those of their options, are often zero. */
function strangeV6(random: Random): Uint8Array {
  const chain = Array.from({ length: random(10) }, () => {
    const header = bytesFrom(random, 8 + 8 * random(3));
    for (let at = 1; at < header.length; at += 1 + random(4)) header[at] = zeroOr(random);
    header[0] = [0, 43, 60, 44, AH][random(5)]!;
    if (random(4) > 0) header[1] = header.length / 8 - 1;
    return header;
  });
  if (chain.length > 0) chain.at(-1)![0] = AH;
  const ah = Uint8Array.of(
    4,
    4,
    0,
    0,
    0,
    0,
    703 >> 8,
    703 & 255,
    0,
    0,
    0,
    1,
    ...bytesFrom(random, random(60)),
  );
  const packet = concat([new Uint8Array(40), ...chain, ah]);
  packet.set([0x60, 0, 0, 0]);
  viewOf(packet).setUint16(4, packet.length - 40);
  packet[6] = chain.length > 0 ? [0, 43, 60][random(3)]! : AH;
  return packet;
}

test('zeros stand behind packets that are shorter than padTo, and a packet that is longer stays as it is (RFC 4303 §2.7)', async () => {
  const random = seeded(16);
  for (const [index, choice] of KINDS_OF_ESP.entries()) {
    const sa = outboundSa(710 + index, choice, { padTo: 700, replayWindow: 1024 });
    const two = createTwo();
    const selectors = { local: SITE_B, remote: SITE_A };
    await two.apply([
      { type: 'add-policy', policy: policy('t/net') },
      { type: 'add-outbound', sa },
      { type: 'add-inbound', sa: { ...sa, direction: 'in', selectors } },
      { type: 'use-outbound', policy: 't/net', spi: sa.spi, remote: sa.remote },
    ]);
    const sizes = new Set<number>();
    for (let i = 0; i < 300; i++) {
      for (const { esp } of sendFrames(two, [plainFrame(randomPacket(random))], `packet ${i}`)) {
        if (esp.length < 800) sizes.add(esp.length);
        receiveEsp(two, esp, 0, `packet ${i}`);
      }
    }
    assert.equal(Math.min(...sizes) >= 700, true);
    await sameCounters(two, 'at the end');
  }
});

test('an IPv4 packet without an identification gets one, because the kernel would give one after the ICV was made', async () => {
  for (const mode of ['tunnel', 'transport'] as const) {
    const sa = ahSa(720, 'hmac-sha1-96', 4, { mode, selectors: ANYONE });
    const two = await pairOf(sa);
    const packet = Uint8Array.of(
      0x45,
      0,
      0,
      24,
      0,
      0,
      0x40,
      0,
      64,
      1,
      0,
      0,
      192,
      0,
      2,
      1,
      198,
      51,
      100,
      1,
      8,
      0,
      0,
      0,
    );
    viewOf(packet).setUint16(10, checksum(packet.subarray(0, 20)));
    for (let i = 0; i < 3; i++) {
      const [made] = sendFrames(two, [plainFrame(packet)], `${mode} ${i}`);
      assert.notEqual(viewOf(made!.esp).getUint16(4), 0);
      assert.equal(receivePacket(two, made!.esp, `${mode} ${i}`), true);
    }
  }
});

test('what the engine cannot protect as it is called is refused, and says why', async () => {
  const { engine } = createTwo();
  const ah = ahSa(730, 'hmac-sha2-256-128', 4, {});
  const esp = plainSa(731, 4, {});
  const udp = { localPort: 4500, remotePort: 4500 };
  const refusals: [SaParameters, RegExp][] = [
    [{ ...ah, udp }, /AH does not travel in UDP/],
    [{ ...ah, encryption: esp.encryption! }, /integrity alone/],
    [{ ...esp, integrity: { name: 'aes-128-gmac', key: new Uint8Array(20) } }, /is for AH/],
    [{ ...esp, padTo: 100_000 }, /padded to 0 to/],
    [{ ...ah, integrity: { ...ah.integrity!, key: new Uint8Array(31) } }, /refuses add-outbound/],
    [{ ...ah, integrity: { name: 'aes-256-gmac', key: new Uint8Array(32) } }, /refuses add-outbound/],
  ];
  for (const [sa, message] of refusals)
    await assert.rejects(engine.apply([{ type: 'add-outbound', sa }]), { reason: 'refused', message });
  await engine.apply([{ type: 'add-outbound', sa: ah }]);
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
