// What IKE negotiates, carried out: the changes that two gateways ask for, in two data planes, and packets through both.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createMemoryPlane, type MemoryPlane } from '../../src/dataplane/memory.ts';
import { parseTemplate } from '../../src/policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, SideName } from '../../src/sim/pair.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { checksum } from '../../src/wire/ip.ts';
import { established, sites, tunnel } from '../sim/sites.ts';

const provider = createNodeProvider();
const HOSTS = { a: '192.0.2.1', b: '198.51.100.1' };
const INSIDE = { a: '10.1.0.5', b: '10.2.0.9' };
const GRE = 47;
const AH = 51;

interface Way {
  protocol: 'esp' | 'ah';
  mode: ChildTemplate['mode'];
  suite: string;
  padTo?: number;
}

function configured(side: SideName, { protocol, mode, suite, padTo }: Way): Partial<Tunnel> {
  const parsed = parseTemplate(`${suite} / x25519`, protocol);
  assert.ok(!('complaint' in parsed), suite);
  const [net] = tunnel(side).children;
  const host = (address: string) => [
    { protocol: GRE, startPort: 0, endPort: 65535, start: address, end: address },
  ];
  const [here, there] = side === 'a' ? [HOSTS.a, HOSTS.b] : [HOSTS.b, HOSTS.a];
  const selectors = mode === 'tunnel' ? net!.selectors : { local: host(here), remote: host(there) };
  const child: ChildTemplate = {
    ...net!,
    ...{ protocol, mode, selectors, proposals: [parsed] },
    ...(padTo === undefined ? {} : { padTo }),
  };
  return { encapsulation: 'auto', children: [child] };
}

/** The data planes of both sides, with all that their gateways have asked for. */
async function planesOf(pair: Pair, way: Way): Promise<Record<SideName, MemoryPlane>> {
  const planes = { a: createMemoryPlane(provider), b: createMemoryPlane(provider) };
  for (const side of ['a', 'b'] as const) {
    const [child] = configured(side, way).children!;
    const { selectors } = child!;
    const policy = { id: 't/net', action: 'protect', order: 0, selectors, acquire: false } as const;
    await planes[side].apply([{ type: 'add-policy', policy }, ...pair[side].changes]);
  }
  return planes;
}

/** An IPv4 packet of GRE. */
function packet(from: string, to: string, size: number): Uint8Array {
  const made = new Uint8Array(size).fill(7);
  made.set([0x45, 0, size >> 8, size & 0xff, 0, 1, 0, 0, 64, GRE, 0, 0]);
  made.set(addressBytes(from), 12);
  made.set(addressBytes(to), 16);
  const sum = checksum(made.subarray(0, 20));
  made.set([sum >> 8, sum & 0xff], 10);
  return made;
}

/** One packet each way; what crossed. */
function exchange(planes: Record<SideName, MemoryPlane>, { mode, protocol }: Way): Uint8Array[] {
  const addresses = mode === 'tunnel' ? INSIDE : HOSTS;
  return (['a', 'b'] as const).map((from) => {
    const to = from === 'a' ? 'b' : 'a';
    const sent = packet(addresses[from], addresses[to], 84);
    const crossed = planes[from].outbound(sent);
    assert.ok(crossed, `${from} sends`);
    const whole = mode === 'transport' || protocol === 'ah';
    const arrived = whole ? planes[to].inboundPacket(crossed) : planes[to].inbound(crossed);
    assert.deepEqual(arrived && Buffer.from(arrived), Buffer.from(sent), `${to} gets what ${from} sent`);
    return crossed;
  });
}

const ESP = 'aes-gcm-16-256';
for (const way of [
  { protocol: 'ah', mode: 'tunnel', suite: 'hmac-sha2-256-128' },
  { protocol: 'ah', mode: 'tunnel', suite: 'hmac-sha2-384-192 / no-esn' },
  { protocol: 'ah', mode: 'tunnel', suite: 'aes-128-gmac' },
  { protocol: 'ah', mode: 'tunnel', suite: 'aes-256-gmac / no-esn' },
  { protocol: 'ah', mode: 'transport', suite: 'hmac-sha2-512-256' },
  { protocol: 'esp', mode: 'transport', suite: ESP },
  { protocol: 'esp', mode: 'tunnel', suite: ESP, padTo: 1300 },
] satisfies Way[] as Way[]) {
  const { protocol, mode, suite, padTo } = way;
  test(`${protocol} in ${mode} mode, ${suite}${padTo ? `, padded to ${padTo}` : ''}: packets pass both ways, also after a rekey`, async () => {
    const pair = established(sites(1, configured('a', way), configured('b', way)));
    const crossed = exchange(await planesOf(pair, way), way);
    if (protocol === 'ah') assert.equal(crossed[0]![9], AH);
    const overhead = crossed[0]!.length - 84;
    if (padTo !== undefined) assert.ok(crossed[0]!.length > padTo, 'padding hides the size');
    else if (mode === 'transport') assert.ok(overhead < 60, `no second IP header in ${overhead} bytes`);
    pair.command(pair.b, 'rekey', 't', 'net');
    pair.run(2000);
    assert.ok(pair.a.reports.includes('CHILD_REKEYED'), pair.ladder());
    exchange(await planesOf(pair, way), way);
  });
}
