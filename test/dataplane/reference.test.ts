// The reference against itself and against the RFCs: AH in both modes, ESP in transport mode, padding of traffic flow.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { AH_INTEGRITY, type IntegrityName, integrityRow } from '../../src/crypto/suites.ts';
import {
  type Inbound,
  newSa,
  newTables,
  protect,
  type ReferenceTables,
  unprotectPacket,
} from '../../src/dataplane/reference.ts';
import { outerHeader } from '../../src/dataplane/reference-outer.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { hex, unhex } from '../../src/wire/hex.ts';
import { checksum, readFlow, viewOf } from '../../src/wire/ip.ts';
import {
  mirrored,
  outboundAh,
  outboundSa,
  policy,
  randomPacket,
  range,
  type SaChoice,
  SITE_B,
  seeded,
} from './packets.ts';

const provider = createNodeProvider();
const OUTER = {
  4: { local: '192.0.2.1', remote: '198.51.100.1' },
  6: { local: '2001:db8::1', remote: '2001:db8:1::1' },
} as const;
const FAMILIES = [4, 6] as const;
const HMAC: IntegrityName = 'hmac-sha2-256-128';

/** One policy and one SA in use, and the other end of it. */
function pairOf(sa: SaParameters): { sender: ReferenceTables; receiver: ReferenceTables } {
  const sender = newTables();
  sender.policies.push({ policy: policy('t/net', { selectors: sa.selectors }), use: newSa(sa) });
  const receiver = newTables();
  receiver.inbound.set(sa.spi, newSa(mirrored(sa)));
  return { sender, receiver };
}

function send(sender: ReferenceTables, packet: Uint8Array): Uint8Array | string {
  const sent = protect(
    provider,
    sender,
    packet,
    () => provider.random(16),
    () => 0x1234,
  );
  if (sent.type === 'dropped') return sent.drop;
  if (sent.type === 'packet') return sent.packet;
  assert.equal(sent.type, 'esp');
  const { esp, outer, sa } = sent as typeof sent & { type: 'esp' };
  return Uint8Array.of(...outerHeader(sa.parameters, outer, 0x1234, 50, esp.length), ...esp);
}

function sent(sender: ReferenceTables, packet: Uint8Array): Uint8Array {
  const made = send(sender, packet);
  assert.ok(typeof made !== 'string', `dropped: ${made}`);
  return made;
}

function verdictOf(inbound: Inbound): string {
  return inbound.type === 'inner' ? hex(inbound.packet) : inbound.drop;
}

const receive = (receiver: ReferenceTables, packet: Uint8Array) =>
  verdictOf(unprotectPacket(provider, receiver, packet));

/** SAs between the outer addresses themselves, for everything. */
function hosts(family: 4 | 6): Partial<SaParameters> {
  const { local, remote } = OUTER[family];
  return {
    mode: 'transport',
    local,
    remote,
    selectors: { local: [range(local, local)], remote: [range(remote, remote)] },
  };
}

/** ESP in transport mode, not in UDP: the packet keeps its header. */
function hostEsp(choice: SaChoice, family: 4 | 6): SaParameters {
  const { udp: _, ...sa } = outboundSa(300, choice, hosts(family));
  return sa;
}

/** UDP between the outer addresses, behind options or extension headers. */
function hostPacket(family: 4 | 6, middle: Uint8Array = new Uint8Array(), next = 17): Uint8Array {
  const { local, remote } = OUTER[family];
  const sa = outboundSa(1, { encryption: 'null', keyBits: 0 }, { local, remote });
  const udp = unhex('10002000000c00000a0b0c0d');
  const bits = { trafficClass: 0xb9, dontFragment: true };
  const header = outerHeader(sa, bits, 77, next, middle.length + udp.length);
  if (family === 4) header[0] = 0x40 | ((20 + middle.length) / 4);
  const packet = Uint8Array.of(...header, ...middle, ...udp);
  if (family === 6) return packet;
  packet.fill(0, 10, 12);
  viewOf(packet).setUint16(10, checksum(packet.subarray(0, 20 + middle.length)));
  return packet;
}

