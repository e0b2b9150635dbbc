// Two sites for simulations, and the provider they use: real algorithms, seeded randomness.

import assert from 'node:assert/strict';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Provider } from '../../src/crypto/provider.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { createPair, type Pair, sendPacket } from '../../src/sim/pair.ts';

const A = '192.0.2.1';
const B = '198.51.100.1';

export function seededProvider(random: () => number): Provider {
  return {
    ...createNodeProvider(),
    random: (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256)),
  };
}

export function tunnel(side: 'a' | 'b', changes: Partial<Tunnel> = {}): Tunnel {
  const [own, other] = side === 'a' ? [A, B] : [B, A];
  const net = (n: number) => [
    { protocol: 0, startPort: 0, endPort: 65535, start: `10.${n}.0.0`, end: `10.${n}.255.255` },
  ];
  return {
    name: 't',
    start: 'wait',
    local: { address: own, identity: { type: 'ipv4', value: own } },
    remote: { addresses: [other], identity: { type: 'ipv4', value: other } },
    auth: { method: 'psk', secret: 'same on both sides' },
    encapsulation: 'udp',
    childless: 'allow',
    unique: 'replace',
    ike: {
      proposals: [
        {
          encryption: [{ name: 'aes-gcm-16', keyBits: 256 }],
          integrity: [],
          prf: ['hmac-sha2-256'],
          keyExchange: ['x25519', 'ecp-256'],
          additionalKeyExchange: [],
          esn: [],
        },
      ],
      lifetime: 14_400_000,
    },
    children: [
      {
        name: 'net',
        order: 0,
        protocol: 'esp',
        mode: 'tunnel',
        selectors: { local: net(side === 'a' ? 1 : 2), remote: net(side === 'a' ? 2 : 1) },
        proposals: [
          {
            encryption: [{ name: 'aes-gcm-16', keyBits: 256 }],
            integrity: [],
            prf: [],
            keyExchange: ['x25519'],
            additionalKeyExchange: [],
            esn: [true, false],
          },
        ],
        lifetime: { time: 3_600_000 },
        outer: { df: 'clear', dscp: 'copy' },
        replayWindow: 1024,
      },
    ],
    retransmit: { first: 500, factor: 1.5, cap: 16_000, sends: 12, jitter: 0.1 },
    liveness: 30_000,
    rehearsal: false,
    keepalive: 20_000,
    fragmentation: 'auto',
    ...changes,
  };
}

/** The same with children of AH, which has no encryption and no UDP. */
export function ofAh(esp: Tunnel): Tunnel {
  const children = esp.children.map((child) => ({
    ...child,
    protocol: 'ah' as const,
    proposals: child.proposals.map((one) => ({
      ...one,
      encryption: [],
      integrity: ['hmac-sha2-256-128' as const],
    })),
  }));
  return { ...esp, encapsulation: 'auto', children };
}

type Options = Parameters<typeof createPair>[3];

export function sites(
  seed = 1,
  a: Partial<Tunnel> = {},
  b: Partial<Tunnel> = {},
  options: Options = {},
): Pair {
  return createPair(seed, { a: tunnel('a', a), b: tunnel('b', b) }, seededProvider, options);
}

export function established(pair: Pair): Pair {
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
  return pair;
}

/** Both ways, and both sides hold the same live SAs and no others. */
export function agree(pair: Pair, children: readonly string[] = ['net']): void {
  for (const child of children) {
    assert.equal(sendPacket(pair, pair.a, `t/${child}`), 'received', pair.ladder());
    assert.equal(sendPacket(pair, pair.b, `t/${child}`), 'received', pair.ladder());
  }
  pair.run(10_000);
  for (const [from, to] of [
    [pair.a, pair.b],
    [pair.b, pair.a],
  ] as const) {
    assert.deepEqual([...from.outbound.keys()].sort(), [...to.inbound.keys()].sort(), pair.ladder());
    assert.equal(from.outbound.size, children.length, pair.ladder());
    assert.equal(from.gateway.tunnels()[0]!.children.length, children.length, pair.ladder());
  }
}
