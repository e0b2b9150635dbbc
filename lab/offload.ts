// What a network card does for the kernel's IPsec, and what becomes of a tunnel whose wish it cannot fulfil: netdevsim in a Debian kernel
// under qemu. `npm run offload`; `-- --json` prints an array of `{check, result, detail}`.

import { randomBytes } from 'node:crypto';
import type { ChildStatus } from '../src/daemon/status.ts';
import { type Card, plugIn } from './card.ts';
import { enterGuest } from './guest.ts';
import { isolate } from './isolate.ts';
import { build, run } from './netns.ts';
import { qemuGuest } from './qemu.ts';
import { createSites } from './site.ts';
import { createSteps, demand, until } from './steps.ts';
import { ping } from './traffic.ts';
import { OUTER, TWO_SITES } from './two-sites.ts';

await enterGuest(qemuGuest({ netdevsim: true }));
isolate();

const PSK = randomBytes(24).toString('base64url');
const { check: step, whole } = createSteps(44);
const sites = createSites({ psk: PSK });
const [a, b] = sites;
const GATEWAYS = OUTER[4];

interface Wish {
  offload: 'crypto' | 'packet' | 'auto';
  suite: string;
  encapsulation: 'esp' | 'udp';
  /** Behind the other site. */
  network: string;
}

const [FITS, OTHER] = ['aes-gcm-16-128 / no-esn', 'chacha20-poly1305 / no-esn'];

/** The card takes AES-GCM in ESP without UDP and without extended sequence numbers, and no `packet`. */
const TUNNELS = {
  fits: { offload: 'crypto', suite: FITS, encapsulation: 'esp', network: '10.2.0.0/24' },
  auto: { offload: 'auto', suite: OTHER, encapsulation: 'esp', network: '10.92.0.0/24' },
  'auto-udp': { offload: 'auto', suite: FITS, encapsulation: 'udp', network: '10.93.0.0/24' },
  suite: { offload: 'crypto', suite: OTHER, encapsulation: 'esp', network: '10.94.0.0/24' },
  esn: { offload: 'crypto', suite: 'aes-gcm-16-128 / esn', encapsulation: 'esp', network: '10.96.0.0/24' },
  packet: { offload: 'packet', suite: FITS, encapsulation: 'esp', network: '10.95.0.0/24' },
} as const satisfies Record<string, Wish>;
type Name = keyof typeof TUNNELS;

const HOME = '10.1.0.0/24';

function configure(index: 0 | 1): void {
  const gateway = `gateway: { name: gw-${index}, address: ${GATEWAYS[index]}, dataplane: xfrm }\ntunnels:\n`;
  const tunnels = Object.entries(TUNNELS).map(([name, wish]) => tunnelText(index, name, wish));
  sites[index].configure(gateway + tunnels.join(''));
}

/** Only one side has the card. */
function tunnelText(index: 0 | 1, name: string, { offload, suite, encapsulation, network }: Wish): string {
  const [local, remote] = index === 0 ? [HOME, network] : [network, HOME];
  return `  ${name}:
    peer: ${GATEWAYS[1 - index]}
    id: ${name}-${index}.example
    peer-id: ${name}-${1 - index}.example
    auth: { psk: { file: psk } }
    local: ${local}
    remote: ${remote}
    encapsulation: ${encapsulation}
    esp-suites: [${suite}]
    start: wait
    rehearsal: false
${index === 0 ? `    xfrm: { offload: ${offload} }\n` : ''}`;
}

/** IKE goes where it always went; everything else for the other gateway, by the card. */
async function buildWithCard(): Promise<Card> {
  build(TWO_SITES);
  const place = { namespace: 'gw-a', link: 'wan', next: { namespace: 'internet', device: 'a' } };
  const card = await plugIn(place);
  const ip = (...words: string[]) => run('gw-a', 'ip', ...words);
  ip('route', 'add', GATEWAYS[1], 'dev', card.device, 'src', GATEWAYS[0]);
  ip('route', 'add', 'default', 'via', '192.0.2.254', 'table', '77');
  ip('rule', 'add', 'to', GATEWAYS[1], 'ipproto', 'udp', 'lookup', '77', 'priority', '77');
  for (const { network } of Object.values(TUNNELS).slice(1)) {
    run('host-b', 'ip', 'address', 'add', `${network.replace('0/', '10/')}`, 'dev', 'lo');
    run('gw-b', 'ip', 'route', 'add', network, 'via', '10.2.0.10');
  }
  return card;
}

async function childOf(name: Name): Promise<ChildStatus | undefined> {
  return (await a.tunnel(name)).children[0];
}

