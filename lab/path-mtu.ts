// A path that swallows large packets without a word, found by probes, and by IKE where nothing inside answers: `npm run path-mtu`,
// with `-- --json` for the results only, `-- --short` for a slice. What the gateways find, what their hosts are told, and that TCP passes; in both
// families, inside and outside.

import { randomBytes } from 'node:crypto';
import type { ChildStatus } from '../src/daemon/status.ts';
import { isolate } from './isolate.ts';
import {
  demandTold,
  dropFragments,
  forgeTooBig,
  forgetPath,
  found,
  muteInside,
  muteMiddle,
  NARROW,
  narrowTo,
  SEARCH,
  told,
  transfer,
  unmuteMiddle,
} from './narrow-path.ts';
import { build } from './netns.ts';
import type { Peer } from './peers/peer.ts';
import { createStrongswan, strongswanIsMissing } from './peers/strongswan.ts';
import { createSites, pause, type Site } from './site.ts';
import { createSteps, demand, until } from './steps.ts';
import { OUTER, TWO_SITES } from './two-sites.ts';

if (process.argv.includes('--dataplane')) await import('./path-mtu-kernel.ts');
isolate();

const PSK = randomBytes(24).toString('base64url');
/** ESP in UDP with AES-GCM, around a packet whose trailer just fills up to four bytes. */
const AROUND = { 4: 20 + 8 + 8 + 8 + 16 + 2, 6: 40 + 8 + 8 + 8 + 16 + 2 };
const { check, finish } = createSteps(56);
const [a, b] = createSites({ 'office.psk': PSK });

/** What the daemon of site a said since its last start. */
let begin = 0;
const said = () => a.log().slice(begin);

async function startA(): Promise<void> {
  begin = a.log().length;
  await a.start();
}

interface Wishes {
  /** Nobody asks inside. */
  unprobed?: true;
  /** Further keys of the tunnel. */
  more?: string;
}

function configure(site: Site, family: 4 | 6, end: 0 | 1, { unprobed, more = '' }: Wishes = {}): void {
  const [own, peer] = [OUTER[family][end], OUTER[family][1 - end]];
  const [here, there] = end === 0 ? [1, 2] : [2, 1];
  const probed = end === 0 && !unprobed;
  const probe = (address: string) => (probed ? `, probe: { to: "${address}", every: 200ms }` : '');
  site.configure(`gateway: { name: ${site.namespace}, address: "${own}" }
tunnels:
  office:
    peer: "${peer}"
    auth: { psk: { file: ${site.folder}/office.psk } }
    start: ${end === 0 ? 'now' : 'wait'}
    df: copy
    ${more}
    children:
      four: { local: 10.${here}.0.0/16, remote: 10.${there}.0.0/16${probe(`10.${there}.0.1`)} }
      six: { local: "fd0${here}::/64", remote: "fd0${there}::/64"${probe(`fd0${there}::1`)} }
`);
}

/** Of site a, once it is so of so many children. */
const both = (what: (child: ChildStatus) => boolean, count = 2) => found(a, count, what);

build(TWO_SITES);
muteMiddle();

for (const family of [4, 6] as const) {
  const most = NARROW[family] - AROUND[family];
  const outside = `over IPv${family}`;
  narrowTo(NARROW[family]);
  forgetPath('host-a');
  configure(a, family, 0);
  configure(b, family, 1);
  await b.start();
  await startA();
  await check(`${outside}: a path of ${NARROW[family]} bytes is found and named`, async () => {
    const { children, after } = await both(({ pathMtu }) => pathMtu !== undefined);
    const sizes = children.map(({ pathMtu }) => pathMtu!.mtu);
    demand(
      sizes.every((size) => size <= most && size > most - 4),
      `${sizes} of ${most}`,
    );
    demand(said().includes('[PATH_BLACK_HOLE]'), 'the log does not say so');
    return `${sizes.join(' and ')} bytes of ${most}, after ${after} ms`;
  });
  await pause(1500);
  for (const to of ['10.2.0.10', 'fd02::10']) {
    const within = to.includes(':') ? 'IPv6' : 'IPv4';
    await check(`${outside}: a host that may not fragment is told, ${within}`, () => demandTold(to, most, 4));
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
  await startA();
  const wide = await both(({ pathMtu }) => pathMtu !== undefined);
  narrowTo(1300);
  const { children, after } = await both(({ pathMtu }) => pathMtu!.mtu < 1300);
  const sizes = [wide.children, children].map((all) => all.map(({ pathMtu }) => pathMtu!.mtu).join(' and '));
  return `${sizes[0]} bytes, then ${sizes[1]} after ${after} ms`;
});

