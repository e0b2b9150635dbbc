// A configuration, read and resolved: every default filled in, every name a row, every secret read.

import { dirname } from 'node:path';
import { ROUTING, type Routing } from '../host/wanted.ts';
import { quirksOf } from '../policy/quirks.ts';
import type { Link } from '../policy/sad.ts';
import type { ChildTemplate, Tunnel, TunnelLink } from '../policy/tunnel.ts';
import { canonicalAddress, familyOf, type IpAddress } from '../wire/address.ts';
import {
  type AuthParts,
  type Complain,
  createFiles,
  createKeyring,
  filesIn,
  type Keyring,
  resolveAuth,
} from './auth.ts';
import { beyondKernel } from './beyond-kernel.ts';
import { childrenOf, usualEncapsulation } from './children.ts';
import { claimedTwice, overlaps } from './claims.ts';
import { type Complaint, complain, type Source } from './complaint.ts';
import { DEFAULTS } from './defaults.ts';
import { ownIdentity, peerIdentity } from './identities.ts';
import { kernelOf, misfit } from './kernel.ts';
import { linksOf, tunnelLinkOf } from './link.ts';
import { listOf } from './list.ts';
import { idleSuites } from './protection.ts';
import type { File, TunnelEntry } from './schema.ts';
import { sharing } from './share.ts';
import { ikeSuitesOf } from './suites.ts';
import { duration, reauthenticationOf, retransmitOf } from './times.ts';

export interface Config {
  name: string;
  addresses: IpAddress[];
  /** Largest outer packet, bytes. */
  mtu: number;
  /** With `automatic`, what is taken where the kernel cannot. */
  dataplane: 'engine' | 'xfrm';
  /** The machine decides at start. */
  automatic: boolean;
  /** Whom the daemon asks for revocation lists and answers. */
  fetchFrom: 'public' | 'anywhere';
  /** Threads a direction; microseconds that they look for more before they sleep. */
  engine: { workers: number; spin: number };
  /** Our tables, rules and marks. */
  routing: Routing;
  tunnels: Tunnel[];
  keyring: Keyring;
}

/** One tunnel as it stands in a file. */
export interface Entry {
  name: string;
  entry: TunnelEntry;
  source: Source;
}

/** Adds to `complaints`; the configuration is only of use when there is no error among them. */
export function resolveConfig(
  file: File,
  entries: readonly Entry[],
  source: Source,
  complaints: Complaint[],
  now: number,
): Config {
  const addresses = listOf(file.gateway.address).flatMap((text) => {
    const address = canonicalAddress(text);
    if (!address) complaints.push(complain(source, ['gateway', 'address'], `"${text}" is not an IP address`));
    return address ?? [];
  });
  const [keyring, files] = [createKeyring(), createFiles()];
  const routing = routingOf(file.gateway);
  let order = 0;
  const merging = entries.map((one) => ({ ...one, merged: withDefaults(one.entry, file.defaults) }));
  const links = linksOf(merging.map(({ name, merged }) => ({ name, entry: merged })));
  const tunnels = merging.flatMap(({ name, entry, merged, source: from }) => {
    const at = complainer(name, from, complaints);
    // Paths are meant from the file that they stand in.
    const folder = dirname((entry.auth ? from : source).file);
    const auth: AuthParts = { tunnel: name, entry: merged, keyring, files: filesIn(files, folder), now, at };
    const size = file.gateway.mtu ?? DEFAULTS.mtu;
    const machine = { own: addresses, mtu: size, link: links.get(name), routing };
    const tunnel = resolveTunnel(name, merged, machine, auth, at, order);
    if (tunnel) idleSuites(entry, tunnel, at);
    const wrong = tunnel && misfit(tunnel, file.gateway.dataplane ?? DEFAULTS.dataplane);
    if (wrong) at(['xfrm', ...wrong.key], wrong.problem);
    order += tunnel?.children.length ?? 0;
    return tunnel ?? [];
  });
  complaints.push(...overlaps(tunnels, entries), ...claimedTwice(tunnels, entries));
  if (file.gateway.dataplane === 'xfrm') complaints.push(...beyondKernel(tunnels, entries));
  const { name, mtu = DEFAULTS.mtu, dataplane = DEFAULTS.dataplane, engine = {} } = file.gateway;
  const { workers = DEFAULTS.workers, spin = DEFAULTS.spin } = engine;
  const shared = sharing(tunnels);
  const fetchFrom = file.gateway['fetch-from'] ?? DEFAULTS['fetch-from'];
  const withFiles = { ...keyring, files: files.paths() };
  return {
    name,
    addresses,
    mtu,
    dataplane: dataplane === 'auto' ? 'engine' : dataplane,
    automatic: dataplane === 'auto',
    engine: { workers, spin },
    routing,
    tunnels: shared,
    fetchFrom,
    keyring: withFiles,
  };
}

