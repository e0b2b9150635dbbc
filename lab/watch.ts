// Counts cleartext on the middle link: kernel counters on every packet that enters the `internet` namespace.

import { run } from './netns.ts';

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
  run(namespace, 'nft', RULES);
}

export function readWatch(namespace: string): Watched {
  const listing: { nftables: { counter?: { name: string; packets: number } }[] } = JSON.parse(
    run(namespace, 'nft', '-j', 'list', 'counters', 'table', 'netdev', 'watch'),
  );
  const packets = (name: string) =>
    listing.nftables.find((entry) => entry.counter?.name === name)?.counter?.packets ?? 0;
  return { cleartext: packets('cleartext'), protected: packets('protected') };
}
