// What SAs and policies can be in the kernel: links, AH, transport mode, marks, the outer header. Runs in the guest that
// xfrm-kinds.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { integrityRow } from '../../src/crypto/suites.ts';
import type { XfrmPlane } from '../../src/dataplane/xfrm.ts';
import { ROUTING } from '../../src/host/wanted.ts';
import type { Plane } from '../../src/native.ts';
import { type DataPlaneEvent, type Policy, type SaParameters, vtiKey } from '../../src/policy/sad.ts';
import { selectorOf } from '../../src/policy/selector.ts';
import { addressBytes, familyOf } from '../../src/wire/address.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import { NETLINK } from '../../src/wire/netlink.ts';
import { inboundSa, outboundSa, policy, SITE_A, SITE_B } from './packets.ts';
import {
  ANYWHERE,
  addon,
  CHOICE,
  gateway,
  ip,
  PACKET,
  peerOf,
  sending,
  towards,
  withPlane,
} from './xfrm-guest.ts';

test('xfrm: VTIs of the same selectors, and a policy beside them: each packet goes the way it is routed', () => {
  const links = [1, 2].map((id) => ({ name: `vti${id}`, id, remote: `198.51.100.${id}`, to: 20 + id }));
  for (const { name, id, remote, to } of links) {
    const key = `0x${vtiKey({ id }).toString(16)}`;
    ip(`link add ${name} type vti local 192.0.2.1 remote ${remote} key ${key}`);
    ip(`link set dev ${name} up`);
    ip(`route add 10.${to}.0.0/16 dev ${name}`);
  }
  return withPlane(
    async (plane) => {
      const sas = links.map(({ name, id, remote }) => {
        const more = { policy: `${name}/net`, remote, selectors: ANYWHERE };
        return [outboundSa(1000 + id, CHOICE, more), inboundSa(2000 + id, CHOICE, more)] as const;
      });
      for (const [index, { name, id }] of links.entries()) {
        const [sent, received] = sas[index]!;
        await plane.apply([
          { type: 'add-policy', policy: policy(`${name}/net`, { selectors: ANYWHERE, link: { name, id } }) },
          { type: 'add-inbound', sa: received },
          { type: 'add-outbound', sa: sent },
          { type: 'use-outbound', policy: `${name}/net`, spi: sent.spi, remote: sent.remote },
        ]);
      }
      await plane.apply([
        { type: 'add-policy', policy: policy('t/net', { selectors: { local: SITE_A, remote: SITE_B } }) },
        { type: 'add-outbound', sa: outboundSa(1009, CHOICE, { remote: '198.51.100.9' }) },
        { type: 'use-outbound', policy: 't/net', spi: 1009, remote: '198.51.100.9' },
      ]);
      for (const [index, { remote, to }] of links.entries()) {
        const [sent, received] = sas[index]!;
        const peer = await peerOf(sent, received);
        const { packet, answer } = towards(to);
        const left = await gateway.fromHost(packet);
        assert.deepEqual([left.clear.length, left.to?.address], [0, remote]);
        assert.deepEqual(peer.inbound(left.esp!), packet);
        const back = await gateway.fromPeer(peer.outbound(answer)!, { address: remote, port: 4500 });
        assert.deepEqual(back, answer);
      }
      assert.equal((await gateway.fromHost(towards(2).packet)).to?.address, '198.51.100.9');
      const { policies, sas: installed } = await plane.snapshot();
      assert.deepEqual([policies.length, installed.length], [3, 5]);
      assert.deepEqual(
        installed.map(({ packets }) => packets),
        [1n, 1n, 1n, 1n, 1n],
      );
      // An SA that is gone: nothing passes by another way.
      await plane.apply([{ type: 'remove', direction: 'out', spi: 1001 }]);
      const { esp, clear } = await gateway.fromHost(towards(21).packet);
      assert.deepEqual([esp, clear.length], [undefined, 0]);
    },
    addon,
    'vti',
  ).finally(() => {
    for (const { name } of links) ip(`link delete ${name}`);
  });
});

// The bare kernel at the other end, set up by ip(8): what both read the same way is not ours alone.

const OUTER = { 4: ['198.18.5.1', '198.18.5.2'], 6: ['2001:db8:5::1', '2001:db8:5::2'] } as const;
const INNER = { 4: ['10.61.0.1', '10.62.0.1'], 6: ['fd61::1', 'fd62::1'] } as const;
const there = (line: string) => ip(`-n peer ${line}`);
/** Many lines at once: each process costs here. */
const thereAll = (lines: readonly string[]) =>
  execFileSync('ip', ['-n', 'peer', '-batch', '-'], { input: lines.join('\n') });

