// wireguard-go, WireGuard in userspace, in a namespace: Debian's of 2022.

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, start } from '../netns.ts';
import { pause } from '../site.ts';

const PORT = 51820;

export interface WireguardTunnel {
  remoteAddress: string;
  /** The other side's, from `publicKey()`. */
  remoteKey: string;
  remote: string;
}

export interface Wireguard {
  publicKey(): string;
  start(tunnel: WireguardTunnel): Promise<void>;
  stop(): Promise<void>;
  pid(): number | undefined;
}

export function wireguardIsMissing(): string | undefined {
  for (const [file, debianPackage] of [
    ['/usr/bin/wireguard-go', 'wireguard-go'],
    ['/usr/bin/wg', 'wireguard-tools'],
  ] as const) {
    if (!existsSync(file)) return `${debianPackage} is missing: apt-get install ${debianPackage}`;
  }
  return undefined;
}

/** `device` names its control socket too: no two may have the same. */
export function createWireguard(namespace: string, device: string): Wireguard {
  const folder = join('/run/lab', `${namespace}-wireguard`);
  const keyFile = join(folder, 'private.key');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(keyFile, run(namespace, 'wg', 'genkey'), { mode: 0o600 });
  let daemon: ChildProcess | undefined;
  let written = '';

  return {
    publicKey: () => run(namespace, 'sh', '-c', `wg pubkey < ${keyFile}`).trim(),
    pid: () => daemon?.pid,
    async start({ remoteAddress, remoteKey, remote }) {
      rmSync(`/run/wireguard/${device}.sock`, { force: true });
      daemon = start(namespace, ['wireguard-go', '--foreground', device]);
      for (const stream of [daemon.stdout!, daemon.stderr!]) stream.on('data', (chunk) => (written += chunk));
      for (let attempt = 0; !existsSync(`/run/wireguard/${device}.sock`); attempt++) {
        if (attempt > 100 || daemon.exitCode !== null)
          throw new Error(`wireguard-go does not start: ${written}`);
        await pause(50);
      }
      const peer = ['peer', remoteKey, 'endpoint', `${remoteAddress}:${PORT}`, 'allowed-ips', remote];
      run(namespace, 'wg', 'set', device, 'listen-port', String(PORT), 'private-key', keyFile, ...peer);
      run(namespace, 'ip', 'link', 'set', 'dev', device, 'up');
      run(namespace, 'ip', 'route', 'add', remote, 'dev', device);
    },
    stop: () =>
      new Promise((resolve) => {
        if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return resolve();
        daemon.once('exit', () => resolve());
        daemon.kill('SIGTERM');
      }),
  };
}
