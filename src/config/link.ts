// The interface of a route-based tunnel: its name and number, and what leads to it.

import { type Routing, TABLES } from '../host/wanted.ts';
import type { Link } from '../policy/sad.ts';
import { selectorOf, selectorText } from '../policy/selector.ts';
import type { TunnelLink } from '../policy/tunnel.ts';
import { canonicalAddress, familyOf, type IpAddress } from '../wire/address.ts';
import type { Complain } from './auth.ts';
import type { Path } from './complaint.ts';
import { DEFAULTS } from './defaults.ts';
import { listOf } from './list.ts';
import type { TunnelEntry } from './schema.ts';

/** What a network device may be called (Linux IFNAMSIZ, with the zero behind it). */
const NAME_BYTES = 15;
/** `isthmus0` is the device that policy-based tunnels share; the others are names of the kernel's own. */
const TAKEN = ['isthmus0', 'isthmus-probe', 'lo', 'all', 'default', '.', '..'];
/** The kernel's own of local addresses. */
const LOCAL_TABLE = 255;

type Given = Pick<TunnelEntry, 'mode' | 'interface' | 'transport' | 'children'>;

/** Name and number of each tunnel's interface. They depend on the tunnel's name, and so stay over reloads. */
export function linksOf(entries: readonly { name: string; entry: Given }[]): Map<string, Link> {
  const routed = entries.filter(({ entry }) => entry.mode === 'route');
  const names = new Set(routed.flatMap(({ entry }) => entry.interface?.name ?? []));
  const ids = new Set<number>();
  return new Map(
    routed.map(({ name: tunnel, entry }) => {
      const name = entry.interface?.name ?? freeName(tunnel, names);
      names.add(name);
      const id = freeId(tunnel, ids);
      ids.add(id);
      return [tunnel, { name, id }];
    }),
  );
}

/** The tunnel's own name where it is one for a device; else as much of it as there is room for, and of its hash. */
function freeName(tunnel: string, taken: ReadonlySet<string>): string {
  const plain = tunnel.replaceAll(/[^A-Za-z0-9._-]/g, '-');
  const digits = hashOf(tunnel).toString(16).padStart(6, '0').slice(-4);
  const free = plain === tunnel && complaintAbout(plain) === undefined && !taken.has(plain);
  return free ? plain : `${plain.slice(0, NAME_BYTES - 1 - digits.length)}-${digits}`;
}

function freeId(tunnel: string, taken: ReadonlySet<number>): number {
  let id = hashOf(tunnel);
  while (taken.has(id)) id = (id % LARGEST_ID) + 1;
  return id;
}

const LARGEST_ID = 0xffffff;

/** From 1 to 2^24-1 (FNV-1a, folded). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return (((hash ^ (hash >>> 24)) >>> 0) % LARGEST_ID) + 1;
}

function complaintAbout(name: string): string | undefined {
  if (TAKEN.includes(name)) return `"${name}" is no name for an interface of ours`;
  if (new TextEncoder().encode(name).length > NAME_BYTES)
    return `"${name}" is too long for an interface: ${NAME_BYTES} bytes at most`;
  return /^[^\s/:%]+$/.test(name)
    ? undefined
    : `"${name}" is no name for an interface: no spaces, slashes, colons or percent signs`;
}

/** Undefined where the tunnel is policy-based, or what is said of its interface is refused. */
export function tunnelLinkOf(
  entry: Given,
  link: Link | undefined,
  peers: readonly IpAddress[],
  routing: Routing,
  at: Complain,
): TunnelLink | undefined {
  const { mode, interface: given } = entry;
  if (mode !== 'route' || !link)
    return given && at(['interface'], 'an interface is of route-based tunnels: write mode: route beside it');
  const hostMode = transportIn(entry);
  if (hostMode)
    return at(
      hostMode,
      'transport mode is for packets of the outer addresses, and an interface takes those of others: leave transport out, or write mode: policy',
    );
  const problem = complaintAbout(link.name);
  if (problem !== undefined) return at(['interface', 'name'], problem);
  const addresses = listOf(given?.address).map((text) => addressOf(text, at));
  const routes = listOf(given?.routes).map((text) => networkOf(text, at));
  const { table, metric = DEFAULTS['route-metric'], mtu } = given ?? {};
  const reserved = table === undefined ? undefined : ownerOf(table, routing);
  if (reserved !== undefined) return at(['interface', 'table'], `${reserved}: choose another one`);
  const good = { addresses: addresses.filter(isThere), routes: routes.filter(isThere) };
  if (good.addresses.length < addresses.length || good.routes.length < routes.length) return undefined;
  const swallowed = table === undefined ? peers.find((peer) => isInside(peer, good.routes)) : undefined;
  if (swallowed !== undefined)
    return at(
      ['interface', 'routes'],
      `${swallowed}, the peer itself, lies in these networks: what is sent to it would go into the tunnel; leave it out, or give the routes a table of their own and a rule that leads to it`,
    );
  return {
    ...link,
    ...good,
    ...(table === undefined ? {} : { table }),
    metric,
    ...(mtu === undefined ? {} : { mtu }),
  };
}

