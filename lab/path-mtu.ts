// A path that swallows large packets without a word, found by probes: `scripts/node lab/path-mtu.ts`, with `-- --json` for the
// results only. What the gateways find, what their hosts are told, and that TCP passes; in both families, inside and outside.

import { randomBytes } from 'node:crypto';
import type { ChildStatus } from '../src/daemon/status.ts';
import { isolate } from './isolate.ts';
import { build, run, runAsync } from './netns.ts';
import { createSite, pause, type Site } from './site.ts';
import { createSteps, demand } from './steps.ts';
import { TWO_SITES } from './two-sites.ts';

isolate();

const PSK = randomBytes(24).toString('base64url');
/** Bytes of the largest IP packet that crosses the middle. */
const NARROW = { 4: 1400, 6: 1380 };
const OUTSIDE = {
  4: ['192.0.2.1', '198.51.100.1'],
  6: ['2001:db8:a::1', '2001:db8:b::1'],
} as const;
/** ESP in UDP with AES-GCM, around a packet whose trailer just fills up to four bytes. */
const AROUND = { 4: 20 + 8 + 8 + 8 + 16 + 2, 6: 40 + 8 + 8 + 8 + 16 + 2 };
const { check, finish } = createSteps(56);
const a = createSite('gw-a', { 'office.psk': PSK });
const b = createSite('gw-b', { 'office.psk': PSK });

function configure(site: Site, family: 4 | 6, end: 0 | 1): void {
  const [own, peer] = [OUTSIDE[family][end], OUTSIDE[family][1 - end]];
  const [here, there] = end === 0 ? [1, 2] : [2, 1];
  const probe = (address: string) => (end === 0 ? `, probe: { to: "${address}", every: 200ms }` : '');
  site.configure(`gateway: { name: ${site.namespace}, address: "${own}" }
tunnels:
  office:
    peer: "${peer}"
    auth: { psk: { file: ${site.folder}/office.psk } }
    start: ${end === 0 ? 'now' : 'wait'}
    df: copy
    children:
      four: { local: 10.${here}.0.0/16, remote: 10.${there}.0.0/16${probe(`10.${there}.0.1`)} }
      six: { local: "fd0${here}::/64", remote: "fd0${there}::/64"${probe(`fd0${there}::1`)} }
`);
}

const NETWORKS = [
  ['192.0.2.0/24', 'a'],
  ['198.51.100.0/24', 'b'],
  ['2001:db8:a::/64', 'a'],
  ['2001:db8:b::/64', 'b'],
] as const;

/** The middle forwards no more, and never says so. */
function narrowTo(bytes: number): void {
  for (const [network, device] of NETWORKS) {
    // In the place of the one that the kernel made.
    const [family, metric] = network.includes(':') ? ['-6', '256'] : ['-4', '0'];
    const route = ['replace', network, 'dev', device, 'metric', metric, 'mtu', 'lock', String(bytes)];
    run('internet', 'ip', family, 'route', ...route);
  }
}

function muteMiddle(): void {
  const drop = (what: string) => `add rule inet mute output ${what} drop; `;
  run(
    'internet',
    'nft',
    `add table inet mute; add chain inet mute output { type filter hook output priority 0; }; ${drop('icmp type destination-unreachable')}${drop('icmpv6 type packet-too-big')}`,
  );
}

/** The children once it is so of both. */
async function both(
  what: (child: ChildStatus) => boolean,
): Promise<{ children: ChildStatus[]; after: number }> {
  const began = performance.now();
  for (;;) {
    const { children } = await a.tunnel('office');
    const after = Math.round(performance.now() - began);
    if (children.length === 2 && children.every(what)) return { children, after };
    if (after > 60_000) throw new Error(`not after ${after} ms: ${JSON.stringify(children)}`);
    await pause(100);
  }
}

