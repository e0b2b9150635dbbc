// Two gateways, one fake clock, one bad network. Everything is decided by the seed. All it holds is plain data, so a
// pair can be copied at any moment and go on two ways.

import type { Provider } from '../crypto/provider.ts';
import type { Command, Event } from '../ike/boundary.ts';
import { createGateway, type GatewayOptions } from '../ike/gateway.ts';
import type { IkeSa } from '../ike/sa.ts';
import type { Instant } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { copy } from './copy.ts';
import { feed, happen, nextTimer, OTHER, type Scene, type Stage, step } from './happen.ts';
import { CALM, type Path } from './path.ts';
import { type Passage, passage } from './plane.ts';
import { copySide, forgetPast, newSide, type Remembered, type Side, type SideName } from './side.ts';
import { draw, find, newWorld, type Pending, remove, type World } from './world.ts';

export type { Observer } from './happen.ts';
export { CALM, type Weather } from './path.ts';
export type { Side, SideName } from './side.ts';
export type { Pending } from './world.ts';

export interface Pair extends Scene {
  now(): Instant;
  feed(side: Side, event: Event): void;
  command(side: Side, command: Command, tunnel: string, child?: string): number;
  /** Lets events happen until that much time has passed. */
  run(milliseconds: number): void;
  /** The messages sent, as a ladder. */
  ladder(): string;
  /** A new gateway without memory, as after a crash; `sas` are handed over, and then the data plane stays. */
  restart(side: Side, sas?: readonly IkeSa[]): void;
  /** Gives a datagram to a side, as from anybody. */
  inject(to: Side, bytes: Uint8Array, path: Path): void;

  /** For those who decide themselves what happens next: what is under way, in order. */
  pending(): readonly Pending[];
  /** Lets one of them happen. Changes of one side happen in order. */
  take(order: number): void;
  /** A datagram is lost, or comes twice. */
  lose(order: number): void;
  repeat(order: number): void;
  /** It happens at that moment instead, which may be never. */
  postpone(order: number, at: Instant): void;
  /** Lets every job and every change happen that is under way. */
  work(): void;
  /** Time passes, and nothing happens. */
  idle(milliseconds: number): void;
  /** Lets time go on to the next timer, and no further. False where none is set. */
  tick(): boolean;
  /** Forgets what was noted of the past: the ladder, reports, outcomes, changes. */
  forget(): void;
  /** The same at this moment; the two go on apart. */
  fork(): Pair;
  /** Private halves of key exchanges that are still kept. */
  handles(): readonly string[];
}

type MakeProvider = (random: () => number, of: SideName | 'jobs') => Provider;

/** What a pair is made of, and what both ways of a fork share. */
interface Parts {
  tunnels: Record<SideName, Tunnel>;
  provider: MakeProvider;
  options: Partial<Record<SideName, Partial<GatewayOptions>>>;
}

/** What a fork takes over from the pair it comes from. */
interface Past {
  world: World;
  sides: Record<SideName, Remembered>;
  rest: Pick<Scene, 'weather' | 'filter' | 'names' | 'nat'>;
}

export function createPair(
  seed: number,
  tunnels: Record<SideName, Tunnel>,
  provider: MakeProvider,
  options: Parts['options'] = {},
): Pair {
  const sides = { a: newSide('a', tunnels.a.local.address), b: newSide('b', tunnels.b.local.address) };
  const rest = { weather: CALM, filter: () => true, names: new Map() };
  const pair = assemble({ tunnels, provider, options }, { world: newWorld(seed), sides, rest });
  for (const side of [pair.a, pair.b]) pair.feed(side, configured(tunnels[side.name]));
  return pair;
}

const configured = (tunnel: Tunnel): Event => ({
  type: 'configure',
  changes: [{ type: 'set-tunnel', tunnel }],
});

