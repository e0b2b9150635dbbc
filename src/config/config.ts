// A configuration, read and resolved: every default filled in, every name a row, every secret read.

import { dirname } from 'node:path';
import { HAS_ML_KEM } from '../crypto/node-key-exchange.ts';
import { integrityRow } from '../crypto/suites.ts';
import { parseName } from '../crypto/x509.ts';
import { isPattern } from '../ike/authenticate.ts';
import { mayBeClassical, mayBePostQuantum } from '../policy/post-quantum.ts';
import { type ProposalTemplate, parseTemplate, type SuiteKind } from '../policy/proposal.ts';
import { quirksOf } from '../policy/quirks.ts';
import type { Link, SelectorSet } from '../policy/sad.ts';
import { intersect, prefixLength, type Selector, selectorOf, selectorText } from '../policy/selector.ts';
import {
  type Auth,
  type ChildTemplate,
  type Identity,
  peerProof,
  type Retransmit,
  type Tunnel,
  type TunnelLink,
} from '../policy/tunnel.ts';
import { canonicalAddress, familyOf, type IpAddress } from '../wire/address.ts';
import {
  type AuthParts,
  type Complain,
  createFiles,
  createKeyring,
  derivedIdentity,
  filesIn,
  type Keyring,
  resolveAuth,
  unproven,
} from './auth.ts';
import { type Complaint, complain, type Path, type Source } from './complaint.ts';
import { DEFAULTS, POST_QUANTUM_SUITES, RETRANSMIT } from './defaults.ts';
import { milliseconds } from './duration.ts';
import { kernelOf, misfit } from './kernel.ts';
import { collisions, linksOf, tunnelLinkOf } from './link.ts';
import { listOf } from './list.ts';
import { firstOverlaps } from './overlaps.ts';
import { aimless, probeOf } from './probe.ts';
import { type Ends, hostSelectors, idleSuites, protectionAsked, protectionOf } from './protection.ts';
import type { ChildEntry, File, IdentityEntry, TunnelEntry } from './schema.ts';
import { sharing } from './share.ts';

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
  let order = 0;
  const merging = entries.map((one) => ({ ...one, merged: withDefaults(one.entry, file.defaults) }));
  const links = linksOf(merging.map(({ name, merged }) => ({ name, entry: merged })));
  const tunnels = merging.flatMap(({ name, entry, merged, source: from }) => {
    const told = new Set<string>();
    const at: Complain = (path, problem, level) => {
      const where = path[0] === 'defaults' ? path : ['tunnels', name, ...path];
      // What stands in the tunnel is wrong once, however many children it is wrong for.
      const key = `${where.join('/')}: ${problem}`;
      if (!told.has(key)) complaints.push(complain(from, where, problem, level ? { level } : {}));
      told.add(key);
    };
    // Paths are meant from the file that they stand in.
    const folder = dirname((entry.auth ? from : source).file);
    const auth: AuthParts = { tunnel: name, entry: merged, keyring, files: filesIn(files, folder), now, at };
    const size = file.gateway.mtu ?? DEFAULTS.mtu;
    const machine = { own: addresses, mtu: size, link: links.get(name) };
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
    tunnels: shared,
    fetchFrom,
    keyring: withFiles,
  };
}

/** `local` and `remote` of the defaults are for tunnels that name no children of their own. */
function withDefaults(entry: TunnelEntry, defaults: TunnelEntry = {}): TunnelEntry {
  const { local: _local, remote: _remote, ...rest } = defaults;
  return entry.children ? { ...rest, ...entry } : { ...defaults, ...entry };
}

