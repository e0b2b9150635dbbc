// Bits of packet marks that others use as well as we: rules and nftables are read, iptables' MARK cannot be.

import type { Rule } from '../wire/rtnetlink.ts';
import type { Finding, NftEntry } from './preflight.ts';

type Expression = Record<string, unknown>;

/** Others' rules and nftables rules that set or ask for one of our bits; one finding for each place. */
export function sharedMarks(mark: number, rules: readonly Rule[], ruleset: readonly NftEntry[]): Finding[] {
  const uses = [
    ...rules.flatMap(({ priority, mark: asked }) =>
      asked ? [{ where: `the rule of priority ${priority} (ip rule show)`, bits: asked.value }] : [],
    ),
    ...ruleset.flatMap(({ rule }) =>
      rule
        ? marksOf(rule.expr).map((bits) => ({ where: `a rule in ${rule.table}/${rule.chain}`, bits }))
        : [],
    ),
  ];
  const taken = uses.reduce((all, { bits }) => (all | bits) >>> 0, 0);
  const shared = new Map(uses.filter(({ bits }) => (bits & mark) !== 0).map((use) => [use.where, use.bits]));
  return [...shared].map(([where, bits]) => ({
    code: 'HOST_MARK_TAKEN',
    problem: `${where} uses the mark ${hex(bits)}, and of its bits ${hex(bits & mark)} are those of our outer packets: what has them never looks in our tables, and our packets may go where that rule leads`,
    fix: `gateway: { routing: { mark: ${hex(freeBit(taken))} } } and restart`,
  }));
}

/** What an nftables rule sets or compares the mark of a packet to. */
function marksOf(expressions: readonly Expression[]): number[] {
  return expressions.flatMap(({ match, mangle }) => [
    ...(isMark((match as { left?: unknown } | undefined)?.left)
      ? numbersIn((match as { right: unknown }).right)
      : []),
    ...(isMark((mangle as { key?: unknown } | undefined)?.key)
      ? numbersIn((mangle as { value: unknown }).value)
      : []),
  ]);
}

/** The mark itself, or some of its bits. */
function isMark(value: unknown): boolean {
  const { meta, '&': masked } = (value ?? {}) as { meta?: { key?: string }; '&'?: unknown[] };
  return meta?.key === 'mark' || (masked !== undefined && isMark(masked[0]));
}

/** Masks of `&` keep bits and set none. */
function numbersIn(value: unknown): number[] {
  if (typeof value === 'number') return [value >>> 0];
  if (Array.isArray(value)) return value.flatMap(numbersIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => (key === '&' ? [] : numbersIn(inner)));
}

/** The highest that nobody is seen with; others begin at the low ones. */
function freeBit(taken: number): number {
  for (let bit = 2 ** 30; bit >= 1; bit /= 2) if ((taken & bit) === 0) return bit;
  return 2 ** 30;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
