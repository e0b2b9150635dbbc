// Two gateways, one fake clock, one bad network. Everything is decided by the seed. All it holds is plain data, so a
// pair can be copied at any moment and go on two ways.

import type { Provider } from '../crypto/provider.ts';
import type { Action, Command, Endpoint, Event, Failure, Job, JobResult } from '../ike/boundary.ts';
import { createGateway, type Gateway, type GatewayOptions, type Memory } from '../ike/gateway.ts';
import type { IkeSa } from '../ike/sa.ts';
import type { Change, Instant } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { decodeHeader } from '../wire/ikev2.ts';
import { EXCHANGE } from '../wire/numbers.ts';
import { copy } from './copy.ts';
import { doJob, type JobState } from './jobs.ts';
import { applyChange, type Passage, type Plane, passage } from './plane.ts';

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

/** A translator in front of one side: the other side sees its address, and a port for each port behind it. */
export interface Nat {
  side: SideName;
  address: string;
  port: (inner: number) => number;
}

/** Something under way; `order` names it. */
export type Pending = { at: Instant; order: number } & (
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
    }
);

/** Told of what happens; for checks that hold at every moment. */
export interface Observer {
  sent?(from: Side, bytes: Uint8Array): void;
  received?(to: Side, bytes: Uint8Array): void;
  judged?(side: Side, job: Job, result: JobResult): void;
  /** A gateway has handled an event, and its data plane has not yet. */
  handled?(side: Side): void;
}

