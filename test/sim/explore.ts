// Explores what two gateways can do to each other: every order of wishes, arrivals, late work and one disturbance, from every
// state that is reached. A state that was seen with as much still to come is not gone into twice.

import type { Provider } from '../../src/crypto/provider.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { glass } from '../../src/sim/glass.ts';
import { disagreements, unusable, type Witnessed, witness } from '../../src/sim/invariants.ts';
import { createPair, type Pair, type Pending, type Side, type SideName } from '../../src/sim/pair.ts';
import { canonical, describe } from './canonical.ts';
import { seededProvider, tunnel } from './sites.ts';

export interface Bounds {
  /** How many wishes, disturbed messages and late works there may be. */
  wishes: number;
  messages: number;
  works: number;
  seed: number;
  /** Whether the tunnel is up when it begins. */
  up: boolean;
  /** No more states than these, so that it ends in time. */
  states?: number;
}

export interface Explored {
  states: number;
  steps: number;
  /** States in which nothing is under way, each run to its end. */
  ends: number;
  violations: Violation[];
  /** Everything within the bounds was seen. */
  whole: boolean;
}

export interface Violation {
  complaints: string[];
  path: string[];
  ladder: string;
}

interface Node {
  pair: Pair;
  seen: Witnessed;
  left: Left;
  /** Somebody has wished an SA away, so there may be none. */
  gap: boolean;
  /** Work that is late. */
  held?: number;
  path: Path | undefined;
}

interface Left {
  wishes: number;
  messages: number;
  works: number;
}

/** The steps, the last one first. */
interface Path {
  step: string;
  before: Path | undefined;
}

/** Longer than any retry, any drain, and an IKE SA that waits for its end and then tells it to nobody. */
const END = 300_000;
/** While nothing arrives, timers are waited for so long. */
const PATIENCE = 10_000;
/** And so long while work is late. */
const LATE = 800;
const MOST_VIOLATIONS = 5;

const WISHES: readonly { name: string; gap?: true; wish: (pair: Pair, side: Side) => void }[] = [
  { name: 'rekey child', wish: (pair, side) => void pair.command(side, 'rekey', 't', 'net') },
  { name: 'rekey ike', wish: (pair, side) => void pair.command(side, 'rekey', 't') },
  { name: 'new child', wish: (pair, side) => pair.feed(side, acquire('other')) },
  { name: 'delete child', gap: true, wish: (pair, side) => void pair.command(side, 'down', 't', 'net') },
  { name: 'delete ike', gap: true, wish: (pair, side) => void pair.command(side, 'down', 't') },
];

export function explore(bounds: Bounds, progress?: (so: Explored) => void): Explored {
  const found: Explored = { states: 0, steps: 0, ends: 0, violations: [], whole: true };
  const visited = new Map<string, Left[]>();
  const ended = new Set<string>();
  const stack: Node[] = [begin(bounds)];
  for (let node = stack.pop(); node; node = stack.pop()) {
    const complaints = [...node.seen.complaints, ...unusable(node.pair, ['t/net'], node.gap)];
    if (complaints.length > 0) {
      found.violations.push(violation(node, complaints));
      if (found.violations.length >= MOST_VIOLATIONS) break;
      continue;
    }
    const state = canonical(node.pair, node.held) + (node.gap ? ' gap' : '');
    if (isCovered(visited, state, node.left)) continue;
    found.states = visited.size;
    if (isQuiet(node) && !ended.has(state)) {
      ended.add(state);
      found.ends = ended.size;
      const late = end(node);
      if (late) found.violations.push(late);
    }
    const next = successors(node);
    found.steps += next.length;
    stack.push(...next.reverse());
    if (found.steps % 1000 < next.length) progress?.(found);
    if (bounds.states !== undefined && visited.size >= bounds.states) return { ...found, whole: false };
  }
  return { ...found, whole: found.violations.length < MOST_VIOLATIONS };
}

/** Whether the state was seen with at least as much still to come; notes it otherwise. */
function isCovered(visited: Map<string, Left[]>, state: string, left: Left): boolean {
  const before = visited.get(state) ?? [];
  const covers = ({ wishes, messages, works }: Left) =>
    wishes >= left.wishes && messages >= left.messages && works >= left.works;
  if (before.some(covers)) return true;
  visited.set(state, [...before, left]);
  return false;
}

