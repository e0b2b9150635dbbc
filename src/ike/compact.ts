// An SA at rest takes no more room than what it knows: objects that lost properties and arrays that grew take several times
// that, and most of ten thousand SAs are at rest. Between events nobody holds a part of one.

import type { IkeSa } from './sa.ts';

/** Nothing is under way and nothing waits to be done. */
export function isAtRest({ state, window }: IkeSa): boolean {
  return (
    state.name === 'established' && !state.own && !state.serving && !window.sent && state.tasks.length === 0
  );
}

/** The same data in objects of their own. */
export function compact(sa: IkeSa): void {
  if (sa.state.name !== 'established') return;
  sa.window = { ...sa.window };
  sa.state = { ...sa.state, children: sa.state.children.map((child) => ({ ...child })), tasks: [] };
}
