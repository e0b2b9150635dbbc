// How long the event loop was kept while something was done.

import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface Watched {
  seconds: number;
  /** The longest delay of a timer: milliseconds of the clock, in which others may have had the processor. */
  stall: number;
  /** The longest turn of the loop: milliseconds of this thread's CPU time. */
  turn: number;
}

export async function watched(act: () => Promise<unknown>): Promise<Watched> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  let turn = 0;
  let before = cpuMilliseconds();
  const look = () => {
    const now = cpuMilliseconds();
    turn = Math.max(turn, now - before);
    before = now;
  };
  // Due in every turn: what is spent between two of them was spent in one.
  const looking = setInterval(look, 1);
  delays.enable();
  const start = performance.now();
  await act();
  const seconds = (performance.now() - start) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearInterval(looking);
  delays.disable();
  return { seconds, turn, stall: delays.max / 1e6 };
}

export function cpuMilliseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
