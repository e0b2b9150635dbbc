// strongSwan from Debian in a namespace: with its userspace data plane (kernel-libipsec: UDP encapsulation only), or with the
// kernel's (kernel-netlink: where the kernel has ESP, as in user-mode Linux).

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, runAsync, start } from '../netns.ts';
import { pause } from '../site.ts';

const CHARON = '/usr/lib/ipsec/charon';

export interface StrongswanTunnel {
  localAddress: string;
  remoteAddress: string;
  localId?: string;
  remoteId?: string;
  psk: string;
  /** In place of the secret, both ways. */
  credential?: StrongswanCredential;
  local: string;
  remote: string;
  /** Proposals in strongSwan's words. */
  ike: string;
  esp: string;
  /** Instead of the one child, by name. */
  children?: Record<string, { local: string; remote: string }>;
  /** Further lines of the connection, of every child; further settings of charon. */
  connection?: string[];
  child?: string[];
  /** Further sections of secrets. */
  secrets?: string[];
  settings?: Record<string, string | number>;
}

/** PEM; `certificates` its own first. */
export interface StrongswanCredential {
  certificates: string[];
  key: string;
  ca: string;
  /** DER. */
  crl?: Uint8Array;
  /** Raw keys take the place of certificates. */
  raw?: boolean;
  publicKeys?: { own: string; peer: string };
}

export interface Strongswan {
  start(): Promise<void>;
  configure(tunnel: StrongswanTunnel): Promise<void>;
  /** A whole swanctl.conf; the files that it names lie below `folder`, as swanctl wants them. */
  load(conf: string): Promise<void>;
  folder: string;
  swanctl(...args: string[]): Promise<Finished>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  log(): string;
  pid(): number | undefined;
}

export function strongswanIsMissing(): string | undefined {
  return existsSync(CHARON)
    ? undefined
    : 'strongSwan is missing: apt-get install strongswan-charon strongswan-swanctl';
}

export type KernelPlugin = 'kernel-libipsec' | 'kernel-netlink';

/** Levels by subsystem. */
const TALKATIVE = 'default = 1\n    ike = 2';

/** Each daemon has its own pid file, its own configuration folder and its own vici socket. */
export function createStrongswan(
  namespace: string,
  kernel: KernelPlugin = 'kernel-libipsec',
  log: string = TALKATIVE,
): Strongswan {
  const folder = join('/run/lab', `${namespace}-strongswan`);
  const socket = `unix://${folder}/vici`;
  mkdirSync(join(folder, 'swanctl/conf.d'), { recursive: true });
  writeFileSync(join(folder, 'charon.pid'), '');
  const settings = (more: Record<string, string | number> = {}) =>
    writeFileSync(join(folder, 'strongswan.conf'), strongswanConf(socket, kernel, log, more));
  settings();
  const environment = {
    ...process.env,
    STRONGSWAN_CONF: join(folder, 'strongswan.conf'),
    SWANCTL_DIR: join(folder, 'swanctl'),
  };
  let charon: ChildProcess | undefined;
  let written = '';

  const swanctl = (...args: string[]) =>
    runAsync(
      namespace,
      'env',
      `STRONGSWAN_CONF=${environment.STRONGSWAN_CONF}`,
      `SWANCTL_DIR=${environment.SWANCTL_DIR}`,
      'swanctl',
      ...args,
      '--uri',
      socket,
    );

  const load = async (conf: string) => {
    writeFileSync(join(folder, 'swanctl/swanctl.conf'), conf, { mode: 0o600 });
    const loaded = await swanctl('--load-all', '--clear');
    if (loaded.status !== 0) throw new Error(`swanctl --load-all: ${loaded.output}`);
  };

  return {
    folder: join(folder, 'swanctl'),
    load,
    swanctl,
    log: () => written,
    pid: () => charon?.pid,
    async start() {
      const prepare = `touch /run/charon.pid && mount --bind ${folder}/charon.pid /run/charon.pid && exec ${CHARON}`;
      charon = start(namespace, ['unshare', '-m', 'sh', '-c', prepare], { env: environment });
      for (const stream of [charon.stdout!, charon.stderr!]) stream.on('data', (chunk) => (written += chunk));
      for (let attempt = 0; attempt < 100; attempt++) {
        if ((await swanctl('--stats')).status === 0) return;
        await pause(50);
      }
      throw new Error(`strongSwan does not answer:\n${written}`);
    },
    async configure(tunnel) {
      writeCredential(join(folder, 'swanctl'), tunnel.credential);
      settings(tunnel.settings);
      await swanctl('--reload-settings');
      await load(swanctlConf(tunnel, kernel));
    },
    stop: (signal = 'SIGTERM') => end(charon, signal),
  };
}

