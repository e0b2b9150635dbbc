// The tunnels by name and by both addresses. As with the SAs, an event may change only the tunnels that it was handed.

import type { IpAddress } from '../wire/address.ts';
import { compactTunnel, tunnelAtRest } from './compact.ts';
import type { TunnelState } from './context.ts';

interface Row {
  state: TunnelState;
  /** In the order of the configuration. */
  place: number;
  /** What it is found by. */
  keys: readonly string[];
  atRest: boolean;
}

export class TunnelTable {
  readonly #rows = new Map<string, Row>();
  readonly #touched = new Set<string>();
  readonly #byAddress = new Map<string, Row[]>();
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
    const { local, remote } = state.tunnel;
    const place = old?.place ?? this.#next++;
    // A name may have moved since it was looked up.
    const anywhere = remote.names || remote.addresses.length === 0 ? [ANYWHERE] : [];
    const peers = [...remote.addresses, ...anywhere];
    const keys = peers.map((peer) => keyOf(local.address, peer));
    const row = { state, place, keys, atRest: false };
    this.#rows.set(name, row);
    for (const key of row.keys) this.#index(key, row);
    this.#touched.add(name);
  }

  delete(name: string): void {
    const row = this.#rows.get(name);
    if (!row) return;
    this.#unindex(row);
    this.#rows.delete(name);
    this.#touched.add(name);
  }

  names(): string[] {
    return [...this.#rows.keys()];
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

  /** Those that expect a peer at this address to come to that one of ours, in the order of the configuration. */
  expecting(local: IpAddress, remote: IpAddress): TunnelState[] {
    const there = [...new Set([...this.#at(keyOf(local, remote)), ...this.#at(keyOf(local, ANYWHERE))])];
    return there.sort((a, b) => a.place - b.place).map(({ state }) => state);
  }

  /** Names of the tunnels handed out, set or deleted since they were last taken. */
  takeTouched(): string[] {
    const names = [...this.#touched];
    this.#touched.clear();
    for (const name of names) this.#rest(name);
    return names;
  }

  #rest(name: string): void {
    const row = this.#rows.get(name);
    if (!row) return;
    const atRest = tunnelAtRest(row.state);
    if (atRest && !row.atRest) row.state = compactTunnel(row.state);
    row.atRest = atRest;
  }

  #index(key: string, row: Row): void {
    const there = this.#byAddress.get(key);
    if (there) there.push(row);
    else this.#byAddress.set(key, [row]);
  }

  #at(key: string): readonly Row[] {
    return this.#byAddress.get(key) ?? [];
  }

  #unindex(row: Row): void {
    for (const key of row.keys) {
      const others = this.#at(key).filter((other) => other !== row);
      if (others.length === 0) this.#byAddress.delete(key);
      else this.#byAddress.set(key, others);
    }
  }
}

/** In place of the address of a peer that may come from anywhere. */
const ANYWHERE = '*';

function keyOf(local: IpAddress, remote: IpAddress): string {
  return `${local} ${remote}`;
}
