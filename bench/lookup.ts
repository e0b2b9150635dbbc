// How long it takes to find the policy of a packet, among few and among many, through the cache that the engine asks first.

import { judge } from './goals.ts';
import type { Options } from './options.ts';
import { loadParts, measureCosts } from './parts.ts';
import { frame, limited, type Result } from './result.ts';
import { tell } from './rig.ts';
import { median, medians, ratios, rounded, spread } from './statistics.ts';

const COUNTS = [10, 10_000];
/** Packets of the same few flows again and again; packets of which hardly one belongs to a flow seen lately. */
const KINDS = [
  { name: 'cached', flows: 64 },
  { name: 'random', flows: 1 << 18 },
];
const MILLISECONDS = 200; // of a measurement

export async function lookup(options: Options): Promise<Result> {
  const costs = measureCosts();
  const rows = KINDS.flatMap((kind) =>
    COUNTS.map((count) => ({ ...kind, count, nanoseconds: [] as number[] })),
  );
  for (let round = 1; round <= options.rounds; round++) {
    tell(`lookup, round ${round} of ${options.rounds}`);
    for (const row of rows) row.nanoseconds.push(measure(row.count, row.flows));
  }
  const of = (name: string, count: number) =>
    rows.find((row) => row.name === name && row.count === count)!.nanoseconds;
  const found = Object.fromEntries(
    KINDS.map(({ name }) => [`lookup_${name}`, ratios(of(name, COUNTS[1]!), of(name, COUNTS[0]!))]),
  );
  return {
    ...frame(options, 'lookup', costs, MILLISECONDS / 1000),
    ratios: found,
    fields: Object.fromEntries(
      rows.map((row) => [`lookup_${row.name}_${row.count}_ns`, rounded(median(row.nanoseconds))]),
    ),
    goals: judge('lookup', medians(found)),
    // What does not look at more policies where there are more takes the same time.
    limits: Object.entries(found).map(([key, { median: middle }]) =>
      limited(key.replace('_', ', '), 'times the time at 10', middle, 1, 'lower'),
    ),
    tables: [
      {
        title: 'One lookup of a policy, ns',
        columns: ['flows', 'selectors', 'ns', 'least', 'most'],
        rows: rows.map(({ name, count, nanoseconds }) => {
          const { median: middle, min, max } = spread(nanoseconds);
          return [name, count, ...[middle, min, max].map(rounded)];
        }),
      },
    ],
  };
}

function measure(count: number, flows: number): number {
  const [nanoseconds] = loadParts().lookup(count, flows, MILLISECONDS);
  if (nanoseconds < 0) throw new Error(`native/core finds no policy for a flow that has one, among ${count}`);
  return nanoseconds;
}
