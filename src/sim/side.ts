// One of the two: a gateway, the tables of its data plane, and what it said.

import type { Gateway, Memory } from '../ike/gateway.ts';
import type { Change } from '../policy/sad.ts';
import { copy } from './copy.ts';
import type { Plane } from './plane.ts';

export type SideName = 'a' | 'b';

export interface Side extends Plane {
  name: SideName;
  gateway: Gateway;
  address: string;
  /** Counts the restarts: what an earlier gateway asked for is nothing to the next. */
  life: number;
  reports: string[];
  outcomes: Map<number, string>;
  /** Every change that the core asked for, in order. */
  changes: Change[];
  /** So many of the next inbound SAs find their SPI taken by another program. */
  occupied: number;
}

export type Remembered = Omit<Side, 'gateway'> & { memory?: Memory };

export function newSide(name: SideName, address: string): Remembered {
  return {
    name,
    address,
    life: 0,
    inbound: new Map(),
    outbound: new Map(),
    inUse: new Map(),
    expected: new Set(),
    reports: [],
    outcomes: new Map(),
    changes: [],
    occupied: 0,
  };
}

export function copySide({ gateway, ...side }: Side): Remembered {
  return {
    ...side,
    inbound: new Map(side.inbound),
    outbound: new Map(side.outbound),
    inUse: new Map(side.inUse),
    expected: new Set(side.expected),
    reports: [...side.reports],
    outcomes: new Map(side.outcomes),
    changes: [...side.changes],
    memory: copy(gateway.memory()),
  };
}

/** What was noted of the past goes. */
export function forgetPast(side: Side): void {
  side.reports = [];
  side.changes = [];
  side.outcomes.clear();
}
