// What bench/xfrm-guest.ts says in the guest, and bench/xfrm.ts reads outside.

/** In front of each line. */
export const MARK = '@xfrm ';

/** Of one round: seconds, milliseconds, and parts of a CPU. */
export interface Round {
  batched: number;
  /** Of that within the calls of the kernel. */
  inKernel: number;
  /** iproute2 with the same SAs and policies, without what leads there. */
  ipBatch: number;
  oneByOne: number;
  /** The longest that the event loop was kept: milliseconds of the clock, and of CPU time. */
  startStall: number;
  startTurn: number;
  stopStall: number;
  stopTurn: number;
  lookStall: number;
  lookTurn: number;
  /** Seconds until nothing is left of what a killed process had. */
  restart: number;
  /** CPU seconds of one look at everything. */
  look: number;
}
