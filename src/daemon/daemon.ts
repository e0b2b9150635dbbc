// Carries events into the core and its actions out. Holds no decision of the protocol.

import { type DataPlane, DataPlaneError } from '../dataplane/dataplane.ts';
import { newBreath } from '../dataplane/turns.ts';
import type { Action, Command, Core, Event, Failure, Job, JobResult } from '../ike/boundary.ts';
import type { ReportCode } from '../ike/errors.ts';
import type { Change, InstalledSa, Instant, Snapshot } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { lookUp } from './names.ts';
import type { Log } from './report.ts';

export interface DaemonParts {
  core: Core;
  plane: DataPlane;
  /** Hands a datagram to the socket; never waits. False where it did not leave. */
  send: (action: Extract<Action, { type: 'send' }>) => boolean;
  runJob: (job: Job) => Promise<JobResult>;
  /** Milliseconds of CLOCK_BOOTTIME. */
  clock: () => Instant;
  log: Log;
  /** Milliseconds between two looks at the counters of the data plane; a second where nothing is said. */
  usageInterval?: () => number;
  /** Sees every action before it is performed. */
  watch?: (action: Action) => void;
  /** The core has dealt with an event. */
  handled?: () => void;
  /** The core has heard what the data plane told by itself. */
  told?: () => void;
}

export interface Daemon {
  feed(event: Event): void;
  /** One after the other, with pauses for the event loop. */
  feedAll(events: Iterable<Event>): Promise<void>;
  /** Resolves with the code of `command-done`. */
  command(command: Command, tunnel: string, child?: string): Promise<ReportCode>;
  /** Whether an IP packet of so many bytes reaches the peer in one piece: OK, PATH_LOST, PATH_REFUSED, or not found out. */
  measure(tunnel: string, size: number, patience: number): Promise<ReportCode>;
  /** Resolves when the data plane has got every change asked for so far. */
  changed(): Promise<void>;
  /** What the data plane said last; refreshed every second or more often. */
  snapshot(): Snapshot;
  /** Asks for a snapshot now. */
  refresh(): Promise<Snapshot>;
  /** Says goodbye to the peers, at most until the deadline (ms from now), and stops all timers. */
  stop(deadline: number): Promise<void>;
}

const [LEAST_USAGE, USAGE_INTERVAL] = [100, 1000];
/** A timer longer than this is armed again: the clock of the timer may stop while the machine sleeps. */
const LONGEST_TIMER = 3_600_000;

/** Often enough that a peer whose packets come is not asked whether it lives. */
export function usageInterval(tunnels: readonly Pick<Tunnel, 'liveness'>[]): number {
  const least = tunnels.reduce(
    (shortest, { liveness }) => (liveness > 0 ? Math.min(shortest, liveness) : shortest),
    2 * USAGE_INTERVAL,
  );
  return Math.max(least / 2, LEAST_USAGE);
}

