// Two sites by route-based tunnels: an interface on each side, routes to it, a peer that dies and comes back, a policy-based
// tunnel beside it, and FRR's bgpd that exchanges routes through it. `npm run routes`; `-- --json` prints an array of
// `{check, result, detail}`; with `--dataplane xfrm` the kernel's IPsec and its VTIs, in user-mode Linux, or with `--guest qemu` a
// Debian kernel and its XFRM interfaces; with `--outer 6` over IPv6.

import { randomBytes } from 'node:crypto';
import { enterChosenGuest } from './choose-guest.ts';
import { insideGuest } from './guest.ts';
import { isolate } from './isolate.ts';
import { build, run, runAsync, sysctl } from './netns.ts';
import { findNetfilter, leaveGuardsOut } from './no-guards.ts';
import { plantOthers } from './others.ts';
import { createRoutingDaemon, frrIsMissing } from './routing-daemon.ts';
import { createSites } from './site.ts';
import { createSteps, demand, until } from './steps.ts';
import { ping, tcpTransfer } from './traffic.ts';
import { OUTER, TWO_SITES } from './two-sites.ts';
import { insideUml } from './uml.ts';
import { readWatch, startWatch } from './watch.ts';

const option = (name: string) => process.argv[process.argv.indexOf(name) + 1 || process.argv.length];
const dataplane = option('--dataplane') === 'xfrm' ? 'xfrm' : 'engine';
const outer = option('--outer') === '6' ? 6 : 4;
const missing = frrIsMissing();
if (missing) console.error(`${missing}; the steps with bgpd are left out`);
await enterChosenGuest(dataplane === 'xfrm');
if (insideUml()) findNetfilter();
isolate();
const TRANSFER = insideGuest() ? 2 << 20 : 16 << 20;
const PSK = randomBytes(24).toString('base64url');
const { check: step, whole } = createSteps(44);
const sites = createSites({ 'office.psk': PSK, 'lab.psk': PSK });

const ENDS = [
  {
    ...{ inside: ['10.255.0.1', 'fd00:ff::1'], other: '10.255.0.2' },
    ...{ routes: '[10.2.0.0/16, "fd02::/64"]', lab: ['10.91.0.0/24', '10.92.0.0/24'] },
  },
  {
    ...{ inside: ['10.255.0.2', 'fd00:ff::2'], other: '10.255.0.1' },
    ...{ routes: '[10.1.0.0/16, "fd01::/64"]', lab: ['10.92.0.0/24', '10.91.0.0/24'] },
  },
] as const;

/** Of site a, where others have what we would take: they were there first. */
const ELSEWHERE = 'routing: { table: 7000, priority: 700, mark: 0x40000000 }, ';

function configure(
  index: 0 | 1,
  { name = 'to-peer', more = '', routing = ELSEWHERE, table = '' } = {},
): void {
  const { inside, other, routes, lab } = ENDS[index];
  const routed = more === '' ? routes : routes.replace(']', `, ${more}]`);
  sites[
    index
  ].configure(`gateway: { name: ${sites[index].namespace}, address: [${OUTER[4][index]}, "${OUTER[6][index]}"], ${index === 0 ? routing : ''}dataplane: ${dataplane} }
tunnels:
  office:
    mode: route
    peer: "${OUTER[outer][1 - index]}"
    auth: { psk: { file: office.psk } }
    interface: { name: ${name}, address: [${inside[0]}/30, "${inside[1]}/126"], routes: ${routed}${table} }
    probe: { to: ${other}, every: 200ms }
    liveness: 1s
    rehearsal: false
    retransmit: { first: 200ms, sends: 4 }
${LAB(OUTER[insideUml() ? OTHER[outer] : outer][1 - index]!, index, lab)}`);
}

/** Families: a VTI takes all that comes from its peer, and beside it the other tunnel goes over the other one. */
const OTHER = { 4: 6, 6: 4 } as const;

const LAB = (peer: string, index: number, [local, remote]: readonly string[]) => `  lab:
    peer: "${peer}"
    id: lab-${index}.example
    peer-id: lab-${1 - index}.example
    auth: { psk: { file: lab.psk } }
    local: ${local}
    remote: ${remote}
`;

interface Device {
  operstate: string;
  mtu: number;
  ifalias?: string;
  linkinfo?: { info_kind: string };
}

function device(namespace: string, name = 'to-peer'): Device | undefined {
  const all: (Device & { ifname: string })[] = JSON.parse(run(namespace, 'ip', '-d', '-j', 'link', 'show'));
  return all.find(({ ifname }) => ifname === name);
}

const isUp = (namespace: string) => ['UP', 'UNKNOWN'].includes(device(namespace)?.operstate ?? '');

