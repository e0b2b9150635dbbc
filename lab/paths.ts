// What the path between the gateways does to packets, and what we put on them: fragments before and after encapsulation, DF,
// DSCP, floods. `-- --json` prints an array of `{check, result, detail}`.

import { randomBytes } from 'node:crypto';
import { isolate } from './isolate.ts';
import { narrowTo, told } from './narrow-path.ts';
import { build, run, runAsync, start } from './netns.ts';
import { createSites, pause } from './site.ts';
import { createSteps, demand } from './steps.ts';
import { ping } from './traffic.ts';
import { ENDS, TWO_SITES } from './two-sites.ts';

isolate();

const PSK = randomBytes(24).toString('base64url');
/** Narrower than the tunnel thinks. */
const NARROW = 1000;
const { check: path, finish } = createSteps(46);
const sites = createSites({ 'office.psk': PSK });

function configure(more: string, engine = ''): void {
  for (const [index, site] of sites.entries()) {
    const { own, peer, local, remote } = ENDS[index]!;
    site.configure(`gateway: { name: ${site.namespace}, address: ${own} ${engine} }
tunnels:
  office:
    peer: ${peer}
    auth: { psk: { file: ${site.folder}/office.psk } }
    local: ${local}
    remote: ${remote}
    start: wait
${more}`);
  }
}

/** Both daemons with that configuration, the tunnel up. */
async function withTunnel(more: string, act: () => Promise<void>, engine = ''): Promise<void> {
  configure(more, engine);
  await Promise.all(sites.map((site) => site.start()));
  const { status, output } = await sites[0].isthmus('up', 'office');
  demand(status === 0, output);
  await act();
  for (const site of sites) await site.kill('SIGTERM');
}

/** Of five echo requests of that size, how many were answered; `df` as the host sets it. */
function echoes(bytes: number, df: 'do' | 'dont'): Promise<number> {
  return ping('host-a', '10.2.0.10', 5, { words: ['-M', df, '-s', String(bytes - 28)] });
}

/** One of the kernel's counters of IP. */
function counter(namespace: string, name: string): number {
  const output = run(namespace, 'sh', '-c', 'cat /proc/net/snmp /proc/net/netstat');
  const rows = output.split('\n').map((line) => line.split(' '));
  const names = rows.findIndex((row) => row.includes(name));
  return Number(rows[names + 1]![rows[names]!.indexOf(name)]);
}

async function counted(namespace: string, name: string, act: () => Promise<void>): Promise<number> {
  const before = counter(namespace, name);
  await act();
  return counter(namespace, name) - before;
}

/** ESP packets in UDP with that DSCP that cross the middle while something happens. */
async function crossing(dscp: string, act: () => Promise<void>): Promise<number> {
  run(
    'internet',
    'nft',
    `add table ip watch; add chain ip watch forward { type filter hook forward priority 0; }; add rule ip watch forward udp dport 4500 ip dscp ${dscp} counter`,
  );
  await act();
  const listed = run('internet', 'nft', 'list', 'table', 'ip', 'watch');
  run('internet', 'nft', 'delete', 'table', 'ip', 'watch');
  return Number(/counter packets (\d+)/.exec(listed)![1]);
}

async function fragments(): Promise<void> {
  await path('larger than the tunnel, may be fragmented', async () => {
    let answered = 0;
    const made = await counted('gw-a', 'FragCreates', async () => {
      answered = await echoes(3000, 'dont');
    });
    demand(answered === 5 && made >= 10, `${answered} of 5 answered, ${made} fragments`);
    return `5 of 5 echoes of 3000 bytes; ${made} fragments made before encapsulation`;
  });
  await path('larger than the tunnel, must not be fragmented', async () => {
    const mtu = await told('10.2.0.10', 1500);
    demand(mtu !== undefined, 'nobody told the host');
    return `the host is told: ${mtu} bytes`;
  });
  narrowTo(NARROW);
  await path(`a path of ${NARROW} bytes, df: clear`, async () => {
    let answered = 0;
    const joined = await counted('gw-b', 'ReasmOKs', async () => {
      answered = await echoes(1300, 'dont');
    });
    demand(answered === 5 && joined >= 5, `${answered} of 5 answered, ${joined} joined`);
    return `5 of 5 echoes of 1300 bytes; ${joined} packets put together from fragments after encapsulation`;
  });
  await path('a flood of fragments that never become whole', async () => {
    const high = run('gw-b', 'sysctl', '-n', 'net.ipv4.ipfrag_high_thresh').trim();
    run('internet', 'python3', '-c', ORPHANS);
    const used = /^FRAG: inuse \d+ memory (\d+)/m.exec(run('gw-b', 'cat', '/proc/net/sockstat'))?.[1];
    const answered = await echoes(500, 'dont');
    demand(answered === 5 && Number(used) <= 2 * Number(high), `${answered} of 5, ${used} bytes of ${high}`);
    return `20000 sent, ${used} bytes kept of ${high} allowed; 5 of 5 whole packets pass`;
  });
  narrowTo(1500);
}