export function createDaemon(parts: DaemonParts): Daemon {
  const { core, plane, clock, log } = parts;
  const commands = new Map<number, (outcome: ReportCode) => void>();
  let nextCommand = 1;
  let timer: NodeJS.Timeout | undefined;
  let armed: Instant | undefined;
  let ending = false;
  let stopped = false;
  let changes: Promise<void> = Promise.resolve();
  let last: Snapshot = { policies: [], sas: [], drops: {} };

  async function feedAll(events: Iterable<Event>): Promise<void> {
    const breath = newBreath();
    for (const event of events) {
      feed(event);
      await breath();
    }
  }

  function feed(event: Event): void {
    // Who says goodbye begins nothing: a tunnel that is told of meanwhile would not be taken down.
    if (stopped || (ending && event.type === 'configure')) return;
    const made: Promise<void>[] = [];
    for (const action of core.handle(event, clock())) {
      parts.watch?.(action);
      if (action.type === 'dataplane') made.push(install(action.id, action.changes));
      else if (action.type === 'send') sendAfter(made, action);
      else perform(action);
    }
    arm();
    parts.handled?.();
  }

  /** A peer that reads our DELETE drops what we still send with the old SA: first the data plane turns to the other one. */
  function sendAfter(made: readonly Promise<void>[], action: Extract<Action, { type: 'send' }>): void {
    if (made.length === 0) return transmit(action);
    const sent = Promise.all(made).then(() => transmit(action));
    changes = Promise.all([changes, sent]).then(() => {});
  }

  /** Resolves with the code of `command-done` to an event with that id. */
  function ask(event: (id: number) => Event): Promise<ReportCode> {
    const id = nextCommand++;
    const done = new Promise<ReportCode>((resolve) => commands.set(id, resolve));
    feed(event(id));
    return done;
  }

  function perform(action: Exclude<Action, { type: 'send' | 'dataplane' }>): void {
    switch (action.type) {
      case 'job':
        parts.runJob(action.job).then((result) => feed({ type: 'job-done', id: action.id, result }));
        return;
      case 'command-done':
        commands.get(action.id)?.(action.outcome);
        commands.delete(action.id);
        return;
      case 'resolve':
        lookUp(action).then((answer) => feed({ type: 'resolved', ...answer }));
        return;
      case 'report':
        return log(action);
    }
  }

  /** A datagram that cannot be sent is a lost one: it will be sent again. But of one that is too large the core is told. */
  function transmit(action: Extract<Action, { type: 'send' }>): void {
    if (parts.send(action) || !action.whole) return;
    queueMicrotask(() => feed({ type: 'unsent', bytes: action.bytes }));
  }

  /** In the core's order; which of them may be done side by side, the data plane knows. */
  function install(id: number, wanted: Change[]): Promise<void> {
    const done = plane.apply(wanted).then(
      () => feed({ type: 'applied', id }),
      (error: unknown) => feed({ type: 'applied', id, failed: failureOf(error) }),
    );
    changes = Promise.all([changes, done]).then(() => {});
    return done;
  }

  function arm(): void {
    const next = stopped ? undefined : core.nextTimeout();
    if (next === armed) return;
    armed = next;
    clearTimeout(timer);
    if (next === undefined) return;
    const delay = Math.min(Math.max(next - clock(), 0), LONGEST_TIMER);
    timer = setTimeout(rung, delay);
  }

  function rung(): void {
    armed = undefined;
    feed({ type: 'timeout' });
  }

  async function refresh(): Promise<Snapshot> {
    const before = new Map(last.sas.map((sa) => [keyOf(sa), sa.packets]));
    last = await plane.snapshot();
    for (const sa of last.sas) {
      if (sa.last === undefined || before.get(keyOf(sa)) === sa.packets) continue;
      const { direction, spi, packets, bytes } = sa;
      feed({ type: 'dataplane', event: { type: 'usage', direction, spi, packets, bytes, last: sa.last } });
    }
    return last;
  }

  let poll: NodeJS.Timeout;
  function pollLater(): void {
    poll = setTimeout(async () => {
      await refresh().catch((error: unknown) => log(brokenPlane(error)));
      if (!stopped) pollLater();
    }, parts.usageInterval?.() ?? USAGE_INTERVAL);
  }
  pollLater();
  plane.onEvent((event) => {
    feed({ type: 'dataplane', event });
    parts.told?.();
  });

  return {
    feed,
    refresh,
    feedAll,
    changed: () => changes,
    snapshot: () => last,
    command: (command, tunnel, child) =>
      ask((id) => ({
        type: 'command',
        ...{ id, command, tunnel },
        ...(child === undefined ? {} : { child }),
      })),
    measure: (tunnel, size, patience) => ask((id) => ({ type: 'measure', id, tunnel, size, patience })),
    async stop(deadline) {
      ending = true;
      await feedAll(core.names().map((tunnel) => ({ type: 'shutdown', tunnel })));
      await goodbye(core, clock, deadline);
      stopped = true;
      arm();
      clearTimeout(poll);
      await changes;
    },
  };
}

/** The core has nothing left to wait for once no timeout is due before the deadline. */
async function goodbye(core: Core, clock: () => Instant, deadline: number): Promise<void> {
  const end = clock() + deadline;
  while (clock() < end && core.nextTimeout() !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 10));
}

function keyOf(sa: InstalledSa): string {
  return `${sa.direction} ${sa.spi}`;
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  return { reason: error instanceof DataPlaneError ? error.reason : 'refused', message };
}

function brokenPlane(error: unknown): { code: ReportCode; detail: Record<string, unknown> } {
  return { code: 'BUG_DATAPLANE', detail: { message: failureOf(error).message } };
}
