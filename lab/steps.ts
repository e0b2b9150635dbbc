// What a laboratory tries, one after the other, and what came of each.

import { slowness } from './guest.ts';
import { pause } from './site.ts';

export interface Outcome {
  check: string;
  result: 'pass' | 'fail';
  /** What was seen, or why it is not as it should be. */
  detail: string;
}

export interface Steps {
  check(name: string, act: () => Promise<string>): Promise<void>;
  failed(): number;
  /** Ends the process, 0 where all passed; `sentence` follows how many of them. */
  finish(sentence: string): never;
  /**
   * All of them, and `finish`. Their logs are shown where it breaks down, and with `--log` on the command line where one failed.
   */
  whole(sentence: string, log: () => string, act: () => Promise<void>): Promise<never>;
}

/** With `--json` on the command line all outcomes at the end, else a line each as they come, names in that width. */
export function createSteps(width: number): Steps {
  const json = process.argv.includes('--json');
  const outcomes: Outcome[] = [];
  const failed = () => outcomes.filter(({ result }) => result === 'fail').length;
  const finish = (sentence: string): never => {
    const passed = outcomes.length - failed();
    console.log(json ? JSON.stringify(outcomes) : `\n${passed} of ${outcomes.length} ${sentence}`);
    process.exit(failed() === 0 ? 0 : 1);
  };
  return {
    async check(name, act) {
      const outcome = { check: name, ...(await outcomeOf(act)) };
      outcomes.push(outcome);
      const [line] = outcome.detail.trim().split('\n');
      if (!json) console.log(`${outcome.result}  ${name.padEnd(width)}  ${line}`);
    },
    failed,
    finish,
    async whole(sentence, log, act) {
      try {
        await act();
      } catch (error) {
        console.error(error instanceof Error ? error.stack : error, log());
        process.exit(1);
      }
      if (failed() > 0 && process.argv.includes('--log')) console.error(log());
      return finish(sentence);
    },
  };
}

/** `act` gives what it saw, or throws with what is not as it should be. */
export async function outcomeOf(act: () => Promise<string>): Promise<Omit<Outcome, 'check'>> {
  try {
    return { result: 'pass', detail: await act() };
  } catch (error) {
    return { result: 'fail', detail: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Milliseconds until it is so; looks twenty times a second, and gives up after so many milliseconds, or as many times more as the
 * place it runs in is slow.
 */
export async function until(
  what: string | (() => string),
  is: () => boolean | Promise<boolean>,
  most = 15_000,
): Promise<number> {
  const patience = most * slowness();
  const from = performance.now();
  while (!(await is())) {
    const sentence = typeof what === 'string' ? what : what();
    demand(performance.now() - from < patience, `not within ${patience / 1000} s: ${sentence}`);
    await pause(50);
  }
  return Math.round(performance.now() - from);
}

export function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