function resolveTunnel(
  name: string,
  entry: TunnelEntry,
  { own, mtu, link: named }: { own: readonly IpAddress[]; mtu: number; link: Link | undefined },
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
  const link = tunnelLinkOf(entry, named, remotes?.addresses ?? [], at);
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
    ...(link ? { link } : {}),
    ...ppkOf(authParts),
    ...kernelOf(entry, at),
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
interface Peers {
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

function peerIdentity(
  entry: TunnelEntry,
  remotes: Peers | undefined,
  auth: Auth | undefined,
  at: Complain,
): Identity | undefined {
  if (entry['peer-id'] !== undefined) {
    const identity = identityFrom(entry['peer-id'], ['peer-id'], at);
    // A secret that many know proves none of them.
    if (identity && isPattern(identity) && auth && peerProof(auth).method === 'psk')
      return at(['peer-id'], '* stands for many names, and one pre-shared key does not tell them apart');
    return identity;
  }
  if (!remotes) return undefined;
  const [first] = [...remotes.addresses, ...(remotes.names ?? [])];
  return first === undefined
    ? at([], 'a tunnel with peer: any needs peer-id, to know who may use it')
    : identityOf(first);
}

function ownIdentity(entry: TunnelEntry, local: IpAddress, auth: Auth, at: Complain): Identity | undefined {
  if (entry.id === undefined) return derivedIdentity(auth, identityOf(local));
  const identity = identityFrom(entry.id, ['id'], at);
  const problem = identity && unproven(auth, identity);
  return problem === undefined ? identity : at(['id'], problem);
}

function identityFrom(given: IdentityEntry, path: Path, at: Complain): Identity | undefined {
  if (typeof given === 'string') return identityOf(given);
  const [chosen, ...more] = Object.entries(given);
  if (!chosen || more.length > 0) return at(path, 'one type is wanted, such as fqdn: gw.example.com');
  const [type, value] = chosen as [Identity['type'], string];
  const identity = checkedIdentity(type, value);
  return identity ?? at([...path, type], `"${value}" is not of type ${type}`);
}

function checkedIdentity(type: Identity['type'], value: string): Identity | undefined {
  const address = canonicalAddress(value);
  switch (type) {
    case 'ipv4':
    case 'ipv6':
      return address && familyOf(address) === (type === 'ipv4' ? 4 : 6)
        ? { type, value: address }
        : undefined;
    case 'dn':
      return parseName(value) ? { type, value } : undefined;
    default:
      return { type, value };
  }
}

/** An address, `name@domain`, `C=DE, CN=gw`, a dotted name; anything else is a key id (RFC 7296 §3.5). */
export function identityOf(text: string): Identity {
  const address = canonicalAddress(text);
  if (address) return { type: familyOf(address) === 4 ? 'ipv4' : 'ipv6', value: address };
  if (/^[^@\s]+@[^@\s]+$/.test(text)) return { type: 'email', value: text };
  if (/^(\*|[a-z0-9-]+)(\.[a-z0-9-]+)+$/i.test(text)) return { type: 'fqdn', value: text };
  if (text.includes('=') && parseName(text)) return { type: 'dn', value: text };
  return { type: 'key-id', value: text };
}

function childrenOf(
  name: string,
  entry: TunnelEntry,
  ends: Ends,
  mtu: number,
  order: number,
  at: Complain,
): ChildTemplate[] | undefined {
  const [esp, ah] = (['esp', 'ah'] as const).map((kind) => {
    const key = `${kind}-suites` as const;
    return suitesOf(entry, key, entry[key] ?? DEFAULTS[key], kind, at);
  });
  const described = describedChildren(name, entry, at);
  if (!esp || !ah || !described) return undefined;
  const family = ends.local === undefined ? 4 : familyOf(ends.local);
  const outside = { mtu, family, encapsulation: entry.encapsulation ?? usualEncapsulation(entry) } as const;
  const children = Object.entries(described).map(([child, { path, value }], index) => {
    const merged = { ...entry, ...value };
    if (child.includes('/')) return at(path, 'a child name must not contain a slash');
    const written = { path, own: value, entry };
    const proposals = protectionAsked(written).protocol === 'ah' ? ah : esp;
    const protection = protectionOf(written, proposals, outside, at);
    const selectors = selectorsOf(value, protection.mode, ends, path, at);
    const window = replayWindow(merged, path, at);
    const time = duration(merged, 'lifetime', at) ?? 0;
    const bytes = merged['lifetime-bytes'];
    const packets = merged['lifetime-packets'];
    const probe = selectors && probeOf(entry, value.probe, selectors, path, at);
    return (
      selectors &&
      window && {
        name: child,
        order: order + index,
        ...protection,
        selectors,
        proposals,
        lifetime: {
          time,
          ...(bytes === undefined ? {} : { bytes: BigInt(bytes) }),
          ...(packets === undefined ? {} : { packets: BigInt(packets) }),
        },
        outer: { df: merged.df ?? DEFAULTS.df, dscp: merged.dscp ?? DEFAULTS.dscp },
        replayWindow: window,
        ...(probe ? { probe } : {}),
      }
    );
  });
  if (entry.probe && children.every((child) => child && !child.probe)) aimless(entry.probe.to, at);
  const good = children.filter((child) => child !== undefined && child !== 0);
  if (good.length < children.length) return undefined;
  return quirksOf(entry.vendor, entry.quirks).includes('one-selector-pair-per-child')
    ? pairByPair(good, order)
    : good;
}

/** A peer that takes one network of each side: as many children as there are pairs, each named after its two. */
function pairByPair(children: readonly ChildTemplate[], order: number): ChildTemplate[] {
  const pairs = children.flatMap((child) => {
    const { local, remote } = child.selectors;
    if (local.length * remote.length === 1) return [child];
    return local.flatMap((near, i) =>
      remote.flatMap((far, j) =>
        familyOf(near.start) === familyOf(far.start)
          ? [
              {
                ...child,
                name: `${child.name}.${i + 1}.${j + 1}`,
                selectors: { local: [near], remote: [far] },
              },
            ]
          : [],
      ),
    );
  });
  return pairs.map((child, index) => ({ ...child, order: order + index }));
}

function usualEncapsulation({ vendor, quirks }: TunnelEntry): Tunnel['encapsulation'] {
  return quirksOf(vendor, quirks).includes('esp-in-udp-only') ? 'udp' : DEFAULTS.encapsulation;
}

/** What a tunnel protects where routes choose the packets. */
const EVERYTHING = ['0.0.0.0/0', '::/0'];

interface DescribedChild {
  path: Path;
  value: Partial<ChildEntry>;
}

function describedChildren(
  name: string,
  { mode, children, ...given }: TunnelEntry,
  at: Complain,
): Record<string, DescribedChild> | undefined {
  const missing = mode === 'route' && !children ? EVERYTHING : undefined;
  const { local = missing, remote = missing } = given;
  if (children && (given.local !== undefined || given.remote !== undefined))
    return at(['children'], 'write local and remote either in the tunnel or in its children');
  if (children) {
    return Object.fromEntries(
      Object.entries(children).map(([child, value]) => [child, { path: ['children', child], value }]),
    );
  }
  return { [name]: { path: [], value: { local, remote } } };
}

function selectorsOf(
  value: Partial<ChildEntry>,
  mode: ChildTemplate['mode'],
  ends: Ends,
  path: Path,
  at: Complain,
): SelectorSet | undefined {
  const [local, remote] = (['local', 'remote'] as const).map((side) => {
    const given = value[side] === undefined ? undefined : parsedSelectors(value[side], [...path, side], at);
    if (value[side] !== undefined && !given) return undefined;
    if (mode === 'transport') return hostSelectors(side, given, ends, path, at);
    return given ?? at(path, `${side} is missing: the networks on ${SIDES[side]} side`);
  });
  return local && remote ? { local, remote } : undefined;
}

const SIDES = { local: 'this', remote: 'the other' };

function parsedSelectors(texts: string | string[], path: Path, at: Complain): Selector[] | undefined {
  const parsed = listOf(texts).map((text) => parseSelector(text));
  const wrong = parsed.find((one) => 'complaint' in one);
  return wrong && 'complaint' in wrong ? at(path, wrong.complaint) : (parsed as Selector[]);
}

const PROTOCOLS: Record<string, number> = { icmp: 1, tcp: 6, udp: 17, gre: 47, icmpv6: 58, sctp: 132 };

/** `10.1.0.0/16`, `10.1.0.5-10.1.0.9`, each with ` tcp`, ` udp 53` or ` tcp 80-90` behind it. */
export function parseSelector(text: string): Selector | { complaint: string } {
  const [range = '', protocol, ports, ...more] = text.trim().split(/\s+/);
  const selector = range.includes('-') ? rangeOf(range) : selectorOf(range);
  if (!selector || more.length > 0)
    return { complaint: `"${text}" is not a network; write 10.1.0.0/16, 10.1.0.5-10.1.0.9 or fd01::/64` };
  const length = prefixLength(selector.start, selector.end);
  const given = canonicalAddress(range.split('/')[0]!);
  if (range.includes('/') && given !== selector.start)
    return {
      complaint: `"${range}" is an address inside a network; the network is ${selector.start}/${length}`,
    };
  return protocol === undefined ? selector : withProtocol(selector, text, protocol, ports);
}

function rangeOf(text: string): Selector | undefined {
  const [start, end] = text.split('-').map((one) => canonicalAddress(one));
  if (!start || !end || familyOf(start) !== familyOf(end)) return undefined;
  const whole = { protocol: 0, startPort: 0, endPort: 65535, start, end };
  return intersect(whole, whole);
}

function withProtocol(
  selector: Selector,
  text: string,
  protocol: string,
  ports: string | undefined,
): Selector | { complaint: string } {
  const number = PROTOCOLS[protocol] ?? (/^\d{1,3}$/.test(protocol) ? Number(protocol) : undefined);
  if (number === undefined || number > 255 || number === 0)
    return {
      complaint: `"${text}": unknown protocol ${protocol}; write tcp, udp, icmp, icmpv6, gre, sctp or its number`,
    };
  if (ports === undefined) return { ...selector, protocol: number };
  if (number === PROTOCOLS.icmp || number === PROTOCOLS.icmpv6)
    return { complaint: `"${text}": types of ICMP are not told apart; write ${protocol} alone` };
  const [startPort, endPort = startPort] = ports.split('-').map(Number);
  const valid = [startPort, endPort].every((port) => Number.isInteger(port) && port! > 0 && port! < 65536);
  if (!valid || startPort! > endPort!)
    return { complaint: `"${text}": ${ports} is not a port or a range of ports` };
  return { ...selector, protocol: number, startPort: startPort!, endPort: endPort! };
}

/** What `post-quantum` makes of the suites: docs/decisions/0004-post-quantum.md. */
function ikeSuitesOf(entry: TunnelEntry, at: Complain): ProposalTemplate[] | undefined {
  const { 'post-quantum': mode = DEFAULTS['post-quantum'], 'ike-suites': named } = entry;
  const suites = suitesOf(entry, 'ike-suites', named ?? IKE_SUITES[mode], 'ike', at);
  if (!named || !suites || mode === 'preferred') return suites;
  const wrong = suites.findIndex((suite) =>
    mode === 'required' ? mayBeClassical(suite) : mayBePostQuantum(suite),
  );
  if (wrong === -1) return suites;
  const what = mode === 'required' ? 'can end without ML-KEM: add + ml-kem-768 to it' : 'names ML-KEM';
  return at(['ike-suites', wrong], `"${named[wrong]}" ${what}; post-quantum is ${mode}`);
}

const IKE_SUITES = {
  required: POST_QUANTUM_SUITES,
  preferred: [...(HAS_ML_KEM ? POST_QUANTUM_SUITES : []), ...DEFAULTS['ike-suites']],
  off: DEFAULTS['ike-suites'],
} as const;

function suitesOf(
  entry: TunnelEntry,
  key: 'ike-suites' | 'esp-suites' | 'ah-suites',
  texts: readonly string[],
  kind: SuiteKind,
  at: Complain,
): ProposalTemplate[] | undefined {
  const { legacy = DEFAULTS.legacy } = entry;
  const quirks = quirksOf(entry.vendor, entry.quirks);
  const parsed = texts.map((text) => parseTemplate(text, kind, { legacy, quirks }));
  for (const [index, one] of parsed.entries()) {
    if ('complaint' in one) return at([key, index], one.complaint);
    if (!HAS_ML_KEM && mayBePostQuantum(one))
      return at([key, index], `ML-KEM needs Node.js 24.7 or newer; this is ${process.version}`);
  }
  return parsed as ProposalTemplate[];
}

function replayWindow(
  entry: Pick<TunnelEntry, 'replay-window'>,
  path: Path,
  at: Complain,
): number | undefined {
  const window = entry['replay-window'] ?? DEFAULTS['replay-window'];
  if (window >= 32 && window <= 4096 && window % 32 === 0) return window;
  return at([...path, 'replay-window'], `${window} is not a multiple of 32 from 32 to 4096`);
}

function retransmitOf({ retransmit = {} }: TunnelEntry, at: Complain): Retransmit {
  const { first, cap, ...rest } = retransmit;
  const wait = (key: 'first' | 'cap', text: string | undefined) => {
    const value = text === undefined ? RETRANSMIT[key] : milliseconds(text);
    if (value === undefined) at(['retransmit', key], `"${text}" is not a duration; write 500ms or 16s`);
    return value ?? 0;
  };
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { ...RETRANSMIT, ...given, first: wait('first', first), cap: wait('cap', cap) };
}

/** More questions a second would tell no more. */
const LEAST_LIVENESS = 100;

function duration(
  entry: TunnelEntry,
  key: 'lifetime' | 'ike-lifetime' | 'liveness' | 'keepalive',
  at: Complain,
): number | undefined {
  const text = entry[key] ?? DEFAULTS[key];
  const value = milliseconds(text);
  if (value === undefined) return at([key], `"${text}" is not a duration; write 30s, 10m, 4h or 1d`);
  if (key === 'liveness' && value > 0 && value < LEAST_LIVENESS)
    return at([key], `${text} is too short: 100ms at least, or 0s for never`);
  if (key.endsWith('lifetime') && value < 10_000) return at([key], `${text} is too short: 10s at least`);
  return value;
}

function reauthenticationOf(entry: TunnelEntry, at: Complain): { reauthentication?: number } {
  const text = entry.reauthentication ?? DEFAULTS.reauthentication;
  if (text === 'never') return {};
  const reauthentication = milliseconds(text);
  if (reauthentication === undefined || reauthentication < LEAST_PROOF)
    at(['reauthentication'], `"${text}" is neither never nor 5m or more, such as 24h`);
  return { reauthentication: reauthentication ?? LEAST_PROOF };
}

/** Enough is left for a renewal that has to be tried again. */
const LEAST_PROOF = 300_000;

/** The kernel copies DSCP or leaves it 0, and copies or clears DF. */
function beyondKernel(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const byName = new Map(tunnels.map((tunnel) => [tunnel.name, tunnel]));
  return entries.flatMap(({ name, source }) => {
    const children = byName.get(name)?.children ?? [];
    const strange = children.find(
      ({ outer }) => outer.df === 'set' || (outer.dscp !== 'copy' && outer.dscp !== 0),
    );
    const nonced = children.find(
      ({ protocol, proposals }) => protocol === 'ah' && proposals.every(takesNonce),
    );
    return [
      ...(strange
        ? [
            complain(
              source,
              ['tunnels', name],
              `${strange.name}: with dataplane: xfrm, dscp can only be copy or 0, and df clear or copy; leave them out or use dataplane: engine`,
            ),
          ]
        : []),
      ...(nonced
        ? [
            complain(
              source,
              ['tunnels', name, 'ah-suites'],
              'the AH of the kernel has no AES-GMAC: name another algorithm, or use dataplane: engine',
            ),
          ]
        : []),
    ];
  });
}

function takesNonce({ integrity }: ProposalTemplate): boolean {
  return integrity.every((name) => integrityRow(name).ivBytes !== undefined);
}

/** Interfaces and routes that two tunnels want. */
function claimedTwice(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const sources = new Map(entries.map(({ name, source }) => [name, source]));
  const links = tunnels.flatMap(({ name, link }) => (link ? [{ tunnel: name, link }] : []));
  return collisions(links).map(({ tunnel, key, problem }) =>
    complain(sources.get(tunnel)!, ['tunnels', tunnel, 'interface', key], problem),
  );
}

/** Two children that claim the same packets: the first in the file gets them. An interface has a table of its own. */
function overlaps(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const sources = new Map(entries.map(({ name, source }) => [name, source]));
  const policyBased = tunnels.filter(({ link }) => !link);
  const all = policyBased.flatMap((tunnel) => tunnel.children.map((child) => ({ tunnel, child })));
  return firstOverlaps(all.map(({ child }) => child.selectors)).flatMap((first, index) => {
    const { tunnel, child } = all[index]!;
    const source = sources.get(tunnel.name);
    if (first === undefined || !source) return [];
    const earlier = all[first]!;
    const problem = `${textOf(child.selectors)} overlaps ${earlier.tunnel.name}: ${textOf(earlier.child.selectors)}; packets of both go to ${earlier.tunnel.name}, which stands first`;
    return [complain(source, ['tunnels', tunnel.name], problem, { level: 'warning' })];
  });
}

function textOf({ local, remote }: SelectorSet): string {
  return `${local.map(selectorText).join(', ')} to ${remote.map(selectorText).join(', ')}`;
}
