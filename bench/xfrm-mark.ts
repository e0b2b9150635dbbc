// What bench/xfrm-guest.ts says in the guest, and bench/xfrm.ts reads outside.

/** In front of each line. */
export const MARK = '@xfrm ';

/** Of one round: seconds, milliseconds, and parts of a CPU. */
export interface Round {
  batched: number;
  oneByOne: number;
  /** The longest that the event loop was kept: milliseconds of the clock, and of CPU time. */
  startStall: number;
  startTurn: number;
  stopStall: number;
  stopTurn: number;
  lookStall: number;
  lookTurn: number;
  /** CPU seconds of one look at everything. */
  look: number;
}
