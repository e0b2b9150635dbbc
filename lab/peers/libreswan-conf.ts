// The configuration of libreswan for one tunnel: ipsec.conf and ipsec.secrets. Pure. `left` is libreswan itself.

import { createPrivateKey } from 'node:crypto';
import { partsOf, wordOf } from './suite-words.ts';
import { type ChildSelectors, childrenOf, type Files, type PeerTunnel, selectorsOf } from './tunnel.ts';

/** Under that name its certificate lies in its database, with the key. */
export const NICKNAME = 'own';

/** Throws a RangeError for what libreswan cannot be told. The PEM files are for its database, which it takes keys from. */
export function libreswanFiles(tunnel: PeerTunnel): Files {
  const { credential } = tunnel;
  return {
    'ipsec.conf': ipsecConf(tunnel),
    'ipsec.secrets': credential ? '' : ipsecSecrets(tunnel),
    ...(credential
      ? { 'own.pem': credential.certificates.join(''), 'own.key': credential.key, 'ca.pem': credential.ca }
      : {}),
  };
}

/** One connection a child, of one IKE SA: libreswan shares it between connections with the same ends. */
function ipsecConf(tunnel: PeerTunnel): string {
  const children = Object.entries(childrenOf(tunnel));
  return `config setup
    uniqueids=yes

${children.map(([name, selectors]) => connection(name, selectors, tunnel)).join('\n')}`;
}

function connection(name: string, selectors: ChildSelectors, tunnel: PeerTunnel): string {
  const { protocol = 'esp', liveness, ikeLifetime, childLifetime } = tunnel;
  return `conn ${name}
${settings({
  ikev2: 'insist',
  hostaddrfamily: tunnel.localAddress.includes(':') ? 'ipv6' : undefined,
  ...proof(tunnel),
  ...ends(tunnel, selectors),
  type: tunnel.transport ? 'transport' : 'tunnel',
  ike: tunnel.ike.map(ikeWords).join(','),
  phase2: protocol,
  [protocol]: tunnel.esp.map(childWords).join(','),
  pfs: tunnel.esp.some((suite) => partsOf(suite).group !== undefined) ? 'yes' : 'no',
  esn: esnOf(tunnel.esp),
  encapsulation: tunnel.forceUdp ? 'yes' : 'auto',
  ikelifetime: seconds(ikeLifetime),
  salifetime: seconds(childLifetime),
  dpddelay: seconds(liveness),
  dpdtimeout: seconds(liveness === undefined ? undefined : 3 * liveness),
  dpdaction: liveness === undefined ? undefined : 'restart',
  ...linkOf(tunnel),
  mobike: 'no',
  'send-vendorid': 'yes',
  'nic-offload': 'no',
  auto: 'add',
})}`;
}

function ends(tunnel: PeerTunnel, selectors: ChildSelectors): Record<string, string | undefined> {
  const [left, right] = [oneOf(selectors.local), oneOf(selectors.remote)];
  return {
    left: tunnel.localAddress,
    leftid: nameOf(tunnel, tunnel.localId) ?? tunnel.localAddress,
    leftsubnet: tunnel.transport ? undefined : left.network,
    leftprotoport: protoport(left),
    leftupdown: '%disabled',
    right: tunnel.remoteAddress,
    rightid: nameOf(tunnel, tunnel.remoteId) ?? tunnel.remoteAddress,
    rightsubnet: tunnel.transport ? undefined : right.network,
    rightprotoport: protoport(right),
  };
}

function proof({ credential }: PeerTunnel): Record<string, string> {
  if (!credential) return { authby: 'secret' };
  if (credential.raw || credential.crl)
    throw new RangeError('libreswan is given certificates, no raw keys and no lists here');
  // Given both words it takes an EC key for one of RSA.
  const authby = createPrivateKey(credential.key).asymmetricKeyType === 'ec' ? 'ecdsa' : 'rsasig';
  return { authby, leftcert: NICKNAME, leftsendcert: 'always', rightca: '%same' };
}

/** Beside a certificate a name is taken for one of the DNS only where it begins so. */
const nameOf = ({ credential }: PeerTunnel, id: string | undefined) =>
  credential && id !== undefined ? `@${id}` : id;

function oneOf(words: string | readonly string[]) {
  const all = selectorsOf(words);
  if (all.length !== 1) throw new RangeError('libreswan 4 has one selector a side and child');
  return all[0]!;
}

function protoport({ protocol, port }: { protocol?: string; port?: string }): string | undefined {
  if (protocol === undefined) return undefined;
  return port === undefined ? protocol : `${protocol}/${port}`;
}

function linkOf({ link }: PeerTunnel): Record<string, string> {
  if (!link) return {};
  if (link.kind === 'xfrm') return { 'ipsec-interface': String(link.key) };
  return { mark: `${link.key}/0xffffffff`, 'vti-interface': link.name, 'vti-routing': 'no' };
}

/** The integrity algorithm has to be the PRF's: libreswan has one word for both. */
function ikeWords(suite: string): string {
  const { encryption = '', integrity, prf = '', group = '' } = partsOf(suite);
  const [cipher, hash] = [wordOf('libreswan', encryption), wordOf('libreswan', prf)];
  if (integrity !== undefined && wordOf('libreswan', integrity) !== hash)
    throw new RangeError(`libreswan has no IKE suite of ${integrity} with ${prf}`);
  return `${cipher}-${hash}-${wordOf('libreswan', group)}`;
}

/** Of AH the cipher is missing, of combined modes the integrity algorithm. */
function childWords(suite: string): string {
  const { encryption, integrity, group } = partsOf(suite);
  const algorithms = [encryption, integrity].filter((word) => word !== undefined);
  const words = algorithms.map((word) => wordOf('libreswan', word)).join('-');
  return group === undefined ? words : `${words};${wordOf('libreswan', group)}`;
}

function esnOf(suites: readonly string[]): string {
  const wanted = new Set(suites.map((suite) => partsOf(suite).esn ?? 'no-esn'));
  if (wanted.size > 1) return 'either';
  return wanted.has('esn') ? 'yes' : 'no';
}

function ipsecSecrets({ localId, localAddress, remoteId, remoteAddress, psk }: PeerTunnel): string {
  return `${localId ?? localAddress} ${remoteId ?? remoteAddress} : PSK "${psk}"\n`;
}

const seconds = (value: number | undefined) => (value === undefined ? undefined : `${value}s`);

function settings(all: Record<string, string | undefined>): string {
  return Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `    ${name}=${value}\n`)
    .join('');
}