function begin({ wishes, messages, works, seed, up }: Bounds): Node {
  const pair = createPair(seed, { a: site('a'), b: site('b') }, transparent);
  const { observer, seen } = witness(pair);
  pair.observer = observer;
  pair.command(pair.a, 'up', 't');
  if (up) pair.run(7000);
  else pair.command(pair.b, 'up', 't');
  for (const side of [pair.a, pair.b])
    pair.feed(side, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: withOther(side.name) }] });
  pair.weather = { ...pair.weather, delay: [0, 0], work: [0, 0] };
  pair.work();
  return { pair, seen, left: { wishes, messages, works }, gap: !up, path: undefined };
}

function site(side: SideName): Tunnel {
  const retransmit = { ...tunnel(side).retransmit, jitter: 0 };
  return tunnel(side, { retransmit, liveness: 0, keepalive: 10_000_000 });
}

/** A second child, which is made only when a packet asks for it. */
function withOther(side: SideName): Tunnel {
  const [net] = site(side).children;
  const range = { protocol: 0, startPort: 0, endPort: 65535, start: '10.9.0.0', end: '10.9.255.255' };
  const other = { ...net!, name: 'other', order: 1, selectors: { local: [range], remote: [range] } };
  return { ...site(side), children: [net!, other] };
}

function acquire(child: string) {
  const packet = { local: '10.9.0.1', remote: '10.9.0.2', protocol: 17, localPort: 7, remotePort: 7 };
  return { type: 'dataplane', event: { type: 'acquire', policy: `t/${child}`, packet } } as const;
}

/** Nothing is hidden, and what is jittered by two bytes is so by the side alone: time does not tell states apart. */
function transparent(random: () => number, of: SideName | 'jobs'): Provider {
  const provider = glass({ ...seededProvider(random), prf: (_name, key, data) => mix(key, data) });
  const jitter = Uint8Array.of(of === 'a' ? 0x30 : 0xc0, 0);
  return { ...provider, random: (length) => (length === 2 ? jitter : provider.random(length)) };
}

/** Stands for a PRF where nobody attacks: different inputs, different outputs, quickly. */
function mix(key: Uint8Array, data: Uint8Array): Uint8Array {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (const bytes of [key, data]) {
    for (const byte of bytes) {
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b + byte, 0x5bd1e995) ^ (a >>> 15);
    }
    a ^= bytes.length;
  }
  const words = new Uint32Array(8);
  for (let i = 0; i < words.length; i++) {
    a = Math.imul(a ^ (b >>> 13), 0x85ebca6b) + i;
    b = Math.imul(b ^ (a >>> 16), 0xc2b2ae35);
    words[i] = a ^ b;
  }
  return new Uint8Array(words.buffer);
}

/** Every way on from here. */
function successors(node: Node): Node[] {
  const { pair, left, held } = node;
  const sent = distinct(pair.pending());
  const next: Node[] = [];
  for (const { order, to } of sent) {
    next.push(...step(node, `${to} gets ${rung(pair, order)}`, (on) => on.take(order)));
    if (left.messages === 0) continue;
    const spent = { left: { ...left, messages: left.messages - 1 } };
    next.push(...step(node, `lost: ${rung(pair, order)}`, (on) => on.lose(order), spent));
    const repeat = (on: Pair) => {
      on.repeat(order);
      on.take(order);
    };
    next.push(...step(node, `${to} gets, and will again: ${rung(pair, order)}`, repeat, spent));
  }
  if (held !== undefined) next.push(release(node));
  if (left.wishes > 0) next.push(...wishes(node));
  if (sent.length === 0 && isDueSoon(pair, held === undefined ? PATIENCE : LATE))
    next.push(...step(node, 'time passes', (on) => void on.tick()));
  return next;
}

function wishes(node: Node): Node[] {
  const left = { ...node.left, wishes: node.left.wishes - 1 };
  return WISHES.flatMap(({ name, gap, wish }) =>
    (['a', 'b'] as const).flatMap((side) =>
      step(node, `${side} wants: ${name}`, (on) => wish(on, on[side]), { left, ...(gap ? { gap } : {}) }),
    ),
  );
}