export interface Pair {
  a: Side;
  b: Side;
  weather: Weather;
  now(): Instant;
  feed(side: Side, event: Event): void;
  command(side: Side, command: Command, tunnel: string, child?: string): number;
  /** Lets events happen until that much time has passed. */
  run(milliseconds: number): void;
  /** The messages sent, as a ladder. */
  ladder(): string;
  nat?: Nat;
  /** What DNS says; a name that is not there is not known. */
  names: Map<string, string[]>;
  /** A new gateway without memory, as after a crash; `sas` are handed over, and then the data plane stays. */
  restart(side: Side, sas?: readonly IkeSa[]): void;
  /** Gives a datagram to a side, as from anybody. */
  inject(to: Side, bytes: Uint8Array, path: { local: Endpoint; remote: Endpoint }): void;
  /** Called with every datagram; false drops it. */
  filter: (from: Side, bytes: Uint8Array, count: number) => boolean;
  observer: Observer;

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

/** So many things at one moment are a loop. */
const MOST_SPINS = 10_000;

type MakeProvider = (random: () => number, of: SideName | 'jobs') => Provider;

interface World {
  random: number;
  now: Instant;
  order: number;
  datagrams: number;
  spins: number;
  queue: Pending[];
  steps: string[];
  jobs: JobState;
}

/** What a fork takes over from the pair it comes from. */
interface Past {
  world: World;
  sides: Record<SideName, Omit<Side, 'gateway'> & { memory: Memory }>;
  rest: Pick<Pair, 'weather' | 'filter' | 'names' | 'nat'>;
}

export function createPair(
  seed: number,
  tunnels: { a: Tunnel; b: Tunnel },
  provider: MakeProvider,
  options: Partial<Record<SideName, Partial<GatewayOptions>>> = {},
  past?: Past,
): Pair {
  const world: World = past?.world ?? {
    random: seed >>> 0,
    now: 1_000,
    order: 0,
    datagrams: 0,
    spins: 0,
    queue: [],
    steps: [],
    jobs: { serial: 0, handles: new Set() },
  };
  const random = () => draw(world);
  const providers = { a: provider(random, 'a'), b: provider(random, 'b'), jobs: provider(random, 'jobs') };

  const makeSide = (name: SideName): Side => {
    const { memory, ...known } = past?.sides[name] ?? { memory: undefined, ...newSide(name, tunnels[name]) };
    const given = { provider: providers[name], ...options[name], ...(memory ? { memory } : {}) };
    return { ...known, gateway: createGateway(given) };
  };

  const pair: Pair = {
    a: makeSide('a'),
    b: makeSide('b'),
    weather: CALM,
    filter: () => true,
    observer: {},
    names: new Map(),
    ...past?.rest,
    now: () => world.now,
    feed,
    ladder: () => world.steps.join('\n'),
    command(side, command, tunnel, child) {
      const id = world.order++;
      feed(side, { type: 'command', id, command, tunnel, ...(child === undefined ? {} : { child }) });
      return id;
    },
    inject: (to, bytes, path) => feed(to, { type: 'datagram', bytes, ...path }),
    restart(side, sas) {
      side.gateway = createGateway({ provider: providers[side.name], ...options[side.name], sas: sas ?? [] });
      side.life++;
      if (!sas) {
        for (const table of [side.inbound, side.outbound, side.inUse]) table.clear();
        world.queue = world.queue.filter((one) => one.type !== 'changes' || one.side !== side.name);
      }
      feed(side, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels[side.name] }] });
    },
    run(milliseconds) {
      const end = world.now + milliseconds;
      while (step(end));
      world.now = end;
    },
    pending: () => world.queue,
    take: (order) => happen(remove(order)),
    lose: (order) => void remove(order),
    repeat(order) {
      const one = world.queue.find((other) => other.order === order)!;
      world.queue.push({ ...one, order: world.order++ });
    },
    postpone(order, at) {
      const one = world.queue.find((other) => other.order === order);
      if (one) one.at = at;
    },
    work() {
      for (;;) {
        const one = world.queue.find(({ type }) => type !== 'datagram');
        if (!one) return;
        happen(remove(one.order));
      }
    },
    idle(milliseconds) {
      world.now += milliseconds;
    },
    tick() {
      const { at, side } = nextTimer();
      if (at === Number.POSITIVE_INFINITY) return false;
      world.now = Math.max(world.now, at);
      feed(side, { type: 'timeout' });
      return true;
    },
    forget() {
      world.steps = [];
      for (const side of [pair.a, pair.b]) {
        side.reports = [];
        side.changes = [];
        side.outcomes.clear();
      }
    },
    fork() {
      const { weather, filter, nat } = pair;
      return createPair(seed, tunnels, provider, options, {
        world: copy(world),
        sides: { a: copySide(pair.a), b: copySide(pair.b) },
        rest: { weather, filter, names: pair.names, ...(nat ? { nat } : {}) },
      });
    },
    handles: () => [...world.jobs.handles],
  };

  function remove(order: number): Pending {
    const index = world.queue.findIndex((one) => one.order === order);
    return world.queue.splice(index, 1)[0]!;
  }

  function nextTimer(): { side: Side; at: Instant } {
    const [a, b] = [pair.a, pair.b].map((side) => ({
      side,
      at: side.gateway.nextTimeout() ?? Number.POSITIVE_INFINITY,
    }));
    return a!.at <= b!.at ? a! : b!;
  }

  /** The next thing that happens before `end`, on either side or in between. */
  function step(end: Instant): boolean {
    let first = world.queue[0];
    for (const one of world.queue)
      if (one.at < first!.at || (one.at === first!.at && one.order < first!.order)) first = one;
    const timer = nextTimer();
    const at = Math.min(first?.at ?? Number.POSITIVE_INFINITY, timer.at);
    if (at > end) return false;
    world.spins = at > world.now ? 0 : world.spins + 1;
    if (world.spins > MOST_SPINS) throw new Error('time stands still: a timeout is due that nobody takes');
    world.now = Math.max(world.now, at);
    if (first && first.at <= timer.at) happen(remove(first.order));
    else feed(timer.side, { type: 'timeout' });
    return true;
  }

  function happen(one: Pending): void {
    switch (one.type) {
      case 'datagram': {
        const { to, bytes, local, remote } = one;
        pair.observer.received?.(pair[to], bytes);
        return feed(pair[to], { type: 'datagram', bytes, local, remote });
      }
      case 'job':
        return work(pair[one.side], one);
      case 'name':
        return lookUp(pair[one.side], one);
      case 'changes':
        return change(pair[one.side], one);
    }
  }

  function work(side: Side, { life, id, job, failed }: Pending & { type: 'job' }): void {
    const result: JobResult = failed
      ? { type: 'failed', fault: 'ours', message: 'planted' }
      : doJob(providers.jobs, world.jobs, job);
    if (side.life !== life) return;
    pair.observer.judged?.(side, job, result);
    feed(side, { type: 'job-done', id, result });
  }

  function change(side: Side, { life, id, changes, refused }: Pending & { type: 'changes' }): void {
    if (!refused) for (const one of changes) applyChange(side, one);
    const failed = refused ? { failed: { reason: refused, message: 'planted' } } : {};
    if (side.life === life) feed(side, { type: 'applied', id, ...failed });
  }

  function feed(side: Side, event: Event): void {
    for (const action of side.gateway.handle(event, world.now)) perform(side, action);
    pair.observer.handled?.(side);
  }

  function perform(side: Side, action: Action): void {
    switch (action.type) {
      case 'send':
        return transmit(side, action);
      case 'dataplane':
        return changeLater(side, action.id, action.changes);
      case 'job':
        return workLater(side, action.id, action.job);
      case 'resolve':
        return lookUpLater(side, action.tunnel, action.name);
      case 'command-done':
        return void side.outcomes.set(action.id, action.outcome);
      case 'report':
        side.reports.push(action.code);
        return note(`${side.name}: ${action.code} ${JSON.stringify(action.detail ?? {})}`);
    }
  }

  function note(text: string): void {
    world.steps.push(`${String(world.now).padStart(8)}  ${text}`);
  }

  function after([low, high]: readonly [number, number]): Instant {
    return world.now + low + Math.floor(random() * (high - low + 1));
  }

  function workLater({ name: side, life }: Side, id: number, job: Job): void {
    const failed = job.type !== 'forget' && random() < pair.weather.fail;
    const at = after(pair.weather.work);
    world.queue.push({ at, order: world.order++, type: 'job', side, life, id, job, failed });
  }

  function lookUpLater({ name: side, life }: Side, tunnel: string, name: string): void {
    const at = after(pair.weather.work);
    world.queue.push({ at, order: world.order++, type: 'name', side, life, tunnel, name });
  }

  function lookUp(side: Side, { life, tunnel, name }: Pending & { type: 'name' }): void {
    if (side.life !== life) return;
    const addresses = pair.names.get(name) ?? [];
    const failed = addresses.length === 0 ? { failed: 'there is no such name' } : {};
    feed(side, { type: 'resolved', tunnel, name, addresses: [...addresses], ...failed });
  }

  /** In order: a data plane does not let one change overtake another. */
  function changeLater(side: Side, id: number, changes: Change[]): void {
    const refused = changes.some(({ type }) => type === 'add-inbound') ? refusal(side) : undefined;
    side.changes.push(...changes);
    const { name, life } = side;
    const before = world.queue.findLast((one) => one.type === 'changes' && one.side === name);
    const at = Math.max(before?.at ?? 0, after(pair.weather.work));
    world.queue.push({
      at,
      order: world.order++,
      type: 'changes',
      side: name,
      life,
      id,
      changes,
      ...(refused ? { refused } : {}),
    });
  }

  function refusal(side: Side): Failure['reason'] | undefined {
    if (side.occupied > 0) {
      side.occupied--;
      return 'exists';
    }
    return random() < pair.weather.refuse ? 'refused' : undefined;
  }

  function transmit(
    side: Side,
    { bytes, local, remote }: { bytes: Uint8Array; local: Endpoint; remote: Endpoint },
  ): void {
    const other = side === pair.a ? pair.b : pair.a;
    const path = translated(pair.nat, side, other, { local, remote });
    pair.observer.sent?.(side, bytes);
    const lost = !path || random() < pair.weather.loss || !pair.filter(side, bytes, world.datagrams++);
    const rung = rungOf(side, bytes, lost);
    if (rung) note(rung);
    if (lost) return;
    const copies = random() < pair.weather.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const at = after(pair.weather.delay);
      world.queue.push({ at, order: world.order++, type: 'datagram', to: other.name, bytes, ...path });
    }
  }

  if (!past) {
    feed(pair.a, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels.a }] });
    feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels.b }] });
  }
  return pair;
}

