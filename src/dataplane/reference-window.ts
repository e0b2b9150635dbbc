// The numbers of an SA: the whole one of what was sent in half, and which ones were received (RFC 4303 §3.4.3 and Appendix A2,
// RFC 4302 §3.4.3 and Appendix B).

import type { SaParameters } from '../policy/sad.ts';

export interface Window {
  parameters: Pick<SaParameters, 'esn' | 'replayWindow'>;
  /** The highest one received. */
  sequence: bigint;
  /** Those received that a duplicate could still repeat. */
  seen?: Set<bigint>;
}

/** The only number with that low half in the 2³² numbers that begin with the window (RFC 4303 Appendix A2.2). */
export function fullNumber({ parameters, sequence }: Window, low: bigint): bigint {
  if (!parameters.esn) return low;
  const bottom = sequence - BigInt(parameters.replayWindow) + 1n;
  const first = bottom < 0n ? 0n : bottom;
  const number = (first & ~0xffffffffn) | low;
  return number < first ? number + 0x100000000n : number;
}

export function isFresh({ parameters, sequence, seen }: Window, number: bigint): boolean {
  if (number === 0n) return false;
  return number > sequence - BigInt(parameters.replayWindow) && !seen?.has(number);
}

/** RFC 4303 §3.4.3: only what was authentic is counted as received. */
export function receive(window: Window, number: bigint): void {
  window.seen ??= new Set();
  window.seen.add(number);
  if (number > window.sequence) window.sequence = number;
  if (window.seen.size >= 2 * window.parameters.replayWindow) forget(window);
}

/** What fell behind the window is refused by its number alone. */
function forget({ parameters, sequence, seen }: Window): void {
  for (const number of seen!) {
    if (number <= sequence - BigInt(parameters.replayWindow)) seen!.delete(number);
  }
}
