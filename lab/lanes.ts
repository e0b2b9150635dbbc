// Independent parts side by side.

/** So many at a time, begun in order; what came of them in the same order. The first failure is thrown at once. */
export async function inLanes<T>(lanes: number, parts: readonly (() => Promise<T>)[]): Promise<T[]> {
  const outcomes: T[] = [];
  const waiting = parts.entries();
  const lane = async () => {
    for (const [index, part] of waiting) outcomes[index] = await part();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return outcomes;
}