function newSide(name: SideName, { local }: Tunnel): Omit<Side, 'gateway'> {
  return {
    name,
    address: local.address,
    life: 0,
    inbound: new Map(),
    outbound: new Map(),
    inUse: new Map(),
    reports: [],
    outcomes: new Map(),
    changes: [],
    occupied: 0,
  };
}

function copySide({ gateway, ...side }: Side): Past['sides'][SideName] {
  return {
    ...side,
    inbound: new Map(side.inbound),
    outbound: new Map(side.outbound),
    inUse: new Map(side.inUse),
    reports: [...side.reports],
    outcomes: new Map(side.outcomes),
    changes: [...side.changes],
    memory: copy(gateway.memory()),
  };
}

/** The endpoints as the receiver sees them, or nothing when no such receiver is there. */
function translated(
  nat: Nat | undefined,
  side: Side,
  other: Side,
  { local, remote }: { local: Endpoint; remote: Endpoint },
): { local: Endpoint; remote: Endpoint } | undefined {
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
function rungOf(side: Side, bytes: Uint8Array, lost: boolean): string | undefined {
  if (bytes.length < 28) return undefined;
  const { exchange, flags, messageId } = decodeHeader(bytes);
  const name = Object.entries(EXCHANGE).find(([, number]) => number === exchange)?.[0] ?? exchange;
  const arrow = side.name === 'a' ? `a --${lost ? 'x ' : '> '} b` : `a ${lost ? 'x' : '<'}-- b`;
  return `${arrow}  ${name} ${flags.response ? 'response' : 'request'} ${messageId}`;
}

/** One packet through a policy: whether the other side can read it. Tells the receiver, as the engine would. */
export function sendPacket(pair: Pair, from: Side, policy: string): Passage {
  const to = from === pair.a ? pair.b : pair.a;
  const { outcome, spi } = passage(from, to, policy);
  if (outcome === 'received')
    pair.feed(to, { type: 'dataplane', event: { type: 'first-inbound', spi: spi! } });
  return outcome;
}

/** mulberry32: small, seeded, good enough for weather. */
function draw(world: { random: number }): number {
  world.random = (world.random + 0x6d2b79f5) >>> 0;
  const state = world.random;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