/** Brings a tunnel up, and gives its child. */
async function up(name: Name): Promise<ChildStatus> {
  const { code, sentence } = await a.command('up', name);
  const child = await childOf(name);
  demand(child !== undefined, `${code}: ${sentence}`);
  return child;
}

/** All SAs that the card holds are those of that child. */
function demandOnCard(card: Card, { spiIn, spiOut }: ChildStatus): void {
  const { sas } = card.state();
  const held = JSON.stringify(sas.map(({ direction, spi }) => [direction, spi]).sort());
  const wanted = JSON.stringify([
    ['in', spiIn],
    ['out', spiOut],
  ]);
  demand(held === wanted, `the card holds ${held}, not ${wanted}`);
}

async function answered(name: Name): Promise<number> {
  return ping('host-a', TUNNELS[name].network.replace('0/24', '10'), 10);
}

async function onTheCard(card: Card): Promise<void> {
  await step('AES-128-GCM, offload: crypto', async () => {
    const child = await up('fits');
    demand(child.in.offload?.by === 'crypto' && child.out.offload?.by === 'crypto', JSON.stringify(child));
    demandOnCard(card, child);
    const said = /^fits: offload: .*$/m.exec((await a.isthmus('status')).output)?.[0];
    demand(said !== undefined, 'isthmus status says nothing of it');
    return `the card holds both SAs; isthmus status: ${said}`;
  });
  await step('what is sent goes through the card', async () => {
    const before = card.state().sent;
    const came = await answered('fits');
    const sent = card.state().sent - before;
    demand(came === 10 && sent >= 10, `${came} of 10 pings, ${sent} packets through the card`);
    return `10 of 10 pings, ${sent} packets counted by the card`;
  });
  await step('a rekey takes the card along', async () => {
    const before = await childOf('fits');
    const { code, sentence } = await a.command('rekey', 'fits', 'fits');
    const child = await childOf('fits');
    demand(child !== undefined && child.spiOut !== before?.spiOut, `${code}: ${sentence}`);
    demand(child.out.offload?.by === 'crypto', JSON.stringify(child.out));
    const came = await answered('fits');
    demand(came === 10, `${came} of 10 pings`);
    const took = await until('the old SAs are gone', () => card.state().sas.length === 2);
    demandOnCard(card, child);
    return `10 of 10 pings; only the new SAs are on the card ${took} ms later`;
  });
}

async function goesOnWithout(card: Card, name: Name): Promise<string> {
  const before = card.state();
  const child = await up(name);
  for (const { offload } of [child.in, child.out])
    demand(offload?.by === 'off' && offload.reason !== undefined, JSON.stringify(offload));
  const came = await answered(name);
  demand(came === 10, `${came} of 10 pings`);
  demand(JSON.stringify(card.state()) === JSON.stringify(before), 'the card has something of it');
  return `10 of 10 pings without the card: ${child.out.offload!.reason}`;
}

async function isRefused(card: Card, name: Name, hint = /./): Promise<string> {
  const before = JSON.stringify(card.state());
  const { code, sentence = '' } = await a.command('up', name);
  demand(new RegExp(`offload: ${TUNNELS[name].offload}: `).test(sentence), `${code}: ${sentence}`);
  demand(hint.test(sentence), sentence);
  demand((await childOf(name)) === undefined, 'there is a child all the same');
  demand(JSON.stringify(card.state()) === before, 'the card has something of it');
  return sentence;
}

async function withoutTheCard(card: Card): Promise<void> {
  await step('ChaCha20-Poly1305, offload: auto', () => goesOnWithout(card, 'auto'));
  await step('AES-128-GCM in UDP, offload: auto', () => goesOnWithout(card, 'auto-udp'));
  await step('ChaCha20-Poly1305, offload: crypto', () => isRefused(card, 'suite'));
  await step('AES-128-GCM with ESN, offload: crypto', () => isRefused(card, 'esn', /no-esn/));
  await step('AES-128-GCM, offload: packet', () => isRefused(card, 'packet'));
}

async function ends(card: Card): Promise<void> {
  await step('stopped and flushed: the card is empty', async () => {
    await Promise.all(sites.map((site) => site.kill('SIGTERM')));
    await a.isthmus('flush');
    const { sas } = card.state();
    demand(sas.length === 0, JSON.stringify(sas));
    return 'no SA of ours is left on it';
  });
}

const log = () => sites.map((site) => site.log()).join('\n');
await whole('steps as they should be, netdevsim', log, async () => {
  const card = await buildWithCard();
  for (const index of [0, 1] as const) configure(index);
  await Promise.all([a.start(), b.start()]);
  await onTheCard(card);
  await withoutTheCard(card);
  await ends(card);
});
