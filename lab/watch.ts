// Counts cleartext on the middle link: kernel counters on every packet that enters the `internet` namespace. By nftables, or
// by traffic control where the kernel has no table for devices, as in user-mode Linux.

import { run } from './netns.ts';
import { insideUml } from './uml.ts';

const DEVICES = ['a', 'b'];
const NETWORKS = { ip: ['10.1.0.0/16', '10.2.0.0/16'], ipv6: ['fd01::/64', 'fd02::/64'] };

const RULES = `
table netdev watch {
  counter cleartext {}
  counter protected {}
  chain a { type filter hook ingress device "a" priority 0; jump count; }
  chain b { type filter hook ingress device "b" priority 0; jump count; }
  chain count {
    ip saddr { 10.1.0.0/16, 10.2.0.0/16 } counter name cleartext
    ip daddr { 10.1.0.0/16, 10.2.0.0/16 } counter name cleartext
    ip6 saddr { fd01::/64, fd02::/64 } counter name cleartext
    ip6 daddr { fd01::/64, fd02::/64 } counter name cleartext
    udp dport 4500 counter name protected
    meta l4proto esp counter name protected
  }
}`;

export interface Watched {
  cleartext: number;
  protected: number;
}

export function startWatch(namespace: string): void {
  if (insideUml()) startFilters(namespace);
  else run(namespace, 'nft', RULES);
}

export function readWatch(namespace: string): Watched {
  return insideUml() ? readFilters(namespace) : readTable(namespace);
}

/** A packet counts at the first filter that it fits; the preference says what the filter counts. */
const PREFERENCE = { cleartext: 1, protected: 2 };

function startFilters(namespace: string): void {
  for (const device of DEVICES) {
    const tc = (...words: string[]) => run(namespace, 'tc', ...words);
    tc('qdisc', 'add', 'dev', device, 'clsact');
    const add = (preference: number, protocol: string, ...match: string[]) =>
      tc(
        'filter',
        'add',
        'dev',
        device,
        'ingress',
        'pref',
        `${preference}`,
        'protocol',
        protocol,
        'flower',
        ...match,
        'action',
        'pass',
      );
    // Filters of one preference are of one protocol.
    for (const [index, [protocol, networks]] of Object.entries(NETWORKS).entries()) {
      const place = (what: keyof typeof PREFERENCE) => PREFERENCE[what] + 10 * index;
      for (const side of ['src_ip', 'dst_ip'])
        for (const network of networks) add(place('cleartext'), protocol, side, network);
      add(place('protected'), protocol, 'ip_proto', 'udp', 'dst_port', '4500');
      add(place('protected'), protocol, 'ip_proto', '50');
    }
  }
}

interface Filter {
  pref: number;
  options?: { actions?: { stats: { packets: number } }[] };
}

function readFilters(namespace: string): Watched {
  const filters = DEVICES.flatMap((device): Filter[] =>
    JSON.parse(run(namespace, 'tc', '-s', '-j', 'filter', 'show', 'dev', device, 'ingress')),
  );
  const packets = (what: keyof typeof PREFERENCE) =>
    filters
      .filter(({ pref }) => pref % 10 === PREFERENCE[what])
      .flatMap(({ options }) => options?.actions ?? [])
      .reduce((sum, { stats }) => sum + stats.packets, 0);
  return { cleartext: packets('cleartext'), protected: packets('protected') };
}

function readTable(namespace: string): Watched {
  const listing: { nftables: { counter?: { name: string; packets: number } }[] } = JSON.parse(
    run(namespace, 'nft', '-j', 'list', 'counters', 'table', 'netdev', 'watch'),
  );
  const packets = (name: string) =>
    listing.nftables.find((entry) => entry.counter?.name === name)?.counter?.packets ?? 0;
  return { cleartext: packets('cleartext'), protected: packets('protected') };
}
