// An SA at rest takes no more room than what it knows: objects that lost properties and arrays that grew take several times
// that, and most of ten thousand SAs are at rest. Between events nobody holds a part of one.

import type { TunnelState } from './context.ts';
import type { IkeSa } from './sa.ts';

/** Nothing is under way; something may wait for its time. */
export function isAtRest({ state, window }: IkeSa): boolean {
  return state.name === 'established' && !state.own && !state.serving && !window.sent;
}

/** The same data in objects of their own. */
export function compact(sa: IkeSa): void {
  if (sa.state.name !== 'established') return;
  sa.window = { ...sa.window };
  const { children, tasks } = sa.state;
  sa.state = { ...sa.state, children: children.map((child) => ({ ...child })), tasks: [...tasks] };
}

/** No attempt is under way and nobody waits for one. */
export function tunnelAtRest({ attempt, retryAt, waiting, beside, lookup }: TunnelState): boolean {
  return attempt === 0 && retryAt === undefined && waiting.length === 0 && !beside && !lookup;
}

export function compactTunnel(state: TunnelState): TunnelState {
  return { ...state, waiting: [], sas: [...state.sas] };
}
