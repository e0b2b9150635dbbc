// Two gateways, one fake clock, one bad network. Everything is decided by the seed.

import type { Provider } from '../crypto/provider.ts';
import type { Action, Endpoint, Event, Job, JobResult } from '../ike/boundary.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../ike/gateway.ts';
import type { IkeSa } from '../ike/sa.ts';
import type { Change, Instant, SaParameters } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { decodeHeader } from '../wire/ikev2.ts';
import { EXCHANGE } from '../wire/numbers.ts';

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

export interface Side {
  name: SideName;
  gateway: Gateway;
  address: string;
  /** The SAD as the data plane would hold it. */
  inbound: Map<number, SaParameters>;
  outbound: Map<number, SaParameters>;
  /** Which outbound SPI each policy sends with. */
  inUse: Map<string, number>;
  reports: string[];
  outcomes: Map<number, string>;
  /** Every change that the core asked for, in order. */
  changes: Change[];
}

/** A translator in front of one side: the other side sees its address, and a port for each port behind it. */
export interface Nat {
  side: SideName;
  address: string;
  port: (inner: number) => number;
}

export interface Pair {
  a: Side;
  b: Side;
  weather: Weather;
  now(): Instant;
  feed(side: Side, event: Event): void;
  command(side: Side, command: 'up' | 'down' | 'rekey', tunnel: string, child?: string): number;
  /** Lets events happen until that much time has passed. */
  run(milliseconds: number): void;
  /** The messages sent, as a ladder. */
  ladder(): string;
  nat?: Nat;
  /** A new gateway without memory, as after a crash; `sas` are handed over, and then the data plane stays. */
  restart(side: Side, sas?: readonly IkeSa[]): void;
  /** Gives a datagram to a side, as from anybody. */
  inject(to: Side, bytes: Uint8Array, path: { local: Endpoint; remote: Endpoint }): void;
  /** Called with every datagram; false drops it. */
  filter: (from: Side, bytes: Uint8Array, count: number) => boolean;
}

/** So many things at one moment are a loop. */
const MOST_SPINS = 10_000;

interface Pending {
  at: Instant;
  order: number;
  act: () => void;
}

export function createPair(
  seed: number,
  tunnels: { a: Tunnel; b: Tunnel },
  provider: (random: () => number) => Provider,
  options: Partial<Record<SideName, Partial<GatewayOptions>>> = {},
): Pair {
  const random = generator(seed);
  const queue: Pending[] = [];
  const steps: string[] = [];
  let now = 1_000;
  let order = 0;
  let datagrams = 0;
  let spins = 0;

  const schedule = (after: number, act: () => void) =>
    void queue.push({ at: now + after, order: order++, act });
  const between = ([low, high]: readonly [number, number]) => low + Math.floor(random() * (high - low + 1));
  const jobs = createFakeJobs(provider(random));

  const makeSide = (name: SideName, address: string): Side => ({
    name,
    address,
    gateway: createGateway({ provider: provider(random), ...options[name] }),
    inbound: new Map(),
    outbound: new Map(),
    inUse: new Map(),
    reports: [],
    outcomes: new Map(),
    changes: [],
  });

  const pair: Pair = {
    a: makeSide('a', tunnels.a.local.address),
    b: makeSide('b', tunnels.b.local.address),
    weather: CALM,
    filter: () => true,
    now: () => now,
    feed,
    ladder: () => steps.join('\n'),
    command(side, command, tunnel, child) {
      const id = order++;
      feed(side, { type: 'command', id, command, tunnel, ...(child === undefined ? {} : { child }) });
      return id;
    },
    inject: (to, bytes, path) => feed(to, { type: 'datagram', bytes, ...path }),
    restart(side, sas) {
      side.gateway = createGateway({ provider: provider(random), ...options[side.name], sas: sas ?? [] });
      if (!sas) for (const table of [side.inbound, side.outbound, side.inUse]) table.clear();
      feed(side, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels[side.name] }] });
    },
    run(milliseconds) {
      const end = now + milliseconds;
      while (step(end));
      now = end;
    },
  };

  /** The next thing that happens before `end`, on either side or in between. */
  function step(end: Instant): boolean {
    const [first] = queue.toSorted((x, y) => x.at - y.at || x.order - y.order);
    const timers = [pair.a, pair.b].map((side) => ({
      side,
      at: side.gateway.nextTimeout() ?? Number.POSITIVE_INFINITY,
    }));
    const timer = timers[0]!.at <= timers[1]!.at ? timers[0]! : timers[1]!;
    const at = Math.min(first?.at ?? Number.POSITIVE_INFINITY, timer.at);
    if (at > end) return false;
    spins = at > now ? 0 : spins + 1;
    if (spins > MOST_SPINS) throw new Error('time stands still: a timeout is due that nobody takes');
    now = Math.max(now, at);
    if (first && first.at <= timer.at) {
      queue.splice(queue.indexOf(first), 1);
      first.act();
    } else feed(timer.side, { type: 'timeout' });
    return true;
  }

  function feed(side: Side, event: Event): void {
    for (const action of side.gateway.handle(event, now)) perform(side, action);
  }

  function perform(side: Side, action: Action): void {
    switch (action.type) {
      case 'send':
        return transmit(side, action);
      case 'dataplane':
        return applyLater(side, action.id, action.changes);
      case 'job':
        return workLater(side, action.id, action.job);
      case 'command-done':
        side.outcomes.set(action.id, action.outcome);
        return;
      case 'report':
        side.reports.push(action.code);
        steps.push(
          `${String(now).padStart(8)}  ${side.name}: ${action.code} ${JSON.stringify(action.detail ?? {})}`,
        );
    }
  }

  function workLater(side: Side, id: number, job: Job): void {
    const { gateway } = side;
    const failed = random() < pair.weather.fail;
    schedule(between(pair.weather.work), () => {
      const result: JobResult = failed ? { type: 'failed', fault: 'ours', message: 'planted' } : jobs(job);
      if (side.gateway === gateway) feed(side, { type: 'job-done', id, result });
    });
  }

  function transmit(
    side: Side,
    { bytes, local, remote }: { bytes: Uint8Array; local: Endpoint; remote: Endpoint },
  ): void {
    const other = side === pair.a ? pair.b : pair.a;
    const path = translated(side, other, local, remote);
    const lost = !path || random() < pair.weather.loss || !pair.filter(side, bytes, datagrams++);
    draw(side, bytes, lost);
    if (lost) return;
    const copies = random() < pair.weather.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      schedule(between(pair.weather.delay), () =>
        feed(other, { type: 'datagram', bytes: bytes.slice(), ...path }),
      );
    }
  }

  /** The endpoints as the receiver sees them, or nothing when no such receiver is there. */
  function translated(
    side: Side,
    other: Side,
    local: Endpoint,
    remote: Endpoint,
  ): { local: Endpoint; remote: Endpoint } | undefined {
    const { nat } = pair;
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

  function draw(side: Side, bytes: Uint8Array, lost: boolean): void {
    if (bytes.length < 28) return;
    const { exchange, flags, messageId } = decodeHeader(bytes);
    const name = Object.entries(EXCHANGE).find(([, number]) => number === exchange)?.[0] ?? exchange;
    const arrow = side.name === 'a' ? `a --${lost ? 'x ' : '> '} b` : `a ${lost ? 'x' : '<'}-- b`;
    steps.push(
      `${String(now).padStart(8)}  ${arrow}  ${name} ${flags.response ? 'response' : 'request'} ${messageId}`,
    );
  }

  function applyLater(side: Side, id: number, changes: Change[]): void {
    const refused = changes.some(({ type }) => type === 'add-inbound') && random() < pair.weather.refuse;
    const { gateway } = side;
    side.changes.push(...changes);
    if (!refused) for (const change of changes) apply(side, change);
    const failed = refused ? { failed: { reason: 'refused', message: 'planted' } as const } : {};
    schedule(between(pair.weather.work), () => {
      if (side.gateway === gateway) feed(side, { type: 'applied', id, ...failed });
    });
  }

  feed(pair.a, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels.a }] });
  feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnels.b }] });
  return pair;
}

