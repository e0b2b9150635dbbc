// Transport mode in UDP, in the engine against dataplane/reference.ts: same verdict, same bytes, same counter. What a NAT breaks
// in the checksums inside is mended (RFC 3948 §3.1.2).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packetsOf, plainFrame } from '../../src/dataplane/offload.ts';
import { sealEsp } from '../../src/dataplane/reference-esp.ts';
import { SHARED_LINK } from '../../src/dataplane/reference-links.ts';
import type { Change, SaParameters } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { transportFront } from '../../src/wire/headers.ts';
import { checksum, pseudoHeader, readFlow, viewOf } from '../../src/wire/ip.ts';
import { bytesFrom, outboundSa, policy, type Random, randomPacket, range, seeded } from './packets.ts';
import {
  createTwo,
  framesOf,
  manyDropped,
  provider,
  receiveEsp,
  sameCounters,
  sendFrames,
  sendThrough,
} from './two.ts';

const PACKETS = 30_000;
const KINDS = [
  { encryption: 'aes-gcm-16', keyBits: 128 },
  { encryption: 'aes-cbc', keyBits: 128, integrity: 'hmac-sha2-256-128' },
  { encryption: 'null', keyBits: 0, integrity: 'aes-cmac-96' },
] as const;
const HOSTS = {
  4: { local: '192.0.2.1', remote: '198.51.100.1' },
  6: { local: '2001:db8::1', remote: '2001:db8:ffff::2' },
};
/** As the peer knew them, before a NAT on each side. */
const BEFORE = {
  4: { local: '203.0.113.77', remote: '10.9.8.7' },
  6: { local: 'fd00::5', remote: 'fdff:1234::abcd:99' },
};
const ANYONE = {
  local: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
  remote: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')],
};

function transportSa(spi: number, family: 4 | 6, changes: Partial<SaParameters> = {}): SaParameters {
  const kind = KINDS[spi % KINDS.length]!;
  return outboundSa(spi, kind, { mode: 'transport', selectors: ANYONE, ...HOSTS[family], ...changes });
}

const allSas = () =>
  ([4, 6] as const).flatMap((family, half) =>
    Array.from({ length: 12 }, (_, index) => {
      const translated = index % 2 === 0 ? { original: BEFORE[family] } : {};
      return transportSa(300 + 12 * half + index, family, { esn: index % 4 < 2, ...translated });
    }),
  );

const familyOfSa = ({ local }: SaParameters) => (local.includes(':') ? 6 : 4);

/** From one to the other, mostly of the right family. */
function packetFor(random: Random, sa: SaParameters): Uint8Array {
  for (;;) {
    const packet = randomPacket(random);
    const family = packet[0]! >> 4;
    if (family !== familyOfSa(sa) && random(30) !== 0) continue;
    if ((family !== 4 && family !== 6) || packet.length < 40 || random(30) === 0) return packet;
    packet.set(addressBytes(HOSTS[family].local), family === 4 ? 12 : 8);
    packet.set(addressBytes(HOSTS[family].remote), family === 4 ? 16 : 24);
    return packet;
  }
}

test(`${PACKETS} packets out in transport mode in UDP: the same as the reference`, async () => {
  const two = createTwo();
  const random = seeded(21);
  const sas = allSas();
  await two.apply([{ type: 'add-policy', policy: policy('t/net', { selectors: ANYONE }) }]);
  const sent = await sendThrough(two, sas, random, PACKETS, packetFor);
  assert.ok(sent > PACKETS / 3, `${sent} sent`);
  manyDropped(two, ['outbound-malformed', 'outbound-fragment', 'outbound-selector']);
});

/** What comes in an SA whose local end we are. */
const inbound = (sa: SaParameters): SaParameters => ({ ...sa, direction: 'in' });

test(`${PACKETS} packets in from UDP, translated and not: the same as the reference`, async () => {
  const two = createTwo();
  const random = seeded(22);
  const sas = allSas();
  const sequences = new Map(sas.map(({ spi }) => [spi, 0n]));
  await two.apply(sas.map((sa): Change => ({ type: 'add-inbound', sa: inbound(sa) })));
  let received = 0;
  for (let i = 0; i < PACKETS; i++) {
    const sa = sas[random(sas.length)]!;
    const front = transportFront(randomPacket(random));
    if (!front) continue;
    const sequence = sequences.get(sa.spi)! + BigInt(random(3));
    sequences.set(sa.spi, sequence);
    const esp = sealEsp(provider, sa, sequence, front.payload, () => bytesFrom(random, 16), {
      next: front.next,
    });
    if (random(20) === 0) esp[random(esp.length)]! ^= 1;
    if (receiveEsp(two, esp, random(256), `packet ${i}`)) received++;
  }
  await sameCounters(two, 'at the end');
  assert.ok(received > PACKETS / 3, `${received} received`);
});