/** The step with its work done, and where some may be late, also with each piece of it left undone. */
function step(node: Node, name: string, act: (pair: Pair) => void, changes: Partial<Node> = {}): Node[] {
  const path = { step: name, before: node.path };
  const made: Node[] = [];
  const { works } = changes.left ?? node.left;
  for (let late = works > 0 && node.held === undefined ? 0 : -1; ; late++) {
    const pair = node.pair.fork();
    const { observer, seen } = witness(pair, node.seen);
    pair.observer = observer;
    pair.idle(1);
    act(pair);
    const held = work(pair, node.held, late);
    const on: Node = { ...node, ...changes, pair, seen, path };
    if (held === undefined || late < 0) return [...made, on];
    const left = { ...on.left, works: on.left.works - 1 };
    made.push({ ...on, left, held, path: { step: `late: ${workName(pair, held)}`, before: path } });
  }
}

/** Does all work but what is held, and from `late` on the so-manieth piece; tells which that was. */
function work(pair: Pair, held: number | undefined, late: number): number | undefined {
  for (let done = 0; ; done++) {
    const one = pair.pending().find((each) => each.type !== 'datagram' && mayBeDone(pair, each, held));
    if (!one) return undefined;
    if (done === late) {
      work(pair, one.order, -1);
      return one.order;
    }
    pair.take(one.order);
  }
}

/** Changes of one side are applied in order. */
function mayBeDone(pair: Pair, one: Pending, held: number | undefined): boolean {
  if (one.order === held) return false;
  const before = pair.pending().find(({ order }) => order === held);
  return !(before?.type === 'changes' && one.type === 'changes' && one.side === before.side);
}

function release(node: Node): Node {
  const pair = node.pair.fork();
  const { observer, seen } = witness(pair, node.seen);
  pair.observer = observer;
  pair.work();
  const { held, ...rest } = node;
  return { ...rest, pair, seen, path: { step: `done: ${workName(node.pair, held!)}`, before: node.path } };
}

/** The same bytes to the same side are the same step. */
function distinct(pending: readonly Pending[]): (Pending & { type: 'datagram' })[] {
  const sent = pending.filter((one): one is Pending & { type: 'datagram' } => one.type === 'datagram');
  return sent.filter((one, index) => sent.findIndex((other) => other.bytes === one.bytes) === index);
}

function isQuiet({ pair, held }: Node): boolean {
  return held === undefined && pair.pending().length === 0;
}

function isDueSoon({ a, b, now }: Pair, within: number): boolean {
  return [a, b].some(({ gateway }) => (gateway.nextTimeout() ?? Number.POSITIVE_INFINITY) <= now() + within);
}

/** Runs on until nothing is left to do. */
function end(node: Node): Violation | undefined {
  const pair = node.pair.fork();
  const { observer, seen } = witness(pair, node.seen);
  pair.observer = observer;
  pair.run(END);
  const held = pair.a.gateway
    .memory()
    .sas.flatMap(({ state }) => (state.name === 'established' ? state.children : []));
  const policies = held.map(({ name }) => `t/${name}`);
  const complaints = [...seen.complaints, ...disagreements(pair), ...unusable(pair, policies, false)];
  return complaints.length > 0 ? violation({ ...node, pair }, complaints) : undefined;
}

function violation({ pair, path }: Node, complaints: string[]): Violation {
  const steps: string[] = [];
  for (let at = path; at; at = at.before) steps.unshift(at.step);
  return { complaints, path: steps, ladder: pair.ladder() };
}

function rung(pair: Pair, order: number): string {
  const one = pair.pending().find((each) => each.order === order);
  return one?.type === 'datagram' ? describe(one.bytes) : '';
}

function workName(pair: Pair, order: number): string {
  const one = pair.pending().find((each) => each.order === order);
  if (one?.type === 'job') return `${one.side} ${one.job.type}`;
  return one?.type === 'changes' ? `${one.side} ${one.changes.map(({ type }) => type).join()}` : '';
}
