// What two tunnels claim: the same packets, interfaces or routes.

import type { SelectorSet } from '../policy/sad.ts';
import { selectorText } from '../policy/selector.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { type Complaint, complain } from './complaint.ts';
import type { Entry } from './config.ts';
import { collisions } from './link.ts';
import { firstOverlaps } from './overlaps.ts';

/** Interfaces and routes that two tunnels want. */
export function claimedTwice(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const sources = new Map(entries.map(({ name, source }) => [name, source]));
  const links = tunnels.flatMap(({ name, link }) => (link ? [{ tunnel: name, link }] : []));
  return collisions(links).map(({ tunnel, key, problem }) =>
    complain(sources.get(tunnel)!, ['tunnels', tunnel, 'interface', key], problem),
  );
}

/** Two children that claim the same packets: the first in the file gets them. An interface has a table of its own. */
export function overlaps(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const sources = new Map(entries.map(({ name, source }) => [name, source]));
  const policyBased = tunnels.filter(({ link }) => !link);
  const all = policyBased.flatMap((tunnel) => tunnel.children.map((child) => ({ tunnel, child })));
  return firstOverlaps(all.map(({ child }) => child.selectors)).flatMap((first, index) => {
    const { tunnel, child } = all[index]!;
    const source = sources.get(tunnel.name);
    if (first === undefined || !source) return [];
    const earlier = all[first]!;
    const problem = `${textOf(child.selectors)} overlaps ${earlier.tunnel.name}: ${textOf(earlier.child.selectors)}; packets of both go to ${earlier.tunnel.name}, which stands first`;
    return [complain(source, ['tunnels', tunnel.name], problem, { level: 'warning' })];
  });
}

function textOf({ local, remote }: SelectorSet): string {
  return `${local.map(selectorText).join(', ')} to ${remote.map(selectorText).join(', ')}`;
}
