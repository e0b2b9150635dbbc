// What a child protects, as routes and guards see it.

import type { Selector } from '../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import type { ProtectedPair } from './wanted.ts';

/**
 * Whether routes and guards are for its networks. A link has routes of its own; and with a mark the same networks may be
 * reached without the tunnel, by packets that have none.
 */
export function isByNetworks({ link, kernel }: Pick<Tunnel, 'link' | 'kernel'>): boolean {
  return !link && !kernel?.mark;
}

/**
 * In tunnel mode whole networks, whatever the protocol: what the child does not take goes nowhere. In transport mode the two
 * ends are hosts that say more to each other, so only the protocols that the child takes.
 */
export function pairsOf({ selectors, mode }: Pick<ChildTemplate, 'selectors' | 'mode'>): ProtectedPair[] {
  if (mode === 'tunnel') return [selectors];
  const pairs: ProtectedPair[] = selectors.local.flatMap((local) =>
    selectors.remote.flatMap((remote) => {
      const only = commonProtocol(local, remote);
      if (only === undefined) return [];
      return [{ local: [local], remote: [remote], hosts: true, ...(only === 0 ? {} : { only }) }];
    }),
  );
  // Where everything goes inside, nothing is let alone.
  return pairs.some(({ only }) => only === undefined) ? [{ ...selectors, hosts: true }] : pairs;
}

/** 0 is any; undefined where no packet fits both. */
function commonProtocol(a: Selector, b: Selector): number | undefined {
  if (a.protocol !== 0 && b.protocol !== 0 && a.protocol !== b.protocol) return undefined;
  return a.protocol || b.protocol;
}
