// What bench/xfrm-guest.ts says in the guest, and bench/xfrm.ts reads outside.

/** In front of each line. */
export const MARK = '@xfrm ';

/** The kernel answered so many requests in so many milliseconds. */
export type Exchange = [requests: number, milliseconds: number];

export interface Exchanges {
  start: Exchange[];
  /** Of each piece of the dumps of several looks. */
  look: Exchange[];
  stop: Exchange[];
}

/** How long the event loop is kept where the kernel takes as long as that of the guest: milliseconds of the clock, and of CPU time. */
export interface Paced {
  startStall: number;
  startTurn: number;
  stopStall: number;
  stopTurn: number;
  /** CPU seconds of one look at everything, the kernel's among them. */
  look: number;
  lookStall: number;
}

/** Of one round: seconds, milliseconds, and parts of a CPU. */
export interface Round extends Paced {
  batched: number;
  /** Of that within the calls of the kernel. */
  inKernel: number;
  /** The longest of its calls, others of the machine included. */
  longestCall: number;
  /** iproute2 with the same SAs and policies, without what leads there. */
  ipBatch: number;
  oneByOne: number;
  /** The longest that the event loop was kept in the guest, whose one processor its collector of garbage shares. */
  guestStart: number;
  guestStop: number;
  /** Seconds until nothing is left of what a killed process had. */
  restart: number;
  guestLook: number;
}

/** What the guest tells of a round. */
export interface Told {
  round: Omit<Round, keyof Paced>;
  exchanges: Exchanges;
}