for (const site of [a, b]) await site.kill('SIGTERM');

/** What IKE found, and that it says how. */
async function foundByIke(most: number, estimate: boolean, children = 2): Promise<string> {
  const { children: all, after } = await both(({ pathMtu }) => pathMtu !== undefined, children);
  for (const { name, pathMtu } of all) {
    const { mtu, by } = pathMtu!;
    demand(mtu <= most && mtu > most - 8, `${mtu} bytes of ${most} in ${name}`);
    demand(by === 'ike' && (pathMtu!.estimate === true) === estimate, JSON.stringify(pathMtu));
  }
  const { output } = await a.isthmus('status');
  demand(output.includes('an estimate') === estimate, output);
  demand(said().includes('[OUTER_PATH_BLACK_HOLE]'), 'the log does not say so');
  return `${all.map(({ pathMtu }) => pathMtu!.mtu).join(' and ')} bytes of ${most}, after ${after} ms`;
}

async function betweenOurs(family: 4 | 6, encapsulation: 'udp' | 'esp'): Promise<void> {
  const most = NARROW[family] - AROUND[family] + (encapsulation === 'udp' ? 0 : 8);
  narrowTo(NARROW[family]);
  const wishes = { unprobed: true, more: `encapsulation: ${encapsulation}` } as const;
  configure(a, family, 0, wishes);
  configure(b, family, 1, wishes);
  await b.start();
  await startA();
  const what = encapsulation === 'udp' ? 'found by IKE' : 'an estimate by IKE for plain ESP';
  await check(`over IPv${family}, nobody asks inside: ${what}`, () =>
    foundByIke(most, encapsulation === 'esp'),
  );
  for (const site of [a, b]) await site.kill('SIGTERM');
}

/** Routers say what is too big: that is where to look, and believed once it is seen. */
async function whereTheMiddleSpeaks(): Promise<void> {
  unmuteMiddle();
  narrowTo(1400);
  const wishes = { unprobed: true } as const;
  configure(a, 4, 0, wishes);
  configure(b, 4, 1, wishes);
  await b.start();
  await startA();
  const first = async () => (await a.tunnel('office')).children[0]!;
  const passes = (outer: number) => outer - AROUND[4];
  await check('the middle says so: found by IKE, and no black hole', async () => {
    const { children, after } = await both(({ pathMtu }) => pathMtu !== undefined);
    const sizes = children.map(({ pathMtu }) => pathMtu!.mtu);
    demand(
      sizes.every((size) => size === passes(1400)),
      `${sizes} of ${passes(1400)}`,
    );
    demand(/\[OUTER_PATH_MTU\]/.test(said()) && !/BLACK_HOLE/.test(said()), said());
    return `${sizes.join(' and ')} bytes, after ${after} ms`;
  });
  await check('a forged word of it lowers nothing', async () => {
    const { spiOut, pathMtu } = await first();
    const before = said();
    await forgeTooBig(spiOut, 700);
    await pause(6000);
    const { mtu } = (await first()).pathMtu!;
    demand(mtu === pathMtu!.mtu && said() === before, `${mtu}: ${said()}`);
    return `${mtu} bytes before and after`;
  });
  forgetPath('host-a');
  await check('it becomes narrower, and the middle says so', async () => {
    narrowTo(1300);
    const pings = told('10.2.0.10', passes(1400));
    const after = await until('narrower', async () => (await first()).pathMtu!.mtu === passes(1300), SEARCH);
    await pings;
    demand(!/BLACK_HOLE/.test(said()), said());
    return `${passes(1300)} bytes after ${after} ms`;
  });
  for (const site of [a, b]) await site.kill('SIGTERM');
  muteMiddle();
}

