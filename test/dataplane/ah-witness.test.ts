// AH of our engine before programs that are not ours: openssl computes the ICV from bytes that this test covers as RFC 4302
// §3.3.3.1 says, without our code; tshark reads the headers, and has no check of the ICV.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { tsharkIsMissing } from '../../lab/tshark.ts';
import { concat, unhex } from '../../src/crypto/bytes.ts';
import { AH_INTEGRITY, integrityRow } from '../../src/crypto/suites.ts';
import { plainFrame } from '../../src/dataplane/offload.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import { bytesFrom, outboundAh, policy, range, seeded } from './packets.ts';
import { createTwo, sendFrames } from './two.ts';

type Name = (typeof AH_INTEGRITY)[number];

const OUTER = { 4: ['192.0.2.1', '198.51.100.1'], 6: ['2001:db8::1', '2001:db8:1::1'] } as const;
const EF = 46; // a DSCP, which routers may change
const PACKETS_EACH = 3;

const openssl = spawnSync('openssl', ['mac', '-help']);
const opensslIsMissing = openssl.status === 0 ? false : 'openssl 3 is missing: apt-get install openssl';

interface Made {
  sa: SaParameters;
  name: Name;
  packet: Uint8Array;
}

/** Every algorithm over each family, in each mode, with and without extended numbers. */
async function engineMakes(names: readonly Name[]): Promise<Made[]> {
  const two = createTwo();
  const made: Made[] = [];
  for (const [index, name] of names.entries()) {
    for (const family of [4, 6] as const) {
      for (const mode of ['tunnel', 'transport'] as const) {
        const spi = 0x1000 + 4 * index + (family === 6 ? 2 : 0) + (mode === 'tunnel' ? 1 : 0);
        const sa = saOf(spi, name, family, mode);
        const { selectors, remote } = sa;
        await two.apply([
          { type: 'add-policy', policy: policy('t/net', { selectors }) },
          { type: 'add-outbound', sa },
          { type: 'use-outbound', policy: 't/net', spi, remote },
        ]);
        const [from, to] = mode === 'transport' ? OUTER[family] : ['10.1.0.10', '10.2.0.10'];
        const frames = Array.from({ length: PACKETS_EACH }, (_, size) =>
          plainFrame(udp(from, to, 1 + 7 * size)),
        );
        for (const { esp } of sendFrames(two, frames, name)) made.push({ sa, name, packet: esp });
      }
    }
  }
  return made;
}

function saOf(spi: number, name: Name, family: 4 | 6, mode: 'tunnel' | 'transport'): SaParameters {
  const [local, remote] = OUTER[family];
  const hosts = { local: [range(local, local)], remote: [range(remote, remote)] };
  return outboundAh(spi, name, {
    mode,
    local,
    remote,
    esn: spi % 3 === 0,
    outer: { df: 'set', dscp: EF },
    ...(mode === 'transport' ? { selectors: hosts } : {}),
  });
}

/** A datagram of UDP with so many bytes, in a class of traffic. */
function udp(from: string, to: string, size: number): Uint8Array {
  const datagram = new Uint8Array(8 + size);
  for (const [at, value] of [49_152, 49_153, datagram.length].entries())
    viewOf(datagram).setUint16(2 * at, value);
  datagram.set(bytesFrom(seeded(size), size), 8);
  const addresses = concat([addressBytes(from), addressBytes(to)]);
  if (from.includes(':')) {
    const head = Uint8Array.of(0x6b, 0x80, 0, 0, 0, datagram.length, 17, 64);
    return concat([head, addresses, datagram]);
  }
  const head = Uint8Array.of(0x45, EF << 2, 0, 20 + datagram.length, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0);
  const header = concat([head, addresses]);
  viewOf(header).setUint16(10, checksum(header));
  return concat([header, datagram]);
}

/** RFC 4302 §3.3.3.1.1.1 and §3.3.3.1.2.1: what may change on the way counts as zero; no options, no extension headers. */
const MUTABLE = { 4: { header: 20, bytes: [1, 6, 7, 8, 10, 11] }, 6: { header: 40, bytes: [1, 2, 3, 7] } };