/** What stands in the tunnel is wrong once, however many children it is wrong for. */
function complainer(tunnel: string, source: Source, complaints: Complaint[]): Complain {
  const told = new Set<string>();
  return (path, problem, level) => {
    const where = path[0] === 'defaults' ? path : ['tunnels', tunnel, ...path];
    const key = `${where.join('/')}: ${problem}`;
    if (!told.has(key)) complaints.push(complain(source, where, problem, level ? { level } : {}));
    told.add(key);
  };
}

/** `local` and `remote` of the defaults are for tunnels that name no children of their own. */
function withDefaults(entry: TunnelEntry, defaults: TunnelEntry = {}): TunnelEntry {
  const { local: _local, remote: _remote, ...rest } = defaults;
  return entry.children ? { ...rest, ...entry } : { ...defaults, ...entry };
}

function routingOf({ routing = {} }: File['gateway']): Routing {
  const { table = ROUTING.table, priority = ROUTING.priority, mark = ROUTING.mark } = routing;
  return { table, priority, mark };
}

/** What tunnels share. */
interface MachineParts {
  own: readonly IpAddress[];
  /** Bytes of the largest outer packet. */
  mtu: number;
  /** Name and number of the tunnel's interface. */
  link: Link | undefined;
  routing: Routing;
}

function resolveTunnel(
  name: string,
  entry: TunnelEntry,
  { own, mtu, link: named, routing }: MachineParts,
  authParts: AuthParts,
  at: Complain,
  order: number,
): Tunnel | undefined {
  if (name.includes('/')) return at([], 'a tunnel name must not contain a slash');
  const remotes = peersOf(entry, at);
  const [first] = remotes?.addresses ?? [];
  const local = own.find((address) => !first || familyOf(address) === familyOf(first));
  if (remotes && !local) return at(['peer'], 'gateway.address has no address of the family of this peer');
  const auth = resolveAuth(authParts);
  const remoteId = peerIdentity(entry, remotes, auth, at);
  const localId = local && auth && ownIdentity(entry, local, auth, at);
  const link = tunnelLinkOf(entry, named, remotes?.addresses ?? [], routing, at);
  const ends = { local, remote: remotes?.addresses ?? [] };
  const children = childrenOf(name, entry, ends, mtu, order, at)?.map((child) => probedFrom(child, link));
  const ikeProposals = ikeSuitesOf(entry, at);
  const ikeLifetime = duration(entry, 'ike-lifetime', at);
  const { fragmentation = DEFAULTS.fragmentation } = entry;
  const [liveness, keepalive] = [duration(entry, 'liveness', at), duration(entry, 'keepalive', at)];
  if (!remotes || !local || !auth || !localId || !remoteId || !children || !ikeProposals) return undefined;
  return {
    name,
    start: !first && !remotes.names ? 'wait' : (entry.start ?? DEFAULTS.start),
    local: { address: local, identity: localId },
    remote: { ...remotes, identity: remoteId },
    auth,
    encapsulation: entry.encapsulation ?? usualEncapsulation(entry),
    childless: entry.childless ?? DEFAULTS.childless,
    unique: entry.unique ?? DEFAULTS.unique,
    ike: { proposals: ikeProposals, lifetime: ikeLifetime ?? 0, ...reauthenticationOf(entry, at) },
    children,
    retransmit: retransmitOf(entry, at),
    liveness: liveness ?? 0,
    rehearsal: entry.rehearsal ?? DEFAULTS.rehearsal,
    keepalive: keepalive ?? 0,
    ...(fragmentation === 'off' ? {} : { fragmentation }),
    ...((entry['path-mtu'] ?? DEFAULTS['path-mtu']) === 'off' ? {} : { findPathMtu: true as const }),
    ...(link ? { link } : {}),
    ...ppkOf(authParts),
    ...kernelOf(entry, routing, at),
    ...metByIke(entry),
  };
}

