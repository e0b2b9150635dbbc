// Every case of a suite in every variant: from both sides, silent and with traffic, with each nonce the lowest where there
// are rivals; and each of these without loss, with each single message lost, and with each one after the next.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runLadder, type Scenario, type Variant } from './ladder.ts';

export function climb(suite: string, cases: Record<string, Scenario>): void {
  for (const [name, scenario] of Object.entries(cases)) {
    test(`${suite}: ${name}, without loss, with each message lost, with each message late`, (t) => {
      const { runs, failures } = runAll(scenario);
      t.diagnostic(`${runs} runs`);
      const example = failures[0] ?? '';
      assert.equal(failures.length, 0, `${failures.length} of ${runs} runs, the first:\n${example}`);
    });
  }
}

function runAll(scenario: Scenario): { runs: number; failures: string[] } {
  const failures: string[] = [];
  let runs = 0;
  const run = (variant: Variant): number => {
    runs++;
    try {
      return runLadder(scenario, variant);
    } catch (error) {
      failures.push((error as Error).message);
      return 0;
    }
  };
  for (const variant of situations(scenario)) {
    const messages = run(variant);
    for (let message = 0; message < messages; message++)
      for (const what of ['lost', 'late'] as const) run({ ...variant, mischief: { what, message } });
  }
  return { runs, failures };
}

/** Two exchanges have four nonces, two of each side. */
const NONCES = (['a', 'b'] as const).flatMap((side) => [1, 2].map((nth) => ({ side, nth })));

export function situations({ rivals }: Scenario): Variant[] {
  const sides = [false, true].flatMap((mirrored) => [false, true].map((traffic) => ({ mirrored, traffic })));
  return rivals ? sides.flatMap((side) => NONCES.map((lowest) => ({ ...side, lowest }))) : sides;
}
