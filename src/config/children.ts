// The children of a tunnel: what they protect, how, and for how long.

import type { ProposalTemplate } from '../policy/proposal.ts';
import { quirksOf } from '../policy/quirks.ts';
import type { SelectorSet } from '../policy/sad.ts';
import type { Selector } from '../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import type { Complain } from './auth.ts';
import type { Path } from './complaint.ts';
import { DEFAULTS } from './defaults.ts';
import { listOf } from './list.ts';
import { aimless, probeOf } from './probe.ts';
import { type Ends, hostSelectors, type Outside, protectionAsked, protectionOf } from './protection.ts';
import type { ChildEntry, TunnelEntry } from './schema.ts';
import { parseSelector } from './selectors.ts';
import { suitesOf } from './suites.ts';
import { duration } from './times.ts';

/** What holds for all children of a tunnel. */
interface Family {
  entry: TunnelEntry;
  suites: Record<ChildTemplate['protocol'], ProposalTemplate[]>;
  ends: Ends;
  outside: Outside;
  at: Complain;
}

/** The first one has that order. */
export function childrenOf(
  name: string,
  entry: TunnelEntry,
  ends: Ends,
  mtu: number,
  order: number,
  at: Complain,
): ChildTemplate[] | undefined {
  const [esp, ah] = (['esp', 'ah'] as const).map((kind) => {
    const key = `${kind}-suites` as const;
    return suitesOf(entry, key, entry[key] ?? DEFAULTS[key], kind, at);
  });
  const described = describedChildren(name, entry, at);
  if (!esp || !ah || !described) return undefined;
  const family = ends.local === undefined ? 4 : familyOf(ends.local);
  const outside = { mtu, family, encapsulation: entry.encapsulation ?? usualEncapsulation(entry) } as const;
  const all = { entry, suites: { esp, ah }, ends, outside, at };
  const children = Object.entries(described).map(([child, one], index) =>
    childOf(child, one, order + index, all),
  );
  if (entry.probe && children.every((child) => child && !child.probe)) aimless(entry.probe.to, at);
  const good = children.filter((child) => child !== undefined);
  if (good.length < children.length) return undefined;
  return quirksOf(entry.vendor, entry.quirks).includes('one-selector-pair-per-child')
    ? pairByPair(good, order)
    : good;
}

function childOf(
  name: string,
  { path, value }: DescribedChild,
  order: number,
  { entry, suites, ends, outside, at }: Family,
): ChildTemplate | undefined {
  const merged = { ...entry, ...value };
  if (name.includes('/')) return at(path, 'a child name must not contain a slash');
  const written = { path, own: value, entry };
  const proposals = suites[protectionAsked(written).protocol];
  const protection = protectionOf(written, proposals, outside, at);
  const selectors = selectorsOf(value, protection.mode, ends, path, at);
  const window = replayWindow(merged, path, at);
  const lifetime = lifetimeOf(merged, at);
  const probe = selectors && probeOf(entry, value.probe, selectors, path, at);
  if (!selectors || window === undefined) return undefined;
  return {
    name,
    order,
    ...protection,
    selectors,
    proposals,
    lifetime,
    outer: { df: merged.df ?? DEFAULTS.df, dscp: merged.dscp ?? DEFAULTS.dscp },
    replayWindow: window,
    ...(probe ? { probe } : {}),
  };
}

function lifetimeOf(merged: TunnelEntry, at: Complain): ChildTemplate['lifetime'] {
  const { 'lifetime-bytes': bytes, 'lifetime-packets': packets } = merged;
  return {
    time: duration(merged, 'lifetime', at) ?? 0,
    ...(bytes === undefined ? {} : { bytes: BigInt(bytes) }),
    ...(packets === undefined ? {} : { packets: BigInt(packets) }),
  };
}

/** A peer that takes one network of each side: as many children as there are pairs, each named after its two. */
function pairByPair(children: readonly ChildTemplate[], order: number): ChildTemplate[] {
  const pairs = children.flatMap((child) => {
    const { local, remote } = child.selectors;
    return local.length * remote.length === 1 ? [child] : pairsOf(child);
  });
  return pairs.map((child, index) => ({ ...child, order: order + index }));
}

function pairsOf(child: ChildTemplate): ChildTemplate[] {
  const { local, remote } = child.selectors;
  return local.flatMap((near, i) =>
    remote.flatMap((far, j) => {
      if (familyOf(near.start) !== familyOf(far.start)) return [];
      const name = `${child.name}.${i + 1}.${j + 1}`;
      return [{ ...child, name, selectors: { local: [near], remote: [far] } }];
    }),
  );
}

export function usualEncapsulation({ vendor, quirks }: TunnelEntry): Tunnel['encapsulation'] {
  return quirksOf(vendor, quirks).includes('esp-in-udp-only') ? 'udp' : DEFAULTS.encapsulation;
}

/** What a tunnel protects where routes choose the packets. */
const EVERYTHING = ['0.0.0.0/0', '::/0'];

interface DescribedChild {
  path: Path;
  value: Partial<ChildEntry>;
}

function describedChildren(
  name: string,
  { mode, children, ...given }: TunnelEntry,
  at: Complain,
): Record<string, DescribedChild> | undefined {
  const missing = mode === 'route' && !children ? EVERYTHING : undefined;
  const { local = missing, remote = missing } = given;
  if (children && (given.local !== undefined || given.remote !== undefined))
    return at(['children'], 'write local and remote either in the tunnel or in its children');
  if (children) {
    return Object.fromEntries(
      Object.entries(children).map(([child, value]) => [child, { path: ['children', child], value }]),
    );
  }
  return { [name]: { path: [], value: { local, remote } } };
}

function selectorsOf(
  value: Partial<ChildEntry>,
  mode: ChildTemplate['mode'],
  ends: Ends,
  path: Path,
  at: Complain,
): SelectorSet | undefined {
  const [local, remote] = (['local', 'remote'] as const).map((side) => {
    const given = value[side] === undefined ? undefined : parsedSelectors(value[side], [...path, side], at);
    if (value[side] !== undefined && !given) return undefined;
    if (mode === 'transport') return hostSelectors(side, given, ends, path, at);
    return given ?? at(path, `${side} is missing: the networks on ${SIDES[side]} side`);
  });
  return local && remote ? { local, remote } : undefined;
}

const SIDES = { local: 'this', remote: 'the other' };

function parsedSelectors(texts: string | string[], path: Path, at: Complain): Selector[] | undefined {
  const parsed = listOf(texts).map((text) => parseSelector(text));
  const wrong = parsed.find((one) => 'complaint' in one);
  return wrong && 'complaint' in wrong ? at(path, wrong.complaint) : (parsed as Selector[]);
}

function replayWindow(
  entry: Pick<TunnelEntry, 'replay-window'>,
  path: Path,
  at: Complain,
): number | undefined {
  const window = entry['replay-window'] ?? DEFAULTS['replay-window'];
  if (window >= 32 && window <= 4096 && window % 32 === 0) return window;
  return at([...path, 'replay-window'], `${window} is not a multiple of 32 from 32 to 4096`);
}