function metByIke({ vendor, quirks }: TunnelEntry): Pick<Tunnel, 'quirks'> {
  const met = quirksOf(vendor, quirks).filter((quirk) => quirk === 'ah-deleted-by-zero');
  return met.length > 0 ? { quirks: met } : {};
}

/** What goes through the interface has its address, where it has one. */
function probedFrom(child: ChildTemplate, link: TunnelLink | undefined): ChildTemplate {
  const { probe } = child;
  if (!probe || probe.from !== undefined) return child;
  const own = link?.addresses.find(({ address }) => familyOf(address) === familyOf(probe.to));
  return own ? { ...child, probe: { ...probe, from: own.address } } : child;
}

/** Grover's algorithm halves the bits of a secret (RFC 8784 §6). */
const LEAST_PPK_BYTES = 32;

function ppkOf({ tunnel, entry: { ppk }, keyring, files, at }: AuthParts): Pick<Tunnel, 'ppk'> {
  const { use = DEFAULTS.use } = ppk ?? {};
  if (!ppk || use === 'off') return {};
  const secret = files.secret(ppk.file);
  if ('complaint' in secret) {
    at(['ppk', 'file'], secret.complaint);
    return {};
  }
  if (secret.length < LEAST_PPK_BYTES)
    at(['ppk', 'file'], `the PPK has ${secret.length} bytes; ${LEAST_PPK_BYTES} random ones hold`, 'warning');
  const name = `${tunnel}/ppk`;
  keyring.secrets.set(name, () => secret);
  return { ppk: { id: ppk.id, secret: name, use } };
}

/** Neither addresses nor names: any address. */
export interface Peers {
  addresses: IpAddress[];
  names?: string[];
}

function peersOf(entry: TunnelEntry, at: Complain): Peers | undefined {
  if (entry.peer === undefined)
    return at([], 'peer is missing: the address or the name of the other gateway, or any');
  const texts = listOf(entry.peer);
  if (texts.length === 1 && texts[0] === 'any') return { addresses: [] };
  const addresses = texts.flatMap((text) => canonicalAddress(text) ?? []);
  const names = texts.filter((text) => canonicalAddress(text) === undefined);
  const wrong = names.find((name) => !isHostName(name));
  if (wrong !== undefined) return at(['peer'], `"${wrong}" is neither an IP address nor a DNS name`);
  if (names.length === 0) return { addresses };
  if (addresses.length === 0) return { addresses: [], names };
  return at(['peer'], 'write either addresses or names of the other gateway');
}

/** RFC 1123 §2.1: labels of letters, digits and hyphens; the last one is no number, so that no address is taken for a name. */
function isHostName(text: string): boolean {
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
  const labels = text.split('.');
  return (
    text.length < 254 &&
    labels.length > 1 &&
    labels.every((one) => label.test(one)) &&
    !/^\d+$/.test(labels.at(-1)!)
  );
}
