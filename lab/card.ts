// A network card that offers IPsec, in a namespace: netdevsim, a module of Linux for tests of drivers. It takes SAs as a card does and
// counts what is sent by them, but encrypts nothing and leads nowhere. So each frame is copied to a link that leads somewhere:
// what the card should have encrypted, the kernel does there, since that link cannot.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { run } from './netns.ts';
import { pause } from './site.ts';

const NUMBER = 7;
const DEBUG = '/run/lab/debug';
const STATE = `${DEBUG}/netdevsim/netdevsim${NUMBER}/ports/0/ipsec`;

export interface Card {
  device: string;
  /** SAs that it holds, and packets that were sent by them. */
  state(): CardState;
}

export interface CardState {
  sas: { direction: 'in' | 'out'; spi: number }[];
  sent: number;
}

/** Where the card is, the link that its frames are copied to, and the device at the other end of that. */
export interface Place {
  namespace: string;
  link: string;
  next: { namespace: string; device: string };
}

/** Puts a card into a namespace of a guest with netdevsim. */
export async function plugIn({ namespace, link, next }: Place): Promise<Card> {
  mkdirSync(DEBUG, { recursive: true });
  execFileSync('mount', ['-t', 'debugfs', 'debugfs', DEBUG]);
  run(namespace, 'sh', '-c', `echo "${NUMBER} 1" > /sys/bus/netdevsim/new_device`);
  const device = await nameOf(namespace);
  run(namespace, 'ip', 'link', 'set', 'dev', device, 'up');
  const address = run(next.namespace, 'cat', `/sys/class/net/${next.device}/address`).trim();
  run(namespace, 'tc', 'qdisc', 'add', 'dev', device, 'clsact');
  const copy = ['action', 'mirred', 'egress', 'mirror', 'dev', link];
  run(
    namespace,
    ...['tc', 'filter', 'add', 'dev', device, 'egress', 'matchall'],
    ...['action', 'pedit', 'ex', 'munge', 'eth', 'dst', 'set', address, 'pipe', ...copy],
  );
  return { device, state: () => cardState(readFileSync(STATE, 'utf8')) };
}

async function nameOf(namespace: string): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const [name] = run(namespace, 'ls', `/sys/bus/netdevsim/devices/netdevsim${NUMBER}/net`).split('\n');
    if (name) return name;
    await pause(50);
  }
  throw new Error('netdevsim made no device');
}

/** What netdevsim writes about itself: a line of counts, and some lines for each SA. */
export function cardState(text: string): CardState {
  const direction = { rx: 'in', tx: 'out' } as const;
  const sas = [...text.matchAll(/^sa\[\d+\] (rx|tx) .*\n.* spi=0x([0-9a-f]+)/gm)].map(([, way, spi]) => ({
    direction: direction[way as 'rx' | 'tx'],
    spi: Number.parseInt(spi!, 16),
  }));
  return { sas, sent: Number(/ tx=(\d+)/.exec(text)?.[1]) };
}
