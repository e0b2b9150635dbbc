// A middle of the two sites that forwards large packets no more, and what the hosts at the ends see of it.

import type { ChildStatus } from '../src/daemon/status.ts';
import { run, runAsync } from './netns.ts';
import type { Site } from './site.ts';
import { demand, until } from './steps.ts';

/** By the family outside, bytes of the largest IP packet that crosses the middle. */
export const NARROW = { 4: 1400, 6: 1380 } as const;
/** Milliseconds that a search may take. */
export const SEARCH = 60_000;

const NETWORKS = [
  ['192.0.2.0/24', 'a'],
  ['198.51.100.0/24', 'b'],
  ['2001:db8:a::/64', 'a'],
  ['2001:db8:b::/64', 'b'],
] as const;

/** Bytes of the largest packet that the middle forwards. */
export function narrowTo(bytes: number): void {
  for (const [network, device] of NETWORKS) {
    // In the place of the one that the kernel made.
    const [family, metric] = network.includes(':') ? ['-6', '256'] : ['-4', '0'];
    const route = ['replace', network, 'dev', device, 'metric', metric, 'mtu', 'lock', String(bytes)];
    run('internet', 'ip', family, 'route', ...route);
  }
}

/** Nobody is told what was too big. */
export function muteMiddle(): void {
  drop('internet', 'output', ['icmp type destination-unreachable', 'icmpv6 type packet-too-big']);
}

/** The same where there is no nftables. */
export function muteByTc(): void {
  const kinds = [
    ['ip', 'icmp', '3', '4'],
    ['ipv6', 'icmpv6', '2', '0'],
  ] as const;
  for (const device of ['a', 'b']) {
    run('internet', 'tc', 'qdisc', 'add', 'dev', device, 'clsact');
    for (const [protocol, icmp, type, code] of kinds) {
      const where = ['filter', 'add', 'dev', device, 'egress', 'protocol', protocol];
      const what = ['flower', 'ip_proto', icmp, 'type', type, 'code', code, 'action', 'drop'];
      run('internet', 'tc', ...where, ...what);
    }
  }
}

export function unmuteMiddle(): void {
  run('internet', 'nft', 'delete table inet mute');
}

/** A word of the middle to gw-a that its ESP in UDP is larger than so many bytes, with an SPI that is in use. */
export async function forgeTooBig(spi: number, mtu: number): Promise<void> {
  const { status, output } = await runAsync('internet', 'python3', '-c', FORGE, String(spi), String(mtu));
  demand(status === 0, output);
}

const FORGE = `
import socket, struct, sys
a, b = [socket.inet_aton(one) for one in ('192.0.2.1', '198.51.100.1')]
quoted = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 1400, 1, 0x4000, 64, 17, 0, a, b) + struct.pack('!HHHHII', 4500, 4500, 1380, 0, int(sys.argv[1]), 1)
def message(sum): return struct.pack('!BBHHH', 3, 4, sum, 0, int(sys.argv[2])) + quoted
words = sum(struct.unpack('!%dH' % (len(message(0)) // 2), message(0)))
while words >> 16: words = (words & 0xffff) + (words >> 16)
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).sendto(message(words ^ 0xffff), ('192.0.2.1', 0))`;

/** As many firewalls do, before they would be put together. */
export function dropFragments(namespace: string): void {
  drop(namespace, 'prerouting', ['ip frag-off & 0x3fff != 0']);
}

/** No echo request is answered. */
export function muteInside(...namespaces: string[]): void {
  for (const namespace of namespaces)
    drop(namespace, 'input', ['icmp type echo-request', 'icmpv6 type echo-request']);
}

function drop(namespace: string, hook: 'prerouting' | 'input' | 'output', what: readonly string[]): void {
  const chain = `add table inet mute; add chain inet mute ${hook} { type filter hook ${hook} priority -450; };`;
  const rules = what.map((one) => `add rule inet mute ${hook} ${one} drop;`);
  run(namespace, 'nft', [chain, ...rules].join(' '));
}

/** What it was told before. */
export function forgetPath(namespace: string): void {
  for (const family of ['-4', '-6']) run(namespace, 'ip', family, 'route', 'flush', 'cache');
}

/** The children of the tunnel `office` once there are so many and it is so of all of them, and how long that took. */
export async function found(
  site: Site,
  count: number,
  what: (child: ChildStatus) => boolean,
): Promise<{ children: ChildStatus[]; after: number }> {
  let children: ChildStatus[] = [];
  const is = async () => {
    children = (await site.tunnel('office')).children;
    return children.length === count && children.every(what);
  };
  const after = await until(() => `sizes are known: ${JSON.stringify(children)}`, is, SEARCH);
  return { children, after };
}

/** What a host that may not fragment is told of packets of that size: how large they may be, if anything. */
export async function told(to: string, bytes: number): Promise<number | undefined> {
  const size = bytes - (to.includes(':') ? 48 : 28);
  const words = ['-n', '-c', '2', '-i', '0.2', '-W', '1', '-M', 'do', '-s', String(size)];
  const { output } = await runAsync('host-a', 'ping', ...words, to);
  const mtu = /mtu ?[=:] ?(\d+)/.exec(output)?.[1];
  return mtu === undefined ? undefined : Number(mtu);
}

/**
 * A host that may not fragment is told a size of at most so many bytes, and few less. The route follows a moment after the size
 * is found, and the kernel sends few such messages a second.
 */
export async function demandTold(to: string, most: number, less: number): Promise<string> {
  let mtu: number | undefined;
  await until('the host is told', async () => {
    mtu = await told(to, 1380);
    return mtu !== undefined;
  });
  demand(mtu! <= most && mtu! > most - less, `it was told ${mtu} of ${most}`);
  return `${mtu} bytes`;
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
export async function transfer(to: string): Promise<number> {
  const family = to.includes(':') ? 'AF_INET6' : 'AF_INET';
  const receiving = runAsync('host-b', 'python3', '-c', RECEIVE(family));
  const { status, output } = await runAsync('host-a', 'python3', '-c', SEND(family, to));
  const received = await receiving;
  demand(status === 0 && received.status === 0, lastLine(output) || lastLine(received.output));
  return Number(received.output.trim().split(' ')[1]);
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1)!;
