// Attempts take turns: thousands of tunnels that come up at once would fill every queue on the way, and the peers' too.

import type { Instant } from '../policy/sad.ts';

/** So many attempts of less than this age are enough to keep both sides busy. */
const MOST_YOUNG = 100;
/** A peer that is there has answered by then; one that is not does not keep others waiting for longer. */
const YOUNG = 1000;

export class Starts {
  /** By SPI when they began, the oldest first. */
  readonly #young = new Map<string, Instant>();
  /** Names of tunnels, in their order. */
  readonly #waiting = new Set<string>();

  /** Whether the tunnel may begin now; if not, it waits for `next`. */
  admit(tunnel: string, now: Instant): boolean {
    if (this.#waiting.size === 0 && this.#hasRoom(now)) return true;
    this.#waiting.add(tunnel);
    return false;
  }

  began(spi: string, now: Instant): void {
    this.#young.set(spi, now);
  }

  /** Established or given up. */
  ended(spi: string): void {
    this.#young.delete(spi);
  }

  cancel(tunnel: string): void {
    this.#waiting.delete(tunnel);
  }

  /** The tunnel whose turn it is, which waits no longer; none where there is no room. */
  next(now: Instant): string | undefined {
    const [first] = this.#waiting;
    if (first === undefined || !this.#hasRoom(now)) return undefined;
    this.#waiting.delete(first);
    return first;
  }

  /** When there will be room at the latest, where anybody waits for it. */
  due(): Instant | undefined {
    const [oldest] = this.#young.values();
    return this.#waiting.size > 0 && oldest !== undefined ? oldest + YOUNG : undefined;
  }

  #hasRoom(now: Instant): boolean {
    for (const [spi, began] of this.#young) {
      if (began + YOUNG > now) break;
      this.#young.delete(spi);
    }
    return this.#young.size < MOST_YOUNG;
  }
}