/**
 * An address inside that answers nothing. Debian's strongSwan takes an INFORMATIONAL in IKE fragments for a check of its mediation
 * extension, and drops it: where the middle drops IP fragments as well, it cannot be asked.
 */
async function withStrongswan(): Promise<void> {
  const most = NARROW[4] - AROUND[4];
  const peer = createStrongswan('gw-b');
  narrowTo(NARROW[4]);
  muteInside('gw-b', 'host-b');
  // The guards that our own gateway left there.
  await b.isthmus('flush');
  forgetPath('host-a');
  await peer.start();
  await configureWith(peer);
  await startA();
  await asksStrongswan(peer, most);
  await a.kill('SIGTERM');
  dropFragments('gw-b');
  await startA();
  await cannotAskStrongswan();
  await a.kill('SIGTERM');
  await peer.stop();
}

async function configureWith(peer: Peer): Promise<void> {
  a.configure(`gateway: { name: gw-a, address: 192.0.2.1 }
tunnels:
  office:
    peer: 198.51.100.1
    auth: { psk: { file: ${a.folder}/office.psk } }
    local: 10.1.0.0/16
    remote: 10.2.0.0/16
    esp-suites: [aes-gcm-16-256]
    probe: { to: 10.2.0.10, every: 200ms }
`);
  await peer.configure({
    localAddress: '198.51.100.1',
    remoteAddress: '192.0.2.1',
    psk: PSK,
    local: '10.2.0.0/16',
    remote: '10.1.0.0/16',
    ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x25519'],
    esp: ['aes-gcm-16-256'],
  });
}

async function asksStrongswan(peer: Peer, most: number): Promise<void> {
  await check('strongSwan, nothing inside answers: found by IKE', () => foundByIke(most, false, 1));
  await check('strongSwan: a host that may not fragment is told', () => demandTold('10.2.0.10', most, 8));
  await check('strongSwan: TCP passes', async () => {
    const segment = await transfer('10.2.0.10');
    demand(segment <= most - 40, `segments of ${segment} bytes`);
    return `a megabyte in segments of ${segment} bytes`;
  });
  await check('strongSwan: its SAs are those of the beginning, and are rekeyed', async () => {
    const [rekeys, vanished] = [/\[IKE_REKEYED\]/g, /\[PEER_VANISHED\]/g].map((code) => said().match(code));
    demand(!rekeys && !vanished, said());
    const { code } = await a.command('rekey', 'office');
    demand(code === 'OK', code);
    return (await peer.sas()).split('\n')[0]!;
  });
}

async function cannotAskStrongswan(): Promise<void> {
  await check('strongSwan, and IP fragments are dropped: it says that it cannot ask', async () => {
    const after = await until('PATH_STUCK', () => said().includes('[PATH_STUCK]'), SEARCH);
    demand(!said().includes('[PEER_VANISHED]'), said());
    const { children } = await a.tunnel('office');
    demand(children.length === 1 && children[0]!.pathMtu === undefined, JSON.stringify(children));
    return `after ${after} ms; the child stands`;
  });
}

if (!process.argv.includes('--short')) {
  await betweenOurs(4, 'udp');
  await betweenOurs(6, 'udp');
  await betweenOurs(4, 'esp');
}
await whereTheMiddleSpeaks();
const missing = strongswanIsMissing();
if (missing) console.error(missing);
else await withStrongswan();
finish('checks pass');
