// Two sites, a gateway each, and "the internet" between them.
//
//   host-a ── gw-a ── internet ── gw-b ── host-b
//   10.1.0.10   192.0.2.1     198.51.100.1   10.2.0.10

import type { End, Topology } from './netns.ts';

export const TWO_SITES: Topology = {
  namespaces: ['host-a', 'gw-a', 'internet', 'gw-b', 'host-b'],
  links: [
    [
      ['host-a', 'eth0', '10.1.0.10/24', 'fd01::10/64'],
      ['gw-a', 'lan', '10.1.0.1/24', 'fd01::1/64'],
    ],
    [
      ['gw-a', 'wan', '192.0.2.1/24', '2001:db8:a::1/64'],
      ['internet', 'a', '192.0.2.254/24', '2001:db8:a::fe/64'],
    ],
    [
      ['internet', 'b', '198.51.100.254/24', '2001:db8:b::fe/64'],
      ['gw-b', 'wan', '198.51.100.1/24', '2001:db8:b::1/64'],
    ],
    [
      ['gw-b', 'lan', '10.2.0.1/24', 'fd02::1/64'],
      ['host-b', 'eth0', '10.2.0.10/24', 'fd02::10/64'],
    ],
  ],
  routes: {
    'host-a': ['default via 10.1.0.1', 'default via fd01::1'],
    'host-b': ['default via 10.2.0.1', 'default via fd02::1'],
    'gw-a': ['default via 192.0.2.254', 'default via 2001:db8:a::fe'],
    'gw-b': ['default via 198.51.100.254', 'default via 2001:db8:b::fe'],
    // The internet knows the way to both sites, so that cleartext would arrive if it were sent.
    internet: [
      '10.1.0.0/16 via 192.0.2.1',
      '10.2.0.0/16 via 198.51.100.1',
      'fd01::/64 via 2001:db8:a::1',
      'fd02::/64 via 2001:db8:b::1',
    ],
  },
  routers: ['gw-a', 'internet', 'gw-b'],
};

/** Of the gateways, towards each other. */
export const OUTER = { 4: ['192.0.2.1', '198.51.100.1'], 6: ['2001:db8:a::1', '2001:db8:b::1'] } as const;

/** What the file of either gateway says of itself and of the other one. */
export const ENDS = [
  { own: OUTER[4][0], peer: OUTER[4][1], local: '10.1.0.0/16', remote: '10.2.0.0/16' },
  { own: OUTER[4][1], peer: OUTER[4][0], local: '10.2.0.0/16', remote: '10.1.0.0/16' },
] as const;

/** The same under other names, so that several can stand beside each other. */
export function twoSites(prefix: string): Topology {
  const named = (namespace: string) => `${prefix}${namespace}`;
  const end = ([namespace, ...rest]: End): End => [named(namespace), ...rest] as unknown as End;
  return {
    namespaces: TWO_SITES.namespaces.map(named),
    links: TWO_SITES.links.map(([a, b]) => [end(a), end(b)] as const),
    routes: Object.fromEntries(Object.entries(TWO_SITES.routes).map(([name, all]) => [named(name), all])),
    routers: TWO_SITES.routers.map(named),
  };
}

export const PICTURE = `
   site A                        the internet                        site B
 ┌────────┐    ┌──────┐         ┌────────────┐         ┌──────┐    ┌────────┐
 │ host-a ├────┤ gw-a ╞═════════╡  watched   ╞═════════╡ gw-b ├────┤ host-b │
 └────────┘    └──────┘         └────────────┘         └──────┘    └────────┘
  10.1.0.10    192.0.2.1    ═ ESP in the tunnel ═   198.51.100.1    10.2.0.10
`;
