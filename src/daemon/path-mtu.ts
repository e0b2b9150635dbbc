// The largest packet that passes, found with probes of many sizes that may not be fragmented (RFC 4821 §3, RFC 8899 §3: they
// alone decide, whether or not "too big" messages come). Decides; sends nothing itself. What a probe is, others know.

import { Agenda } from '../ike/agenda.ts';
import type { ReportCode } from '../ike/errors.ts';
import type { Instant } from '../policy/sad.ts';
import type { Log } from './report.ts';
import { fromTheTop, hinted, isOver, narrow, type Search, searchOf } from './size-search.ts';

/** Bytes of an IP packet that always passes: RFC 791 §3.2, what every host takes; RFC 8200 §5, what every link carries. */
export const FLOOR = { 4: 576, 6: 1280 };

export interface PathMtusOptions {
  /** Since when a target can be asked for: one that comes up again is looked at anew. */
  upSince(target: PathMtuTarget): Instant | undefined;
  /** Whether small packets pass, without which it is no question of size. */
  small(target: PathMtuTarget, now: Instant): Small;
  /**
   * `deduced`: nobody says that a probe came to nothing; it did where no answer came in time, and small packets passed
   * meanwhile. `told`: by `lost`, when small ones have passed.
   */
  silence: 'deduced' | 'told';
  /**
   * Milliseconds: what was found is tried again so often; an answer is waited for so long at least; whether anything can be
   * asked at all is looked at so often.
   */
  pace: { verify: number; least: number; look: number };
  /** What is said where another size passes than before; `blackHole`: and nobody says that more is too big. */
  codes: { other: ReportCode; blackHole: ReportCode };
  log: Log;
  /** What fits is another size than before. */
  changed(tunnel: string): void;
}

export interface Small {
  pass: boolean;
  /** Milliseconds there and back. */
  rtt?: number;
  /** Milliseconds since one did. */
  age?: number;
}

/** What is to be found out. Sizes are bytes of IP packets. */
export interface PathMtuTarget {
  /** Its own among all. */
  key: string;
  tunnel: string;
  /** Missing: of the tunnel as a whole. */
  child?: string;
  /** What always passes. */
  floor: number;
  /** What would pass over the path that the configuration names. */
  ceiling: number;
  /** What is found becomes the MTU of a device or of a route, which then refuses whatever is larger. */
  byDevice: boolean;
}

/** One probe to be sent. */
export interface DueSize {
  of: PathMtuTarget;
  /** The two name it when it comes back. */
  target: number;
  sequence: number;
  size: number;
  /** Milliseconds that its answer is waited for. */
  patience: number;
}

type Named = Pick<DueSize, 'target' | 'sequence'>;

export interface PathMtuStatus {
  /** Bytes of the largest packet that passes. */
  mtu: number;
  /** Milliseconds since it was found. */
  age: number;
}

export interface PathMtus {
  /** All that there are. */
  configure(targets: readonly PathMtuTarget[], now: Instant): void;
  due(now: Instant): DueSize[];
  /** The key of a target. */
  named(target: number): string | undefined;
  answered(probe: Named, now: Instant): void;
  /** It does not even leave this machine. */
  refused(probe: Named, now: Instant): void;
  /** It came to nothing, and small ones pass. */
  lost(probe: Named, now: Instant): void;
  /** Somebody says that no more than so many bytes pass, which may not be true: probes decide (RFC 8899 §4.6.2). */
  hint(key: string, size: number, now: Instant): void;
  /** Nobody knows what came of it. */
  undecided(probe: Named, now: Instant): void;
  next(): Instant | undefined;
  of(key: string, now: Instant): PathMtuStatus | undefined;
  /** Bytes that packets are to be kept to; undefined where none are known, and while more is tried through a device. */
  limit(key: string): number | undefined;
}

/** A size is given up when so many in a row came to nothing. */
const TRIES = 3;
/** Milliseconds that an answer is waited for: so many times what a small one takes, but no longer. */
const WAIT = { times: 4, most: 2000 };
/** What nobody knows the outcome of is asked again after so long; and who should have said what came of it, did not. */
const UNDECIDED = 5000;
const FORGOTTEN = 120_000;
/** More is tried so often (RFC 4821 §7.7). */
const AGAIN = 600_000;
/** Hints are no more often heard. */
const HINT_PAUSE = 5000;
/** Many are not looked at in one moment. */
const GOLDEN = 0.618_034;

