// The kernel as the witness of the reference's bytes: SAs set by hand with ip(8), none of our code on that side. Each takes
// what the other makes. Runs in the guest that witness.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { AH_INTEGRITY, encryptionRow, type IntegrityName, integrityRow } from '../../src/crypto/suites.ts';
import {
  newSa,
  newTables,
  protect,
  type ReferenceTables,
  unprotectPacket,
} from '../../src/dataplane/reference.ts';
import { outerHeader } from '../../src/dataplane/reference-outer.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { hex, unhex } from '../../src/wire/hex.ts';
import { checksum, pseudoHeader, readFlow, viewOf } from '../../src/wire/ip.ts';
import { openKernelGateway } from './gateway.ts';
import { outboundAh, outboundSa, policy, range, type SaChoice } from './packets.ts';

const provider = createNodeProvider();
const gateway = await openKernelGateway();
after(() => gateway.close());
/** One process for all lines: in the guest they are slow. */
const ip = (...lines: string[]) => execFileSync('ip', ['-batch', '-'], { input: lines.join('\n') });
ip('address add 2001:db8::1/64 dev wan nodad');

/** The kernel's own address and ours. */
const OUTER = {
  4: { kernel: '192.0.2.1', ours: '198.51.100.1' },
  6: { kernel: '2001:db8::1', ours: '2001:db8:1::1' },
} as const;
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
const ANY = {
  4: range('0.0.0.0', '255.255.255.255'),
  6: range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
};
const [TO_KERNEL, FROM_KERNEL] = [0x1000, 0x2000];

/** Behind the kernel 10.1/16 and fd01::/64, behind us 10.2/16 and fd02::/64. */
const INNER = {
  4: unhex('4500002000000000401166b90a0100090a02000910002000000c00000a0b0c0d'),
  6: unhex(
    '60000000000c1140fd010000000000000000000000000009fd02000000000000000000000000000910002000000c7aa10a0b0c0d',
  ),
} as const;
const REPLY = {
  4: unhex('4500002000000000401166b90a0200090a01000920001000000c00000a0b0c0d'),
  6: unhex(
    '60000000000c1140fd020000000000000000000000000009fd01000000000000000000000000000920001000000c7aa10a0b0c0d',
  ),
} as const;

interface Choice {
  outside: Family;
  mode: 'tunnel' | 'transport';
  esn?: boolean;
  padTo?: number;
  align8?: boolean;
  /** Where the kernel believes the packets go first. */
  via?: string;
}

/** Our end of both SAs, and the same in the kernel. */
function between(
  sa: (spi: number, changes: Partial<SaParameters>) => SaParameters,
  choice: Choice,
): ReferenceTables {
  const { outside, mode, esn = false, padTo } = choice;
  const { kernel, ours } = OUTER[outside];
  const everything = [ANY[4], ANY[6]];
  const changes: Partial<SaParameters> = {
    mode,
    esn,
    local: ours,
    remote: kernel,
    selectors: { local: everything, remote: everything },
    ...(padTo ? { padTo } : {}),
  };
  const sent = sa(TO_KERNEL, changes);
  const received = sa(FROM_KERNEL, { ...changes, direction: 'in' });
  const tables = newTables();
  const use = { ...newSa(sent), sequence: esn ? HIGH << 32n : 0n };
  tables.policies.push({ policy: policy('t/net', { selectors: sent.selectors }), use });
  tables.inbound.set(FROM_KERNEL, { ...newSa(received), sequence: esn ? HIGH << 32n : 0n });
  setUp(sent, received, choice);
  return tables;
}

/** Numbers begin where their high half counts. */
const HIGH = 5n;

function setUp(sent: SaParameters, received: SaParameters, { outside, mode, align8, via }: Choice): void {
  const { kernel, ours } = OUTER[outside];
  const out = via ?? ours;
  const template = (from: string, to: string) =>
    `tmpl src ${from} dst ${to} proto ${sent.protocol} reqid 1 mode ${mode}`;
  const policies =
    mode === 'transport'
      ? [
          `src ${kernel} dst ${out} dir out ${template(kernel, out)}`,
          `src ${ours} dst ${kernel} dir in ${template(ours, kernel)}`,
        ]
      : NETWORKS.flatMap(([here, there]) => [
          `src ${here} dst ${there} dir out ${template(kernel, ours)}`,
          `src ${there} dst ${here} dir fwd ${template(ours, kernel)}`,
        ]);
  ip(
    'xfrm state flush',
    'xfrm policy flush',
    stateOf(sent, ours, kernel, 'seq', align8),
    stateOf(received, kernel, out, 'oseq', align8),
    ...policies.map((line) => `xfrm policy add ${line}`),
  );
}