/** The ICV as it travelled, the IV in front of it, and the bytes that it is to cover. */
function taken({ sa, name, packet }: Made): { icv: string; iv: string; covered: Uint8Array } {
  const { icvBytes, ivBytes = 0 } = integrityRow(name);
  const { header, bytes } = MUTABLE[packet[0]! >> 4 === 6 ? 6 : 4];
  const at = header + 12 + ivBytes;
  const covered = Uint8Array.from(packet);
  for (const place of bytes) covered[place] = 0;
  if (header === 40) covered[0] = 0x60;
  // RFC 4302 §3.3.3.1.1: the whole field; where it begins with an IV (RFC 4543 §4), that goes in as the nonce.
  covered.fill(0, at - ivBytes, at + icvBytes);
  return {
    icv: hex(packet.subarray(at, at + icvBytes)),
    iv: hex(packet.subarray(at - ivBytes, at)),
    // RFC 4302 §3.3.3: the high half of an extended number, zero for the first packets, stands behind.
    covered: sa.esn ? concat([covered, new Uint8Array(4)]) : covered,
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** How openssl calls it; RFC 4543 §3.3: the last four bytes of a key of GMAC are the front of the nonce. */
function macOf(name: Name, key: Uint8Array, iv: string): string[] {
  const [, bits] = /^aes-(\d+)-gmac$/.exec(name) ?? [];
  if (bits) {
    const [own, salt] = [key.subarray(0, -4), key.subarray(-4)].map(hex);
    return ['-cipher', `AES-${bits}-GCM`, ...keyed(own!), '-macopt', `hexiv:${salt}${iv}`, 'GMAC'];
  }
  if (name === 'aes-cmac-96') return ['-cipher', 'AES-128-CBC', ...keyed(hex(key)), 'CMAC'];
  const [, digest = ''] = /^hmac-sha(1|2-\d+)-\d+$/.exec(name) ?? [];
  return ['-digest', `SHA${digest.replace('2-', '')}`, ...keyed(hex(key)), 'HMAC'];
}

const keyed = (key: string): string[] => ['-macopt', `hexkey:${key}`];

test('openssl computes the ICV of every algorithm that it has, AES-GMAC with the IV as its nonce (RFC 4302 §3.3.3, RFC 4543 §4)', {
  skip: opensslIsMissing,
}, async () => {
  const names = AH_INTEGRITY.filter((name) => name !== 'aes-xcbc-96');
  const made = await engineMakes(names);
  assert.equal(made.length, names.length * 4 * PACKETS_EACH);
  for (const one of made) {
    const { icv, iv, covered } = taken(one);
    const args = macOf(one.name, one.sa.integrity!.key, iv);
    const mac = execFileSync('openssl', ['mac', ...args], { input: covered, encoding: 'utf8' });
    const seed = `${one.name}, ${one.sa.mode}, ${one.sa.local}${one.sa.esn ? ', esn' : ''}`;
    assert.equal(mac.trim().toLowerCase().slice(0, icv.length), icv, seed);
  }
});

/** libpcap's file of packets that begin with their IP header (LINKTYPE_RAW). */
function pcapOf(packets: readonly Uint8Array[]): Uint8Array {
  const record = (packet: Uint8Array) => {
    const head = new Uint8Array(16);
    for (const at of [8, 12]) viewOf(head).setUint32(at, packet.length);
    return concat([head, packet]);
  };
  const head = unhex('a1b2c3d40002000400000000000000000000ffff00000065');
  return concat([head, ...packets.map(record)]);
}

test('tshark reads AH of every algorithm: SPI, number, length, ICV field and what is inside', {
  skip: tsharkIsMissing(),
}, async () => {
  const made = await engineMakes(AH_INTEGRITY);
  const fields = ['ah.spi', 'ah.sequence', 'ah.icv', 'frame.protocols', '_ws.malformed'];
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-ah-'));
  const file = join(folder, 'ah.pcap');
  writeFileSync(file, pcapOf(made.map(({ packet }) => packet)));
  const args = ['-r', file, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
  const { stdout, stderr, status } = spawnSync('tshark', args, { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  assert.equal(status, 0, stderr);
  const rows = stdout.split('\n').slice(0, -1);
  assert.equal(rows.length, made.length);
  for (const [index, { sa, name, packet }] of made.entries()) {
    const family = packet[0]! >> 4;
    const { icvBytes, ivBytes = 0 } = integrityRow(name);
    const at = (family === 6 ? 40 : 20) + 12;
    // RFC 4302 §3.3.3.2.1: the whole header in words of 32 bits, over IPv6 of 64.
    const unit = family === 6 ? 8 : 4;
    const end = at - 12 + Math.ceil((12 + ivBytes + icvBytes) / unit) * unit;
    const [outer, inner] = [family === 6 ? 'ipv6' : 'ip', sa.mode === 'tunnel' ? ':ip' : ''];
    const expected = [
      `0x${sa.spi.toString(16).padStart(8, '0')}`,
      `${1 + (index % PACKETS_EACH)}`,
      hex(packet.subarray(at, end)),
      `raw:${outer}:ah${inner}:udp:data`,
      '',
    ];
    assert.deepEqual(rows[index]!.split('\t'), expected, `${name}, packet ${index}`);
  }
});
