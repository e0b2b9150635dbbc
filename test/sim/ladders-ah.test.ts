// The same collisions with children of AH.

import { CHILD_DELETE, CHILD_REKEY } from './cases.ts';
import type { Scenario } from './ladder.ts';
import { climb } from './ladders.ts';

function ofAh(cases: Record<string, Scenario>): Record<string, Scenario> {
  return Object.fromEntries(
    Object.entries(cases).map(([name, scenario]) => [name, { ...scenario, ah: true } as const]),
  );
}

climb('child_rekey of AH', ofAh(CHILD_REKEY));
climb('child_delete of AH', ofAh(CHILD_DELETE));