function routesTo(namespace: string, network: string): { dev?: string; type?: string; protocol: string }[] {
  const family = network.includes(':') ? '-6' : '-4';
  return JSON.parse(run(namespace, 'ip', family, '-d', '-j', 'route', 'show', network));
}

/** Of a ping with that source, how many of the others answered. */
function pingFrom(namespace: string, source: string, destination: string, count: number): Promise<number> {
  return ping(namespace, destination, count, { words: ['-I', source] });
}

/** Networks behind the hosts, for the tunnel beside and for what is announced. */
function buildMore(): void {
  for (const [side, network, length] of [
    ['a', '10.91.0.', 24],
    ['b', '10.92.0.', 24],
    ['a', '10.93.0.', 24],
    ['b', '10.94.0.', 24],
    ['a', 'fd93::', 64],
    ['b', 'fd94::', 64],
  ] as const) {
    run(`host-${side}`, 'ip', 'address', 'add', `${network}10/${length}`, 'dev', 'lo');
    const via = `${length === 64 ? 'fd0' : '10.'}${side === 'a' ? 1 : 2}${length === 64 ? '::10' : '.0.10'}`;
    run(`gw-${side}`, 'ip', 'route', 'add', `${network}${length === 64 ? '' : '0'}/${length}`, 'via', via);
  }
}

async function passes(): Promise<string> {
  const four = (await ping('host-a', '10.2.0.10', 10)) + (await ping('host-b', '10.1.0.10', 10));
  const six = (await ping('host-a', 'fd02::10', 10)) + (await ping('host-b', 'fd01::10', 10));
  demand(four === 20 && six === 20, `${four} of 20 by IPv4 and ${six} of 20 by IPv6`);
  await tcpTransfer('host-a', 'host-b', '10.2.0.10', TRANSFER);
  await tcpTransfer('host-a', 'host-b', 'fd02::10', TRANSFER, true);
  return `20 of 20 pings by IPv4, 20 of 20 by IPv6, ${TRANSFER >> 20} MB by TCP there (IPv4) and back (IPv6)`;
}

async function bothUp(): Promise<number> {
  return until('both interfaces are up', () => isUp('gw-a') && isUp('gw-b'));
}

const others = () => step('what others have on this machine', planted.stand);

async function takenByOthers(): Promise<void> {
  await step('a rule of somebody else stands at ours: check and start refuse', async () => {
    configure(0, { routing: '' });
    for (const command of ['check', 'run']) {
      const { status, output } = await sites[0].isthmus(command, `${sites[0].folder}/isthmus.yaml`);
      demand(status === 3 && /a rule of priority 4500 stands already/.test(output), `${status}: ${output}`);
    }
    demand(device('gw-a') === undefined, 'an interface was made');
    configure(0);
    return 'both say which, and to choose another gateway.routing.priority; nothing was touched';
  });
  await others();
}

async function sitesStart(): Promise<void> {
  await step('interfaces up once it is negotiated', async () => {
    await Promise.all(sites.map((site) => site.start()));
    await bothUp();
    const { mtu, ifalias, linkinfo } = device('gw-a')!;
    const status = await sites[0].tunnel('office');
    demand(
      status.interface?.state === 'up' && status.interface.mtu === mtu,
      JSON.stringify(status.interface),
    );
    demand(ifalias?.startsWith('isthmus: ') === true, `the alias is ${ifalias}`);
    return `${linkinfo?.info_kind ?? 'tun'}, MTU ${mtu}, as isthmus status says`;
  });
  await step('ping and TCP', passes);
  await step('a policy-based tunnel beside it', beside);
  await others();
}

async function beside(): Promise<string> {
  await until('it is negotiated', async () => (await sites[0].tunnel('lab')).children.length > 0);
  const answered = await pingFrom('host-a', '10.91.0.10', '10.92.0.10', 10);
  demand(answered === 10, `${answered} of 10 pings`);
  return '10 of 10 pings between networks of its own';
}

/** The whole gateway: its daemon, and what its kernel would go on doing without. */
async function kill(): Promise<void> {
  blackhole('add');
  await sites[1].kill('SIGKILL');
}

/** On the internet, for what is sent to site b. */
function blackhole(action: 'add' | 'delete'): void {
  for (const family of [4, 6] as const) {
    run('internet', 'ip', `-${family}`, 'rule', action, 'blackhole', 'to', OUTER[family][1]);
  }
}

async function revive(): Promise<void> {
  blackhole('delete');
  await sites[1].start();
}

