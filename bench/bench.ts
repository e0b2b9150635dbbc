// Speed as ratios taken in one run: `npm run bench -- throughput`, with `--json` for one object.
// The same lab, the same suite, the same traffic; only the gateways differ.

import { randomBytes } from 'node:crypto';
import { isolate } from '../lab/isolate.ts';
import { build } from '../lab/netns.ts';
import { createStrongswan, type StrongswanTunnel, strongswanIsMissing } from '../lab/peers/strongswan.ts';
import { createSite } from '../lab/site.ts';
import { ping, tcpThroughput, udpRate } from '../lab/traffic.ts';
import { TWO_SITES } from '../lab/two-sites.ts';

const missing = strongswanIsMissing();
if (missing) {
  console.error(missing);
  process.exit(3);
}
if (process.argv[2] !== 'throughput') {
  console.error('usage: npm run bench -- throughput [--json]');
  process.exit(2);
}
isolate();

const json = process.argv.includes('--json');
const SECONDS = 4;
/** Alternated, so that a noisy minute does not fall on one of them alone. */
const ROUNDS = 2;
const PSK = randomBytes(24).toString('base64url');

interface Measured {
  mbps: number;
  pps: number;
}

function say(text: string): void {
  if (!json) console.log(text);
}

async function measure(name: string): Promise<Measured> {
  const mbps = await tcpThroughput('host-a', 'host-b', '10.2.0.10', SECONDS);
  const pps = await udpRate('host-a', 'host-b', '10.2.0.10', SECONDS);
  say(
    `${name.padEnd(12)} ${String(mbps).padStart(6)} Mbit/s TCP, ${String(pps).padStart(7)} packets/s of 64 bytes`,
  );
  return { mbps, pps };
}

async function demandPassing(name: string): Promise<void> {
  if ((await ping('host-a', '10.2.0.10', 10)) === 0) throw new Error(`${name}: nothing passes`);
}

async function withIsthmus(): Promise<Measured> {
  const sites = (['a', 'b'] as const).map((side) => {
    const site = createSite(`gw-${side}`, { 'office.psk': PSK });
    const [own, other] = side === 'a' ? [1, 2] : [2, 1];
    const address = { 1: '192.0.2.1', 2: '198.51.100.1' } as Record<number, string>;
    site.configure(`gateway: { name: ${side}, address: ${address[own]} }
tunnels:
  office:
    peer: ${address[other]}
    auth: { psk: { file: ${site.folder}/office.psk } }
    local: 10.${own}.0.0/16
    remote: 10.${other}.0.0/16
    start: wait
    esp-suites: [aes-gcm-16-256]
`);
    return site;
  });
  await Promise.all(sites.map((site) => site.start()));
  await sites[0]!.isthmus('up', 'office');
  await demandPassing('isthmus');
  const measured = await measure('isthmus');
  for (const site of sites) await site.kill('SIGTERM');
  for (const site of sites) await site.isthmus('flush');
  return measured;
}

async function withStrongswan(): Promise<Measured> {
  const common = { psk: PSK, ike: 'aes256gcm16-prfsha256-x25519', esp: 'aes256gcm16' };
  const tunnels: Record<string, StrongswanTunnel> = {
    'gw-a': {
      ...common,
      localAddress: '192.0.2.1',
      remoteAddress: '198.51.100.1',
      local: '10.1.0.0/16',
      remote: '10.2.0.0/16',
    },
    'gw-b': {
      ...common,
      localAddress: '198.51.100.1',
      remoteAddress: '192.0.2.1',
      local: '10.2.0.0/16',
      remote: '10.1.0.0/16',
    },
  };
  const peers = Object.entries(tunnels).map(([namespace, tunnel]) => ({
    peer: createStrongswan(namespace),
    tunnel,
  }));
  for (const { peer, tunnel } of peers) {
    await peer.start();
    await peer.configure(tunnel);
  }
  await peers[0]!.peer.swanctl('--initiate', '--child', 'child', '--timeout', '10');
  await demandPassing('strongSwan');
  const measured = await measure('strongSwan');
  for (const { peer } of peers) await peer.stop();
  return measured;
}

function best(all: readonly Measured[]): Measured {
  return { mbps: Math.max(...all.map(({ mbps }) => mbps)), pps: Math.max(...all.map(({ pps }) => pps)) };
}

build(TWO_SITES);
const plain = await measure('no tunnel');
const ours: Measured[] = [];
const theirs: Measured[] = [];
for (let round = 0; round < ROUNDS; round++) {
  theirs.push(await withStrongswan());
  ours.push(await withIsthmus());
}
const [isthmus, strongswan] = [best(ours), best(theirs)];
const ratio = (a: number, b: number) => Math.round((100 * a) / b) / 100;
const result = {
  isthmus_mbps: isthmus.mbps,
  strongswan_mbps: strongswan.mbps,
  plain_mbps: plain.mbps,
  isthmus_pps: isthmus.pps,
  strongswan_pps: strongswan.pps,
  plain_pps: plain.pps,
  mbps_ratio: ratio(isthmus.mbps, strongswan.mbps),
  pps_ratio: ratio(isthmus.pps, strongswan.pps),
};
say(
  `\nisthmus is ${result.mbps_ratio} times strongSwan's kernel-libipsec with TCP, ${result.pps_ratio} times with small packets`,
);
if (json) console.log(JSON.stringify(result));
process.exit(0);
