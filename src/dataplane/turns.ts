// Long work in pieces, with pauses in which the event loop serves others.

/** Milliseconds that the event loop may be kept from others. */
export const SLICE = 5;

export function isLate(since: number): boolean {
  return performance.now() - since >= SLICE;
}

/** Waits for others where the slice of time is used up. */
export function newBreath(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (!isLate(since)) return;
    await new Promise((resolve) => setImmediate(resolve));
    since = performance.now();
  };
}

/** One run at a time; what is asked for meanwhile is one more. The work must not reject. */
export function singly(work: () => Promise<void>): () => void {
  let [running, asked] = [false, false];
  async function run(): Promise<void> {
    running = true;
    while (asked) {
      asked = false;
      await work();
    }
    running = false;
  }
  return () => {
    asked = true;
    if (!running) void run();
  };
}