ip('netns add peer');
ip('link add wire type veth peer name wire netns peer');
for (const [at, index] of [
  [ip, 0],
  [there, 1],
] as const) {
  at('link set dev lo up');
  for (const family of [4, 6] as const) {
    at(
      `address add ${OUTER[family][index]}/${family === 4 ? 24 : 64} dev wire${family === 6 ? ' nodad' : ''}`,
    );
    at(`address add ${INNER[family][index]} dev lo`);
  }
  at('link set dev wire up');
  for (const family of [4, 6] as const)
    at(`-${family} route add ${INNER[family][1 - index]} dev wire src ${INNER[family][index]}`);
}

type Family = 4 | 6;

interface Kind {
  protocol: 'esp' | 'ah';
  mode: 'tunnel' | 'transport';
  outside: Family;
  inside: Family;
  algorithm: 'gcm' | 'cbc' | NonNullable<SaParameters['integrity']>['name'];
  esn: boolean;
}

const KEY = Uint8Array.from({ length: 64 }, (_, index) => index + 1);
const hex = (bytes: Uint8Array) => `0x${Buffer.from(bytes).toString('hex')}`;

/** The keys of our SA, and the words for the same ones in ip(8). */
function keysOf({ algorithm }: Kind): {
  keys: Pick<SaParameters, 'encryption' | 'integrity'>;
  words: string;
} {
  if (algorithm === 'gcm') {
    const key = KEY.slice(0, 20);
    return {
      keys: { encryption: { name: 'aes-gcm-16', keyBits: 128, key } },
      words: `aead rfc4106(gcm(aes)) ${hex(key)} 128`,
    };
  }
  const name = algorithm === 'cbc' ? 'hmac-sha2-256-128' : algorithm;
  const { kernel, keyBytes, icvBytes } = integrityRow(name);
  const integrity = { name, key: KEY.slice(0, keyBytes) };
  const words = `auth-trunc ${kernel} ${hex(integrity.key)} ${icvBytes * 8}`;
  if (algorithm !== 'cbc') return { keys: { integrity }, words };
  const key = KEY.slice(0, 16);
  return {
    keys: { integrity, encryption: { name: 'aes-cbc', keyBits: 128, key } },
    words: `enc cbc(aes) ${hex(key)} ${words}`,
  };
}

function selectorsOf({ mode, outside, inside }: Kind): SaParameters['selectors'] {
  const [here, far] = mode === 'transport' ? OUTER[outside] : INNER[inside];
  return { local: [selectorOf(here)!], remote: [selectorOf(far)!] };
}

function ourSas(kind: Kind): { sent: SaParameters; received: SaParameters } {
  const [local, remote] = OUTER[kind.outside];
  const { protocol, mode, esn } = kind;
  const sent: SaParameters = {
    ...outboundSa(5000, CHOICE, { local, remote, protocol, mode, esn, selectors: selectorsOf(kind) }),
  };
  delete sent.udp;
  delete sent.encryption;
  Object.assign(sent, keysOf(kind).keys);
  return { sent, received: { ...sent, spi: 5001, direction: 'in' } };
}

/** `align4`: of AH over IPv4, as RFC 4302 has it. */
function setUpPeer(kind: Kind, align4 = true): void {
  const [far, here] = OUTER[kind.outside];
  const { words } = keysOf(kind);
  clearPeer();
  const flags = [
    ...(kind.esn ? ['esn'] : []),
    ...(kind.mode === 'tunnel' ? ['af-unspec'] : []),
    ...(kind.protocol === 'ah' && kind.outside === 4 && align4 ? ['align4'] : []),
  ];
  const more = `reqid 9 mode ${kind.mode} replay-window 64${flags.map((flag) => ` flag ${flag}`).join('')} ${words}`;
  const { local, remote } = selectorsOf(kind);
  const [near, away] = [remote[0]!.start, local[0]!.start];
  const template = (from: string, to: string) =>
    `tmpl src ${from} dst ${to} proto ${kind.protocol} reqid 9 mode ${kind.mode}`;
  thereAll([
    `xfrm state add src ${far} dst ${here} proto ${kind.protocol} spi 5000 ${more}`,
    `xfrm state add src ${here} dst ${far} proto ${kind.protocol} spi 5001 ${more}`,
    `xfrm policy add src ${near} dst ${away} dir out priority 9 ${template(here, far)}`,
    `xfrm policy add src ${away} dst ${near} dir in priority 9 ${template(far, here)}`,
    ...(familyOf(near) === 6
      ? NEIGHBOURS.map((type) => `xfrm policy add src ${near} dst ${away} ${type}`)
      : []),
  ]);
}