async function peerDies(): Promise<void> {
  await step('the peer dies: interface down, routes to the wall', async () => {
    await kill();
    const took = await until('the interface is down', () => !isUp('gw-a'));
    const left = routesTo('gw-a', '10.2.0.0/16');
    demand(left.length === 1 && left[0]!.type === 'unreachable', JSON.stringify(left));
    const { output } = await runAsync('host-a', 'ping', '-n', '-c', '2', '-W', '1', '10.2.0.10');
    demand(/Unreachable/.test(output), `the host is not told: ${output}`);
    return `after ${took} ms; hosts are told that it is unreachable`;
  });
  await step('it comes back: up, routes restored', async () => {
    await revive();
    const took = await bothUp();
    const [way, wall] = routesTo('gw-a', '10.2.0.0/16');
    demand(way?.dev === 'to-peer' && wall?.type === 'unreachable', JSON.stringify([way, wall]));
    const answered = await ping('host-a', '10.2.0.10', 10);
    demand(answered === 10, `${answered} of 10 pings`);
    return `${took} ms after its daemon runs again; 10 of 10 pings`;
  });
  await step('our own daemon is killed and started again', async () => {
    await sites[0].kill('SIGKILL');
    await ping('host-a', '10.2.0.10', 3);
    await sites[0].start();
    const took = await bothUp();
    await until('traffic', async () => (await ping('host-a', '10.2.0.10', 1)) === 1);
    return `up ${took} ms after it runs again`;
  });
}

async function spis(): Promise<string> {
  const { children } = await sites[0].tunnel('office');
  return JSON.stringify(children.map(({ spiIn, spiOut }) => [spiIn, spiOut]));
}

/** Two sites that begin at once have two IKE SAs for some seconds, and then one pair of SAs. */
async function settled(): Promise<boolean> {
  const { output } = await sites[0].isthmus('show', 'sa', '--json');
  const sas: { policy: string }[] = JSON.parse(output);
  return sas.filter(({ policy }) => policy === 'office/office').length === 2;
}

async function reloads(): Promise<void> {
  await step('a further route by reload', async () => {
    await until('one pair of SAs is left', settled);
    const before = await spis();
    configure(0, { more: '10.8.0.0/16' });
    const { status, output } = await sites[0].isthmus('reload');
    demand(status === 0, output);
    const [way] = routesTo('gw-a', '10.8.0.0/16');
    demand(way?.dev === 'to-peer' && (await spis()) === before, JSON.stringify(way));
    return 'it stands; the SAs are the same as before';
  });
  for (const [what, change, sentence] of [
    ['a name that is taken', { name: 'lan' }, /not ours/],
    ['a route that exists', { more: '10.7.0.0/16' }, /stands in table 254 already/],
  ] as const) {
    await step(`${what}, by reload: refused whole`, async () => {
      if ('more' in change)
        run('gw-a', 'ip', 'route', 'add', change.more, 'via', '10.1.0.10', 'metric', '100');
      const before = await spis();
      configure(0, change);
      const { status, output } = await sites[0].isthmus('reload');
      demand(status === 2 && sentence.test(output), `${status}: ${output}`);
      demand((await spis()) === before, 'other SAs than before');
      const answered = await ping('host-a', '10.2.0.10', 5);
      demand(answered === 5, `${answered} of 5 pings`);
      if ('more' in change) run('gw-a', 'ip', 'route', 'delete', change.more);
      return output.trim().split('\n').at(-1)!;
    });
  }
  configure(0);
  const { status, output } = await sites[0].isthmus('reload');
  demand(status === 0, output);
  await others();
}

/** Only marked packets look up the routes: the filter asks for the way back without a mark. */
const MARKED = ['fwmark', '16', 'lookup', '800', 'priority', '300'];
const marked = () => ping('gw-a', '10.2.0.10', 5, { words: ['-m', '16', '-I', '10.1.0.1'] });

async function strictFilter(): Promise<void> {
  sysctl('gw-a', 'net.ipv4.conf.all.rp_filter=1');
  run('gw-a', 'ip', 'rule', 'add', ...MARKED);
  const way = device('gw-a')?.linkinfo?.info_kind === 'xfrm' ? filtersNothing : namedWhereItDrops;
  await step('a strict reverse-path filter: named where it drops', way);
  run('gw-a', 'ip', 'rule', 'delete', ...MARKED);
  sysctl('gw-a', 'net.ipv4.conf.all.rp_filter=0');
  configure(0);
  await sites[0].isthmus('reload');
}

async function namedWhereItDrops(): Promise<string> {
  demand(
    (await ping('host-a', '10.2.0.10', 5)) === 5,
    'it drops what comes back by a route of the main table',
  );
  const said = await routesInTheirTable();
  const answered = await marked();
  demand(answered === 0 && filtered() > 0, `${answered} of 5 pings, ${filtered()} packets filtered`);
  const named = /reverse-path filter of to-peer is strict.* table 800.*: (sysctl -w \S+)/;
  const [, fix] = named.exec(said) ?? [];
  demand(fix !== undefined, said);
  const before = filtered();
  run('gw-a', ...(fix.split(' ') as [string, ...string[]]));
  demand((await marked()) === 5, `still dropped after ${fix}`);
  return `0 of 5 pings, and ${before} packets counted as filtered; 5 of 5 after ${fix}`;
}