const NETWORKS = [
  ['10.1.0.0/16', '10.2.0.0/16'],
  ['fd01::/64', 'fd02::/64'],
] as const;

function stateOf(
  sa: SaParameters,
  from: string,
  to: string,
  counter: 'seq' | 'oseq',
  align8 = false,
): string {
  const { protocol, mode, esn, spi } = sa;
  const flags = [
    ...(mode === 'tunnel' ? ['af-unspec'] : []),
    ...(protocol === 'ah' && !from.includes(':') && !align8 ? ['align4'] : []),
    ...(esn ? ['esn'] : []),
  ].map((name) => ` flag ${name}`);
  const start = esn ? ` replay-${counter}-hi ${HIGH}` : '';
  const id = `src ${from} dst ${to} proto ${protocol} spi ${spi} reqid 1 mode ${mode}`;
  return `xfrm state add ${id} replay-window 64${start}${flags.join('')} ${algorithms(sa)}`;
}

function algorithms({ encryption, integrity }: SaParameters): string {
  const text = (key: Uint8Array) => `0x${hex(key)}`;
  const row = encryption && encryptionRow(encryption.name);
  if (row && row.tagBytes > 0) return `aead ${row.kernel} ${text(encryption!.key)} ${row.tagBytes * 8}`;
  const code = integrityRow(integrity!.name);
  const auth = `auth-trunc ${code.kernel} ${text(integrity!.key)} ${code.icvBytes * 8}`;
  return row ? `enc ${row.kernel} ${text(encryption!.key)} ${auth}` : auth;
}

/** What we send, with an outer header where ESP has none of its own. */
function seal(tables: ReferenceTables, packet: Uint8Array): Uint8Array {
  const sent = protect(
    provider,
    tables,
    packet,
    () => provider.random(16),
    () => 0x1234,
  );
  if (sent.type === 'packet') return sent.packet;
  assert.equal(
    sent.type,
    'esp',
    JSON.stringify(sent, (_, value) => `${value}`),
  );
  if (sent.type !== 'esp') throw new Error();
  return Uint8Array.of(
    ...outerHeader(sent.sa.parameters, sent.outer, 0x1234, 50, sent.esp.length),
    ...sent.esp,
  );
}

function open(tables: ReferenceTables, packet: Uint8Array | undefined): Uint8Array {
  assert.ok(packet, `the kernel sent nothing; ${statistics()}`);
  const inner = unprotectPacket(provider, tables, packet);
  assert.ok(inner.type === 'inner', `${inner.type === 'dropped' && inner.drop}: ${hex(packet)}`);
  return inner.packet;
}

/** What the kernel counted against packets. */
function statistics(): string {
  return execFileSync('sh', ['-c', 'grep -v "[[:space:]]0$" /proc/net/xfrm_stat || true'], {
    encoding: 'utf8',
  });
}

async function throughTunnel(tables: ReferenceTables): Promise<void> {
  for (const inside of FAMILIES) {
    const reached = await gateway.fromNetwork(seal(tables, REPLY[inside]));
    assert.ok(reached, `the kernel dropped it; ${statistics()}`);
    assert.equal(hex(reached), hex(REPLY[inside]));
    const left = await gateway.fromHost(INNER[inside]);
    assert.equal(hex(open(tables, left.whole)), hex(INNER[inside]));
  }
}

const DATA = '00112233445566778899aabbccddeeff';

/** ICMP echo from us to the kernel, behind options or extension headers. */
function echo(family: Family, middle = '', first = family === 4 ? 1 : 58): Uint8Array {
  const { kernel, ours } = OUTER[family];
  const options = unhex(middle.replaceAll(' ', ''));
  const request = unhex(`${family === 4 ? '08' : '80'}000000 00070001 ${DATA}`.replaceAll(' ', ''));
  const sa = outboundSa(1, GCM, { local: ours, remote: kernel });
  const bits = { trafficClass: 0, dontFragment: false };
  const header = outerHeader(sa, bits, 7, first, options.length + request.length);
  if (family === 4) header[0] = 0x40 | ((20 + options.length) / 4);
  const packet = Uint8Array.of(...header, ...options, ...request);
  const transport = header.length + options.length;
  if (family === 4) {
    packet.fill(0, 10, 12);
    viewOf(packet).setUint16(10, checksum(packet.subarray(0, transport)));
    viewOf(packet).setUint16(transport + 2, checksum(request));
  } else {
    const sum = checksum(pseudoHeader(packet, readFlow(packet)!, request.length), request);
    viewOf(packet).setUint16(transport + 2, sum);
  }
  return packet;
}