const INNER = {
  4: unhex('4500002000000000401166b90a0100090a02000910002000000c00000a0b0c0d'),
  6: unhex(
    '60000000000c1140fd010000000000000000000000000009fd02000000000000000000000000000910002000000c7aa10a0b0c0d',
  ),
} as const;

for (const name of AH_INTEGRITY) {
  test(`AH, ${name}: tunnel and transport mode, each family in each, with and without extended numbers`, () => {
    for (const outside of FAMILIES) {
      for (const esn of [false, true]) {
        for (const inside of FAMILIES) {
          const { sender, receiver } = pairOf(outboundAh(300, name, { ...OUTER[outside], esn }));
          const packet = sent(sender, INNER[inside]);
          assert.equal(receive(receiver, packet), hex(INNER[inside]));
          assert.equal(receive(receiver, packet), 'replay');
        }
        const { sender, receiver } = pairOf(outboundAh(300, name, { ...hosts(outside), esn }));
        const packet = hostPacket(outside);
        assert.equal(receive(receiver, sent(sender, packet)), hex(packet));
      }
    }
  });
}

test('AH is of whole 64-bit words over IPv6 and of 32-bit words over IPv4 (RFC 4302 §3.3.3.2.1)', () => {
  for (const name of AH_INTEGRITY) {
    const { icvBytes, ivBytes = 0 } = integrityRow(name);
    for (const [family, unit] of [[4, 4] as const, [6, 8] as const]) {
      const packet = sent(pairOf(outboundAh(300, name, OUTER[family])).sender, INNER[4]);
      const header = family === 4 ? 20 : 40;
      const bytes = (packet[header + 1]! + 2) * 4;
      assert.equal(bytes % unit, 0);
      assert.ok(bytes - 12 - ivBytes - icvBytes < unit, `${name} ${family}`);
      assert.equal(packet.length, header + bytes + INNER[4].length);
    }
  }
});

test('AH over IPv4 may be padded to 64 bits, as some senders do; to no other length', () => {
  const sa = outboundAh(300, HMAC, OUTER[4]);
  const packet = sent(pairOf(sa).sender, INNER[4]);
  const longer = (more: number) => {
    const padded = Uint8Array.of(...packet.subarray(0, 48), ...new Uint8Array(more), ...packet.subarray(48));
    viewOf(padded).setUint16(2, padded.length);
    padded[21]! += more / 4;
    padded.fill(0, 32, 48);
    const covered = padded.slice();
    covered.fill(0, 1, 2);
    covered.fill(0, 6, 9);
    covered.fill(0, 10, 12);
    padded.set(provider.integrity(HMAC, sa.integrity!.key, covered), 32);
    return padded;
  };
  assert.equal(receive(pairOf(sa).receiver, longer(0)), hex(INNER[4]), 'the code is made as here');
  assert.equal(receive(pairOf(sa).receiver, longer(4)), hex(INNER[4]));
  assert.equal(receive(pairOf(sa).receiver, longer(8)), 'malformed');
});

test('AH: what may change on the way may change, and nothing else', () => {
  for (const family of FAMILIES) {
    const sa = outboundAh(300, HMAC, OUTER[family]);
    const packet = sent(pairOf(sa).sender, INNER[4]);
    // DSCP, flags, offset (a fragment is none of AH's), TTL, checksum; traffic class, flow label, hop limit.
    const mutable = new Set(family === 4 ? [1, 8, 10, 11] : [0, 1, 2, 3, 7]);
    for (let at = 0; at < packet.length; at++) {
      const changed = packet.slice();
      changed[at]! ^= at === 1 ? 0x40 : 1;
      const passed = receive(pairOf(sa).receiver, changed) === hex(INNER[4]);
      assert.equal(passed, mutable.has(at), `byte ${at} over IPv${family}`);
    }
  }
});