/** What an XFRM interface has let in is not filtered. */
async function filtersNothing(): Promise<string> {
  const said = await routesInTheirTable();
  const answered = await marked();
  demand(answered === 5 && filtered() === 0, `${answered} of 5 pings, ${filtered()} packets filtered`);
  demand(!said.includes('reverse-path'), said);
  return '5 of 5 pings, none filtered from an XFRM interface, and nothing is named';
}

/** What the log says when they have gone there. */
async function routesInTheirTable(): Promise<string> {
  const before = sites[0].log().length;
  configure(0, { table: ', table: 800' });
  const { status, output } = await sites[0].isthmus('reload');
  demand(status === 0, output);
  return sites[0].log().slice(before);
}

function filtered(): number {
  return Number(
    /IPReversePathFilter\s+(\d+)/.exec(run('gw-a', 'nstat', '-asz', 'TcpExtIPReversePathFilter'))?.[1],
  );
}

async function routingDaemons(): Promise<void> {
  if (missing) return;
  const speakers = [0, 1].map((index) =>
    createRoutingDaemon(`gw-${index === 0 ? 'a' : 'b'}`, {
      as: 65_001 + index,
      id: ENDS[index]!.inside[0]!,
      neighbors: ENDS[1 - index]!.inside,
      peerAs: 65_002 - index,
      networks: index === 0 ? ['10.93.0.0/24', 'fd93::/64'] : ['10.94.0.0/24', 'fd94::/64'],
    }),
  );
  const learned = (namespace: string, network: string) =>
    routesTo(namespace, network).some(({ dev, protocol }) => dev === 'to-peer' && protocol === 'bgp');
  await step('bgpd exchanges routes through it', async () => {
    await Promise.all(speakers.map((speaker) => speaker.start()));
    const took = await until(
      'both have the other’s network',
      () =>
        learned('gw-a', '10.94.0.0/24') && learned('gw-b', '10.93.0.0/24') && learned('gw-a', 'fd94::/64'),
    );
    const answered =
      (await pingFrom('host-a', '10.93.0.10', '10.94.0.10', 10)) +
      (await pingFrom('host-b', 'fd94::10', 'fd93::10', 10));
    demand(answered === 20, `${answered} of 20 pings between the announced networks`);
    return `after ${took} ms: 10.93.0.0/24, 10.94.0.0/24, fd93::/64, fd94::/64 by bgp; 20 of 20 pings between them`;
  });
  await step('bgpd notices that the peer died, and that it is back', async () => {
    await kill();
    const gone = await until('the route is gone', () => !learned('gw-a', '10.94.0.0/24'));
    await revive();
    const back = await until('the route is back', () => learned('gw-a', '10.94.0.0/24'));
    const answered = await pingFrom('host-a', '10.93.0.10', '10.94.0.10', 5);
    demand(answered === 5, `${answered} of 5 pings`);
    return `gone after ${gone} ms, back ${back} ms after the daemon runs again; 5 of 5 pings`;
  });
  for (const speaker of speakers) await speaker.stop();
}

async function ends(baseline: number): Promise<void> {
  await step('stopped and flushed: nothing of ours is left', async () => {
    await Promise.all(sites.map((site) => site.kill('SIGTERM')));
    demand(!isUp('gw-a'), 'the interface is up without a daemon');
    await ping('host-a', '10.2.0.10', 2);
    const cleartext = readWatch('internet').cleartext - baseline;
    for (const site of sites) await site.isthmus('flush');
    demand(device('gw-a') === undefined, 'the interface still stands');
    demand(routesTo('gw-a', '10.2.0.0/16').length === 0, 'the wall still stands');
    demand(cleartext === 0, `${cleartext} packets in the clear`);
    return 'no packet in the clear from the first start to the flush';
  });
  await others();
}

let planted: ReturnType<typeof plantOthers>;
const log = () => sites.map((site) => site.log()).join('\n');
await whole(`steps as they should be, ${dataplane} over IPv${outer}`, log, async () => {
  build(TWO_SITES);
  buildMore();
  planted = plantOthers('gw-a');
  if (insideUml()) leaveGuardsOut('/run/lab/no-guards');
  startWatch('internet');
  await ping('host-a', '10.2.0.10', 2);
  const baseline = readWatch('internet').cleartext;
  demand(baseline > 0, 'the watch does not see planted cleartext: it would prove nothing');
  for (const index of [0, 1] as const) configure(index);
  await takenByOthers();
  await sitesStart();
  await peerDies();
  await reloads();
  await strictFilter();
  await routingDaemons();
  await ends(baseline);
});
