// FRR's zebra and bgpd in a namespace, started by hand: sockets, pid files and configuration in a folder of their own.

import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type Finished, runAsync, start } from './netns.ts';
import { pause } from './site.ts';

const [ZEBRA, BGPD, VTYSH] = ['/usr/lib/frr/zebra', '/usr/lib/frr/bgpd', '/usr/bin/vtysh'];

export function frrIsMissing(): string | undefined {
  return [ZEBRA, BGPD, VTYSH].every((file) => existsSync(file))
    ? undefined
    : 'FRR is missing: apt-get install frr (no daemon of it needs to run)';
}

export interface RoutingDaemon {
  start(): Promise<void>;
  vtysh(command: string): Promise<Finished>;
  stop(): Promise<void>;
}

export interface Speaker {
  as: number;
  id: string;
  /** Of the peer's inside addresses, an IPv4 and an IPv6 one. */
  neighbors: readonly string[];
  peerAs: number;
  /** To be announced, of either family. */
  networks: readonly string[];
}

/** Each family is exchanged over a session of its own. */
function configuration({ as, id, neighbors, peerAs, networks }: Speaker): string {
  const family = (name: string, neighbor: string, mine: readonly string[]) => `
 address-family ${name} unicast
  neighbor ${neighbor} activate
${mine.map((network) => `  network ${network}`).join('\n')}
 exit-address-family`;
  const [four = '', six = ''] = neighbors;
  return `router bgp ${as}
 bgp router-id ${id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 timers bgp 1 3
${neighbors.map((one) => ` neighbor ${one} remote-as ${peerAs}\n neighbor ${one} timers connect 1`).join('\n')}
${family(
  'ipv4',
  four,
  networks.filter((one) => !one.includes(':')),
)}
${family(
  'ipv6',
  six,
  networks.filter((one) => one.includes(':')),
)}
`;
}

export function createRoutingDaemon(namespace: string, speaker: Speaker): RoutingDaemon {
  // The daemons become the user of their package, who has no way into the folder of the gateway.
  const folder = `/run/frr/${namespace}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/zebra.conf`, '');
  writeFileSync(`${folder}/bgpd.conf`, configuration(speaker));
  execFileSync('chown', ['-R', 'frr:frr', '/run/frr']);
  const running: ChildProcess[] = [];
  const common = (name: string) => [
    ...['-f', `${folder}/${name}.conf`, '-i', `${folder}/${name}.pid`, '-z', `${folder}/zserv.api`],
    ...['--vty_socket', folder, '-P', '0'],
  ];
  let written = '';
  const launch = (name: string, file: string) => {
    const daemon = start(namespace, [file, ...common(name)]);
    for (const stream of [daemon.stdout!, daemon.stderr!]) stream.on('data', (chunk) => (written += chunk));
    running.push(daemon);
  };
  const standing = async (file: string) => {
    for (let attempt = 0; !existsSync(file); attempt++) {
      if (attempt > 400) throw new Error(`${file} does not come to be: ${written}`);
      await pause(50);
    }
  };
  return {
    async start() {
      launch('zebra', ZEBRA);
      await standing(`${folder}/zserv.api`);
      launch('bgpd', BGPD);
      await standing(`${folder}/bgpd.vty`);
    },
    vtysh: (command) => runAsync(namespace, VTYSH, '--vty_socket', folder, '-c', command),
    async stop() {
      for (const daemon of running.reverse()) {
        const ended = new Promise((resolve) => daemon.once('exit', resolve));
        if (daemon.exitCode !== null) continue;
        daemon.kill('SIGTERM');
        await ended;
      }
    },
  };
}
