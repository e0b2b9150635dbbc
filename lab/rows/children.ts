// Several children in one IKE SA, several selectors in one child, narrowing, selectors of protocols and ports.

import type { Suite } from '../checks.ts';
import { run } from '../netns.ts';
import { demand } from '../steps.ts';
import { SUITES } from '../suites.ts';
import { ping, tcpTransfer } from '../traffic.ts';
import type { Group, Lab } from './group.ts';

/** Of each network a host with a number at both sites. */
const NETWORKS = [0, 1] as const;
const SOME_BYTES = 1 << 20;

/** Whether a packet is let through: `ping` by the numbers of the two networks, TCP between the first two. */
type Probe = { ping: readonly [number, number]; passes: boolean } | { tcp: 'passes' };

interface Row {
  suite: Suite;
  /** Besides the one that comes with IKE_AUTH; strongSwan's names. */
  more?: string[];
  probes: Probe[];
}

const every = (passes: (from: number, to: number) => boolean): Probe[] =>
  NETWORKS.flatMap((from) => NETWORKS.map((to) => ({ ping: [from, to] as const, passes: passes(from, to) })));

const suiteOf = (name: string, changes: Pick<Suite, 'ours' | 'theirs'>): Suite => ({
  ...SUITES[0]!,
  name,
  ...changes,
});

const ROWS: Row[] = [
  {
    suite: suiteOf('two children', {
      ours: {
        local: undefined,
        remote: undefined,
        children: {
          zero: { local: '10.1.0.0/24', remote: '10.2.0.0/24' },
          one: { local: '10.1.1.0/24', remote: '10.2.1.0/24' },
        },
      },
      theirs: {
        children: {
          child: { local: '10.2.0.0/24', remote: '10.1.0.0/24' },
          second: { local: '10.2.1.0/24', remote: '10.1.1.0/24' },
        },
      },
    }),
    more: ['second'],
    probes: every((from, to) => from === to),
  },
  {
    suite: suiteOf('two selectors on each side', {
      ours: { local: ['10.1.0.0/24', '10.1.1.0/24'], remote: ['10.2.0.0/24', '10.2.1.0/24'] },
      theirs: { local: ['10.2.0.0/24', '10.2.1.0/24'], remote: ['10.1.0.0/24', '10.1.1.0/24'] },
    }),
    probes: every(() => true),
  },
  {
    suite: suiteOf('narrowed by us', {
      ours: { local: '10.1.0.0/24', remote: '10.2.0.0/24' },
      theirs: { local: '10.2.0.0/16', remote: '10.1.0.0/16' },
    }),
    // What else the two networks say to each other is nobody's to protect.
    probes: [{ ping: [0, 0], passes: true }],
  },
  {
    suite: suiteOf('narrowed by strongSwan', {
      ours: { local: '10.1.0.0/16', remote: '10.2.0.0/16' },
      theirs: { local: '10.2.1.0/24', remote: '10.1.1.0/24' },
    }),
    probes: every((from, to) => from === 1 && to === 1),
  },
  {
    suite: suiteOf('protocol: icmp only', {
      ours: { local: '10.1.0.0/16 icmp', remote: '10.2.0.0/16 icmp' },
      theirs: { local: '10.2.0.0/16 icmp', remote: '10.1.0.0/16 icmp' },
    }),
    probes: every(() => true),
  },
  {
    suite: suiteOf('port: tcp 5201 only', {
      ours: { local: '10.1.0.0/16 tcp', remote: '10.2.0.0/16 tcp 5201' },
      theirs: { local: '10.2.0.0/16 tcp 5201', remote: '10.1.0.0/16 tcp' },
    }),
    probes: [{ tcp: 'passes' }, { ping: [0, 0], passes: false }],
  },
];

export const children: Group = {
  name: 'children',
  async run(lab) {
    secondNetwork('add');
    for (const row of lab.short ? ROWS.slice(0, 1) : ROWS) await both(lab, row);
    secondNetwork('delete');
  },
};

function secondNetwork(what: 'add' | 'delete'): void {
  for (const [site, number] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    run(`gw-${site}`, 'ip', 'address', what, `10.${number}.1.1/24`, 'dev', 'lan');
    run(`host-${site}`, 'ip', 'address', what, `10.${number}.1.10/24`, 'dev', 'eth0');
  }
}

async function both(lab: Lab, { suite, more = [], probes }: Row): Promise<void> {
  const { site, peer, configure, theirs, check, establish, rekeyOnce, deleted } = lab;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, suite, 'established', async () => {
      await establish(role);
      if (role === 'responder') for (const name of more) await begun(lab, name);
      return established(lab, more.length + 1);
    });
    await check(role, suite, 'only what is selected', () => probed(probes));
    await check(role, suite, 'rekeyed by both', async () => {
      for (const by of ['us', 'them'] as const) await rekeyOnce('IKE SA', by);
      await peer.swanctl('--rekey', '--child', 'child');
      return `${await established(lab, more.length + 1)}; ${await probed(probes)}`;
    });
    await check(role, suite, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

async function begun({ peer }: Lab, child: string): Promise<void> {
  const { status, output } = await peer.swanctl('--initiate', '--child', child, '--timeout', '10');
  demand(status === 0, output);
}

/** All children are there, and each once. */
async function established({ site }: Lab, count: number): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const { children: found } = await site.tunnel('office');
    if (found.length === count)
      return found.map(({ local, remote }) => `${local.join(', ')} to ${remote.join(', ')}`).join('; ');
    demand(attempt < 40, `${found.length} of ${count} children`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function probed(probes: readonly Probe[]): Promise<string> {
  let selected = 0;
  for (const probe of probes) {
    if ('tcp' in probe) {
      await tcpTransfer('host-a', 'host-b', '10.2.0.10', SOME_BYTES);
      selected++;
      continue;
    }
    const [from, to] = probe.ping;
    const count = probe.passes ? 5 : 2;
    const answered = await ping('host-a', `10.2.${to}.10`, count, { words: ['-I', `10.1.${from}.10`] });
    demand(
      answered === (probe.passes ? count : 0),
      `${answered} of ${count} pings from 10.1.${from}.10 to 10.2.${to}.10 answered`,
    );
    if (probe.passes) selected++;
  }
  return `${selected} of ${probes.length} flows are selected, no other passes`;
}