/** What was seen since the tunnel is up. */
interface Run {
  upSince?: Instant;
  search?: Search;
  found?: { mtu: number; at: Instant };
  /** When more is tried than was found; the device makes room for it first. */
  againAt: Instant;
  widened: boolean;
  /** Of probes of the found size, how many in a row were not answered. */
  missed: number;
  /**
   * The number of the probe that is waited for; when its size was asked for the first time; whether it stays undecided until a
   * small packet passes, and then is asked once more: too large is only what is lost where small ones are not.
   */
  waiting?: { sequence: number; first: Instant; at: Instant; undecided: boolean };
  /** Milliseconds there and back, where no small packets show it. */
  rtt?: number;
  /** What somebody says that passes; it counts once a larger probe came to nothing. */
  hint?: number;
  hintedAt?: Instant;
}

interface State {
  target: PathMtuTarget;
  number: number;
  sequence: number;
  run: Run;
}

export function createPathMtus(options: PathMtusOptions): PathMtus {
  const { upSince, small: smallOf, pace, codes, log, changed } = options;
  const told = options.silence === 'told';
  const states = new Map<string, State>();
  const byNumber = new Map<number, State>();
  const agenda = new Agenda();
  let nextNumber = 1;

  function ask(state: State, small: Small, size: number, now: Instant): DueSize[] {
    const { number: target, run, target: of } = state;
    const again = run.search ? run.search.tries > 1 : run.missed > 0;
    const first = again ? (run.waiting?.first ?? now) : now;
    const sequence = state.sequence++ % 65_536;
    run.waiting = { sequence, first, at: now, undecided: false };
    const patience = patienceOf(small.rtt ?? run.rtt, pace.least);
    agenda.put(of.key, now + (told ? FORGOTTEN : patience));
    return [{ of, target, sequence, size, patience }];
  }

  /** What is to be asked next; where nothing is, the search has found something. */
  function proceed(state: State, small: Small, now: Instant): DueSize[] {
    const { run, target } = state;
    if (!run.search && run.found && now < run.againAt) return ask(state, small, run.found.mtu, now);
    if (!run.search && widen(state)) return pause(target.key, now + pace.look);
    run.search ??= fromTheTop(run.found?.mtu ?? target.floor, target.ceiling);
    if (isOver(run.search)) {
      settle(state, run.search, now);
      return [];
    }
    run.search.tries++;
    return ask(state, small, run.search.size, now);
  }

  function widen({ target, run }: State): boolean {
    const narrow = run.found !== undefined && run.found.mtu < target.ceiling;
    if (!narrow || !target.byDevice || run.widened) return false;
    run.widened = true;
    changed(target.tunnel);
    return true;
  }

  function settle({ target, run }: State, { good, silent }: Search, now: Instant): void {
    const { found, widened } = run;
    const before = found?.mtu ?? target.ceiling;
    delete run.search;
    delete run.waiting;
    Object.assign(run, { missed: 0, widened: false, againAt: now + AGAIN });
    if (found?.mtu !== good) run.found = { mtu: good, at: now };
    agenda.put(target.key, now + pace.verify);
    if (good !== before) tell(target, good, good < before && silent ? codes.blackHole : codes.other);
    if (good !== before || widened) changed(target.tunnel);
  }

  function tell({ tunnel, child, ceiling }: PathMtuTarget, mtu: number, code: ReportCode): void {
    log({ code, tunnel, detail: { ...(child === undefined ? {} : { child }), mtu, wanted: ceiling } });
  }

  function take(key: string, now: Instant): DueSize[] {
    const state = states.get(key)!;
    const small = smallOf(state.target, now);
    const since = upSince(state.target);
    if (since !== state.run.upSince) restart(state, since, now);
    const { run } = state;
    const { waiting, hint } = run;
    if (since === undefined || !small.pass || (told && waiting)) return rest(state, now);
    if (!waiting) return proceed(state, small, now);
    if (hint === undefined && isLastTry(run)) {
      const smallPassed = now - (small.age ?? 0) > waiting.first;
      if (smallPassed && waiting.undecided) return ask(state, small, sizeOf(state), now);
      waiting.undecided = !smallPassed;
      if (!smallPassed) return pause(key, now);
    }
    miss(state);
    return proceed(state, small, now);
  }

  function pause(key: string, now: Instant): DueSize[] {
    agenda.put(key, now + pace.look);
    return [];
  }

  /** Where nothing passes at all, or nobody knows yet, it is no question of size. */
  function rest({ target, run }: State, now: Instant): DueSize[] {
    delete run.waiting;
    run.missed = 0;
    if (run.search) run.search.tries = 0;
    return pause(target.key, now);
  }

  function restart(state: State, since: Instant | undefined, now: Instant): void {
    const narrowed = state.run.found !== undefined && state.run.found.mtu < state.target.ceiling;
    state.run = newRun(now, since);
    if (narrowed) changed(state.target.tunnel);
  }

  /** Whose probe it is, while it is waited for. */
  function waitingFor({ target, sequence }: Named): State | undefined {
    const state = byNumber.get(target);
    return state?.run.waiting?.sequence === sequence ? state : undefined;
  }

  function set(target: PathMtuTarget, now: Instant): void {
    const { key } = target;
    const before = states.get(key);
    if (before && isSame(before.target, target)) return;
    if (before) byNumber.delete(before.number);
    const state: State = { target, number: nextNumber++, sequence: 0, run: newRun(now) };
    states.set(key, state);
    byNumber.set(state.number, state);
    agenda.put(key, now + Math.floor((((state.number - 1) * GOLDEN) % 1) * pace.look));
  }

  function remove(key: string): void {
    byNumber.delete(states.get(key)!.number);
    states.delete(key);
    agenda.remove(key);
  }

  return {
    configure(targets, now) {
      const wanted = new Set(targets.map(({ key }) => key));
      for (const key of [...states.keys()]) if (!wanted.has(key)) remove(key);
      for (const target of targets) set(target, now);
    },
    due: (now) => agenda.take(now).flatMap((key) => take(key, now)),
    named: (target) => byNumber.get(target)?.target.key,
    answered(probe, now) {
      const state = waitingFor(probe);
      if (!state) return;
      const { run, target } = state;
      run.rtt = now - run.waiting!.at;
      delete run.waiting;
      if (run.hint !== undefined && run.hint < sizeOf(state)) delete run.hint;
      run.missed = 0;
      if (run.search) narrow(run.search, { good: run.search.size });
      agenda.put(target.key, run.search ? now : now + pace.verify);
    },
    refused(probe, now) {
      const state = waitingFor(probe);
      if (!state) return;
      const { run, target } = state;
      delete run.waiting;
      if (run.search) narrow(run.search, { bad: run.search.size });
      else if (run.found) run.search = searchOf(target.floor, run.found.mtu, target.ceiling);
      agenda.put(target.key, now);
    },
    lost(probe, now) {
      const state = waitingFor(probe);
      if (!state) return;
      const { run } = state;
      // Small ones took what is left of the time.
      run.rtt ??= now - run.waiting!.at - patienceOf(undefined, pace.least);
      miss(state);
      delete run.waiting;
      agenda.put(state.target.key, now);
    },
    hint(key, size, now) {
      const state = states.get(key);
      if (!state) return;
      const { run, target } = state;
      const recent = now - (run.hintedAt ?? Number.NEGATIVE_INFINITY) < HINT_PAUSE;
      if (size >= sizeOf(state) || recent) return;
      Object.assign(run, { hint: Math.max(size, target.floor), hintedAt: now });
      if (!told || !run.waiting) agenda.put(key, now);
    },
    undecided(probe, now) {
      const state = waitingFor(probe);
      if (!state) return;
      rest(state, now);
      agenda.put(state.target.key, now + UNDECIDED);
    },
    next: () => agenda.next(),
    of(key, now) {
      const found = states.get(key)?.run.found;
      return found && { mtu: found.mtu, age: Math.max(0, now - found.at) };
    },
    limit(key) {
      const { found, widened } = states.get(key)?.run ?? {};
      return widened ? undefined : found?.mtu;
    },
  };
}

