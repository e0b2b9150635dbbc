// The main job, shown: two sites, an untrusted network between them, and a tunnel under everything that happens to tunnels.
// `npm run demo`, or `npm run demo -- --json` for one JSON object as the last line; with `--dataplane xfrm` both gateways use
// the IPsec of the kernel, in user-mode Linux.

import { randomBytes } from 'node:crypto';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
import { createSite, pause, type Site } from './site.ts';
import { demand } from './steps.ts';
import { ping, startNumbered, tcpThroughput } from './traffic.ts';
import { PICTURE, TWO_SITES } from './two-sites.ts';
import { enterUml } from './uml.ts';
import { readWatch, startWatch } from './watch.ts';

const CHILD_REKEYS = 10;
const IKE_REKEYS = 3;
const dataplane = optionOf('--dataplane') === 'xfrm' ? 'xfrm' : 'engine';
/** Packets per second, each way: what one processor of a guest still makes besides the rest. */
const RATE = dataplane === 'xfrm' ? 200 : 1000;
/** Both families in one tunnel. */
const [SITE_A, SITE_B] = ['[10.1.0.0/16, "fd01::/64"]', '[10.2.0.0/16, "fd02::/64"]'];
const OUTAGE = 5000; // ms for which the sender goes on while a daemon is dead

if (dataplane === 'xfrm') await enterUml();
isolate();
const json = process.argv.includes('--json');
const began = performance.now();

function optionOf(flag: string): string | undefined {
  const at = process.argv.indexOf(flag);
  return at === -1 ? undefined : process.argv[at + 1];
}

function step(text: string): void {
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}

const result = {
  established_ms: 0,
  passing_ms: 0,
  ping_sent: 0,
  ping_received: 0,
  tcp_mbps: 0,
  reverse_tcp_mbps: 0,
  plain_mbps: 0,
  child_rekeys: 0,
  ike_rekeys: 0,
  packets_sent_in_rekey: 0,
  packets_lost_in_rekey: 0,
  recovered_after_kill_ms: 0,
  second_tunnel_untouched: false,
  cleartext_packets: 0,
};

const psk = randomBytes(24).toString('base64url');
const second = randomBytes(24).toString('base64url');
let siteA: Site;
let siteB: Site;

/** Without a rehearsal: its rekey would look as if somebody had touched the tunnel. */
function yaml(
  name: string,
  address: string,
  peer: string,
  local: string,
  remote: string,
  extra: string,
): string {
  return `gateway: { name: ${name}, address: ${address}, dataplane: ${dataplane} }
tunnels:
  office:
    peer: ${peer}
    auth: { psk: { file: /run/lab/gw-${name}/office.psk } }
    local: ${local}
    remote: ${remote}
    rehearsal: false
${extra}`;
}

function lab(name: string, peer: string, local: string, remote: string, lifetime: string): string {
  return `  lab:
    peer: ${peer}
    id: lab-${name}.example
    peer-id: lab-${name === 'a' ? 'b' : 'a'}.example
    auth: { psk: { file: /run/lab/gw-${name}/lab.psk } }
    local: ${local}
    remote: ${remote}
    lifetime: ${lifetime}
`;
}

async function plantCleartext(): Promise<void> {
  startWatch('internet');
  await ping('host-a', '10.2.0.10', 2);
  const seen = readWatch('internet').cleartext;
  demand(seen > 0, 'the watch on the middle link does not see planted cleartext: it would prove nothing');
  step(`the watch sees ${seen} planted cleartext packets, so it would see others`);
}

async function plain(): Promise<void> {
  result.plain_mbps = await tcpThroughput('host-a', 'host-b', '10.2.0.10', 1);
  step(`without a tunnel: ${result.plain_mbps} Mbit/s, one TCP stream`);
}

async function startDaemons(): Promise<void> {
  siteA = createSite('gw-a', { 'office.psk': psk, 'lab.psk': second });
  siteB = createSite('gw-b', { 'office.psk': psk, 'lab.psk': second });
  configure('1h');
  await Promise.all([siteA.start(), siteB.start()]);
  step('both daemons run');
}

