// How one thing leads to the next: an event goes into a gateway, its actions become what is under way, and what is under
// way becomes an event again.

import type { Provider } from '../crypto/provider.ts';
import type { Action, Event, Failure, Job, JobResult } from '../ike/boundary.ts';
import type { Change, Instant } from '../policy/sad.ts';
import { doJob } from './jobs.ts';
import { type Nat, type Path, rungOf, translated, type Weather } from './path.ts';
import { applyChange } from './plane.ts';
import type { Side, SideName } from './side.ts';
import { advance, after, begin, draw, first, note, type Pending, remove, type World } from './world.ts';

/** Told of what happens; for checks that hold at every moment. */
export interface Observer {
  sent?(from: Side, bytes: Uint8Array): void;
  received?(to: Side, bytes: Uint8Array): void;
  judged?(side: Side, job: Job, result: JobResult): void;
  /** A gateway has handled an event, and its data plane has not yet. */
  handled?(side: Side): void;
}

/** What a test may set at any moment. */
export interface Scene {
  a: Side;
  b: Side;
  weather: Weather;
  nat?: Nat;
  /** What DNS says; a name that is not there is not known. */
  names: Map<string, string[]>;
  /** Called with every datagram; false drops it. */
  filter: (from: Side, bytes: Uint8Array, count: number) => boolean;
  observer: Observer;
}

export interface Stage {
  scene: Scene;
  world: World;
  /** Does the jobs of both. */
  jobs: Provider;
}

export const OTHER: Record<SideName, SideName> = { a: 'b', b: 'a' };

type Of<Type extends Pending['type']> = Extract<Pending, { type: Type }>;

export function feed(stage: Stage, side: Side, event: Event): void {
  for (const action of side.gateway.handle(event, stage.world.now)) perform(stage, side, action);
  stage.scene.observer.handled?.(side);
}

/** The next thing that happens before `end`, on either side or in between. False where there is none. */
export function step(stage: Stage, end: Instant): boolean {
  const { world } = stage;
  const next = first(world);
  const timer = nextTimer(stage.scene);
  const at = Math.min(next?.at ?? Number.POSITIVE_INFINITY, timer.at);
  if (at > end) return false;
  advance(world, at);
  if (next && next.at <= timer.at) happen(stage, remove(world, next.order));
  else feed(stage, timer.side, { type: 'timeout' });
  return true;
}

export function nextTimer({ a, b }: Scene): { side: Side; at: Instant } {
  const [ofA, ofB] = [a, b].map((side) => side.gateway.nextTimeout() ?? Number.POSITIVE_INFINITY);
  return ofA! <= ofB! ? { side: a, at: ofA! } : { side: b, at: ofB! };
}

export function happen(stage: Stage, one: Pending): void {
  switch (one.type) {
    case 'datagram':
      return arrive(stage, stage.scene[one.to], one);
    case 'job':
      return work(stage, stage.scene[one.side], one);
    case 'name':
      return lookUp(stage, stage.scene[one.side], one);
    case 'changes':
      return change(stage, stage.scene[one.side], one);
  }
}

function arrive(stage: Stage, to: Side, { bytes, local, remote }: Of<'datagram'>): void {
  stage.scene.observer.received?.(to, bytes);
  feed(stage, to, { type: 'datagram', bytes, local, remote });
}

function work(stage: Stage, side: Side, { life, id, job, failed }: Of<'job'>): void {
  const result: JobResult = failed
    ? { type: 'failed', fault: 'ours', message: 'planted' }
    : doJob(stage.jobs, stage.world.jobs, job);
  if (side.life !== life) return;
  stage.scene.observer.judged?.(side, job, result);
  feed(stage, side, { type: 'job-done', id, result });
}

function lookUp(stage: Stage, side: Side, { life, tunnel, name }: Of<'name'>): void {
  if (side.life !== life) return;
  const addresses = stage.scene.names.get(name) ?? [];
  const failed = addresses.length === 0 ? { failed: 'there is no such name' } : {};
  feed(stage, side, { type: 'resolved', tunnel, name, addresses: [...addresses], ...failed });
}

function change(stage: Stage, side: Side, { life, id, changes, refused }: Of<'changes'>): void {
  if (!refused) for (const one of changes) applyChange(side, one);
  const failed = refused ? { failed: { reason: refused, message: 'planted' } } : {};
  if (side.life === life) feed(stage, side, { type: 'applied', id, ...failed });
}

function perform(stage: Stage, side: Side, action: Action): void {
  const { world, scene } = stage;
  const { name, life } = side;
  switch (action.type) {
    case 'send':
      return transmit(stage, side, action);
    case 'dataplane':
      return changeLater(stage, side, action.id, action.changes);
    case 'job': {
      const { id, job } = action;
      const asked = { id, job, failed: job.type !== 'forget' && draw(world) < scene.weather.fail };
      return begin(world, after(world, scene.weather.work), { type: 'job', side: name, life, ...asked });
    }
    case 'resolve': {
      const asked = { tunnel: action.tunnel, name: action.name };
      return begin(world, after(world, scene.weather.work), { type: 'name', side: name, life, ...asked });
    }
    case 'command-done':
      return void side.outcomes.set(action.id, action.outcome);
    case 'report':
      side.reports.push(action.code);
      return note(world, `${name}: ${action.code} ${JSON.stringify(action.detail ?? {})}`);
  }
}

/** In order: a data plane does not let one change overtake another. */
function changeLater({ scene, world }: Stage, side: Side, id: number, changes: Change[]): void {
  const reason = changes.some(({ type }) => type === 'add-inbound') ? refusal(scene, world, side) : undefined;
  const refused = reason ? { refused: reason } : {};
  side.changes.push(...changes);
  const { name, life } = side;
  const before = world.queue.findLast((one) => one.type === 'changes' && one.side === name);
  const at = Math.max(before?.at ?? 0, after(world, scene.weather.work));
  begin(world, at, { type: 'changes', side: name, life, id, changes, ...refused });
}

function refusal({ weather }: Scene, world: World, side: Side): Failure['reason'] | undefined {
  if (side.occupied > 0) {
    side.occupied--;
    return 'exists';
  }
  return draw(world) < weather.refuse ? 'refused' : undefined;
}

function transmit(
  { scene, world }: Stage,
  side: Side,
  { bytes, ...ends }: Path & { bytes: Uint8Array },
): void {
  const { weather } = scene;
  const other = scene[OTHER[side.name]];
  const path = translated(scene.nat, side, other, ends);
  scene.observer.sent?.(side, bytes);
  const lost = !path || draw(world) < weather.loss || !scene.filter(side, bytes, world.datagrams++);
  const rung = rungOf(side, bytes, lost);
  if (rung) note(world, rung);
  if (lost) return;
  const copies = draw(world) < weather.duplicate ? 2 : 1;
  for (let i = 0; i < copies; i++)
    begin(world, after(world, weather.delay), { type: 'datagram', to: other.name, bytes, ...path });
}
