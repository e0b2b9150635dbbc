// Who answers the load: ours and strongSwan's, each in a namespace of its own beside one that holds all the sites.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import type { Topology } from '../lab/netns.ts';
import { createStrongswan } from '../lab/peers/strongswan.ts';
import { createSite } from '../lab/site.ts';
import { pki } from '../src/cli/pki.ts';

export const LOAD = 'load';
const SITES = 64;
/** X25519 on both sides, and nothing to choose from. */
const IKE_SUITE = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519';
const ESP_SUITE = 'aes-gcm-16-256';

interface Place {
  name: 'isthmus' | 'strongswan';
  label: string;
  address: string;
  /** Of the namespace with the sites. */
  gateway: string;
}

export const PLACES: readonly Place[] = [
  { name: 'isthmus', label: 'isthmus, engine', address: '192.0.2.1', gateway: '192.0.2.2' },
  {
    name: 'strongswan',
    label: 'strongSwan charon, kernel-libipsec',
    address: '198.51.100.1',
    gateway: '198.51.100.2',
  },
];

export const TOPOLOGY: Topology = {
  namespaces: [LOAD, ...PLACES.map(({ name }) => name)],
  links: PLACES.map(
    ({ name, address, gateway }) =>
      [
        [LOAD, name, `${gateway}/24`],
        // kernel-libipsec refuses a child whose network is not this machine's.
        [name, 'wan', `${address}/24`, '10.1.0.1/16'],
      ] as const,
  ),
  routes: {
    [LOAD]: ['local 10.99.0.0/16 dev lo'],
    ...Object.fromEntries(PLACES.map(({ name, gateway }) => [name, [`10.99.0.0/16 via ${gateway}`]])),
  },
  routers: [],
};

/** How the two prove who they are. */
export type Proof = 'psk' | 'ecdsa';
export const PROOFS: readonly Proof[] = ['psk', 'ecdsa'];

export interface Responder extends Place {
  pid: number;
  /** For each proof the configuration of the sites that use it. */
  files: Record<Proof, string>;
  stop(): Promise<void>;
}

/** A site has its address, its network and its secret or certificate for itself; each responder meets others. */
interface Site {
  name: string;
  address: string;
  network: string;
  proof: Proof;
}

function sitesOf({ name }: Place, proof: Proof): Site[] {
  const block = PLACES.findIndex((place) => place.name === name) * PROOFS.length + PROOFS.indexOf(proof);
  return Array.from({ length: SITES }, (_, index) => ({
    name: `${name}-${proof}-${index}`,
    address: `10.99.${block}.${index + 1}`,
    network: `172.${20 + block}.${index}.0/24`,
    proof,
  }));
}

/** Of everybody: a CA, certificates of P-256 under it, secrets. */
const KEYS = '/run/lab/keys';

export async function makeKeys(): Promise<void> {
  await pki(['ca', KEYS]);
  const sites = PLACES.flatMap((place) => PROOFS.flatMap((proof) => sitesOf(place, proof)));
  for (const address of PLACES.map((place) => place.address)) await pki(['issue', KEYS, address]);
  for (const { name, address, proof } of sites) {
    if (proof === 'ecdsa') await pki(['issue', KEYS, address]);
    else writeFileSync(`${KEYS}/${name}.psk`, secretOf(name), { mode: 0o600 });
  }
}

function secretOf(name: string): string {
  return `only ${name} and its hub know this`;
}

export async function startResponder(place: Place): Promise<Responder> {
  const sites = PROOFS.flatMap((proof) => sitesOf(place, proof));
  const started = await (place.name === 'isthmus'
    ? startIsthmus(place, sites)
    : startStrongswan(place, sites));
  const files = Object.fromEntries(PROOFS.map((proof) => [proof, writeSites(place, proof)]));
  return { ...place, ...started, files: files as Record<Proof, string> };
}

/** The other ends, as one configuration. */
function writeSites(place: Place, proof: Proof): string {
  const tunnels = sitesOf(place, proof).map((site) =>
    tunnelText(site, {
      peer: place.address,
      id: site.address,
      auth: authText(site, site.address),
      local: site.network,
      remote: '10.1.0.0/16',
    }),
  );
  const file = `${KEYS}/${place.name}-${proof}.yaml`;
  writeFileSync(file, `gateway: { name: sites, address: 10.99.0.1 }\ntunnels:\n${tunnels.join('')}`);
  return file;
}

function authText({ name, proof }: Site, own: string): string {
  return proof === 'psk'
    ? `{ psk: { file: ${KEYS}/${name}.psk } }`
    : `{ certificate: ${KEYS}/${own}.crt, key: ${KEYS}/${own}.key, ca: ${KEYS}/ca.crt, revocation: off }`;
}

function tunnelText({ name }: Site, fields: Record<string, string>): string {
  const common = {
    start: 'wait',
    encapsulation: 'udp',
    'ike-suites': `["${IKE_SUITE}"]`,
    'esp-suites': `[${ESP_SUITE}]`,
  };
  const lines = Object.entries({ ...fields, ...common }).map(([key, value]) => `    ${key}: ${value}\n`);
  return `  ${name}:\n${lines.join('')}`;
}

async function startIsthmus({ name, address }: Place, sites: readonly Site[]) {
  const daemon = createSite(name, {});
  const tunnels = sites.map((site) =>
    tunnelText(site, {
      peer: site.address,
      id: address,
      'peer-id': site.address,
      auth: authText(site, address),
      local: '10.1.0.0/16',
      remote: site.network,
    }),
  );
  daemon.configure(`gateway: { name: hub, address: ${address} }\ntunnels:\n${tunnels.join('')}`);
  await daemon.start();
  return { pid: daemon.pid()!, stop: () => daemon.kill('SIGTERM') };
}

/** Without a log, which only costs time; everything else as it comes. */
async function startStrongswan({ name, address }: Place, sites: readonly Site[]) {
  const charon = createStrongswan(name, 'kernel-libipsec', 'default = -1');
  for (const [folder, file] of [
    ['x509', `${address}.crt`],
    ['x509ca', 'ca.crt'],
    ['private', `${address}.key`],
  ]) {
    mkdirSync(`${charon.folder}/${folder}`, { recursive: true });
    copyFileSync(`${KEYS}/${file}`, `${charon.folder}/${folder}/${file}`);
  }
  await charon.start();
  const secrets = sites.filter(({ proof }) => proof === 'psk').map(secretText);
  await charon.load(
    `connections {\n${sites.map((site) => connectionText(site, address)).join('')}}\nsecrets {\n${secrets.join('')}}\n`,
  );
  return { pid: charon.pid()!, stop: () => charon.stop() };
}

function connectionText({ name, address, network, proof }: Site, own: string): string {
  const [local, remote] =
    proof === 'psk'
      ? ['auth = psk', 'auth = psk']
      : [`auth = pubkey\n      certs = ${own}.crt`, 'auth = pubkey\n      cacerts = ca.crt'];
  return `  ${name} {
    version = 2
    local_addrs = ${own}
    remote_addrs = ${address}
    encap = yes
    mobike = no
    proposals = aes256gcm16-prfsha256-x25519
    local { ${local}
      id = ${own} }
    remote { ${remote}
      id = ${address} }
    children { net {
      local_ts = 10.1.0.0/16
      remote_ts = ${network}
      esp_proposals = aes256gcm16
    } }
  }
`;
}

function secretText({ name, address }: Site): string {
  return `  ike-${name} { id = ${address}\n    secret = "${secretOf(name)}" }\n`;
}
