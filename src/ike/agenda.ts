// What is due when: one moment for each key, the earliest at hand (a binary heap that knows every key's place).

import type { Instant } from '../policy/sad.ts';

interface Entry {
  key: string;
  at: Instant;
  /** Of two with the same moment, the one that was put first. */
  order: number;
  place: number;
}

export class Agenda {
  readonly #heap: Entry[] = [];
  readonly #entries = new Map<string, Entry>();
  #order = 0;

  /** A moment that is not finite stands for none. */
  put(key: string, at: Instant | undefined): void {
    if (at === undefined || !Number.isFinite(at)) return this.remove(key);
    const entry = this.#entries.get(key);
    if (!entry) return this.#add(key, at);
    if (entry.at === at) return;
    entry.at = at;
    entry.order = this.#order++;
    this.#settle(entry);
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    const last = this.#heap.pop()!;
    if (last === entry) return;
    this.#place(last, entry.place);
    this.#settle(last);
  }

  next(): Instant | undefined {
    return this.#heap[0]?.at;
  }

  /** Takes out what is due, in its order, and not more than so many. */
  take(now: Instant, most = Number.POSITIVE_INFINITY): string[] {
    const due: string[] = [];
    while (due.length < most) {
      const first = this.#heap[0];
      if (!first || first.at > now) break;
      due.push(first.key);
      this.remove(first.key);
    }
    return due;
  }

  #add(key: string, at: Instant): void {
    const entry = { key, at, order: this.#order++, place: this.#heap.length };
    this.#entries.set(key, entry);
    this.#heap.push(entry);
    this.#settle(entry);
  }

  #settle(entry: Entry): void {
    this.#up(entry);
    this.#down(entry);
  }

  #up(entry: Entry): void {
    for (;;) {
      const parent = this.#heap[(entry.place - 1) >> 1];
      if (entry.place === 0 || !parent || isBefore(parent, entry)) return;
      this.#swap(entry, parent);
    }
  }

  #down(entry: Entry): void {
    for (;;) {
      const left = this.#heap[2 * entry.place + 1];
      const right = this.#heap[2 * entry.place + 2];
      const child = left && right && isBefore(right, left) ? right : left;
      if (!child || isBefore(entry, child)) return;
      this.#swap(entry, child);
    }
  }

  #swap(a: Entry, b: Entry): void {
    const { place } = a;
    this.#place(a, b.place);
    this.#place(b, place);
  }

  #place(entry: Entry, place: number): void {
    this.#heap[place] = entry;
    entry.place = place;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
