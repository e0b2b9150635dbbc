// The search for the largest size that passes, by halves, in steps that make a difference.

/** ESP pads to so many bytes, so that no less would make a difference. */
const STEP = 4;

export interface Search {
  /** The largest size that passed, and the smallest that did not. */
  good: number;
  bad: number;
  /** What is asked now, and how often it was. */
  size: number;
  tries: number;
  /** Whether a size was given up because nothing came back, and nobody said that it is too big. */
  silent: boolean;
  /** What somebody says that the path takes: asked before anything else, and then the next size above it. */
  hint?: number;
}

/** What the configuration promises is asked first, as it holds nearly everywhere. */
export function searchOf(good: number, bad: number, ceiling: number): Search {
  const size = bad > ceiling ? ceiling : middleOf(good, bad);
  return { good, bad, size, tries: 0, silent: false };
}

/** The sizes between the two would make no difference. */
export function isOver({ good, bad }: Search): boolean {
  return bad - good <= STEP;
}

/** Any size up to the ceiling may pass. */
export function fromTheTop(good: number, ceiling: number): Search {
  return searchOf(good, ceiling + STEP, ceiling);
}

/** A forged hint costs two probes, as what is beyond it is excluded by them only. */
export function hinted(good: number, bad: number, hint: number): Search {
  return { ...searchOf(good, bad, bad), size: hint, hint };
}

export function narrow(search: Search, bound: { good: number } | { bad: number }): void {
  const { hint } = search;
  Object.assign(search, bound, { tries: 0 });
  const isRight = hint !== undefined && search.good === hint;
  search.size = isRight ? hint + STEP : middleOf(search.good, search.bad);
  if (!isRight) delete search.hint;
}

/** In steps from `good` on, so that the end is met exactly. */
function middleOf(good: number, bad: number): number {
  return good + Math.max(1, Math.floor((bad - good) / 2 / STEP)) * STEP;
}
