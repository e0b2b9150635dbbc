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
}

/** With `--json` on the command line all outcomes at the end, else a line each as they come, names in that width. */
export function createSteps(width: number): Steps {
  const json = process.argv.includes('--json');
  const outcomes: Outcome[] = [];
  const failed = () => outcomes.filter(({ result }) => result === 'fail').length;
  return {
    async check(name, act) {
      const outcome = await outcomeOf(name, act);
      outcomes.push(outcome);
      const [line] = outcome.detail.trim().split('\n');
      if (!json) console.log(`${outcome.result}  ${name.padEnd(width)}  ${line}`);
    },
    failed,
    finish(sentence) {
      const passed = outcomes.length - failed();
      console.log(json ? JSON.stringify(outcomes) : `\n${passed} of ${outcomes.length} ${sentence}`);
      process.exit(failed() === 0 ? 0 : 1);
    },
  };
}

async function outcomeOf(check: string, act: () => Promise<string>): Promise<Outcome> {
  try {
    return { check, result: 'pass', detail: await act() };
  } catch (error) {
    return { check, result: 'fail', detail: error instanceof Error ? error.message : String(error) };
  }
}

/** Milliseconds until it is so; looks twenty times a second, and gives up after the patience of the place it runs in. */
export async function until(what: string, is: () => boolean | Promise<boolean>): Promise<number> {
  const patience = 15_000 * slowness();
  const from = performance.now();
  while (!(await is())) {
    demand(performance.now() - from < patience, `not within ${patience / 1000} s: ${what}`);
    await pause(50);
  }
  return Math.round(performance.now() - from);
}

export function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