function strongswanConf(
  socket: string,
  kernel: KernelPlugin,
  log: string,
  more: Record<string, string | number>,
): string {
  const plugins = kernel === 'kernel-libipsec' ? 'kernel-libipsec kernel-netlink' : kernel;
  return `charon {
  load_modular = no
  load = random nonce openssl curve25519 chapoly hmac kdf aes ctr ccm gcm xcbc cmac sha2 sha1 gmp pem pkcs1 pkcs8 x509 revocation pubkey constraints mgf1 socket-default ${plugins} vici
  install_virtual_ip = no
  send_vendor_id = yes
  retransmit_base = 1.4
  retransmit_timeout = 0.5
${Object.entries(more)
  .map(([name, value]) => `  ${name} = ${value}`)
  .join('\n')}
  plugins {
    vici { socket = ${socket} }
    kernel-libipsec { allow_peer_ts = yes }
  }
  filelog { stderr { ${log}
    flush_line = yes } }
}
`;
}

function swanctlConf(tunnel: StrongswanTunnel, kernel: KernelPlugin): string {
  const localId = tunnel.localId ?? tunnel.localAddress;
  const remoteId = tunnel.remoteId ?? tunnel.remoteAddress;
  const children = tunnel.children ?? { child: { local: tunnel.local, remote: tunnel.remote } };
  return `connections {
  tunnel {
    version = 2
    local_addrs = ${tunnel.localAddress}
    remote_addrs = ${tunnel.remoteAddress}
    encap = ${kernel === 'kernel-libipsec' ? 'yes' : 'no'}
    mobike = no
    proposals = ${tunnel.ike}
    local { ${proofOf(tunnel.credential, 'own')}
      id = ${localId} }
    remote { ${proofOf(tunnel.credential, 'peer')}
      id = ${remoteId} }
    ${(tunnel.connection ?? []).join('\n    ')}
    children {
${Object.entries(children)
  .map(([name, selectors]) => swanctlChild(name, selectors, tunnel))
  .join('\n')}
    }
  }
}
secrets {
  ${tunnel.credential ? '' : `ike-tunnel { secret = "${tunnel.psk}" }`}
  ${(tunnel.secrets ?? []).join('\n  ')}
}
`;
}

function swanctlChild(
  name: string,
  { local, remote }: { local: string; remote: string },
  { esp, child = [] }: StrongswanTunnel,
): string {
  return `      ${name} {
        local_ts = ${local}
        remote_ts = ${remote}
        esp_proposals = ${esp}
        ${child.join('\n        ')}
      }`;
}

function proofOf(credential: StrongswanCredential | undefined, whose: 'own' | 'peer'): string {
  if (!credential) return 'auth = psk';
  if (credential.raw) return `auth = pubkey\n      pubkeys = ${whose}.pem`;
  return whose === 'own' ? 'auth = pubkey\n      certs = own.pem' : 'auth = pubkey\n      cacerts = ca.pem';
}

/** The folders that swanctl looks into; what an earlier tunnel had goes. */
function writeCredential(folder: string, credential: StrongswanCredential | undefined): void {
  const write = (kind: string, name: string, content: string | Uint8Array) => {
    mkdirSync(join(folder, kind), { recursive: true });
    writeFileSync(join(folder, kind, name), content, { mode: 0o600 });
  };
  for (const kind of ['x509', 'x509ca', 'x509crl', 'private', 'pubkey'])
    rmSync(join(folder, kind), { recursive: true, force: true });
  if (!credential) return;
  const { certificates, key, ca, crl, publicKeys } = credential;
  write('private', 'own.pem', key);
  if (publicKeys) for (const [name, pem] of Object.entries(publicKeys)) write('pubkey', `${name}.pem`, pem);
  if (credential.raw) return;
  for (const [index, pem] of certificates.entries())
    write(index === 0 ? 'x509' : 'x509ca', index === 0 ? 'own.pem' : `${index}.pem`, pem);
  write('x509ca', 'ca.pem', ca);
  if (crl) write('x509crl', 'list.crl', crl);
}

function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}
