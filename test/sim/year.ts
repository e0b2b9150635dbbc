// A simulated year: the lifetimes run out on both sides and nobody looks on. A packet each way every minute must pass, and the
// memory of the process must not grow.

import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { disagreements } from '../../src/sim/invariants.ts';
import { CALM, type Pair, sendPacket } from '../../src/sim/pair.ts';
import { established, sites, tunnel } from './sites.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Whoever is first rekeys a child after about five minutes, and the IKE SA after fifty. */
const LIFETIMES = { child: 400_000, ike: 4_000_000 };

export interface Phase {
  days: number;
  /** Of children and of IKE SAs, since the beginning. */
  rekeys: number;
  ikeRekeys: number;
  heapBytes: number;
}

/** After each phase what is in the heap once it is swept. Throws where a packet did not pass or the two do not agree. */
export function live(days: number, phases: number, loss: number, progress?: (phase: Phase) => void): Phase[] {
  const pair = established(rekeyingSites());
  pair.weather = { ...CALM, loss, delay: [5, 50], work: [1, 20] };
  const made: Phase[] = [];
  let [rekeys, ikeRekeys] = [0, 0];
  const count = (code: string) => pair.a.reports.filter((report) => report === code).length;
  for (let phase = 1; phase <= phases; phase++) {
    for (let minute = 0; minute < (days * DAY) / MINUTE / phases; minute++) {
      liveAMinute(pair);
      rekeys += count('CHILD_REKEYED');
      ikeRekeys += count('IKE_REKEYED');
      pair.forget();
    }
    made.push({ days: (days * phase) / phases, rekeys, ikeRekeys, heapBytes: sweptHeap() });
    progress?.(made.at(-1)!);
  }
  pair.weather = CALM;
  pair.run(10 * MINUTE);
  assert.deepEqual(disagreements(pair), [], pair.ladder());
  return made;
}

function rekeyingSites(): Pair {
  const changes = (side: 'a' | 'b') => {
    const usual = tunnel(side);
    return {
      // Packets flow, so neither has to be asked for.
      liveness: 0,
      keepalive: DAY,
      ike: { ...usual.ike, lifetime: LIFETIMES.ike },
      children: usual.children.map((child) => ({ ...child, lifetime: { time: LIFETIMES.child } })),
    };
  };
  return sites(1, changes('a'), changes('b'));
}

function liveAMinute(pair: Pair): void {
  pair.run(MINUTE);
  for (const from of [pair.a, pair.b])
    assert.equal(sendPacket(pair, from, 't/net'), 'received', `from ${from.name}\n${pair.ladder()}`);
}

function sweptHeap(): number {
  setFlagsFromString('--expose-gc');
  const gc: () => void = runInNewContext('gc');
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}