/** The kernel's answer comes back through its own SA. */
async function answered(tables: ReferenceTables, request: Uint8Array, onTheWay = (made: Uint8Array) => made) {
  const [packet] = await gateway.fromItself(onTheWay(seal(tables, request)));
  const reply = open(tables, packet);
  const flow = readFlow(reply)!;
  assert.equal(reply[flow.transport], flow.family === 4 ? 0 : 129);
  assert.equal(hex(reply.subarray(flow.transport + 8)), DATA);
  return reply;
}

const GCM: SaChoice = { encryption: 'aes-gcm-16', keyBits: 128 };
const CBC: SaChoice = { encryption: 'aes-cbc', keyBits: 256, integrity: 'hmac-sha2-256-128' };
const HMAC: IntegrityName = 'hmac-sha2-256-128';
const ah = (name: IntegrityName) => (spi: number, changes: Partial<SaParameters>) =>
  outboundAh(spi, name, changes);
function esp(choice: SaChoice) {
  return (spi: number, changes: Partial<SaParameters>) => {
    const { udp, ...sa } = outboundSa(spi, choice, changes);
    return sa;
  };
}

/** The kernel's AH takes hashes only. */
const CODES = AH_INTEGRITY.filter((name) => !integrityRow(name).ivBytes);

for (const name of CODES) {
  test(`witness: AH with ${name}: tunnel and transport mode, each family in each, extended numbers and not`, async () => {
    for (const outside of FAMILIES) {
      for (const esn of name === HMAC ? [false, true] : [outside === 6]) {
        await throughTunnel(between(ah(name), { outside, mode: 'tunnel', esn }));
        const transport = between(ah(name), { outside, mode: 'transport', esn });
        for (let i = 0; i < 2; i++) await answered(transport, echo(outside));
      }
    }
  });
}

test('witness: AH of whole 64-bit words over IPv4, as Linux makes it unless it is told, is understood', async () => {
  const tables = between(ah(HMAC), { outside: 4, mode: 'tunnel', align8: true });
  const left = await gateway.fromHost(INNER[4]);
  assert.equal(left.whole?.[21], 6);
  assert.equal(hex(open(tables, left.whole)), hex(INNER[4]));
});

const OPTIONS = {
  'router alert, which is covered': '94040000',
  'record route and no operation': '01 070b04 00000000 00000000',
  'a time stamp': '440c0500 00000000 00000000',
  'all of these, and the end': '94040000 070704 00000000 44080500 00000000 00',
};

for (const [what, options] of Object.entries(OPTIONS)) {
  test(`witness: AH in transport mode behind IPv4 options: ${what}`, async () => {
    const tables = between(ah(HMAC), { outside: 4, mode: 'transport' });
    await answered(tables, echo(4, options));
  });
}

/** A program on the kernel's side sends UDP with options. */
function kernelSends(
  family: Family,
  to: string,
  options: readonly (readonly [string, string, string])[],
): void {
  const script = [
    'import socket, sys',
    `s = socket.socket(socket.AF_INET${family === 6 ? '6' : ''}, socket.SOCK_DGRAM)`,
    ...options.map(
      ([level, name, value]) => `s.setsockopt(socket.${level}, ${name}, bytes.fromhex('${value}'))`,
    ),
    `s.bind(('${OUTER[family].kernel}', 4444))`,
    `s.sendto(b'hello', ('${to}', 5555))`,
  ].join('\n');
  execFileSync('python3', ['-c', script]);
}

const IPV6 = (name: string, value: string) =>
  ['IPPROTO_IPV6', `socket.${name}`, value.replaceAll(' ', '')] as const;
const IPV4 = (value: string) => ['IPPROTO_IP', 'socket.IP_OPTIONS', value.replaceAll(' ', '')] as const;

test('witness: AH of the kernel behind IPv4 options that its own program set', async () => {
  for (const options of Object.values(OPTIONS).slice(0, 3)) {
    const tables = between(ah(HMAC), { outside: 4, mode: 'transport' });
    kernelSends(4, OUTER[4].ours, [IPV4(options)]);
    const [packet] = await gateway.fromItself();
    assert.ok((packet![0]! & 15) > 5, 'there are options');
    assert.ok(hex(open(tables, packet)).endsWith(hex(Buffer.from('hello'))));
  }
});

