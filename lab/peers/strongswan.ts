// strongSwan from Debian in a namespace: with its userspace data plane (kernel-libipsec: UDP encapsulation only), or with the
// kernel's (kernel-netlink: where the kernel has ESP, as in user-mode Linux).

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, runAsync, start } from '../netns.ts';
import { pause } from '../site.ts';
import { end, type Peer, writeFiles } from './peer.ts';
import {
  type KernelPlugin,
  type StrongswanTunnel,
  strongswanConf,
  strongswanFiles,
} from './strongswan-conf.ts';

const CHARON = '/usr/lib/ipsec/charon';

export interface Strongswan extends Peer {
  configure(tunnel: StrongswanTunnel): Promise<void>;
  /** A whole swanctl.conf; the files that it names lie below `folder`, as swanctl wants them. */
  load(conf: string): Promise<void>;
  folder: string;
  swanctl(...args: string[]): Promise<Finished>;
}

export function strongswanIsMissing(): string | undefined {
  return existsSync(CHARON)
    ? undefined
    : 'strongSwan is missing: apt-get install strongswan-charon strongswan-swanctl';
}

/** Levels by subsystem. */
const TALKATIVE = 'default = 1\n    ike = 2';
/** Where swanctl looks for what swanctl.conf names. */
const CREDENTIALS = ['x509', 'x509ca', 'x509crl', 'private', 'pubkey'];

/** Each daemon has its own pid file, its own configuration folder and its own vici socket. */
export function createStrongswan(
  namespace: string,
  kernel: KernelPlugin = 'kernel-libipsec',
  log: string = TALKATIVE,
): Strongswan {
  const folder = join('/run/lab', `${namespace}-strongswan`);
  const socket = `unix://${folder}/vici`;
  const confFolder = join(folder, 'swanctl');
  const settingsFile = join(folder, 'strongswan.conf');
  mkdirSync(join(confFolder, 'conf.d'), { recursive: true });
  writeFileSync(join(folder, 'charon.pid'), '');
  writeFileSync(settingsFile, strongswanConf({ socket, kernel, log }));
  const environment = { STRONGSWAN_CONF: settingsFile, SWANCTL_DIR: confFolder };
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  let charon: ChildProcess | undefined;
  let written = '';

  const swanctl = (...args: string[]) =>
    runAsync(namespace, 'env', ...assignments, 'swanctl', ...args, '--uri', socket);

  const loadAll = async () => {
    const loaded = await swanctl('--load-all', '--clear');
    if (loaded.status !== 0) throw new Error(`swanctl --load-all: ${loaded.output}`);
  };

  const sas = async () => (await swanctl('--list-sas')).output.trim();

  return {
    vendor: 'strongSwan',
    folder: confFolder,
    swanctl,
    sas,
    log: () => written,
    pid: () => charon?.pid,
    async start() {
      const prepare = `touch /run/charon.pid && mount --bind ${folder}/charon.pid /run/charon.pid && exec ${CHARON}`;
      const env = { ...process.env, ...environment };
      charon = start(namespace, ['unshare', '-m', 'sh', '-c', prepare], { env });
      for (const stream of [charon.stdout!, charon.stderr!]) stream.on('data', (chunk) => (written += chunk));
      for (let attempt = 0; attempt < 100; attempt++) {
        if ((await swanctl('--stats')).status === 0) return;
        await pause(50);
      }
      throw new Error(`strongSwan does not answer:\n${written}`);
    },
    async load(conf) {
      writeFiles(confFolder, { 'swanctl.conf': conf });
      await loadAll();
    },
    async configure(tunnel) {
      for (const kind of CREDENTIALS) rmSync(join(confFolder, kind), { recursive: true, force: true });
      const forceUdp = kernel === 'kernel-libipsec' ? ({ forceUdp: true } as const) : {};
      writeFiles(confFolder, strongswanFiles({ ...tunnel, ...forceUdp }));
      writeFileSync(settingsFile, strongswanConf({ socket, kernel, log }, tunnel.settings));
      await swanctl('--reload-settings');
      await loadAll();
    },
    initiate: (child = 'child') => swanctl('--initiate', '--child', child, '--timeout', '10'),
    rekey: (what) => swanctl('--rekey', ...(what === 'child' ? ['--child', 'child'] : ['--ike', 'tunnel'])),
    terminate: () => swanctl('--terminate', '--ike', 'tunnel', '--timeout', '5'),
    async generation(what) {
      const listed = await sas();
      const ids =
        what === 'child'
          ? listed.match(/^\s+(?:in|out)\s+[0-9a-f]{8}/gm)
          : listed.match(/[0-9a-f]{16}_[ir]/g);
      return (ids ?? []).join();
    },
    stop: (signal = 'SIGTERM') => end(charon, signal),
  };
}
