// Why the kernels of the two gateways dropped packets of IPsec: /proc/net/xfrm_stat.

import { run } from './netns.ts';

const GATEWAYS = ['gw-a', 'gw-b'] as const;

type Drops = Record<string, number>;

/** Counters by gateway and name; none where the kernel has no XFRM. */
export function kernelDrops(): Drops {
  const lines = GATEWAYS.flatMap((gateway) =>
    run(gateway, 'sh', '-c', 'cat /proc/net/xfrm_stat 2> /dev/null || true')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => `${gateway} ${line}`.split(/\s+/)),
  );
  return Object.fromEntries(lines.map(([gateway, name, count]) => [`${gateway} ${name}`, Number(count)]));
}

/** In words: what was counted since then. */
export function dropsSince(before: Drops): string {
  const more = Object.entries(kernelDrops())
    .map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  return more.map(([name, count]) => `${name} ${count}`).join(', ') || 'no kernel dropped any';
}
