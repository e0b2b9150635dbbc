// Looks for any fault, the quickest ways first, and stops at the first one: 1 and what it is, or 0. Run with the faults of
// test/mutants planted, it must find each.

import {
  AH_DELETE,
  AH_REKEY,
  CHILD_CREATE,
  CHILD_DELETE,
  CHILD_REKEY,
  CHILDLESS,
  IKE_DELETE,
  IKE_REKEY,
} from './cases.ts';
import { explore } from './explore.ts';
import { runLadder, type Scenario, type Variant } from './ladder.ts';
import { situations } from './ladders.ts';
import { nothingIsServedBeforeAuth, wrongKeyEstablishesNothing } from './unproven.ts';

const SUITES: Record<string, Record<string, Scenario>> = {
  child_rekey: CHILD_REKEY,
  ike_rekey: IKE_REKEY,
  child_delete: CHILD_DELETE,
  ike_delete: IKE_DELETE,
  child_create: CHILD_CREATE,
  childless: CHILDLESS,
  ah_rekey: AH_REKEY,
  ah_delete: AH_DELETE,
};

try {
  nothingIsServedBeforeAuth();
  wrongKeyEstablishesNothing();
  const calm = everyCase((variant) => [variant]);
  everyCase((variant, name) => disturbed(variant, calm.get(name)!));
  const { violations } = explore({ wishes: 2, messages: 0, works: 0, seed: 1, up: true });
  if (violations.length > 0) throw new Error(`exploration: ${violations[0]!.complaints}`);
} catch (error) {
  console.log((error as Error).message.split('\n')[0]);
  process.exitCode = 1;
}

/** Messages of each run, by its name. */
function everyCase(variants: (variant: Variant, name: string) => Variant[]): Map<string, number> {
  const messages = new Map<string, number>();
  for (const [suite, cases] of Object.entries(SUITES))
    for (const [name, scenario] of Object.entries(cases))
      for (const [index, situation] of situations(scenario).entries()) {
        const run = `${suite} ${name} ${index}`;
        for (const variant of variants(situation, run)) messages.set(run, attempt(run, scenario, variant));
      }
  return messages;
}

function attempt(run: string, scenario: Scenario, variant: Variant): number {
  try {
    return runLadder(scenario, variant);
  } catch (error) {
    throw new Error(`${run}: ${(error as Error).message}`);
  }
}

function disturbed(variant: Variant, messages: number): Variant[] {
  return (['lost', 'late'] as const).flatMap((what) =>
    Array.from({ length: messages }, (_, message) => ({ ...variant, mischief: { what, message } })),
  );
}