test('witness: AH of the kernel over a source route: its code is that of the packet as it arrives', async () => {
  // The kernel's policy is asked for the first hop.
  const [hop, end] = ['198.51.100.7', OUTER[4].ours];
  for (const kind of ['83', '89']) {
    const tables = between(ah(HMAC), { outside: 4, mode: 'transport', via: hop });
    kernelSends(4, end, [IPV4(`${kind} 0b 04 ${hex(addressBytes(hop))} ${hex(addressBytes(end))} 00`)]);
    const [packet] = await gateway.fromItself();
    assert.equal(hex(packet!.subarray(16, 20)), hex(addressBytes(hop)));
    // At the last hop: the pointer is behind the route, the destination is its end.
    packet!.set(addressBytes(end), 16);
    packet![22] = packet![21]! + 1;
    assert.ok(hex(open(tables, packet)).endsWith(hex(Buffer.from('hello'))));
  }
});

const CHAINS = {
  'hop by hop, an option that may change': [0, '3a 00 3e 04 aabbccdd'],
  'hop by hop and destination options': [0, '3c 00 1e 04 aabbccdd 3a 00 3e 04 11223344'],
  'padding between options': [0, '3a 01 00 1e 02 aabb 01 00 3e 05 1122334455'],
  'destination options alone, which stay inside': [60, '3a 00 3e 04 11223344'],
} as const;

for (const [what, [first, chain]] of Object.entries(CHAINS)) {
  test(`witness: AH and ESP in transport mode behind IPv6 extension headers: ${what}`, async () => {
    for (const kind of [ah(HMAC), esp(GCM)]) {
      const tables = between(kind, { outside: 6, mode: 'transport' });
      await answered(tables, echo(6, chain, first));
    }
  });
}

test('witness: what routers change on the way does not matter to the kernel either', async () => {
  const tables = between(ah(HMAC), { outside: 6, mode: 'transport' });
  await answered(tables, echo(6, CHAINS['hop by hop, an option that may change'][1], 0), (made) => {
    made.set([0x61, 0x2f, 0xff, 0xff], 0);
    made[7]! -= 9;
    made.set([1, 2, 3, 4], 44);
    return made;
  });
});

test('witness: AH behind a routing header of type 0: the kernel sees it as it arrives', async () => {
  const tables = between(ah(HMAC), { outside: 6, mode: 'transport' });
  const { kernel } = OUTER[6];
  const hop = '2001:db8:7::7';
  const request = echo(6, `3a 02 00 00 00000000 ${hex(addressBytes(hop))}`, 43);
  await answered(tables, request);
  // From the first hop on: as the sender makes it, and as the hop hands it on.
  const use = tables.policies[0]!.use!;
  use.parameters = { ...use.parameters, remote: hop };
  const routed = request.slice();
  routed.set(addressBytes(hop), 24);
  routed[43] = 1;
  routed.set(addressBytes(kernel), 48);
  await answered(tables, routed, (made) => {
    made.set(addressBytes(kernel), 24);
    made.set(addressBytes(hop), 48);
    made[43] = 0;
    return made;
  });
});

test('witness: AH of the kernel behind extension headers that its own program set', async () => {
  const sets = [
    [IPV6('IPV6_HOPOPTS', '00 00 3e 04 aabbccdd')],
    [IPV6('IPV6_DSTOPTS', '00 00 1e 04 aabbccdd')],
    [IPV6('IPV6_HOPOPTS', '00 00 3e 04 aabbccdd'), IPV6('IPV6_DSTOPTS', '00 00 3e 04 aabbccdd')],
  ];
  for (const kind of [ah(HMAC), esp(GCM)]) {
    for (const options of sets) {
      const tables = between(kind, { outside: 6, mode: 'transport' });
      kernelSends(6, OUTER[6].ours, options);
      const [packet] = await gateway.fromItself();
      assert.ok(hex(open(tables, packet)).endsWith(hex(Buffer.from('hello'))));
    }
  }
});

for (const choice of [GCM, CBC]) {
  test(`witness: ESP with ${choice.encryption}: tunnel and transport mode, each family in each, extended numbers and not`, async () => {
    for (const outside of FAMILIES) {
      for (const esn of [false, true]) {
        await throughTunnel(between(esp(choice), { outside, mode: 'tunnel', esn }));
        const transport = between(esp(choice), { outside, mode: 'transport', esn });
        for (let i = 0; i < 2; i++) await answered(transport, echo(outside));
        if (outside === 4) await answered(transport, echo(4, OPTIONS['record route and no operation']));
      }
    }
  });
}

test('witness: padding of traffic flow is taken off by the kernel (RFC 4303 §2.7)', async () => {
  for (const choice of [GCM, CBC])
    await throughTunnel(between(esp(choice), { outside: 4, mode: 'tunnel', padTo: 900 }));
});