function configure(labLifetime: string): void {
  siteA.configure(
    yaml(
      'a',
      '192.0.2.1',
      '198.51.100.1',
      SITE_A,
      SITE_B,
      lab('a', '198.51.100.1', '10.91.0.0/24', '10.92.0.0/24', labLifetime),
    ),
  );
  siteB.configure(
    yaml(
      'b',
      '198.51.100.1',
      '192.0.2.1',
      SITE_B,
      SITE_A,
      lab('b', '192.0.2.1', '10.92.0.0/24', '10.91.0.0/24', labLifetime),
    ),
  );
}

/** The time from `up` to the first answered ping, the tunnel having been down. */
async function establish(): Promise<void> {
  for (const site of [siteA, siteB]) await site.isthmus('down', 'office');
  const from = performance.now();
  const { code } = await siteA.command('up', 'office');
  demand(code === 'OK', `the tunnel does not come up: ${code}\n${siteA.log()}\n${siteB.log()}`);
  demand((await ping('host-a', '10.2.0.10', 1)) === 1, 'the first ping is not answered');
  result.passing_ms = Math.round(performance.now() - from);
  result.ping_sent = 20;
  const each = result.ping_sent / 2;
  result.ping_received = (await ping('host-a', '10.2.0.10', each)) + (await ping('host-b', 'fd01::10', each));
  demand(
    result.ping_received === result.ping_sent,
    `only ${result.ping_received} of ${result.ping_sent} pings answered`,
  );
  const status = JSON.parse((await siteA.isthmus('status', '--json')).output);
  result.established_ms = status.tunnels.find(
    (tunnel: { name: string }) => tunnel.name === 'office',
  ).establishedIn;
  step(
    `tunnel up in ${result.established_ms} ms, first ping answered ${result.passing_ms} ms after the command, ${result.ping_received} of ${result.ping_sent} pings answered, IPv4 and IPv6`,
  );
}

async function throughput(): Promise<void> {
  result.tcp_mbps = await tcpThroughput('host-a', 'host-b', '10.2.0.10', 2);
  result.reverse_tcp_mbps = await tcpThroughput('host-a', 'host-b', '10.2.0.10', 2, true);
  step(`through the tunnel: ${result.tcp_mbps} Mbit/s there, ${result.reverse_tcp_mbps} Mbit/s back`);
}

async function rekeys(): Promise<void> {
  const streams = await Promise.all([
    startNumbered('host-a', 'host-b', '10.2.0.10', 7001, RATE),
    startNumbered('host-b', 'host-a', '10.1.0.10', 7002, RATE),
  ]);
  await pause(200);
  for (let i = 0; i < CHILD_REKEYS; i++) await rekey([i % 2 === 0 ? siteA : siteB], 'child');
  for (let i = 0; i < IKE_REKEYS; i++) await rekey([i % 2 === 0 ? siteA : siteB], 'ike');
  await rekey([siteA, siteB], 'child');
  await pause(500);
  for (const stream of streams) {
    const numbered = await stream.stop();
    result.packets_sent_in_rekey += numbered.sent;
    result.packets_lost_in_rekey += numbered.lost;
    demand(numbered.duplicates === 0, `${numbered.duplicates} packets came twice`);
  }
  step(
    `${result.child_rekeys} child and ${result.ike_rekeys} IKE rekeys under traffic: ` +
      `${result.packets_lost_in_rekey} of ${result.packets_sent_in_rekey} packets lost`,
  );
  demand(result.packets_lost_in_rekey === 0, 'packets were lost in rekeys');
}

/** Rekeys from each given side at once. */
async function rekey(sites: Site[], what: 'child' | 'ike'): Promise<void> {
  const args = what === 'child' ? ['rekey', 'office', '--child', 'office'] : ['rekey', 'office'];
  const outcomes = await Promise.all(sites.map((site) => site.isthmus(...args)));
  for (const outcome of outcomes) demand(outcome.status === 0, `rekey failed: ${outcome.output}`);
  if (what === 'child') result.child_rekeys += sites.length;
  else result.ike_rekeys += sites.length;
  await pause(100);
}

