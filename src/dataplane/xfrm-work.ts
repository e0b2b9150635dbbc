// Work on the kernel's tables that is done beside other such work: a generator that yields requests and goes on when all of
// them are answered, so that the requests of many travel together.

import { isLate, newBreath } from './turns.ts';
import type { Answer, Kernel } from './xfrm-kernel.ts';

export type Work<T = void> = Generator<readonly Uint8Array[], T, readonly Answer[]>;

export type Outcome<T> = { value: T } | { error: unknown };

/**
 * All of them in step: what they ask for at the same time is one exchange; where their own work takes long it asks for
 * nothing in between, so that others come to their turn. Ends when the last has ended, and never throws.
 */
export function* together<T>(works: readonly Work<T>[]): Work<Outcome<T>[]> {
  const outcomes = new Array<Outcome<T>>(works.length);
  const asking = new Map<number, readonly Uint8Array[]>();
  const proceed = (index: number, step: (work: Work<T>) => ReturnType<Work<T>['next']>) => {
    try {
      const result = step(works[index]!);
      if (result.done) outcomes[index] = { value: result.value };
      else asking.set(index, result.value);
    } catch (error) {
      outcomes[index] = { error };
    }
  };
  const slice = newSlice();
  for (const index of works.keys()) {
    proceed(index, (work) => work.next([]));
    if (slice.isOver()) yield* slice.next();
  }
  while (asking.size > 0) {
    const round = [...asking];
    asking.clear();
    let answers: readonly Answer[];
    try {
      answers = yield round.flatMap(([, requests]) => requests);
    } catch (error) {
      for (const [index] of round) proceed(index, (work) => work.throw(error));
      continue;
    }
    let at = 0;
    slice.begin();
    for (const [index, requests] of round) {
      const own = answers.slice(at, at + requests.length);
      at += requests.length;
      proceed(index, (work) => work.next(own));
      if (slice.isOver()) yield* slice.next();
    }
  }
  return outcomes;
}

/** Steps between two looks at the clock, which costs more than a step on some machines. */
const STEPS = 4;

/** Counts from its first look at the clock on: a few steps need none. */
function newSlice(): { begin(): void; isOver(): boolean; next(): Work } {
  let since: number | undefined;
  let steps = 0;
  const begin = () => {
    since = undefined;
    steps = 0;
  };
  return {
    begin,
    isOver() {
      if (++steps % STEPS > 0) return false;
      since ??= performance.now();
      return isLate(since);
    },
    *next() {
      yield [];
      begin();
    },
  };
}

/** To its end, with pauses for the event loop. Throws what the work throws. */
export async function run<T>(kernel: Kernel, work: Work<T>, breath = newBreath()): Promise<T> {
  for (let step = work.next([]); ; ) {
    if (step.done) return step.value;
    step = await advance(kernel, work, step.value, breath);
    await breath();
  }
}

async function advance<T>(
  kernel: Kernel,
  work: Work<T>,
  requests: readonly Uint8Array[],
  breath: () => Promise<void>,
): Promise<ReturnType<Work<T>['next']>> {
  const answers: Answer[] = [];
  try {
    for (const some of kernel.portions(requests)) {
      answers.push(...kernel.exchange(some));
      await breath();
    }
  } catch (error) {
    return work.throw(error);
  }
  return work.next(answers);
}

/** Each piece of a dump, with pauses for the event loop. */
export async function eachPiece(
  kernel: Kernel,
  request: Uint8Array,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const breath = newBreath();
  for (const piece of kernel.pieces(request)) {
    take(piece);
    await breath();
  }
}
