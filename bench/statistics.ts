// What is said of several measurements of one thing.

export interface Spread {
  median: number;
  min: number;
  max: number;
  /** A quarter of the values lies below the first, a quarter above the second. */
  quartiles: [number, number];
  count: number;
}

/** Of at least one value. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    min: sorted[0]!,
    max: sorted.at(-1)!,
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    count: sorted.length,
  };
}

export function median(values: readonly number[]): number {
  return spread(values).median;
}

export function medians(spreads: Readonly<Record<string, Spread>>): Record<string, number> {
  return Object.fromEntries(Object.entries(spreads).map(([key, value]) => [key, value.median]));
}

/**
 * Round by round, so that what disturbs a round disturbs both sides of its ratio. A round in which nothing was measured below
 * has no ratio; where no round has one, all is NaN.
 */
export function ratios(above: readonly number[], below: readonly number[]): Spread {
  if (above.length !== below.length) throw new RangeError('the rounds differ in number');
  const all = above.map((value, round) => value / below[round]!).filter(Number.isFinite);
  return all.length > 0 ? spread(all) : { ...spread([Number.NaN]), count: 0 };
}

/** Three digits that mean something. */
export function rounded(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(3));
}

/** Linear between neighbours. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at % 1);
}
