// The tunnels by name and by the peer's address. As with the SAs, an event may change only the tunnels that it was handed.

import type { IpAddress } from '../wire/address.ts';
import type { TunnelState } from './context.ts';

interface Row {
  state: TunnelState;
  /** In the order of the configuration. */
  place: number;
  /** Where the peer may be, as it is indexed. */
  addresses: readonly IpAddress[];
}

/** Tunnels that take their peer from anywhere. */
const ANYWHERE: readonly IpAddress[] = [''];

export class TunnelTable {
  readonly #rows = new Map<string, Row>();
  readonly #touched = new Set<string>();
  readonly #byAddress = new Map<IpAddress, Row[]>();
  #next = 0;

  get(name: string): TunnelState | undefined {
    const row = this.#rows.get(name);
    if (row) this.#touched.add(name);
    return row?.state;
  }

  size(): number {
    return this.#rows.size;
  }

  /** To read it; nobody changes it. */
  peek(name: string): TunnelState | undefined {
    return this.#rows.get(name)?.state;
  }

  /** To be called again whenever its addresses have changed. */
  set(name: string, state: TunnelState): void {
    const old = this.#rows.get(name);
    if (old) this.#unindex(old);
    const { addresses } = state.tunnel.remote;
    const place = old?.place ?? this.#next++;
    const row = { state, place, addresses: addresses.length === 0 ? ANYWHERE : addresses };
    this.#rows.set(name, row);
    for (const address of row.addresses) this.#index(address, row);
    this.#touched.add(name);
  }

  delete(name: string): void {
    const row = this.#rows.get(name);
    if (!row) return;
    this.#unindex(row);
    this.#rows.delete(name);
    this.#touched.add(name);
  }

  /** All of them, each to be changed. */
  values(): TunnelState[] {
    for (const name of this.#rows.keys()) this.#touched.add(name);
    return [...this.all()];
  }

  /** To read them all; nobody changes one. */
  *all(): Iterable<TunnelState> {
    for (const { state } of this.#rows.values()) yield state;
  }

  /** Those that expect a peer at this address, in the order of the configuration. */
  expecting(address: IpAddress): TunnelState[] {
    const there = [...this.#at(address), ...this.#at(ANYWHERE[0]!)];
    return there.sort((a, b) => a.place - b.place).map(({ state }) => state);
  }

  /** Names of the tunnels handed out, set or deleted since they were last taken. */
  takeTouched(): string[] {
    const names = [...this.#touched];
    this.#touched.clear();
    return names;
  }

  #index(address: IpAddress, row: Row): void {
    const there = this.#byAddress.get(address);
    if (there) there.push(row);
    else this.#byAddress.set(address, [row]);
  }

  #at(address: IpAddress): readonly Row[] {
    return this.#byAddress.get(address) ?? [];
  }

  #unindex(row: Row): void {
    for (const address of row.addresses) {
      const others = this.#at(address).filter((other) => other !== row);
      if (others.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, others);
    }
  }
}
