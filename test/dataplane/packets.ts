// SAs, policies and random packets for the tests of data planes.

import type { EncryptionName, IntegrityName } from '../../src/crypto/suites.ts';
import { encryptionRow, integrityRow } from '../../src/crypto/suites.ts';
import type { Policy, SaParameters } from '../../src/policy/sad.ts';
import type { Selector } from '../../src/policy/selector.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { checksum, pseudoHeader, readFlow, viewOf } from '../../src/wire/ip.ts';

export type Random = (below: number) => number;

/** mulberry32. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

export function bytesFrom(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

export function range(start: string, end: string, more: Partial<Selector> = {}): Selector {
  return { protocol: 0, startPort: 0, endPort: 65535, start, end, ...more };
}

export const SITE_A = [range('10.1.0.0', '10.1.255.255'), range('fd01::', 'fd01::ffff:ffff')];
export const SITE_B = [range('10.2.0.0', '10.2.255.255'), range('fd02::', 'fd02::ffff:ffff')];

export function policy(id: string, changes: Partial<Policy> = {}): Policy {
  return {
    id,
    action: 'protect',
    order: 0,
    selectors: { local: SITE_A, remote: SITE_B },
    acquire: false,
    ...changes,
  };
}

export interface SaChoice {
  encryption: EncryptionName;
  keyBits: number;
  integrity?: IntegrityName;
}

/** An outbound SA with keys that follow from its SPI; `inboundOf` is the other end of it, on the same gateway. */
export function outboundSa(spi: number, choice: SaChoice, changes: Partial<SaParameters> = {}): SaParameters {
  const random = seeded(spi);
  const { encryption, keyBits, integrity } = choice;
  const keyBytes = keyBits / 8 + encryptionRow(encryption).saltBytes;
  return {
    spi,
    direction: 'out',
    protocol: 'esp',
    mode: 'tunnel',
    policy: 't/net',
    local: '192.0.2.1',
    remote: '198.51.100.1',
    udp: { localPort: 4500, remotePort: 4500 },
    encryption: { name: encryption, keyBits, key: bytesFrom(random, keyBytes) },
    ...(integrity
      ? { integrity: { name: integrity, key: bytesFrom(random, integrityRow(integrity).keyBytes) } }
      : {}),
    esn: false,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow: 64,
    selectors: { local: SITE_A, remote: SITE_B },
    lifetime: {},
    ...changes,
  };
}

/** The same with AH: nothing but the integrity algorithm. */
export function outboundAh(
  spi: number,
  name: IntegrityName,
  { udp: _, encryption: __, ...changes }: Partial<SaParameters> = {},
): SaParameters {
  const { udp, encryption, ...sa } = outboundSa(spi, { encryption: 'null', keyBits: 0, integrity: name });
  return { ...sa, protocol: 'ah', ...changes };
}

/** An inbound SA of the same gateway. */
export function inboundSa(spi: number, choice: SaChoice, changes: Partial<SaParameters> = {}): SaParameters {
  return { ...outboundSa(spi, choice, changes), direction: 'in' };
}

/** The same SA as the peer has it. */
export function mirrored(sa: SaParameters): SaParameters {
  const { local, remote, selectors, udp } = sa;
  return {
    ...sa,
    direction: sa.direction === 'in' ? 'out' : 'in',
    local: remote,
    remote: local,
    selectors: { local: selectors.remote, remote: selectors.local },
    ...(udp ? { udp: { localPort: udp.remotePort, remotePort: udp.localPort } } : {}),
  };
}

export function inboundOf(sa: SaParameters): SaParameters {
  return { ...sa, direction: 'in', selectors: { local: sa.selectors.remote, remote: sa.selectors.local } };
}

/** A packet as hosts send them, now and then as nobody does: options, extension headers, fragments, wrong lengths. */
export function randomPacket(random: Random): Uint8Array {
  const packet = random(3) === 0 ? packetV6(random) : packetV4(random);
  if (random(50) === 0) packet[random(Math.min(packet.length, 44))] = random(256);
  return packet;
}

/** 0 to 9000 bytes of payload, mostly few. */
function payloadBytes(random: Random): number {
  return random(40) === 0 ? random(9000) : random(400);
}

function site(random: Random, family: 4 | 6, home: 1 | 2): string {
  const stray = random(20) === 0;
  if (family === 4) return `10.${stray ? 9 : home}.${random(256)}.${random(256)}`;
  return `fd0${stray ? 9 : home}::${random(65536).toString(16)}:${(1 + random(65535)).toString(16)}`;
}

function upper(random: Random): { protocol: number; bytes: Uint8Array } {
  const protocol = [1, 6, 17, 50, 132][random(5)]!;
  const bytes = bytesFrom(random, protocol === 6 ? 20 + payloadBytes(random) : payloadBytes(random));
  if (protocol === 6) bytes[12] = 0x50;
  return { protocol, bytes };
}

