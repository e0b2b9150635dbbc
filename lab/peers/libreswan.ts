// libreswan 4 from Debian in a namespace, on a kernel that has ESP. Its package cannot stand beside strongSwan's, so that
// scripts/setup.sh unpacks it into a folder of the project.

import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Finished, runAsync, start } from '../netns.ts';
import { pause } from '../site.ts';
import { libreswanFiles, NICKNAME } from './libreswan-conf.ts';
import { end, type Peer, writeFiles } from './peer.ts';
import { childrenOf } from './tunnel.ts';

const ROOT = fileURLToPath(new URL('../../.lab/libreswan', import.meta.url));
const PROGRAMS = join(ROOT, 'usr/libexec/ipsec');
const LIBRARIES = `LD_LIBRARY_PATH=${join(ROOT, 'usr/lib/x86_64-linux-gnu')}`;

export function libreswanIsMissing(): string | undefined {
  return existsSync(join(PROGRAMS, 'pluto'))
    ? undefined
    : 'libreswan is missing: sh scripts/setup.sh interop (as anybody; it downloads Debian packages and unpacks them)';
}

/** Each daemon has a folder of its own; its secrets, its keys and its sockets lie there. */
export function createLibreswan(namespace: string): Peer {
  const folder = join('/run/lab', `${namespace}-libreswan`);
  const file = (name: string) => join(folder, name);
  const keys = `sql:${file('nss')}`;
  let pluto: ChildProcess | undefined;
  let written = '';
  let loaded: string[] = [];
  mkdirSync(file('nss'), { recursive: true });
  writeFiles(folder, { 'ipsec.conf': 'config setup\n', 'ipsec.secrets': '' });

  const program = (name: string, ...args: string[]) =>
    runAsync(namespace, 'env', LIBRARIES, join(PROGRAMS, name), ...args);
  const whack = (...args: string[]) => program('whack', '--ctlsocket', file('pluto.ctl'), ...args);
  const nss = (name: string, ...args: string[]) =>
    runAsync(namespace, 'env', LIBRARIES, join(ROOT, 'usr/bin', name), '-d', keys, ...args);
  const states = async () => (await whack('--showstates')).output;

  return {
    vendor: 'Libreswan',
    log: () => written,
    pid: () => pluto?.pid,
    async start() {
      if (!existsSync(file('nss/cert9.db'))) await nss('certutil', '-N', '--empty-password');
      // Pluto looks for its helpers where the package would have put them.
      const prepare = `mkdir -p /run/pluto && mount -t tmpfs tmpfs /usr/libexec && mkdir /usr/libexec/ipsec && mount --bind ${PROGRAMS} /usr/libexec/ipsec && exec "$@"`;
      // biome-ignore format: an option a line
      pluto = start(namespace, ['unshare', '-m', 'sh', '-c', prepare, 'sh', 'env', LIBRARIES, join(PROGRAMS, 'pluto'),
        '--nofork', '--stderrlog', '--no-dnssec',
        '--config', file('ipsec.conf'),
        '--secretsfile', file('ipsec.secrets'),
        '--nssdir', keys,
        '--rundir', folder,
        '--ipsecdir', folder,
      ]);
      for (const stream of [pluto.stdout!, pluto.stderr!]) stream.on('data', (chunk) => (written += chunk));
      for (let attempt = 0; attempt < 100; attempt++) {
        if ((await whack('--listen')).status === 0) return;
        await pause(50);
      }
      throw new Error(`libreswan does not answer:\n${written}`);
    },
    async configure(tunnel) {
      for (const name of loaded) await whack('--delete', '--name', name);
      loaded = Object.keys(childrenOf(tunnel));
      writeFiles(folder, libreswanFiles(tunnel));
      if (tunnel.credential) await importCredential(file, nss);
      await whack('--rereadsecrets');
      const options = ['--config', file('ipsec.conf'), '--ctlsocket', file('pluto.ctl')];
      const { output } = await program('addconn', ...options, ...loaded);
      // Its exit status is 0 whatever became of it.
      const known = (await whack('--status')).output;
      if (!loaded.every((name) => known.includes(`"${name}":`))) throw new Error(`addconn: ${output}`);
    },
    initiate: (child = 'child') => whack('--initiate', '--name', child),
    rekey: (what) => whack(what === 'child' ? '--rekey-ipsec' : '--rekey-ike', '--name', 'child'),
    terminate: () => whack('--terminate', '--name', 'child'),
    async generation(what) {
      const established = what === 'child' ? 'ESTABLISHED_CHILD_SA' : 'ESTABLISHED_IKE_SA';
      return (await states())
        .split('\n')
        .filter((line) => line.includes(established))
        .map((line) => /#\d+/.exec(line)?.[0])
        .join();
    },
    async sas() {
      return (await states()).includes('ESTABLISHED') ? states() : '';
    },
    stop: (signal = 'SIGTERM') => end(pluto, signal),
  };
}

/** Its own certificate with the key, and the authority that it trusts, in place of those before. */
async function importCredential(
  file: (name: string) => string,
  nss: (name: string, ...args: string[]) => Promise<Finished>,
): Promise<void> {
  await nss('certutil', '-F', '-n', NICKNAME);
  await nss('certutil', '-D', '-n', 'ca');
  const ends = ['-in', file('own.pem'), '-inkey', file('own.key'), '-name', NICKNAME];
  const packed = ['-passout', 'pass:x', '-out', file('own.p12')];
  execFileSync('openssl', ['pkcs12', '-export', ...ends, ...packed], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const [name, ...args] of [
    ['certutil', '-A', '-n', 'ca', '-t', 'CT,,', '-i', file('ca.pem')],
    ['pk12util', '-i', file('own.p12'), '-W', 'x', '-K', ''],
  ] as const) {
    const { status, output } = await nss(name, ...args);
    if (status !== 0) throw new Error(`${name}: ${output}`);
  }
}