/** The peer too lets neighbours find it. */
const NEIGHBOURS = [135, 136].map((type) => `proto ipv6-icmp type ${type} dir out priority 1`);

function clearPeer(): void {
  thereAll(['xfrm state flush', 'xfrm policy flush', 'neighbour flush dev wire']);
  ip('neighbour flush dev wire');
}

/** Whether an echo request from us to that address is answered. */
function answers(to: string, from: string, ...more: string[]): boolean {
  try {
    execFileSync('ping', [...more, '-n', '-c', '1', '-w', '1', '-I', from, to], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function pairOf({ mode, outside, inside }: Kind): readonly [string, string] {
  return mode === 'transport' ? OUTER[outside] : INNER[inside];
}

async function connect(plane: XfrmPlane, kind: Kind, more: Partial<Policy> = {}): Promise<void> {
  const { sent, received } = ourSas(kind);
  await plane.apply([
    { type: 'add-policy', policy: policy('t/net', { selectors: selectorsOf(kind), ...more }) },
    { type: 'add-inbound', sa: received },
    { type: 'add-outbound', sa: sent },
    { type: 'use-outbound', policy: 't/net', spi: sent.spi, remote: sent.remote },
  ]);
}

async function disconnect(plane: XfrmPlane): Promise<void> {
  await plane.apply([
    { type: 'remove-policy', policy: 't/net' },
    { type: 'remove', direction: 'out', spi: 5000 },
    { type: 'remove', direction: 'in', spi: 5001 },
  ]);
  clearPeer();
}

const EACH: readonly Pick<Kind, 'protocol' | 'algorithm' | 'esn'>[] = [
  { protocol: 'esp', algorithm: 'gcm', esn: false },
  { protocol: 'esp', algorithm: 'cbc', esn: true },
  { protocol: 'ah', algorithm: 'hmac-sha2-256-128', esn: false },
  { protocol: 'ah', algorithm: 'hmac-sha2-512-256', esn: true },
  { protocol: 'ah', algorithm: 'aes-cmac-96', esn: false },
];
const WAYS: readonly Pick<Kind, 'mode' | 'outside' | 'inside'>[] = ([4, 6] as const).flatMap((outside) => [
  { mode: 'transport', outside, inside: outside },
  ...([4, 6] as const).map((inside) => ({ mode: 'tunnel' as const, outside, inside })),
]);

for (const each of EACH) {
  const { protocol, algorithm, esn } = each;
  test(`xfrm: the bare kernel as peer: ${protocol} ${algorithm}${esn ? ' esn' : ''}, transport, and tunnels of each family in each`, () =>
    withPlane(async (plane) => {
      for (const way of WAYS) {
        const kind = { ...each, ...way };
        const [here, far] = pairOf(kind);
        await connect(plane, kind);
        setUpPeer(kind);
        const what = `${way.mode}, IPv${way.inside} in IPv${way.outside}`;
        assert.ok(answers(far, here), what);
        const { sas } = await plane.snapshot();
        const counted = sas.map(({ direction, packets }) => `${direction} ${packets}`).sort();
        assert.deepEqual(counted, ['in 1', 'out 1'], what);
        await disconnect(plane);
      }
    }));
}

test('xfrm: AH over IPv4 with SHA2-256: the ICV is aligned to 32 bits, and a peer that aligns to 64 is not understood', () =>
  withPlane(async (plane) => {
    const kind: Kind = { ...EACH[2]!, mode: 'tunnel', outside: 4, inside: 4 };
    await connect(plane, kind);
    setUpPeer(kind, false);
    assert.equal(answers(INNER[4][1], INNER[4][0]), false);
    await disconnect(plane);
  }));

/** Answers each datagram with itself. */
const ECHO = `
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 500))
print("ready", flush=True)
while True:
    s.sendto(*s.recvfrom(999))
`;

test('xfrm: a policy between the outer addresses stops everything but IKE', async () => {
  const echo = spawn('ip', ['netns', 'exec', 'peer', 'python3', '-c', ECHO], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(echo.stdout, 'data');
  const native = addon.create(1, 0);
  const addresses = [addressBytes(OUTER[4][0]), addressBytes(OUTER[6][0])];
  assert.equal(addon.openPort(native, addresses, 500, 4500, ROUTING.mark, true, true), '');
  assert.equal(addon.listen(native, NETLINK.XFRM, 0, 0), '');
  addon.start(native, () => {});
  try {
    await withPlane(async (plane) => {
      for (const family of [4, 6] as const) {
        const [here, far] = OUTER[family];
        assert.ok(answers(far, here), 'without a policy');
        const selectors = { local: [selectorOf(here)!], remote: [selectorOf(far)!] };
        await plane.apply([{ type: 'add-policy', policy: policy('t/host', { selectors, acquire: true }) }]);
        assert.equal(answers(far, here), false, 'in the clear');
        const message = Uint8Array.from({ length: 28 }, (_, index) => (index === 17 ? 0x20 : index));
        assert.ok(addon.send(native, addressBytes(here), 500, addressBytes(far), 500, message, false));
        assert.deepEqual(await taken(native), message);
      }
    });
  } finally {
    addon.stop(native);
    echo.kill();
  }
});

/** The next datagram, within a while. */
async function taken(native: Plane): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const [, , , , bytes] = addon.take(native);
    if (bytes) return bytes as Uint8Array;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return undefined;
}

const PLAIN: Kind = { protocol: 'esp', algorithm: 'gcm', esn: false, mode: 'tunnel', outside: 4, inside: 4 };
const [NEAR, FAR] = INNER[4];

test('xfrm: a tunnel with a mark is for packets with that mark; what comes out of it has the mark', () =>
  withPlane(async (plane) => {
    await connect(plane, PLAIN, { kernel: { mark: { value: 0x70, mask: 0xf0 }, offload: 'off' } });
    setUpPeer(PLAIN);
    assert.ok(answers(FAR, NEAR, '-m', `${0x75}`));
    assert.equal(answers(FAR, NEAR), false, 'in the clear, which the peer does not take');
    assert.match(ip('xfrm policy list dir in'), /mark 0x70\/0xf0/);
    const { policies, sas } = await plane.snapshot();
    assert.deepEqual([policies.length, sas.map(({ packets }) => packets)], [1, [1n, 1n]]);
    await disconnect(plane);
    assert.doesNotMatch(ip('xfrm policy list') + ip('xfrm state'), /mark|10\.61/);
  }));

test('xfrm: outer packets have the output mark beside ours, and rules of the host choose their way by it', () =>
  withPlane(async (plane) => {
    const outputMark = { value: 0x80000000, mask: 0xf0000000 };
    await connect(plane, PLAIN, { kernel: { outputMark, offload: 'off' } });
    setUpPeer(PLAIN);
    assert.ok(answers(FAR, NEAR));
    assert.match(ip('xfrm state'), /output-mark 0x82d00000\/0xf2d00000/);
    for (const [mark, passes] of [
      ['0x80000000/0xf0000000', false],
      ['0x90000000/0xf0000000', true],
      ['0x2d00000/0x2d00000', false],
    ] as const) {
      ip(`rule add fwmark ${mark} priority 9 unreachable`);
      assert.equal(answers(FAR, NEAR), passes, mark);
      ip('rule delete priority 9');
    }
    await disconnect(plane);
  }));

test('xfrm: VTIs over each family carry each family', () =>
  withPlane(
    async (plane) => {
      for (const [outside, type] of [
        [4, 'vti'],
        [6, 'vti6'],
      ] as const) {
        const link = { name: type, id: outside };
        const [local, remote] = OUTER[outside];
        ip(`link add ${type} type ${type} local ${local} remote ${remote} key ${vtiKey(link)}`);
        ip(`link set dev ${type} up`);
        for (const inside of [4, 6] as const) {
          const kind = { ...PLAIN, outside, inside };
          const [near, far] = INNER[inside];
          ip(`-${inside} route replace ${far} dev ${type} src ${near}`);
          await connect(plane, kind, { link });
          setUpPeer(kind);
          assert.ok(answers(far, near), `IPv${inside} in IPv${outside}`);
          ip(`-${inside} route replace ${far} dev wire src ${near}`);
          assert.equal(answers(far, near), false, 'what is not routed to the link does not go into it');
          await disconnect(plane);
        }
        ip(`link delete ${type}`);
      }
    },
    addon,
    'vti',
  ));

const VOICE = 0xb8 | 1;

test('xfrm: DSCP is copied or 0, congestion bits always come along, and what the kernel cannot do is refused in a sentence', () =>
  withPlane(async (plane) => {
    const packet = withTrafficClass(VOICE);
    for (const [dscp, outer] of [
      ['copy', VOICE],
      [0, VOICE & 3],
    ] as const) {
      await plane.apply(sending(outboundSa(1000, CHOICE, { outer: { df: 'clear', dscp } })));
      assert.equal((await gateway.fromHost(packet)).whole?.[1], outer);
      await plane.apply([{ type: 'remove', direction: 'out', spi: 1000 }]);
    }
    for (const [outer, sentence] of [
      [{ df: 'clear', dscp: 46 }, 'the kernel copies DSCP or leaves it 0, and cannot set it to 46'],
      [{ df: 'set', dscp: 'copy' }, 'the kernel copies DF or clears it, and cannot set it always'],
    ] as const)
      await assert.rejects(plane.apply(sending(outboundSa(1000, CHOICE, { outer }))), { message: sentence });
  }));

test('xfrm: packets are padded up to a size, and larger ones are not', () =>
  withPlane(async (plane) => {
    await plane.apply(sending(outboundSa(1000, CHOICE, { padTo: 600 })));
    const sizes = [];
    for (const packet of [PACKET, withPayload(300), withPayload(900)])
      sizes.push((await gateway.fromHost(packet)).esp!.length);
    // SPI, sequence number, IV and ICV; two bytes of trailer.
    const whole = 8 + 8 + 16 + 2;
    assert.ok(sizes[0]! >= 600 + whole && sizes[0]! < 600 + whole + 4);
    assert.equal(sizes[1], sizes[0]);
    assert.ok(sizes[2]! >= 928 + whole && sizes[2]! < 928 + whole + 4);
  }));

test('xfrm: limits of an inbound SA are told once each, and at the hard one nothing comes in', () =>
  withPlane(async (plane) => {
    const events: DataPlaneEvent[] = [];
    plane.onEvent((event) => events.push(event));
    await connect(plane, PLAIN);
    await plane.apply([
      { type: 'remove', direction: 'in', spi: 5001 },
      {
        type: 'add-inbound',
        sa: { ...ourSas(PLAIN).received, lifetime: { softPackets: 2n, hardPackets: 3n } },
      },
    ]);
    setUpPeer(PLAIN);
    const passed = [1, 2, 3, 4].map(() => answers(FAR, NEAR));
    assert.deepEqual(passed, [true, true, true, false]);
    for (let attempt = 0; attempt < 400 && events.length < 2; attempt++) {
      plane.deliver();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual(
      events.map((event) => (event.type === 'expire' ? [event.direction, event.hard] : event.type)),
      [
        ['in', false],
        ['in', true],
      ],
    );
    await disconnect(plane);
  }));

test('xfrm: where the interface does not encrypt, auto goes on without and says so, and the rest fails', () =>
  withPlane(async (plane) => {
    await connect(plane, PLAIN, { kernel: { offload: 'auto' } });
    setUpPeer(PLAIN);
    assert.ok(answers(FAR, NEAR));
    const reason = 'the interface that leads to the peer does not encrypt';
    const { sas } = await plane.snapshot();
    assert.deepEqual(
      sas.map(({ offload }) => offload),
      [
        { by: 'off', reason },
        { by: 'off', reason },
      ],
    );
    await disconnect(plane);
    for (const [offload, kind, sentence] of [
      ['crypto', PLAIN, `offload: crypto: ${reason}`],
      ['packet', PLAIN, /^offload: packet: /],
      [
        'crypto',
        { ...PLAIN, protocol: 'ah', algorithm: 'hmac-sha2-256-128' },
        'offload: crypto: interfaces do ESP only',
      ],
    ] as const) {
      await assert.rejects(connect(plane, kind, { kernel: { offload } }), { message: sentence });
      assert.deepEqual((await plane.snapshot()).sas, []);
      await disconnect(plane);
    }
  }));

function withTrafficClass(octet: number): Uint8Array {
  const packet = PACKET.slice();
  packet[1] = octet;
  return summed(packet);
}

function withPayload(length: number): Uint8Array {
  const packet = new Uint8Array(28 + length);
  packet.set(PACKET.subarray(0, 28));
  viewOf(packet).setUint16(2, packet.length);
  viewOf(packet).setUint16(24, 8 + length);
  return summed(packet);
}

function summed(packet: Uint8Array): Uint8Array {
  viewOf(packet).setUint16(10, 0);
  viewOf(packet).setUint16(10, checksum(packet.subarray(0, 20)));
  return packet;
}