function assemble(parts: Parts, { world, sides, rest }: Past): Pair {
  const random = () => draw(world);
  const providers = { a: parts.provider(random, 'a'), b: parts.provider(random, 'b') };
  const gatewayOf = (name: SideName, more: Partial<GatewayOptions>) =>
    createGateway({ provider: providers[name], ...parts.options[name], ...more });
  const sideOf = ({ memory, ...known }: Remembered): Side => ({
    ...known,
    gateway: gatewayOf(known.name, memory ? { memory } : {}),
  });
  const scene: Scene = { a: sideOf(sides.a), b: sideOf(sides.b), observer: {}, ...rest };
  const stage: Stage = { scene, world, jobs: parts.provider(random, 'jobs') };

  return Object.assign(scene, controls(stage), choices(stage), {
    restart(side: Side, sas?: readonly IkeSa[]) {
      side.gateway = gatewayOf(side.name, { sas: sas ?? [] });
      side.life++;
      if (!sas) loseTables(world, side);
      feed(stage, side, configured(parts.tunnels[side.name]));
    },
    fork: () => assemble(parts, pastOf(stage)),
  });
}

function loseTables(world: World, side: Side): void {
  for (const table of [side.inbound, side.outbound, side.inUse, side.expected]) table.clear();
  world.queue = world.queue.filter((one) => one.type !== 'changes' || one.side !== side.name);
}

function pastOf({ scene, world }: Stage): Past {
  const { weather, filter, names, nat } = scene;
  const sides = { a: copySide(scene.a), b: copySide(scene.b) };
  return { world: copy(world), sides, rest: { weather, filter, names, ...(nat ? { nat } : {}) } };
}

/** What makes things happen and tells what did. */
function controls(stage: Stage) {
  const { scene, world } = stage;
  return {
    now: () => world.now,
    ladder: () => world.steps.join('\n'),
    handles: () => [...world.jobs.handles],
    feed: (side: Side, event: Event) => feed(stage, side, event),
    inject: (to: Side, bytes: Uint8Array, path: Path) =>
      feed(stage, to, { type: 'datagram', bytes, ...path }),
    command(side: Side, command: Command, tunnel: string, child?: string) {
      const id = world.order++;
      feed(stage, side, { type: 'command', id, command, tunnel, ...(child === undefined ? {} : { child }) });
      return id;
    },
    run(milliseconds: number) {
      const end = world.now + milliseconds;
      while (step(stage, end));
      world.now = end;
    },
    forget() {
      world.steps = [];
      for (const side of [scene.a, scene.b]) forgetPast(side);
    },
  };
}

/** What chooses among the things that can happen. */
function choices(stage: Stage) {
  const { scene, world } = stage;
  return {
    pending: () => world.queue,
    take: (order: number) => happen(stage, remove(world, order)),
    lose: (order: number) => void remove(world, order),
    repeat: (order: number) => void world.queue.push({ ...find(world, order)!, order: world.order++ }),
    postpone(order: number, at: Instant) {
      const one = find(world, order);
      if (one) one.at = at;
    },
    work() {
      for (;;) {
        const one = world.queue.find(({ type }) => type !== 'datagram');
        if (!one) return;
        happen(stage, remove(world, one.order));
      }
    },
    idle(milliseconds: number) {
      world.now += milliseconds;
    },
    tick() {
      const { at, side } = nextTimer(scene);
      if (at === Number.POSITIVE_INFINITY) return false;
      world.now = Math.max(world.now, at);
      feed(stage, side, { type: 'timeout' });
      return true;
    },
  };
}

/** One packet through a policy: whether the other side can read it. Tells the receiver, as the engine would. */
export function sendPacket(pair: Pair, from: Side, policy: string): Passage {
  const to = pair[OTHER[from.name]];
  const { outcome, spi } = passage(from, to, policy);
  if (outcome === 'received')
    pair.feed(to, { type: 'dataplane', event: { type: 'first-inbound', spi: spi! } });
  return outcome;
}