/** SIGKILL while the other site goes on sending; nothing may leave in the clear, and the restart must mend it all. */
async function killAndRestart(): Promise<void> {
  const stream = await startNumbered('host-a', 'host-b', '10.2.0.10', 7003, RATE);
  await siteA.kill('SIGKILL');
  step(`gateway a killed with SIGKILL, its host goes on sending for ${OUTAGE / 1000} s`);
  await pause(OUTAGE);
  demand(readWatch('internet').cleartext === baseline, 'cleartext left while the daemon was dead');
  const restarted = performance.now();
  await siteA.start();
  await siteA.isthmus('up', 'office');
  while ((await ping('host-a', '10.2.0.10', 1)) === 0)
    demand(performance.now() - restarted < 20_000, 'no recovery within 20 s');
  result.recovered_after_kill_ms = Math.round(performance.now() - restarted);
  await stream.stop();
  step(`restarted: traffic again after ${result.recovered_after_kill_ms} ms`);
}

async function reload(): Promise<void> {
  const before = await spis('office');
  configure('2h');
  const outcome = await siteA.isthmus('reload');
  demand(outcome.status === 0, `reload failed: ${outcome.output}`);
  result.second_tunnel_untouched = (await spis('office')) === before;
  demand(result.second_tunnel_untouched, 'reloading the second tunnel touched the first');
  step('second tunnel changed by reload, the first one not touched');
}

async function spis(tunnel: string): Promise<string> {
  const status = JSON.parse((await siteA.isthmus('status', '--json')).output);
  const found = status.tunnels.find(({ name }: { name: string }) => name === tunnel);
  return JSON.stringify(
    found.children.map((child: { spiIn: number; spiOut: number }) => [child.spiIn, child.spiOut]),
  );
}

async function takeDown(): Promise<void> {
  await siteA.isthmus('down', 'office');
  await ping('host-a', '10.2.0.10', 3);
  await Promise.all([siteA.kill('SIGTERM'), siteB.kill('SIGTERM')]);
  await ping('host-a', '10.2.0.10', 3);
  result.cleartext_packets = readWatch('internet').cleartext - baseline;
  demand(result.cleartext_packets === 0, `${result.cleartext_packets} cleartext packets on the middle link`);
  for (const site of [siteA, siteB]) await site.isthmus('flush');
  step('down, stopped, flushed: no cleartext at any time');
}

function table(): string {
  const rows: [string, string][] = [
    ['tunnel up', `${result.established_ms} ms, first ping answered after ${result.passing_ms} ms`],
    ['ping', `${result.ping_received} of ${result.ping_sent} answered`],
    [
      'TCP, one stream',
      `${result.tcp_mbps} Mbit/s there, ${result.reverse_tcp_mbps} back (plain ${result.plain_mbps})`,
    ],
    ['rekeys under traffic', `${result.child_rekeys} child, ${result.ike_rekeys} IKE`],
    ['lost in rekeys', `${result.packets_lost_in_rekey} of ${result.packets_sent_in_rekey} packets`],
    ['killed, restarted', `traffic again after ${result.recovered_after_kill_ms} ms`],
    ['reload', 'changed tunnel reloaded, the other untouched'],
    ['cleartext on the middle link', `${result.cleartext_packets} packets`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `  ${name.padEnd(width)}   ${value}`).join('\n');
}

let baseline = 0;
console.log(PICTURE);
try {
  build(TWO_SITES);
  step('five namespaces: two hosts, two gateways, the internet');
  await plantCleartext();
  await plain();
  baseline = readWatch('internet').cleartext;
  await startDaemons();
  await establish();
  await throughput();
  await rekeys();
  await killAndRestart();
  await reload();
  await takeDown();
  console.log(`\n${table()}\n`);
  if (json) console.log(JSON.stringify(result));
  process.exit(0);
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
