// The highest rate that passes without loss. Computes only: the measuring is handed in.

export interface Offered {
  /** Packets per second that were sent, which may be fewer than were asked for. */
  sent: number;
  received: number;
}

export interface Search {
  /** Packets per second to begin with. */
  first: number;
  /** How far a step goes while only one side is known. */
  factor: number;
  /** Done when the rate that failed is this much above the one that passed. */
  resolution: number;
  /** Below this nothing is looked for. */
  least: number;
}

/** RFC 2544 §26.1 asks for no loss at all; on a machine shared by all ends one in a thousand is allowed. */
const MOST_LOSS = 0.001;
/** A generator that falls further behind has reached its own end. */
const LEAST_OFFERED = 0.97;
/** A rate fails when it fails this often: another process's moment must not halve a result. */
const TRIES = 3;

/** What was received at the highest rate that passed; 0 when none did. */
export async function searchRate(
  measure: (rate: number) => Promise<Offered>,
  { first, factor, resolution, least }: Search,
): Promise<number> {
  let rate = first;
  let passed = 0;
  let failed = Number.POSITIVE_INFINITY;
  let best = 0;
  while (rate >= least && failed / passed > resolution) {
    const received = await sustained(measure, rate);
    if (received === undefined) failed = rate;
    else [passed, best] = [rate, Math.max(best, received)];
    rate = next(passed, failed, factor);
  }
  return best;
}

function next(passed: number, failed: number, factor: number): number {
  if (passed === 0) return failed / factor;
  return failed === Number.POSITIVE_INFINITY ? passed * factor : Math.sqrt(passed * failed);
}

async function sustained(
  measure: (rate: number) => Promise<Offered>,
  rate: number,
): Promise<number | undefined> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const { sent, received } = await measure(rate);
    if (sent >= rate * LEAST_OFFERED && received >= sent * (1 - MOST_LOSS)) return received;
  }
  return undefined;
}