/** What a host learns that may not fragment: the size that it is told, or how many of its packets were answered. */
async function told(to: string, bytes: number): Promise<number | undefined> {
  const six = to.includes(':');
  const { output } = await runAsync(
    'host-a',
    ...[
      'ping',
      '-n',
      '-c',
      '2',
      '-i',
      '0.2',
      '-W',
      '1',
      '-M',
      'do',
      '-s',
      String(bytes - (six ? 48 : 28)),
      to,
    ],
  );
  const mtu = /mtu ?[=:] ?(\d+)/.exec(output)?.[1];
  return mtu === undefined ? undefined : Number(mtu);
}

const RECEIVE = (family: string) => `
import socket
s = socket.socket(socket.${family}); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 7777)); s.listen(); s.settimeout(20)
c, _ = s.accept(); c.settimeout(20)
n = 0
while n < 1000000: n += len(c.recv(65536)) or exit(1)
print(n, c.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))`;
const SEND = (family: string, to: string) => `
import socket, time
for i in range(50):
    s = socket.socket(socket.${family}); s.settimeout(20)
    try: s.connect(('${to}', 7777)); break
    except ConnectionRefusedError: time.sleep(0.1)
s.sendall(bytes(1000000)); s.shutdown(socket.SHUT_WR); s.recv(1)`;

/** A megabyte from host-a; the largest segment that was agreed on. */
async function transfer(to: string): Promise<number> {
  const family = to.includes(':') ? 'AF_INET6' : 'AF_INET';
  const receiving = runAsync('host-b', 'python3', '-c', RECEIVE(family));
  const { status, output } = await runAsync('host-a', 'python3', '-c', SEND(family, to));
  const received = await receiving;
  demand(status === 0 && received.status === 0, `${output}${received.output}`);
  return Number(received.output.trim().split(' ')[1]);
}

build(TWO_SITES);
muteMiddle();

for (const family of [4, 6] as const) {
  const most = NARROW[family] - AROUND[family];
  const outside = `over IPv${family}`;
  narrowTo(NARROW[family]);
  // What it was told before.
  for (const kind of ['-4', '-6']) run('host-a', 'ip', kind, 'route', 'flush', 'cache');
  configure(a, family, 0);
  configure(b, family, 1);
  await b.start();
  await a.start();
  await check(`${outside}: a path of ${NARROW[family]} bytes is found and named`, async () => {
    const { children, after } = await both(({ pathMtu }) => pathMtu !== undefined);
    const sizes = children.map(({ pathMtu }) => pathMtu!.mtu);
    demand(
      sizes.every((size) => size <= most && size > most - 4),
      `${sizes} of ${most}`,
    );
    demand(a.log().includes('[PATH_BLACK_HOLE]'), 'the log does not say so');
    return `${sizes.join(' and ')} bytes of ${most}, after ${after} ms`;
  });
  await pause(1500);
  for (const to of ['10.2.0.10', 'fd02::10']) {
    const within = to.includes(':') ? 'IPv6' : 'IPv4';
    await check(`${outside}: a host that may not fragment is told, ${within}`, async () => {
      const mtu = await told(to, 1380);
      demand(mtu !== undefined && mtu <= most && mtu > most - 4, `it was told ${mtu}`);
      return `${mtu} bytes`;
    });
    await check(`${outside}: TCP passes, ${within}`, async () => {
      const segment = await transfer(to);
      demand(segment <= most - (to.includes(':') ? 60 : 40), `segments of ${segment} bytes`);
      return `a megabyte in segments of ${segment} bytes`;
    });
  }
  for (const site of [a, b]) await site.kill('SIGTERM');
}

await check('the path becomes narrower while it is in use', async () => {
  narrowTo(1500);
  configure(a, 4, 0);
  configure(b, 4, 1);
  await b.start();
  await a.start();
  const wide = await both(({ pathMtu }) => pathMtu !== undefined);
  narrowTo(1300);
  const { children, after } = await both(({ pathMtu }) => pathMtu!.mtu < 1300);
  const sizes = [wide.children, children].map((all) => all.map(({ pathMtu }) => pathMtu!.mtu).join(' and '));
  return `${sizes[0]} bytes, then ${sizes[1]} after ${after} ms`;
});

for (const site of [a, b]) await site.kill('SIGTERM');
finish('checks pass');