function isSame(a: PathMtuTarget, b: PathMtuTarget): boolean {
  return a.ceiling === b.ceiling && a.floor === b.floor && a.byDevice === b.byDevice;
}

function newRun(now: Instant, upSince?: Instant): Run {
  return { ...(upSince === undefined ? {} : { upSince }), againAt: now, widened: false, missed: 0 };
}

/** What is asked, or will be asked first. */
function sizeOf({ run, target }: State): number {
  return run.search?.size ?? run.found?.mtu ?? target.ceiling;
}

function isLastTry({ search, missed }: Run): boolean {
  return (search ? search.tries : missed + 1) >= TRIES;
}

/** Nothing came back: the packet was lost, or it was too large, and maybe somebody says so. */
function miss(state: State): void {
  const { run, target } = state;
  if (run.hint !== undefined) return takeHint(state, run.hint);
  const isLast = isLastTry(run);
  if (!run.search) run.missed++;
  if (!isLast) return;
  delete run.waiting;
  if (run.search) {
    run.search.silent = run.search.hint === undefined;
    narrow(run.search, { bad: run.search.size });
  } else if (run.found) {
    run.search = { ...searchOf(target.floor, run.found.mtu, target.ceiling), silent: true };
    run.missed = 0;
  }
}

/** The size that somebody says is asked, and the next above it. */
function takeHint({ run, target }: State, hint: number): void {
  const { good, bad } = run.search ?? fromTheTop(target.floor, Math.max(run.found?.mtu ?? 0, hint));
  run.search = hinted(Math.min(good, hint), bad, hint);
  run.missed = 0;
  delete run.waiting;
  delete run.hint;
}

/** Milliseconds. */
function patienceOf(rtt: number | undefined, least: number): number {
  return Math.round(Math.min(WAIT.most, Math.max(least, WAIT.times * (rtt ?? WAIT.most))));
}