/** Whose a table is already. */
function ownerOf(table: number, { table: first }: Routing): string | undefined {
  if (table === LOCAL_TABLE) return 'the local table is the kernel’s';
  const last = first + TABLES - 1;
  return table >= first && table <= last
    ? `the tables ${first} to ${last} are of the policy-based tunnels (gateway.routing.table)`
    : undefined;
}

function transportIn({ transport, children = {} }: Given): Path | undefined {
  const child = Object.keys(children).find((name) => children[name]!.transport);
  if (child !== undefined) return ['children', child, 'transport'];
  return transport ? ['transport'] : undefined;
}

function addressOf(text: string, at: Complain): TunnelLink['addresses'][number] | undefined {
  const [left = '', right, more] = text.split('/');
  const address = canonicalAddress(left);
  const length = /^\d{1,3}$/.test(right ?? '') ? Number(right) : Number.NaN;
  if (address && more === undefined && length <= (familyOf(address) === 4 ? 32 : 128))
    return { address, length };
  return at(
    ['interface', 'address'],
    `"${text}" is not an address with a prefix length, such as 10.255.0.1/30`,
  );
}

function networkOf(text: string, at: Complain): TunnelLink['routes'][number] | undefined {
  const selector = selectorOf(text);
  if (!selector) return at(['interface', 'routes'], `"${text}" is not a network, such as 10.2.0.0/16`);
  if (canonicalAddress(text.split('/')[0]!) !== selector.start)
    return at(
      ['interface', 'routes'],
      `"${text}" is an address inside a network; the network is ${selectorText(selector)}`,
    );
  const length = text.includes('/') ? Number(text.split('/')[1]) : familyOf(selector.start) === 4 ? 32 : 128;
  return { address: selector.start, length };
}

function isInside(address: IpAddress, networks: TunnelLink['routes']): boolean {
  return networks.some(({ address: network, length }) => {
    const same = familyOf(network) === familyOf(address);
    return same && selectorOf(`${address}/${length}`)?.start === network;
  });
}

/** Interfaces and routes that an earlier tunnel has claimed. */
export function collisions(
  links: readonly { tunnel: string; link: TunnelLink }[],
): { tunnel: string; key: 'name' | 'routes'; problem: string }[] {
  const owners = new Map<string, string>();
  const claim = (what: string, tunnel: string) => {
    const owner = owners.get(what);
    if (owner === undefined) owners.set(what, tunnel);
    return owner;
  };
  return links.flatMap(({ tunnel, link }) => {
    const owner = claim(`interface ${link.name}`, tunnel);
    const named =
      owner === undefined
        ? []
        : [
            {
              tunnel,
              key: 'name' as const,
              problem: `the interface ${link.name} is that of ${owner} already`,
            },
          ];
    const routed = link.routes.flatMap(({ address, length }) => {
      const first = claim(`${address}/${length} ${link.table ?? 'main'} ${link.metric}`, tunnel);
      if (first === undefined || first === tunnel) return [];
      const problem = `${address}/${length} is routed to ${first} with the same metric: give one of them a higher metric, or a table of its own`;
      return [{ tunnel, key: 'routes' as const, problem }];
    });
    return [...named, ...routed];
  });
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}