test('AH: the high half of an extended number is covered and not sent (RFC 4302 §2.5.1)', () => {
  const sa = outboundAh(300, HMAC, { esn: true });
  const { sender, receiver } = pairOf(sa);
  const [one, two] = [sender.policies[0]!.use!, receiver.inbound.get(300)!];
  one.sequence = 5n * 2n ** 32n + 6n;
  two.sequence = 5n * 2n ** 32n;
  const packet = sent(sender, INNER[4]);
  assert.equal(viewOf(packet).getUint32(28), 7);
  assert.equal(receive(pairOf(sa).receiver, packet), 'authentication');
  assert.equal(receive(receiver, packet), hex(INNER[4]));
  assert.equal(two.sequence, 5n * 2n ** 32n + 7n);
});

test('AES-GMAC in AH: the IV stands in front of the ICV and never repeats (RFC 4543 §4)', () => {
  const { sender } = pairOf(outboundAh(300, 'aes-128-gmac'));
  const ivs = Array.from({ length: 3 }, () => hex(sent(sender, INNER[4]).subarray(32, 40)));
  assert.deepEqual(ivs, ['0000000000000001', '0000000000000002', '0000000000000003']);
});

const ESP_CHOICES = [
  { encryption: 'aes-gcm-16', keyBits: 256 },
  { encryption: 'aes-cbc', keyBits: 128, integrity: HMAC },
] as const;

for (const choice of ESP_CHOICES) {
  test(`ESP in transport mode, ${choice.encryption}: the packet's own headers in front, its protocol in the trailer`, () => {
    for (const family of FAMILIES) {
      const { sender, receiver } = pairOf(hostEsp(choice, family));
      const packet = hostPacket(family);
      const made = sent(sender, packet);
      const flow = readFlow(made)!;
      assert.equal(flow.protocol, 50);
      assert.equal(flow.length, made.length);
      const { local, remote } = OUTER[family];
      assert.deepEqual([flow.source, flow.destination], [local, remote]);
      if (family === 4) assert.equal(checksum(made.subarray(0, 20)), 0);
      assert.equal(receive(receiver, made), hex(packet));
    }
  });
}

const CHAINS = {
  'hop by hop': ['00', '11 00 010400000000', 8],
  'destination options alone stay inside': ['3c', '11 00 010400000000', 0],
  'routing, then destination options inside': ['2b', `3c 00 00 00 00000000 11 00 010400000000`, 8],
  'destination options in front of routing': ['3c', `2b 00 010400000000 11 00 00 00 00000000`, 16],
} as const;

test('transport mode over IPv6: behind what routers read, destination options inside (RFC 4303 §3.1.1)', () => {
  for (const [what, [first, chain, front]] of Object.entries(CHAINS)) {
    const packet = hostPacket(6, unhex(chain.replaceAll(' ', '')), Number.parseInt(first, 16));
    for (const sa of [hostEsp(ESP_CHOICES[0], 6), outboundAh(300, HMAC, hosts(6))]) {
      const { sender, receiver } = pairOf(sa);
      const made = sent(sender, packet);
      assert.equal(viewOf(made).getUint32(40 + front + (sa.protocol === 'ah' ? 4 : 0)), 300, what);
      assert.equal(receive(receiver, made), hex(packet), what);
    }
  }
});

test('transport mode over IPv4 keeps the options in front', () => {
  for (const sa of [hostEsp(ESP_CHOICES[0], 4), outboundAh(300, HMAC, hosts(4))]) {
    const { sender, receiver } = pairOf(sa);
    const packet = hostPacket(4, unhex('940400000707040000000000'));
    const made = sent(sender, packet);
    assert.equal(hex(made.subarray(20, 32)), hex(packet.subarray(20, 32)));
    assert.equal(checksum(made.subarray(0, 32)), 0);
    assert.equal(receive(receiver, made), hex(packet));
  }
});

