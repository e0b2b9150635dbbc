// What the operating system should hold for a configuration: routes, rules and guards, computed from selectors alone.

import type { SelectorSet } from '../policy/sad.ts';
import { contains, intersect, prefixesOf, type Selector } from '../policy/selector.ts';
import { familyOf, type IpAddress } from '../wire/address.ts';
import type { Route, Rule } from '../wire/rtnetlink.ts';
import type { WantedLink } from './links.ts';

/** Marks of everything that is ours. */
export const OURS = {
  device: 'isthmus0',
  alias: 'isthmus: packets for the tunnels',
  /** What the alias of every device of ours begins with. */
  aliasPrefix: 'isthmus: ',
  /** rtnetlink's protocol number of our routes and rules. */
  protocol: 45,
  nftables: 'isthmus',
} as const;

/** Where our routes and rules stand among those of others, and what tells our outer packets. */
export interface Routing {
  /** The first of our tables, `TABLES` in a row. */
  table: number;
  /** Of our rules; the next one is ours as well. */
  priority: number;
  /** Bits on outer packets, so that they never go into a tunnel themselves. */
  mark: number;
}

/** Where nothing else is said. */
export const ROUTING: Routing = { table: 4500, priority: 4500, mark: 0x2d00000 };
/** Two for all packets, and two for each protocol of transport mode, of which nothing else of two hosts is to go inside. */
export const TABLES = 2 + 2 * 256;

/** Behind every way through the tunnel: what cannot go there goes nowhere. */
export const LAST_METRIC = 4_000_000;
const FIRST_METRIC = 100;
/** RFC 791 §3.2, RFC 8200 §5. */
const LEAST_MTU = { 4: 68, 6: 1280 };

/** Who protects packets: a program behind the device, or the kernel on their way to the network. */
export type PlaneName = 'engine' | 'xfrm';

export interface ProtectedPair extends SelectorSet {
  /** The two ends of a child in transport mode. */
  hosts?: true;
  /** Packets of other protocols between the same addresses are let alone. */
  only?: number;
  /** Bytes of the largest packet that passes, where that is less than the device takes. */
  pathMtu?: number;
}

export interface Wanted {
  plane: PlaneName;
  device: string;
  mtu: number;
  routes: WantedRoute[];
  rules: Rule[];
  guards: ProtectedPair[];
  /** Bits of outer packets, which the guards let pass. */
  mark: number;
  /** Interfaces of route-based tunnels. */
  links: WantedLink[];
}

/** `through`: the device that it leads to. */
export type WantedRoute = Omit<Route, 'link'> & { through?: string };

/** `own`: the addresses of this machine, to give its own packets a source inside the local selector. */
export function wantedFor(
  protectedPairs: readonly ProtectedPair[],
  own: readonly IpAddress[],
  mtu: number,
  plane: PlaneName = 'engine',
  routing: Routing = ROUTING,
): Wanted {
  // In transport mode the kernel sends by the route of the packet itself: the device, which nobody reads, would be its end.
  const routed = plane === 'xfrm' ? protectedPairs.filter(({ hosts }) => !hosts) : protectedPairs;
  return {
    plane,
    device: OURS.device,
    mtu,
    routes: narrowest(routed.flatMap((pair) => routesOf(pair, own, tablesOf(pair, routing)))),
    rules: distinct(routed.flatMap((pair) => rulesOf(pair, tablesOf(pair, routing), routing))),
    guards: [...protectedPairs],
    mark: routing.mark,
    links: [],
  };
}

/** What comes from the protected networks looks in the first one, what the gateway itself sends in the second. */
type Tables = readonly [table: number, ownTable: number];

function tablesOf({ only }: ProtectedPair, { table }: Routing): Tables {
  const first = only === undefined ? table : table + 2 + 2 * only;
  return [first, first + 1];
}

function routesOf(
  { local, remote, pathMtu }: ProtectedPair,
  own: readonly IpAddress[],
  [table, ownTable]: Tables,
): Wanted['routes'] {
  const source = own.find((address) => local.some((selector) => holds(selector, address)));
  return remote.flatMap((selector) => [
    ...bothWays(selector, table, source, pathMtu),
    // The gateway's own packets go into the tunnel only where they may have a source that belongs there.
    ...(source !== undefined && familyOf(source) === familyOf(selector.start) && !isEverything(selector)
      ? bothWays(selector, ownTable, source, pathMtu)
      : []),
    ...local.flatMap((near) => throwsOf(near, selector, table)),
  ]);
}

/** Through the tunnel, and behind it a wall. */
function bothWays(
  selector: Selector,
  table: number,
  source: IpAddress | undefined,
  pathMtu: number | undefined,
): Wanted['routes'] {
  const family = familyOf(selector.start);
  return prefixesOf(selector).flatMap((destination) => {
    const common = { family, table, protocol: OURS.protocol, destination };
    const fits = source !== undefined && familyOf(source) === family;
    return [
      {
        ...common,
        type: 'unicast' as const,
        metric: FIRST_METRIC,
        through: OURS.device,
        ...(fits ? { source } : {}),
        ...(pathMtu === undefined ? {} : { mtu: Math.max(LEAST_MTU[family], pathMtu) }),
      },
      { ...common, type: 'unreachable' as const, metric: LAST_METRIC },
    ];
  });
}

/** A local network inside a remote one (as with 0.0.0.0/0) stays local: its packets look in the tables behind ours. */
function throwsOf(near: Selector, far: Selector, table: number): Wanted['routes'] {
  if (familyOf(near.start) !== familyOf(far.start) || !contains(anyPort(far), anyPort(near))) return [];
  return prefixesOf(near).map((destination) => ({
    family: familyOf(near.start),
    type: 'throw' as const,
    table,
    protocol: OURS.protocol,
    destination,
    metric: 0,
  }));
}

/** For packets without any of our bits. */
function rulesOf(
  { local, only }: ProtectedPair,
  [table, ownTable]: Tables,
  { priority, mark }: Routing,
): Rule[] {
  return local.flatMap((selector) => {
    const family = familyOf(selector.start);
    const which = only === undefined ? {} : { ipProtocol: only };
    const common = { family, protocol: OURS.protocol, mark: { value: 0, mask: mark }, ...which };
    return [
      ...prefixesOf(selector).map((from) => ({
        ...common,
        table,
        priority,
        // A rule from everywhere has no source at all.
        ...(from.length === 0 ? {} : { from }),
      })),
      { ...common, table: ownTable, priority: priority + 1, inLink: 'lo' },
    ];
  });
}

function holds(selector: Selector, address: IpAddress): boolean {
  return intersect(anyPort(selector), anyPort({ ...selector, start: address, end: address })) !== undefined;
}

function anyPort(selector: Selector): Selector {
  return { ...selector, protocol: 0, startPort: 0, endPort: 65535 };
}

function isEverything(selector: Selector): boolean {
  return prefixesOf(selector).some(({ length }) => length === 0);
}

/** Each once; of two tunnels behind one route the smaller path counts. */
function narrowest(routes: Wanted['routes']): Wanted['routes'] {
  const kept = new Map<string, Wanted['routes'][number]>();
  for (const route of routes) {
    const { mtu, ...place } = route;
    const key = JSON.stringify(place);
    const before = kept.get(key)?.mtu;
    const least = Math.min(mtu ?? Number.POSITIVE_INFINITY, before ?? Number.POSITIVE_INFINITY);
    kept.set(key, Number.isFinite(least) ? { ...place, mtu: least } : place);
  }
  return [...kept.values()];
}

function distinct<T>(all: readonly T[]): T[] {
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
}