function packetV4(random: Random): Uint8Array {
  const options = random(8) === 0 ? 4 * (1 + random(10)) : 0;
  const { protocol, bytes } = upper(random);
  const packet = new Uint8Array(20 + options + bytes.length);
  const view = viewOf(packet);
  packet[0] = 0x40 | ((20 + options) / 4);
  packet[1] = random(256);
  view.setUint16(2, packet.length);
  if (random(10) === 0) view.setUint16(6, random(65536) & 0x3fff);
  packet[8] = 64;
  packet[9] = protocol;
  packet.set(addressBytes(site(random, 4, 1)), 12);
  packet.set(addressBytes(site(random, 4, 2)), 16);
  packet.fill(1, 20, 20 + options);
  packet.set(bytes, 20 + options);
  view.setUint16(10, checksum(packet.subarray(0, 20 + options)));
  return packet;
}

function packetV6(random: Random): Uint8Array {
  const { protocol, bytes } = upper(random);
  const chain = Array.from(
    { length: random(4) === 0 ? 1 + random(9) : 0 },
    () => [0, 43, 44, 51, 60][random(5)]!,
  );
  const headers = chain.map((kind, index) => extension(random, kind, chain[index + 1] ?? protocol));
  const body = Buffer.concat([...headers, bytes]);
  const packet = new Uint8Array(40 + body.length);
  packet[0] = 0x60 | random(16);
  packet[1] = random(256);
  viewOf(packet).setUint16(4, body.length);
  packet[6] = chain[0] ?? protocol;
  packet[7] = 64;
  packet.set(addressBytes(site(random, 6, 1)), 8);
  packet.set(addressBytes(site(random, 6, 2)), 24);
  packet.set(body, 40);
  return packet;
}

function extension(random: Random, kind: number, next: number): Uint8Array {
  const units = kind === 44 ? 0 : random(3);
  const bytes = bytesFrom(random, kind === 51 ? 8 + 4 * units : 8 + 8 * units);
  bytes[0] = next;
  bytes[1] = units;
  if (kind === 44 && random(2) === 0) viewOf(bytes).setUint16(2, 1); // the first fragment
  return bytes;
}

/** A packet of TCP or UDP between two hosts of the sites, its checksum right. */
export function hostPacket(
  { family, protocol, port }: { family: 4 | 6; protocol: 6 | 17; port: number },
  id: number,
  transport: Uint8Array,
): Uint8Array {
  const ip = family === 4 ? 20 : 40;
  const packet = new Uint8Array(ip + transport.length);
  const view = viewOf(packet);
  if (family === 4) {
    packet.set([0x45, 0, 0, 0, id >> 8, id, 0x40, 0, 64, protocol]);
    view.setUint16(2, packet.length);
    packet.set(addressBytes('10.1.0.1'), 12);
    packet.set(addressBytes('10.2.0.1'), 16);
    view.setUint16(10, checksum(packet.subarray(0, 20)));
  } else {
    packet.set([0x60, 0, 0, 0, 0, 0, protocol, 64]);
    view.setUint16(4, packet.length - 40);
    packet.set(addressBytes('fd01::1'), 8);
    packet.set(addressBytes('fd02::1'), 24);
  }
  packet.set(transport, ip);
  view.setUint16(ip, port);
  view.setUint16(ip + 2, 443);
  const at = ip + (protocol === 6 ? 16 : 6);
  view.setUint16(at, 0);
  view.setUint16(
    at,
    checksum(pseudoHeader(packet, readFlow(packet)!, transport.length), packet.subarray(ip)) || 0xffff,
  );
  return packet;
}

/** A super-packet behind the header that asks for segments of that size. */
export function superFrame(
  random: Random,
  family: 4 | 6,
  segment: number,
  payload: number,
  protocol: 6 | 17 = 6,
): Uint8Array {
  const ip = family === 4 ? 20 : 40;
  const header = protocol === 6 ? 20 : 8;
  const packet = new Uint8Array(ip + header + payload);
  const view = viewOf(packet);
  if (family === 4) {
    packet.set([0x45, random(256), 0, 0, random(256), random(256), 0x40, 0, 64, protocol]);
    view.setUint16(2, packet.length);
    packet.set(addressBytes('10.1.0.1'), 12);
    packet.set(addressBytes('10.2.0.1'), 16);
    view.setUint16(10, checksum(packet.subarray(0, 20)));
  } else {
    packet.set([0x60, random(256), 0, 0, 0, 0, protocol, 64]);
    view.setUint16(4, packet.length - 40);
    packet.set(addressBytes('fd01::1'), 8);
    packet.set(addressBytes('fd02::1'), 24);
  }
  packet.set(bytesFrom(random, header + payload), ip);
  if (protocol === 6) {
    packet[ip + 12] = 0x50;
    packet[ip + 13] = 0x10 | (random(2) === 0 ? 0 : random(256));
  } else {
    view.setUint16(ip + 4, header + payload);
  }
  const at = protocol === 6 ? 16 : 6;
  view.setUint16(ip + at, ~checksum(pseudoHeader(packet, readFlow(packet)!, header + payload)) & 0xffff);
  const frame = new Uint8Array(10 + packet.length);
  frame.set(packet, 10);
  frame[0] = 1;
  frame[1] = protocol === 17 ? 5 : family === 4 ? 1 : 4;
  viewOf(frame).setUint16(2, ip + header, true);
  viewOf(frame).setUint16(4, segment, true);
  viewOf(frame).setUint16(6, ip, true);
  viewOf(frame).setUint16(8, at, true);
  return frame;
}
