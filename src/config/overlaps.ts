// Children that claim the same packets. Those that meet on one side are found by a sweep over their sorted ranges, so that
// a file of ten thousand tunnels is read in one go.

import { hex } from '../crypto/bytes.ts';
import type { SelectorSet } from '../policy/sad.ts';
import { intersect, type Selector } from '../policy/selector.ts';
import { addressBytes } from '../wire/address.ts';

/** For each set, in their order, which earlier one it overlaps: the first, or none. */
export function firstOverlaps(sets: readonly SelectorSet[]): (number | undefined)[] {
  const sides = (['local', 'remote'] as const).map((side) => rangesOf(sets, side));
  const [fewest] = sides.sort((a, b) => meetings(a) - meetings(b));
  const first: (number | undefined)[] = sets.map(() => undefined);
  sweep(fewest!, (a, b) => {
    const [earlier, later] = a < b ? [a, b] : [b, a];
    const known = first[later];
    if (earlier === later || (known !== undefined && known <= earlier)) return;
    if (overlap(sets[earlier]!, sets[later]!)) first[later] = earlier;
  });
  return first;
}

/** Bounds as text that sorts as the addresses do, family by family. */
interface Range {
  start: string;
  end: string;
  index: number;
}

function rangesOf(sets: readonly SelectorSet[], side: 'local' | 'remote'): Range[] {
  const ranges = sets.flatMap((set, index) =>
    set[side].map(({ start, end }) => ({ start: sortable(start), end: sortable(end), index })),
  );
  return ranges.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.index - b.index));
}

function sortable(address: string): string {
  const bytes = addressBytes(address);
  return `${bytes.length === 4 ? '4' : '6'}${hex(bytes)}`;
}

function sweep(sorted: readonly Range[], meet: (a: number, b: number) => void): void {
  for (const [place, range] of sorted.entries())
    for (let at = place + 1; at < sorted.length && sorted[at]!.start <= range.end; at++)
      meet(range.index, sorted[at]!.index);
}

/** How many pairs `sweep` would find. */
function meetings(sorted: readonly Range[]): number {
  let count = 0;
  for (const [place, { end }] of sorted.entries()) count += behind(sorted, end) - place - 1;
  return count;
}

/** The place behind the last range that starts at `bound` or before. */
function behind(sorted: readonly Range[], bound: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.start <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

function overlap(a: SelectorSet, b: SelectorSet): boolean {
  const meet = (left: readonly Selector[], right: readonly Selector[]) =>
    left.some((one) => right.some((other) => intersect(one, other)));
  return meet(a.local, b.local) && meet(a.remote, b.remote);
}
