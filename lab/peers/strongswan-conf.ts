// The configuration of strongSwan for one tunnel: swanctl.conf with the files that it names, and strongswan.conf. Pure.

import { wordOf } from './suite-words.ts';
import {
  type ChildSelectors,
  childrenOf,
  type Files,
  type PeerCredential,
  type PeerLink,
  type PeerTunnel,
  selectorsOf,
} from './tunnel.ts';

/** What only strongSwan has: further lines of the connection, of every child, of secrets; further settings of charon. */
export interface StrongswanTunnel extends PeerTunnel {
  connection?: string[];
  child?: string[];
  secrets?: string[];
  settings?: Settings;
}

export type Settings = Record<string, string | number>;

export type KernelPlugin = 'kernel-libipsec' | 'kernel-netlink';

export interface CharonOptions {
  /** URI of the vici socket. */
  socket: string;
  kernel: KernelPlugin;
  /** Levels by subsystem. */
  log: string;
}

export function strongswanConf({ socket, kernel, log }: CharonOptions, more: Settings = {}): string {
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

/** Everything below `swanctl/`. */
export function strongswanFiles(tunnel: StrongswanTunnel): Files {
  return { 'swanctl.conf': swanctlConf(tunnel), ...credentialFiles(tunnel.credential) };
}

function swanctlConf(tunnel: StrongswanTunnel): string {
  const { localAddress, remoteAddress, credential } = tunnel;
  return `connections {
  tunnel {
    version = 2
    local_addrs = ${localAddress}
    remote_addrs = ${remoteAddress}
    encap = ${tunnel.forceUdp ? 'yes' : 'no'}
    mobike = no
    proposals = ${tunnel.ike.map(proposalOf).join(',')}
    local { ${proofOf(credential, 'own')}
      id = ${tunnel.localId ?? localAddress} }
    remote { ${proofOf(credential, 'peer')}
      id = ${tunnel.remoteId ?? remoteAddress} }
${lines(4, [
  setting('rekey_time', tunnel.ikeLifetime, 's'),
  setting('dpd_delay', tunnel.liveness, 's'),
  ...(tunnel.link ? interfaceOf(tunnel.link) : []),
  ...(tunnel.connection ?? []),
])}    children {
${Object.entries(childrenOf(tunnel))
  .map(([name, selectors]) => childOf(name, selectors, tunnel))
  .join('\n')}
    }
  }
}
secrets {
${lines(2, [credential ? undefined : `ike-tunnel { secret = "${tunnel.psk}" }`, ...(tunnel.secrets ?? [])])}}
`;
}

function childOf(name: string, selectors: ChildSelectors, tunnel: StrongswanTunnel): string {
  const { esp, protocol = 'esp', transport, childLifetime, liveness } = tunnel;
  return `      ${name} {
        local_ts = ${selectorText(selectors.local)}
        remote_ts = ${selectorText(selectors.remote)}
        ${protocol}_proposals = ${esp.map(proposalOf).join(',')}
${lines(8, [
  transport ? 'mode = transport' : undefined,
  ...(tunnel.link?.kind === 'vti' ? marks(tunnel.link) : []),
  setting('rekey_time', childLifetime, 's'),
  liveness === undefined ? undefined : 'dpd_action = restart',
  ...(tunnel.child ?? []),
])}      }`;
}

/** An XFRM interface has its identifier in the connection, a VTI its marks in every child. */
function interfaceOf({ kind, key }: PeerLink): string[] {
  return kind === 'xfrm' ? [`if_id_in = ${key}`, `if_id_out = ${key}`] : [];
}

const marks = ({ key }: PeerLink): string[] => [`mark_in = ${key}`, `mark_out = ${key}`];

const proposalOf = (suite: string): string =>
  suite
    .split(' / ')
    .map((word) => wordOf('strongSwan', word))
    .join('-');

/** `dynamic` stands for the address of the side itself. */
function selectorText(words: string | readonly string[]): string {
  return selectorsOf(words)
    .map(({ network, protocol, port }) =>
      protocol === undefined ? network : `${network}[${protocol}${port === undefined ? '' : `/${port}`}]`,
    )
    .join(',');
}

function proofOf(credential: PeerCredential | undefined, whose: 'own' | 'peer'): string {
  if (!credential) return 'auth = psk';
  if (credential.raw) return `auth = pubkey\n      pubkeys = ${whose}.pem`;
  return whose === 'own' ? 'auth = pubkey\n      certs = own.pem' : 'auth = pubkey\n      cacerts = ca.pem';
}

/** In the folders that swanctl looks into. */
function credentialFiles(credential: PeerCredential | undefined): Files {
  if (!credential) return {};
  const { certificates, key, ca, crl, publicKeys, raw } = credential;
  const files: Files = { 'private/own.pem': key };
  for (const [name, pem] of Object.entries(publicKeys ?? {})) files[`pubkey/${name}.pem`] = pem;
  if (raw) return files;
  for (const [index, pem] of certificates.entries())
    files[index === 0 ? 'x509/own.pem' : `x509ca/${index}.pem`] = pem;
  files['x509ca/ca.pem'] = ca;
  if (crl) files['x509crl/list.crl'] = crl;
  return files;
}

function setting(name: string, value: string | number | undefined, unit = ''): string | undefined {
  return value === undefined ? undefined : `${name} = ${value}${unit}`;
}

function lines(indent: number, all: readonly (string | undefined)[]): string {
  return all
    .filter((line) => line !== undefined)
    .map((line) => `${' '.repeat(indent)}${line}\n`)
    .join('');
}
