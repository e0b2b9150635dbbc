// What the two gateways of a pair live in: one clock, one source of randomness, and all that is under way. Plain data.

import type { Endpoint, Failure, Job } from '../ike/boundary.ts';
import type { Change, Instant } from '../policy/sad.ts';
import type { JobState } from './jobs.ts';
import type { SideName } from './side.ts';

/** Something under way; `order` names it. */
export type Pending = { at: Instant; order: number } & Happening;

/** What began in an earlier life of a side is nothing to the next. */
export type Happening =
  | { type: 'datagram'; to: SideName; bytes: Uint8Array; local: Endpoint; remote: Endpoint }
  | { type: 'job'; side: SideName; life: number; id: number; job: Job; failed: boolean }
  | { type: 'name'; side: SideName; life: number; tunnel: string; name: string }
  | {
      type: 'changes';
      side: SideName;
      life: number;
      id: number;
      changes: Change[];
      refused?: Failure['reason'];
    };

export interface World {
  random: number;
  now: Instant;
  order: number;
  datagrams: number;
  spins: number;
  queue: Pending[];
  steps: string[];
  jobs: JobState;
}

/** So many things at one moment are a loop. */
const MOST_SPINS = 10_000;

export function newWorld(seed: number): World {
  return {
    random: seed >>> 0,
    now: 1_000,
    order: 0,
    datagrams: 0,
    spins: 0,
    queue: [],
    steps: [],
    jobs: { serial: 0, handles: new Set() },
  };
}

/** From 0 to below 1. mulberry32: small, seeded, good enough for weather. */
export function draw(world: World): number {
  world.random = (world.random + 0x6d2b79f5) >>> 0;
  const state = world.random;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

/** A moment between `low` and `high` milliseconds away. */
export function after(world: World, [low, high]: readonly [number, number]): Instant {
  return world.now + low + Math.floor(draw(world) * (high - low + 1));
}

export function begin(world: World, at: Instant, happening: Happening): void {
  world.queue.push({ at, order: world.order++, ...happening });
}

/** What is under way and happens first. */
export function first(world: World): Pending | undefined {
  let found = world.queue[0];
  for (const one of world.queue)
    if (one.at < found!.at || (one.at === found!.at && one.order < found!.order)) found = one;
  return found;
}

export function find(world: World, order: number): Pending | undefined {
  return world.queue.find((one) => one.order === order);
}

export function remove(world: World, order: number): Pending {
  const index = world.queue.findIndex((one) => one.order === order);
  return world.queue.splice(index, 1)[0]!;
}

/** Time goes on to `at`. */
export function advance(world: World, at: Instant): void {
  world.spins = at > world.now ? 0 : world.spins + 1;
  if (world.spins > MOST_SPINS) throw new Error('time stands still: a timeout is due that nobody takes');
  world.now = Math.max(world.now, at);
}

export function note(world: World, text: string): void {
  world.steps.push(`${String(world.now).padStart(8)}  ${text}`);
}
