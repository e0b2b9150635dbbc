// The IKE SAs by our SPI, and the ways to find one. An event may change only the SAs that it was handed, so only those are
// looked at when it is done, however many there are.

import { compact, isAtRest } from './compact.ts';
import type { IkeSa } from './sa.ts';

/** An SA and what it is found by, as of the last `index`. */
interface Row {
  sa: IkeSa;
  /** The initiator's SPI, where that is the peer. */
  begunBy?: string;
  spisIn: readonly number[];
  spisOut: readonly number[];
  /** Compact: nothing has been under way since. */
  atRest: boolean;
}

const NONE: readonly number[] = [];

export class SaTable {
  readonly #rows = new Map<string, Row>();
  readonly #touched = new Set<string>();
  readonly #halfOpen = new Set<string>();
  readonly #begunBy = new Map<string, string>();
  readonly #bySpiIn = new Map<number, string>();
  readonly #bySpiOut = new Map<number, string>();
  /** What `has` would say otherwise since it was last asked for. */
  #came = new Set<string>();
  #went = new Set<string>();
  #visits = 0;

  constructor(sas: readonly IkeSa[]) {
    for (const sa of sas) this.set(sa.spi, sa);
  }

  has(spi: string): boolean {
    return this.#rows.has(spi);
  }

  /** Whoever gets an SA may change it. */
  get(spi: string): IkeSa | undefined {
    const row = this.#rows.get(spi);
    if (!row) return undefined;
    this.#touched.add(spi);
    this.#visits++;
    return row.sa;
  }

  /** To read it; nobody changes it. */
  peek(spi: string): Readonly<IkeSa> | undefined {
    return this.#rows.get(spi)?.sa;
  }

  set(spi: string, sa: IkeSa): void {
    this.#rows.set(spi, { sa, spisIn: NONE, spisOut: NONE, atRest: false });
    this.#touched.add(spi);
    if (!this.#went.delete(spi)) this.#came.add(spi);
  }

  delete(spi: string): void {
    const row = this.#rows.get(spi);
    if (!row) return;
    this.#unindex(spi, row);
    this.#rows.delete(spi);
    this.#touched.add(spi);
    if (!this.#came.delete(spi)) this.#went.add(spi);
  }

  keys(): Iterable<string> {
    return this.#rows.keys();
  }

  /** SPIs that came into use and went out of it since the last call. */
  takeChanges(): { came: string[]; went: string[] } {
    const changes = { came: [...this.#came], went: [...this.#went] };
    this.#came.clear();
    this.#went.clear();
    return changes;
  }

  /** To read them all; nobody changes one. */
  *all(): Iterable<IkeSa> {
    for (const { sa } of this.#rows.values()) yield sa;
    this.#visits += this.#rows.size;
  }

  /** SPIs of the SAs handed out, made or deleted since `index`; grows while it is walked. */
  touched(): Iterable<string> {
    return this.#touched;
  }

  /** For this SA to be looked at, though nothing of it changes. */
  touch(spi: string): void {
    if (this.#rows.has(spi)) this.#touched.add(spi);
  }

  /** Takes note of what became of the SAs touched. */
  index(): void {
    for (const spi of this.#touched) {
      const row = this.#rows.get(spi);
      if (!row) continue;
      this.#unindex(spi, row);
      rest(row);
      this.#describe(row);
      this.#index(spi, row);
    }
    this.#touched.clear();
  }

  /** SAs that a peer began and that are not established: half-open. */
  halfOpen(): ReadonlySet<string> {
    return this.#halfOpen;
  }

  /** The SA that a peer began with this SPI of its own. */
  begunBy(initiatorSpi: string): IkeSa | undefined {
    return this.get(this.#begunBy.get(initiatorSpi) ?? '');
  }

  /** The SA with a child of that SPI. Outbound SPIs are the peers', and two may choose the same. */
  withChild(direction: 'in' | 'out', spi: number): IkeSa | undefined {
    return this.get((direction === 'in' ? this.#bySpiIn : this.#bySpiOut).get(spi) ?? '');
  }

  /** The SA with a child that sends with that SPI, to read it. */
  peekWithOutbound(spi: number): Readonly<IkeSa> | undefined {
    return this.peek(this.#bySpiOut.get(spi) ?? '');
  }

  hasChild(spiIn: number): boolean {
    return this.#bySpiIn.has(spiIn);
  }

  /** Whether packets are sent with that SPI, to whomever. */
  hasOutbound(spi: number): boolean {
    return this.#bySpiOut.has(spi);
  }

  /** How often an SA was handed out, in all. */
  visits(): number {
    return this.#visits;
  }

  #describe(row: Row): void {
    const { sa } = row;
    if (sa.initiator) delete row.begunBy;
    else row.begunBy = sa.peerSpi;
    const children = sa.state.name === 'established' ? sa.state.children : [];
    row.spisIn = children.length === 0 ? NONE : children.map(({ spiIn }) => spiIn);
    row.spisOut = children.length === 0 ? NONE : children.map(({ spiOut }) => spiOut);
  }

  #index(spi: string, { sa, begunBy, spisIn, spisOut }: Row): void {
    if (!sa.initiator && sa.state.name !== 'established') this.#halfOpen.add(spi);
    if (begunBy !== undefined) this.#begunBy.set(begunBy, spi);
    for (const each of spisIn) this.#bySpiIn.set(each, spi);
    for (const each of spisOut) this.#bySpiOut.set(each, spi);
  }

  #unindex(spi: string, { begunBy, spisIn, spisOut }: Row): void {
    this.#halfOpen.delete(spi);
    if (begunBy !== undefined) forget(this.#begunBy, begunBy, spi);
    for (const each of spisIn) forget(this.#bySpiIn, each, spi);
    for (const each of spisOut) forget(this.#bySpiOut, each, spi);
  }
}

function rest(row: Row): void {
  const atRest = isAtRest(row.sa);
  if (atRest && !row.atRest) compact(row.sa);
  row.atRest = atRest;
}

/** Unless the key has come to stand for another SA. */
function forget<Key>(map: Map<Key, string>, key: Key, spi: string): void {
  if (map.get(key) === spi) map.delete(key);
}
