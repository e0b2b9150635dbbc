// Checks of `npm run interop` that are known to fail: whose it is, and why. One that passes again is told, so that its row goes.

import type { Result } from './checks.ts';

export interface KnownRed {
  /** A part of the result's field each; those that are missing fit everything. */
  peer: string;
  dataplane?: Result['dataplane'];
  role?: Result['role'];
  suite?: string;
  check?: string;
  whose: 'ours' | 'the peer' | 'the kernel' | 'the laboratory';
  why: string;
}

export const KNOWN_REDS: readonly KnownRed[] = [];

export function knownRed(result: Result, known: readonly KnownRed[] = KNOWN_REDS): KnownRed | undefined {
  return known.find(
    ({ peer, dataplane, role, suite = '', check = '' }) =>
      result.peer.includes(peer) &&
      (dataplane ?? result.dataplane) === result.dataplane &&
      (role ?? result.role) === result.role &&
      result.suite.includes(suite) &&
      result.check.includes(check),
  );
}

/** Rows none of whose checks failed, though some ran. */
export function turnedGreen(
  results: readonly Result[],
  known: readonly KnownRed[] = KNOWN_REDS,
): readonly KnownRed[] {
  return known.filter((row) => {
    const fitting = results.filter((result) => knownRed(result, [row]));
    return fitting.length > 0 && fitting.every(({ result }) => result === 'pass');
  });
}
