// Translators between the two sides: before one of them, before both, and one that forgets what it had translated.
// The router in the middle is all of them; it has an address on each side.

import type { Suite } from '../checks.ts';
import { run } from '../netns.ts';
import { pause } from '../site.ts';
import { demand } from '../steps.ts';
import { SUITES } from '../suites.ts';
import { ping } from '../traffic.ts';
import type { Group, Lab } from './group.ts';

const OURS = { real: '192.0.2.1', seen: '198.51.100.254', host: 'host-a', far: '10.2.0.10' } as const;
const THEIRS = { real: '198.51.100.1', seen: '192.0.2.254', host: 'host-b', far: '10.1.0.10' } as const;

interface Row {
  name: string;
  /** Who is behind a translator. */
  before: ('us' | 'them')[];
  /** Who can be the first to speak. */
  roles: ('initiator' | 'responder')[];
}

const ROWS: Row[] = [
  { name: 'NAT before us', before: ['us'], roles: ['initiator'] },
  { name: 'NAT before strongSwan', before: ['them'], roles: ['responder'] },
  { name: 'NAT before both', before: ['us', 'them'], roles: ['initiator', 'responder'] },
];

export const nat: Group = {
  name: 'nat',
  async run(lab) {
    for (const row of lab.short ? ROWS.slice(0, 1) : ROWS) await translated(lab, row);
    run('internet', 'nft', 'delete', 'table', 'ip', 'nat');
  },
};

async function translated(lab: Lab, { name, before, roles }: Row): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, underTraffic, rekeyOnce, deleted } = lab;
  const suite: Suite = {
    ...SUITES[0]!,
    name,
    ours: { peer: before.includes('them') ? THEIRS.seen : THEIRS.real, 'peer-id': THEIRS.real },
    theirs: { remoteAddress: before.includes('us') ? OURS.seen : OURS.real, remoteId: OURS.real },
  };
  translate(before, 20_000);
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of roles) {
    await check(role, suite, 'established', async () => {
      await establish(role);
      const { nat: found } = await site.tunnel('office');
      demand(found === true, 'no translator was noticed');
      return `the translator is noticed; strongSwan: ${natOf((await peer.swanctl('--list-sas')).output)}`;
    });
    await check(role, suite, 'ping, TCP', () => passes(suite));
    await check(role, suite, '4 rekeys', () =>
      underTraffic(suite, async () => {
        for (const what of ['child', 'IKE SA'] as const)
          for (const by of ['us', 'them'] as const) await rekeyOnce(what, by);
      }),
    );
    await check(role, suite, 'rebinding', () => rebound(lab, before, role));
    await check(role, suite, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

/** Its ports, as strongSwan shows them. */
function natOf(listed: string): string {
  return /remote +'.*' @ (\S+)/.exec(listed)?.[1] ?? 'nothing';
}

/** The translator forgets everything and gives other ports; who began speaks first, and both ways go on. */
async function rebound(
  { rekeyOnce }: Lab,
  before: Row['before'],
  role: Row['roles'][number],
): Promise<string> {
  translate(before, 30_000);
  const [first, second] = role === 'initiator' ? [OURS, THEIRS] : [THEIRS, OURS];
  await ping(first.host, first.far, 3);
  await rekeyOnce('child', role === 'initiator' ? 'us' : 'them');
  await pause(200);
  const answered = [await ping(first.host, first.far, 10), await ping(second.host, second.far, 10)];
  demand(answered.join() === '10,10', `${answered.join(' and ')} of 10 pings answered`);
  return 'other ports, and 20 of 20 pings after one rekey';
}

/** IKE and ESP in UDP get ports from this one on, and those at the router's addresses reach whoever is behind it. */
function translate(before: Row['before'], ports: number): void {
  const rules = [
    ...(before.includes('us') ? rulesFor(OURS, 'b', ports) : []),
    ...(before.includes('them') ? rulesFor(THEIRS, 'a', ports + 500) : []),
  ];
  run(
    'internet',
    'nft',
    ['add table ip nat', 'delete table ip nat', 'add table ip nat', ...CHAINS, ...rules].join('; '),
  );
  run('internet', 'python3', '-c', FORGET);
}

const CHAINS = [
  'add chain ip nat pre { type nat hook prerouting priority -100; }',
  'add chain ip nat post { type nat hook postrouting priority 100; }',
];

function rulesFor({ real, seen }: { real: string; seen: string }, device: string, ports: number): string[] {
  return [
    `add rule ip nat post oifname ${device} ip saddr ${real} meta l4proto udp snat to ${seen}:${ports}-${ports + 400}`,
    `add rule ip nat pre ip daddr ${seen} udp dport { 500, 4500 } dnat to ${real}`,
  ];
}

/** Deletes every connection that the kernel tracks (nfnetlink, IPCTNL_MSG_CT_DELETE without attributes). */
const FORGET = `
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.send(struct.pack('IHHIIBBH', 20, (1 << 8) | 2, 5, 1, 0, 2, 0, 0))
s.recv(4096)
`;
