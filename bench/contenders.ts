// Who is measured, one row each. Every one gets two sites of its own, so that all may stay up while one is measured.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { start } from '../lab/netns.ts';
import { createStrongswan, strongswanIsMissing } from '../lab/peers/strongswan.ts';
import { createWireguard, wireguardIsMissing } from '../lab/peers/wireguard.ts';
import { createSite, type Site } from '../lab/site.ts';
import type { Options } from './options.ts';

export interface Contender {
  /** As in the fields of the JSON. */
  name: string;
  label: string;
  /** Its packets cross the network between the sites as they are. For all others that network knows no way to the sites. */
  cleartext?: true;
  /** Makes 10.1.0.0/16 and 10.2.0.0/16 reach each other through the gateways of the sites with that prefix. */
  start(prefix: string): Promise<Running>;
}

export interface Running {
  /** One process a gateway, a then b; what they started counts as theirs. None where the kernel forwards. */
  pids: (number | undefined)[];
  stop(): Promise<void>;
  /** Ours only. */
  sites?: Site[];
}

/** What each side must know. */
interface Side {
  side: 'a' | 'b';
  address: string;
  peer: string;
  local: string;
  remote: string;
}

const SIDES: readonly Side[] = [
  {
    side: 'a',
    address: '192.0.2.1',
    peer: '198.51.100.1',
    local: '10.1.0.0/16',
    remote: '10.2.0.0/16',
  },
  {
    side: 'b',
    address: '198.51.100.1',
    peer: '192.0.2.1',
    local: '10.2.0.0/16',
    remote: '10.1.0.0/16',
  },
];

export const PLAIN: Contender = {
  name: 'plain',
  label: 'plain veth, no tunnel',
  cleartext: true,
  start: async () => ({ pids: [], stop: async () => {} }),
};

export const STRONGSWAN: Contender = {
  name: 'strongswan',
  label: 'strongSwan kernel-libipsec, AES-256-GCM',
  start: startStrongswan,
};

export const WIREGUARD: Contender = {
  name: 'wireguard',
  label: "Debian's wireguard-go, ChaCha20-Poly1305",
  start: startWireguard,
};

export const ISTHMUS = isthmus('isthmus', 'isthmus, AES-256-GCM in UDP', 'aes-gcm-16-256', 'udp');

/** The ones that every subject looks at, then the rest. */
export const MAIN: readonly Contender[] = [PLAIN, STRONGSWAN, WIREGUARD, ISTHMUS];
export const VARIANTS: readonly Contender[] = [
  isthmus('isthmus_chacha', 'isthmus, ChaCha20-Poly1305 in UDP', 'chacha20-poly1305', 'udp'),
  isthmus('isthmus_esp', 'isthmus, AES-256-GCM, plain ESP', 'aes-gcm-16-256', 'esp'),
  isthmus('isthmus_chacha_esp', 'isthmus, ChaCha20-Poly1305, plain ESP', 'chacha20-poly1305', 'esp'),
];

/** The main four, more of ours unless it must be short, and those that the user named. */
export function chosen({ short, peers }: Options, more: readonly Contender[] = VARIANTS): Contender[] {
  const named = peers.map(({ name, command }) => foreign(name, command));
  return [...MAIN, ...(short ? [] : more), ...named];
}

/** One sentence for each program that the bench needs and does not find. */
export function contendersMissing(): string[] {
  const ethtool = existsSync('/usr/sbin/ethtool') ? undefined : 'ethtool is missing: apt-get install ethtool';
  return [strongswanIsMissing(), wireguardIsMissing(), ethtool].filter((missing) => missing !== undefined);
}

function isthmus(name: string, label: string, suite: string, encapsulation: 'udp' | 'esp'): Contender {
  return { name, label, start: (prefix) => startIsthmus(prefix, suite, encapsulation) };
}

async function startIsthmus(prefix: string, suite: string, encapsulation: string): Promise<Running> {
  const psk = newPsk();
  const sites = SIDES.map(({ side, address, peer, local, remote }) => {
    const site = createSite(`${prefix}gw-${side}`, { 'office.psk': psk });
    site.configure(`gateway: { name: ${side}, address: ${address} }
tunnels:
  office:
    peer: ${peer}
    auth: { psk: { file: ${site.folder}/office.psk } }
    local: ${local}
    remote: ${remote}
    start: wait
    encapsulation: ${encapsulation}
    esp-suites: [${suite}]
`);
    return site;
  });
  await Promise.all(sites.map((site) => site.start()));
  const { code } = await sites[0]!.command('up', 'office');
  if (code !== 'OK') throw new Error(`isthmus does not come up: ${code}\n${sites[0]!.log()}`);
  return {
    sites,
    pids: sites.map((site) => site.pid()),
    async stop() {
      await Promise.all(sites.map((site) => site.kill('SIGTERM')));
    },
  };
}

async function startStrongswan(prefix: string): Promise<Running> {
  const common = {
    psk: newPsk(),
    ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x25519'],
    esp: ['aes-gcm-16-256'],
  };
  const peers = SIDES.map(({ side }) => createStrongswan(`${prefix}gw-${side}`));
  for (const [index, { address, peer, local, remote }] of SIDES.entries()) {
    await peers[index]!.start();
    await peers[index]!.configure({ ...common, localAddress: address, remoteAddress: peer, local, remote });
  }
  const { status, output } = await peers[0]!.swanctl('--initiate', '--child', 'child', '--timeout', '10');
  if (status !== 0) throw new Error(`strongSwan does not come up:\n${output}`);
  return {
    pids: peers.map((peer) => peer.pid()),
    async stop() {
      await Promise.all(peers.map((peer) => peer.stop()));
    },
  };
}

async function startWireguard(prefix: string): Promise<Running> {
  const peers = SIDES.map(({ side }) => createWireguard(`${prefix}gw-${side}`, `wg-${side}`));
  for (const [index, { peer, remote }] of SIDES.entries()) {
    const remoteKey = peers[1 - index]!.publicKey();
    await peers[index]!.start({ remoteAddress: peer, remoteKey, remote });
  }
  return {
    pids: peers.map((peer) => peer.pid()),
    async stop() {
      await Promise.all(peers.map((peer) => peer.stop()));
    },
  };
}

/**
 * A command of the user's, run by `sh -c` in each gateway's namespace until the end of the bench. It finds in its
 * environment: SIDE (a or b), ADDRESS and PEER (outer addresses), LOCAL and REMOTE (networks), WAN and LAN (devices),
 * SHARED (a folder that both sides see), NAME (of the contender).
 */
function foreign(name: string, command: string): Contender {
  return { name, label: name, start: (prefix) => startForeign(prefix, name, command) };
}

async function startForeign(prefix: string, name: string, command: string): Promise<Running> {
  const shared = `/run/lab/${name}`;
  spawnSync('mkdir', ['-p', shared]);
  const children = SIDES.map(({ side, address, peer, local, remote }) =>
    start(`${prefix}gw-${side}`, ['sh', '-c', command], {
      detached: true, // a process group of its own, to be ended whole
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        ...{ NAME: name, SIDE: side, ADDRESS: address, PEER: peer, LOCAL: local, REMOTE: remote },
        ...{ WAN: 'wan', LAN: 'lan', SHARED: shared },
      },
    }),
  );
  return { pids: children.map(({ pid }) => pid), stop: async () => children.forEach(endGroup) };
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

function newPsk(): string {
  return randomBytes(24).toString('base64url');
}