/** A datagram or segment that the peer made for the addresses that it knows. */
function madeBefore(protocol: number, family: 4 | 6, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(family === 4 ? 20 : 40);
  header[0] = family === 4 ? 0x45 : 0x60;
  header[family === 4 ? 9 : 6] = protocol;
  const { local, remote } = BEFORE[family];
  header.set(addressBytes(remote), family === 4 ? 12 : 8);
  header.set(addressBytes(local), family === 4 ? 16 : 24);
  const packet = Uint8Array.from([...header, ...payload]);
  viewOf(packet).setUint16(family === 4 ? 2 : 4, family === 4 ? packet.length : payload.length);
  const at = header.length + SUM_AT[protocol]!;
  viewOf(packet).setUint16(at, 0);
  const flow = readFlow(packet)!;
  viewOf(packet).setUint16(
    at,
    checksum(pseudoHeader(packet, flow, payload.length), packet.subarray(header.length)),
  );
  return packet.subarray(header.length);
}

const SUM_AT: Record<number, number> = { 6: 16, 17: 6, 33: 6, 58: 2, 136: 6 };

/** Whether the checksum fits the header in front of it. */
function fits(packet: Uint8Array): boolean {
  const flow = readFlow(packet)!;
  const transport = packet.subarray(flow.transport);
  return checksum(pseudoHeader(packet, flow, transport.length), transport) === 0;
}

for (const family of [4, 6] as const) {
  for (const protocol of family === 4 ? [6, 17, 33, 136] : [6, 17, 33, 58, 136]) {
    test(`over IPv${family}, the checksum of protocol ${protocol} fits behind the NAT, and a broken one stays broken`, async () => {
      const two = createTwo();
      const random = seeded(protocol);
      const sa = inbound(transportSa(400, family, { original: BEFORE[family] }));
      await two.apply([{ type: 'add-inbound', sa }]);
      const come = (payload: Uint8Array, number: number) => {
        const esp = sealEsp(provider, sa, BigInt(number), payload, () => bytesFrom(random, 16), {
          next: protocol,
        });
        return packetsOf(framesOf(two, [esp], 0, SHARED_LINK)[0]!)![0]!;
      };
      for (let number = 1; number <= 200; number += 2) {
        const payload = bytesFrom(random, 20 + random(100));
        if (protocol === 17) viewOf(payload).setUint16(4, payload.length);
        const made = madeBefore(protocol, family, payload);
        const packet = come(made, number);
        const { source, destination } = readFlow(packet)!;
        assert.deepEqual([source, destination], [HOSTS[family].remote, HOSTS[family].local]);
        assert.ok(fits(packet), `${number}`);
        const broken = made.slice();
        broken[broken.length - 1]! ^= 1;
        assert.ok(!fits(come(broken, number + 1)), `${number} broken`);
      }
    });
  }
}

/** Of which the checksum is zero between those hosts. */
function summingToZero(protocol: number): Uint8Array {
  const header = Uint8Array.of(0x45, 0, 0, 32, 0, 0, 0, 0, 64, protocol, 0, 0);
  const { local, remote } = HOSTS[4];
  const packet = Uint8Array.from([
    ...header,
    ...addressBytes(remote),
    ...addressBytes(local),
    ...ZERO_PAYLOAD,
  ]);
  const payload = packet.subarray(20);
  const rest = checksum(pseudoHeader(packet, readFlow(packet)!, payload.length), payload);
  viewOf(payload).setUint16(10, rest);
  return payload;
}

const ZERO_PAYLOAD = [0, 7, 0, 8, 0, 12, 0, 0, 1, 2, 0, 0];

for (const protocol of [17, 136]) {
  test(`a checksum of protocol ${protocol} that becomes zero is sent as all ones (RFC 768, RFC 3828 §3.1)`, async () => {
    const two = createTwo();
    const sa = inbound(transportSa(400, 4, { original: BEFORE[4] }));
    await two.apply([{ type: 'add-inbound', sa }]);
    const made = madeBefore(protocol, 4, summingToZero(protocol));
    const esp = sealEsp(provider, sa, 1n, made, () => new Uint8Array(16), { next: protocol });
    const [packet] = packetsOf(framesOf(two, [esp], 0)[0]!)!;
    assert.ok(fits(packet!));
    assert.equal(viewOf(packet!).getUint16(26), 0xffff);
  });
}

test('a datagram of UDP without a checksum has none behind the NAT either (RFC 768)', async () => {
  const two = createTwo();
  const sa = inbound(transportSa(400, 4, { original: BEFORE[4] }));
  await two.apply([{ type: 'add-inbound', sa }]);
  const payload = Uint8Array.of(0, 7, 0, 8, 0, 12, 0, 0, 1, 2, 3, 4);
  const esp = sealEsp(provider, sa, 1n, payload, () => new Uint8Array(16), { next: 17 });
  const [packet] = packetsOf(framesOf(two, [esp], 0)[0]!)!;
  assert.deepEqual(packet!.subarray(20), payload);
});

test('options of IPv4 have no place in UDP: the packet is dropped', async () => {
  const two = createTwo();
  const sa = transportSa(400, 4);
  await two.apply([
    { type: 'add-policy', policy: policy('t/net', { selectors: ANYONE }) },
    { type: 'add-outbound', sa },
    { type: 'use-outbound', policy: 't/net', spi: 400, remote: sa.remote },
  ]);
  const packet = new Uint8Array(32);
  packet.set([0x46, 0, 0, 32, 0, 0, 0, 0, 64, 47]);
  packet.set(addressBytes(sa.local), 12);
  packet.set(addressBytes(sa.remote), 16);
  packet.fill(1, 20, 24);
  assert.deepEqual(sendFrames(two, [plainFrame(packet)], 'options'), []);
  await sameCounters(two, 'options');
});