/** First fragments of 20,000 datagrams to the other gateway, 1000 bytes each, and nothing behind them. */
const ORPHANS = `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for i in range(20000):
    header = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 1020, i % 65536, 0x2000, 64, 17, 0, socket.inet_aton('203.0.113.%d' % (i % 250 + 1)), socket.inet_aton('198.51.100.1'))
    s.sendto(header + struct.pack('!HHHH', 4500, 4500, 3000, 0) + bytes(992), ('198.51.100.1', 0))
`;

async function whole(): Promise<void> {
  narrowTo(NARROW);
  await path(`a path of ${NARROW} bytes, df: set`, async () => {
    const [small, large] = [await echoes(500, 'dont'), await echoes(1300, 'dont')];
    demand(small === 5 && large === 0, `${small} small and ${large} large of 5 answered`);
    return 'small packets pass, large ones are not cut on the way';
  });
  narrowTo(1500);
}

async function classes(): Promise<void> {
  for (const [inner, seen] of [
    ['0', 'cs0'],
    ['0xb8', 'ef'],
  ] as const) {
    await path(`dscp: copy, class ${seen} inside`, async () => {
      const outside = await crossing(seen, async () => {
        await runAsync('host-a', 'ping', '-n', '-c', '5', '-i', '0.05', '-Q', inner, '10.2.0.10');
      });
      demand(outside >= 10, `${outside} packets of class ${seen} outside`);
      return `${outside} packets of class ${seen} outside`;
    });
  }
}

async function oneClass(): Promise<void> {
  await path('dscp: 10, class ef inside', async () => {
    const outside = await crossing('af11', async () => {
      await runAsync('host-a', 'ping', '-n', '-c', '5', '-i', '0.05', '-Q', '0xb8', '10.2.0.10');
    });
    demand(outside >= 10, `${outside} packets of class af11 outside`);
    return `${outside} packets of class af11 outside, whatever is inside`;
  });
}

/** Forged ESP as fast as a program of Node sends it, for three seconds. */
const FORGED = `
const socket = require('dgram').createSocket('udp4');
const forged = require('crypto').randomBytes(1400);
const end = Date.now() + 3000;
const more = () => { for (let i = 0; i < 200; i++) socket.send(forged, 4500, '192.0.2.1', () => {}); if (Date.now() < end) setImmediate(more); else process.exit(); };
more();`;

async function flood(): Promise<void> {
  await path('a flood of forged ESP: IKE keeps its room', async () => {
    const flooding = start('internet', [process.execPath, '-e', FORGED]);
    const ended = new Promise((resolve) => flooding.once('exit', resolve));
    await pause(500);
    for (let i = 0; i < 5; i++) {
      const { status, output } = await sites[0].isthmus('rekey', 'office');
      demand(status === 0, output);
    }
    await ended;
    const answered = await ping('host-a', '10.2.0.10', 5);
    const { drops } = JSON.parse((await sites[0].isthmus('status', '--json')).output);
    const forged = drops['inbound-unknown-spi'] ?? 0;
    demand(answered === 5 && forged > 1000, `${answered} of 5 answered, ${forged} forged`);
    return `5 rekeys while ${forged} forged packets came; 5 of 5 pings after it`;
  });
}

async function severalWorkers(): Promise<void> {
  await path('two threads a direction', async () => {
    const streams = await Promise.all([ping('host-a', '10.2.0.10', 50), ping('host-b', '10.1.0.10', 50)]);
    const { status, output } = await sites[0].isthmus('rekey', 'office', '--child', 'office');
    const after = await ping('host-a', '10.2.0.10', 10);
    demand(
      streams[0] + streams[1] === 100 && status === 0 && after === 10,
      `${streams}, ${after}: ${output}`,
    );
    return '100 of 100 pings, a rekey, 10 of 10';
  });
}

try {
  build(TWO_SITES);
  await withTunnel('    df: clear', async () => {
    await fragments();
    await classes();
    await flood();
  });
  await withTunnel('    df: set\n    dscp: 10', async () => {
    await whole();
    await oneClass();
  });
  await withTunnel('', severalWorkers, ', engine: { workers: 2, spin: 20 }');
} catch (error) {
  console.error(error instanceof Error ? error.stack : error, sites.map((site) => site.log()).join('\n'));
  process.exit(1);
}
finish('paths as they should be');
