// What many tunnels have in common is held once: ten thousand of them seldom have more than a handful of suites.

import type { Tunnel } from '../policy/tunnel.ts';

/** The same tunnels, equal parts of them being the same objects. Nobody changes a part of a tunnel. */
export function sharing(tunnels: readonly Tunnel[]): Tunnel[] {
  const known = new Map<string, unknown>();
  const shared = <Value>(value: Value): Value => {
    const key = JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? `${part}n` : part));
    if (!known.has(key)) known.set(key, value);
    return known.get(key) as Value;
  };
  return tunnels.map((tunnel) => ({
    ...tunnel,
    local: shared(tunnel.local),
    ike: shared(tunnel.ike),
    retransmit: shared(tunnel.retransmit),
    children: tunnel.children.map((child) => ({
      ...child,
      selectors: { local: shared(child.selectors.local), remote: shared(child.selectors.remote) },
      proposals: shared(child.proposals),
      lifetime: shared(child.lifetime),
      outer: shared(child.outer),
    })),
  }));
}
