// Sequences of sequence numbers, and a model of what a receiver makes of them: a bitmap, and the cases of RFC 4303 Appendix A2.2
// as they stand there. Shares nothing with the reference. The reference, the engine and the kernel are driven with the same ones.

import { type Random, seeded } from './packets.ts';

/** As one SA has it. */
export interface ReplaySa {
  esn: boolean;
  /** Packets. */
  window: number;
}

/** One packet: the number it was sealed with, of which the low half is sent. */
export interface ReplayStep {
  number: bigint;
  /** Its code is not right. */
  forged: boolean;
}

/** `authentication` is also what a number comes to whose high half the receiver takes for another. */
export type ReplayVerdict = 'taken' | 'replay' | 'authentication';

export interface JudgedStep extends ReplayStep {
  verdict: ReplayVerdict;
}

export const REPLAY_SAS: readonly ReplaySa[] = [32, 64, 96, 128, 1024, 4096].flatMap((window) =>
  [false, true].map((esn) => ({ esn, window })),
);

const WRAP = 2n ** 32n;

/** So many steps of one SA, from its first packet on, each with what must become of it. `first`: what that one's number is. */
export function* replaySteps(
  sa: ReplaySa,
  seed: number,
  count: number,
  first?: bigint,
): Generator<JudgedStep> {
  const random = seeded(seed);
  const model = new Model(sa);
  for (let i = 0; i < count; i++) {
    const isFirst = i === 0 && first !== undefined;
    const step = isFirst
      ? { number: first, forged: false }
      : { number: nextNumber(sa, random, model.top), forged: random(20) === 0 };
    yield { ...step, verdict: model.judge(step) };
  }
}

class Model {
  readonly #sa: ReplaySa;
  /** The highest number taken. */
  top = 0n;
  /** Bit n: the number n below the highest was taken. */
  #taken = 0n;

  constructor(sa: ReplaySa) {
    this.#sa = sa;
  }

  judge({ number, forged }: ReplayStep): ReplayVerdict {
    const low = BigInt.asUintN(32, number);
    const assumed = this.#sa.esn ? this.#highFor(low) * WRAP + low : low;
    if (assumed === 0n) return 'replay';
    const behind = this.top - assumed;
    if (behind >= BigInt(this.#sa.window)) return 'replay';
    if (behind >= 0n && (this.#taken >> behind) & 1n) return 'replay';
    if (forged || assumed !== number) return 'authentication';
    this.#take(behind);
    return 'taken';
  }

  /** RFC 4303 Appendix A2.2: the window lies within one half, or across two. */
  #highFor(low: bigint): bigint {
    const [topHigh, topLow] = [this.top / WRAP, this.top % WRAP];
    const bottom = topLow - BigInt(this.#sa.window) + 1n;
    if (bottom >= 0n) return low >= bottom ? topHigh : topHigh + 1n;
    return low >= bottom + WRAP && topHigh > 0n ? topHigh - 1n : topHigh;
  }

  #take(behind: bigint): void {
    if (behind >= 0n) {
      this.#taken |= 1n << behind;
      return;
    }
    const ahead = -behind;
    this.top += ahead;
    this.#taken = ahead < this.#sa.window ? BigInt.asUintN(this.#sa.window, this.#taken << ahead) | 1n : 1n;
  }
}

/** Mostly onward, often back within the window, now and then to where something changes. */
function nextNumber({ esn, window }: ReplaySa, random: Random, top: bigint): bigint {
  const move = MOVES[random(MOVES.length)]!;
  const number = top + move({ esn, window, random, top });
  if (number < 0n) return 0n;
  return esn || number < WRAP ? number : WRAP - 1n;
}

interface Place extends ReplaySa {
  random: Random;
  top: bigint;
}

/** How far from the highest number taken. */
type Move = (place: Place) => bigint;

const onward: Move = () => 1n;
const skipping: Move = ({ random }) => BigInt(1 + random(8));
const within: Move = ({ random, window }) => -BigInt(random(window));
const lately: Move = ({ random }) => -BigInt(random(4));
const atTheEdge: Move = ({ random, window }) => -BigInt(window - 2 + random(4));
const outside: Move = ({ random, window }) => -BigInt(window + random(2 * window));
const longAgo: Move = ({ random }) => -BigInt(random(2 ** 31));
const jumping: Move = ({ random, window }) => BigInt(random(3 * window));
/** Half the numbers there are, where they do not end. */
const far: Move = ({ random, esn }) => BigInt(random(esn ? 2 ** 31 : 2 ** 16));
/** To where the high half changes, or short of it. */
const toTheWrap: Move = ({ random, esn, top, window }) =>
  esn ? WRAP - (top % WRAP) + BigInt(random(2 * window) - window) : 1n;
/** The furthest that can be told from what is behind the window, and beyond; else, rarely, the last number of all. */
const furthest: Move = ({ esn, random, window, top }) => {
  if (esn) return WRAP - BigInt(window) + BigInt(random(3));
  return random(1000) === 0 ? WRAP - 1n - top : 1n;
};
const toNothing: Move = ({ top }) => -top;

const MOVES: readonly Move[] = [
  ...Array<Move>(60).fill(onward),
  ...Array<Move>(20).fill(skipping),
  ...Array<Move>(60).fill(within),
  ...Array<Move>(20).fill(lately),
  ...Array<Move>(12).fill(atTheEdge),
  ...Array<Move>(10).fill(outside),
  ...Array<Move>(10).fill(jumping),
  longAgo,
  far,
  toTheWrap,
  toTheWrap,
  furthest,
  toNothing,
];