test('transport mode is for the two addresses themselves, and for whole packets', () => {
  for (const make of [
    (changes: Partial<SaParameters>) => outboundSa(300, ESP_CHOICES[0], changes),
    (changes: Partial<SaParameters>) => outboundAh(300, HMAC, changes),
  ]) {
    const wide = { ...hosts(4), selectors: { local: [range('0.0.0.0', '255.255.255.255')], remote: SITE_B } };
    wide.selectors.remote = wide.selectors.local;
    assert.equal(send(pairOf(make(wide)).sender, INNER[4]), 'selector');
    const fragment = hostPacket(4);
    fragment[6] = 0x20;
    assert.equal(send(pairOf(make(wide)).sender, fragment), 'fragment');
    const packet = sent(pairOf(make(wide)).sender, hostPacket(4));
    packet[6] = 0x20;
    assert.equal(receive(pairOf(make(wide)).receiver, packet), 'fragment');
    // The same keys between other addresses.
    const other = { ...wide, local: '192.0.2.9' };
    const strange = hostPacket(4);
    strange[15] = 9;
    assert.equal(receive(pairOf(make(wide)).receiver, sent(pairOf(make(other)).sender, strange)), 'selector');
    const narrow = {
      ...wide,
      selectors: { ...wide.selectors, remote: [range('198.51.100.1', '198.51.100.1', { protocol: 6 })] },
    };
    assert.equal(send(pairOf(make(narrow)).sender, hostPacket(4)), 'no-policy');
    assert.equal(
      receive(pairOf(make(narrow)).receiver, sent(pairOf(make(wide)).sender, hostPacket(4))),
      'selector',
    );
  }
});

test('an SPI is one of ESP or one of AH', () => {
  const ah = outboundAh(300, HMAC);
  const esp = outboundSa(300, ESP_CHOICES[0]);
  assert.equal(receive(pairOf(esp).receiver, sent(pairOf(ah).sender, INNER[4])), 'unknown-spi');
  assert.equal(receive(pairOf(ah).receiver, sent(pairOf(esp).sender, INNER[4])), 'unknown-spi');
});

test('short packets are all as long as it was asked for, longer ones as they are (RFC 4303 §2.7)', () => {
  const { sender, receiver } = pairOf(outboundSa(300, ESP_CHOICES[0], { padTo: 1200 }));
  const lengths = [INNER[4], INNER[6], hostOf(1200), hostOf(1203)].map((packet) => {
    const made = sent(sender, packet);
    assert.equal(receive(receiver, made), hex(packet));
    return made.length - 20;
  });
  assert.deepEqual(lengths, [1236, 1236, 1236, 1240]);
});

/** So many bytes from site to site. */
function hostOf(bytes: number): Uint8Array {
  const packet = new Uint8Array(bytes);
  packet.set(INNER[4].subarray(0, 28));
  viewOf(packet).setUint16(2, bytes);
  viewOf(packet).setUint16(24, bytes - 20);
  return packet;
}

test('whatever arrives in AH, damaged or cut off, is dropped without a throw', () => {
  const random = seeded(4302);
  for (let i = 0; i < 20_000; i++) {
    const family = FAMILIES[random(2)]!;
    const isTransport = random(2) === 0;
    const name = AH_INTEGRITY[random(AH_INTEGRITY.length)]!;
    const sa = outboundAh(
      300,
      name,
      isTransport ? hosts(family) : { ...OUTER[family], esn: random(2) === 0 },
    );
    const { sender, receiver } = pairOf(sa);
    const packet = isTransport ? hostPacket(family) : randomPacket(random);
    const made = send(sender, packet);
    if (typeof made === 'string') continue;
    const damaged = random(2) === 0 ? made.slice(0, random(made.length)) : made;
    for (let changes = random(4); changes >= 0 && damaged.length > 0; changes--)
      damaged[random(Math.min(damaged.length, 80))] = random(256);
    const verdict = receive(receiver, damaged);
    assert.ok(verdict.length > 0);
  }
});
