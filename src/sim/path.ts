// What lies between the two: who receives a datagram, and what it looks like on the ladder.

import type { Endpoint } from '../ike/boundary.ts';
import { decodeHeader } from '../wire/ikev2.ts';
import { EXCHANGE } from '../wire/numbers.ts';
import type { Side, SideName } from './side.ts';

export interface Weather {
  /** Chances from 0 to 1 for each datagram. */
  loss: number;
  duplicate: number;
  /** Milliseconds: each datagram takes between the two. */
  delay: readonly [number, number];
  /** The same for jobs and for the data plane. */
  work: readonly [number, number];
  /** The chance that the data plane refuses a change set that adds SAs. */
  refuse: number;
  /** The chance that a job fails by our own fault. */
  fail: number;
}

export const CALM: Weather = { loss: 0, duplicate: 0, delay: [10, 10], work: [1, 1], refuse: 0, fail: 0 };

/** A translator in front of one side: the other side sees its address, and a port for each port behind it. */
export interface Nat {
  side: SideName;
  address: string;
  port: (inner: number) => number;
}

export interface Path {
  local: Endpoint;
  remote: Endpoint;
}

/** The endpoints as the receiver sees them, or nothing when no such receiver is there. */
export function translated(
  nat: Nat | undefined,
  side: Side,
  other: Side,
  { local, remote }: Path,
): Path | undefined {
  if (nat?.side === side.name) {
    const seen = { ...local, address: nat.address, port: nat.port(local.port) };
    return remote.address === other.address ? { local: remote, remote: seen } : undefined;
  }
  if (nat?.side === other.name) {
    const inner = [500, 4500].find((port) => nat.port(port) === remote.port);
    if (remote.address !== nat.address || inner === undefined) return undefined;
    return { local: { ...remote, address: other.address, port: inner }, remote: local };
  }
  return remote.address === other.address ? { local: remote, remote: local } : undefined;
}

/** One line of the ladder; none for what is no IKE message. */
export function rungOf(side: Side, bytes: Uint8Array, lost: boolean): string | undefined {
  if (bytes.length < 28) return undefined;
  const { exchange, flags, messageId } = decodeHeader(bytes);
  const name = Object.entries(EXCHANGE).find(([, number]) => number === exchange)?.[0] ?? exchange;
  const arrow = side.name === 'a' ? `a --${lost ? 'x ' : '> '} b` : `a ${lost ? 'x' : '<'}-- b`;
  return `${arrow}  ${name} ${flags.response ? 'response' : 'request'} ${messageId}`;
}
