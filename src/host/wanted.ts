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
  /** What comes from protected networks looks here. */
  table: 4500,
  /** What the gateway itself sends looks here. */
  ownTable: 4501,
  /** Two for each protocol of transport mode: what else two hosts say to each other goes as it always went. */
  protocolTables: 45_000,
  priority: 4500,
  /** On outer packets, so that they never go into a tunnel themselves. */
  mark: 0x2d00000,
  nftables: 'isthmus',
} as const;

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
): Wanted {
  // In transport mode the kernel sends by the route of the packet itself: the device, which nobody reads, would be its end.
  const routed = plane === 'xfrm' ? protectedPairs.filter(({ hosts }) => !hosts) : protectedPairs;
  return {
    plane,
    device: OURS.device,
    mtu,
    routes: narrowest(routed.flatMap((pair) => routesOf(pair, own))),
    rules: distinct(routed.flatMap(rulesOf)),
    guards: [...protectedPairs],
    links: [],
  };
}

/** Of what comes from the protected networks, and of what the gateway itself sends. */
function tablesOf({ only }: ProtectedPair): [number, number] {
  if (only === undefined) return [OURS.table, OURS.ownTable];
  return [OURS.protocolTables + 2 * only, OURS.protocolTables + 2 * only + 1];
}

function routesOf(pair: ProtectedPair, own: readonly IpAddress[]): Wanted['routes'] {
  const { local, remote, pathMtu } = pair;
  const [table, ownTable] = tablesOf(pair);
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

function rulesOf(pair: ProtectedPair): Rule[] {
  const { local, only } = pair;
  const [table, ownTable] = tablesOf(pair);
  return local.flatMap((selector) => {
    const family = familyOf(selector.start);
    const which = only === undefined ? {} : { ipProtocol: only };
    const common = { family, protocol: OURS.protocol, notMark: OURS.mark, ...which };
    return [
      ...prefixesOf(selector).map((from) => ({
        ...common,
        table,
        priority: OURS.priority,
        // A rule from everywhere has no source at all.
        ...(from.length === 0 ? {} : { from }),
      })),
      { ...common, table: ownTable, priority: OURS.priority + 1, inLink: 'lo' },
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
