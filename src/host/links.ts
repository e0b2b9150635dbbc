// What the operating system should hold for route-based tunnels: interfaces, their addresses, routes to them, guards.

import type { LinkKind } from '../policy/sad.ts';
import { vtiKey } from '../policy/sad.ts';
import { contains, selectorOf } from '../policy/selector.ts';
import type { Tunnel, TunnelLink } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import { ANY_ADDRESS, type IpsecLink, type Prefix } from '../wire/rtnetlink.ts';
import { LAST_METRIC, OURS, type WantedRoute } from './wanted.ts';

/** The kernel's main table. */
const MAIN_TABLE = 254;

export interface WantedLink {
  name: string;
  /** Missing: a TUN, which the engine has made. */
  ipsec?: IpsecLink;
  addresses: Prefix[];
  mtu: number;
  /** Whether its tunnel carries packets; routing daemons go by it. */
  up: boolean;
  /** What goes only by this interface, or by another tunnel; beside it the networks that this machine is in. */
  guarded: Prefix[];
  near: Prefix[];
}

/** `Tunnel` with what is known of its interface beside the configuration. */
export interface LinkState {
  tunnel: Tunnel;
  mtu: number;
  up: boolean;
}

/** `kind`: what the kernel's IPsec has for links; undefined where the engine protects. `near`: networks of other devices. */
export function wantedLinks(
  states: readonly LinkState[],
  kind: LinkKind | undefined,
  near: readonly Prefix[],
): { links: WantedLink[]; routes: WantedRoute[] } {
  return {
    links: states.flatMap((state) => linkOf(state, kind, near)),
    routes: states.flatMap(routesOf),
  };
}

/** A VTI takes all that comes from its peer, also what is for a tunnel without one: the first two tunnels that would meet. */
export function vtiMeets(
  tunnels: readonly Pick<Tunnel, 'name' | 'link' | 'local' | 'remote'>[],
): [string, string] | undefined {
  for (const { name, link, local, remote } of tunnels) {
    if (!link) continue;
    const other = tunnels.find(
      (one) =>
        one.name !== name &&
        one.local.address === local.address &&
        (remote.addresses.length === 0 ||
          one.remote.addresses.some((peer) => remote.addresses.includes(peer))),
    );
    if (other) return [name, other.name];
  }
  return undefined;
}

function linkOf(
  { tunnel, mtu, up }: LinkState,
  kind: LinkKind | undefined,
  near: readonly Prefix[],
): WantedLink[] {
  const { link } = tunnel;
  if (!link) return [];
  // Who uses a table of its own chooses with rules what looks there: only that is meant.
  const guarded = link.table === undefined ? link.routes : [];
  return [
    {
      name: link.name,
      ...(kind ? { ipsec: ipsecLink(tunnel, link.id, kind) } : {}),
      addresses: link.addresses,
      mtu,
      up,
      guarded,
      near: near.filter((one) => guarded.some((network) => isWithin(one, network))),
    },
  ];
}

function ipsecLink({ local, remote }: Tunnel, id: number, kind: LinkKind): IpsecLink {
  if (kind === 'xfrm') return { kind, id };
  const vti = familyOf(local.address) === 4 ? 'vti' : 'vti6';
  const peer = remote.addresses.find((address) => familyOf(address) === familyOf(local.address));
  return { kind: vti, key: vtiKey({ id }), local: local.address, remote: peer ?? ANY_ADDRESS[vti] };
}

/** To the interface while it is up; behind each a wall. */
function routesOf({ tunnel: { link, children }, up }: LinkState): WantedRoute[] {
  if (!link) return [];
  const table = link.table ?? MAIN_TABLE;
  const to = (destination: Prefix) => ({
    family: familyOf(destination.address),
    table,
    protocol: OURS.protocol,
    destination,
  });
  const through = (destination: Prefix): WantedRoute => ({
    ...to(destination),
    type: 'unicast',
    metric: link.metric,
    through: link.name,
  });
  const walls = link.routes.map(
    (destination): WantedRoute => ({ ...to(destination), type: 'unreachable', metric: LAST_METRIC }),
  );
  const wanted = [...probedOf(link, children), ...(up ? link.routes : [])];
  return [...distinct(wanted).map(through), ...walls];
}

/**
 * What is probed is reached though the interface is down, or it would never answer again. A neighbour in its own network is
 * reached anyway, and routing daemons take it for one only where no route says so.
 */
function probedOf({ addresses, routes }: TunnelLink, children: Tunnel['children']): Prefix[] {
  const probed = children.flatMap(({ probe }) => (probe ? [exactlyTo(probe.to)] : []));
  const within = (networks: readonly Prefix[]) => (one: Prefix) =>
    networks.some((network) => isWithin(one, network));
  return probed.filter(within(routes)).filter((one) => !within(addresses)(one));
}

function exactlyTo(address: string): Prefix {
  return { address, length: familyOf(address) === 4 ? 32 : 128 };
}

function distinct(prefixes: readonly Prefix[]): Prefix[] {
  return [...new Map(prefixes.map((one) => [`${one.address}/${one.length}`, one])).values()];
}

function isWithin(inner: Prefix, outer: Prefix): boolean {
  const [a, b] = [inner, outer].map(({ address, length }) => selectorOf(`${address}/${length}`)!);
  return contains(b!, a!);
}