function apply(side: Side, change: Change): void {
  switch (change.type) {
    case 'add-inbound':
      return void side.inbound.set(change.sa.spi, change.sa);
    case 'add-outbound':
      return void side.outbound.set(change.sa.spi, change.sa);
    case 'use-outbound':
      return void side.inUse.set(change.policy, change.spi);
    case 'remove':
      return void (change.direction === 'in' ? side.inbound : side.outbound).delete(change.spi);
    case 'move': {
      const table = change.direction === 'in' ? side.inbound : side.outbound;
      const sa = table.get(change.spi);
      const udp = sa?.udp && { ...sa.udp, remotePort: change.remotePort };
      return void (udp && table.set(change.spi, { ...sa, udp }));
    }
    case 'add-policy':
    case 'remove-policy':
      return;
  }
}

/** One packet through a policy: whether the other side can read it. Tells the receiver, as the engine would. */
export function sendPacket(
  pair: Pair,
  from: Side,
  policy: string,
): 'received' | 'no-sa' | 'unknown-spi' | 'wrong-key' {
  const to = from === pair.a ? pair.b : pair.a;
  const spi = from.inUse.get(policy);
  const outbound = spi === undefined ? undefined : from.outbound.get(spi);
  if (!outbound) return 'no-sa';
  const inbound = to.inbound.get(outbound.spi);
  if (!inbound) return 'unknown-spi';
  if (inbound.encryption?.key.join() !== outbound.encryption?.key.join()) return 'wrong-key';
  pair.feed(to, { type: 'dataplane', event: { type: 'first-inbound', spi: inbound.spi } });
  return 'received';
}

/** A key exchange that only counts, and the real arithmetic of pre-shared keys. */
function createFakeJobs(provider: Provider): (job: Job) => JobResult {
  const pad = new TextEncoder().encode('Key Pad for IKEv2');
  let serial = 0;
  const value = (number: number) => {
    const bytes = new Uint8Array(32);
    new DataView(bytes.buffer).setUint32(0, number);
    return bytes;
  };
  const number = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const sign = (job: Job & { type: 'psk-sign' | 'psk-verify' }) => {
    const inner = provider.prf(job.prf, new TextEncoder().encode(job.secret), pad);
    return provider.prf(job.prf, inner, job.octets);
  };
  return (job) => {
    switch (job.type) {
      case 'offer':
        serial++;
        return { type: 'offer', public: value(serial), handle: String(serial) };
      case 'answer':
        serial++;
        return { type: 'answer', public: value(serial), secret: value(serial * 1000 + number(job.public)) };
      case 'finish':
        return { type: 'finish', secret: value(number(job.public) * 1000 + Number(job.handle)) };
      case 'forget':
        return { type: 'forget' };
      case 'psk-sign':
        return { type: 'psk-sign', auth: sign(job) };
      case 'psk-verify':
        return { type: 'psk-verify', valid: provider.equal(sign(job), job.auth) };
    }
  };
}

/** mulberry32: small, seeded, good enough for weather. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
