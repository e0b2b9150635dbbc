// What a tunnel is probed with, held against the networks that it protects.

import type { SelectorSet } from '../policy/sad.ts';
import { contains, exactly, type Selector, selectorText } from '../policy/selector.ts';
import type { Probe } from '../policy/tunnel.ts';
import { canonicalAddress, familyOf, type IpAddress } from '../wire/address.ts';
import type { Complain } from './auth.ts';
import type { Path } from './complaint.ts';
import { PROBE } from './defaults.ts';
import { milliseconds } from './duration.ts';
import type { ProbeEntry, TunnelEntry } from './schema.ts';

const [LEAST, MOST] = [100, 3_600_000];

/** Of the child, or of the tunnel for the child that it goes through; undefined where there is none or it is refused. */
export function probeOf(
  entry: TunnelEntry,
  own: ProbeEntry | undefined,
  selectors: SelectorSet,
  path: Path,
  at: Complain,
): Probe | undefined {
  const given = own ?? entry.probe;
  if (!given) return undefined;
  const where = own ? [...path, 'probe'] : ['probe'];
  const [to, from] = [given.to, given.from].map((text) =>
    text === undefined ? undefined : (canonicalAddress(text) ?? text),
  ) as [IpAddress, IpAddress | undefined];
  if (!own && !goesThrough(selectors.remote, to)) return undefined;
  if (!goesThrough(selectors.remote, to))
    return at([...where, 'to'], outside(to, selectors.remote, 'remote'));
  if (from !== undefined && !goesThrough(selectors.local, from))
    return at([...where, 'from'], outside(from, selectors.local, 'local'));
  if (from !== undefined && familyOf(from) !== familyOf(to))
    return at([...where, 'from'], `${from} and ${to} are of two families`);
  const every = milliseconds(given.every ?? PROBE.every);
  if (every === undefined || every < LEAST || every > MOST)
    return at([...where, 'every'], `"${given.every}" is not from 100ms to 1h, such as 1s`);
  return { to, ...(from === undefined ? {} : { from }), every, lost: given.lost ?? PROBE.lost };
}

/** A probe of the tunnel that fits none of its children. */
export function aimless(to: string, at: Complain): undefined {
  return at(
    ['probe', 'to'],
    `${to} is not an address inside remote that lets icmp through: nothing would reach it`,
  );
}

function goesThrough(selectors: readonly Selector[], address: string): boolean {
  if (canonicalAddress(address) === undefined) return false;
  const echo = exactly(address, familyOf(address) === 4 ? 1 : 58, 0);
  return selectors.some((selector) => contains({ ...selector, startPort: 0, endPort: 65535 }, echo));
}

function outside(address: string, selectors: readonly Selector[], side: string): string {
  return `${address} is not an address inside ${side} (${selectors.map(selectorText).join(', ')}) that lets icmp through`;
}
