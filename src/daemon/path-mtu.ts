// The largest packet that passes through a tunnel, both ways, found with echo requests of many sizes that may not be
// fragmented (RFC 4821 §3: probes alone decide, whether or not "too big" messages come). Decides; sends nothing itself.

import { Agenda } from '../ike/agenda.ts';
import type { Instant } from '../policy/sad.ts';
import type { IpAddress } from '../wire/address.ts';
import type { ProbeStatus } from './probes.ts';
import type { Log } from './report.ts';
import { fromTheTop, isOver, narrow, type Search, searchOf } from './size-search.ts';

export interface PathMtusOptions {
  /** Since when a tunnel is up, while it has that child: one that comes up again is looked at anew. */
  upSince(tunnel: string, child: string): Instant | undefined;
  /** What the small probes of a child show: whether anything passes at all. */
  probe(policy: string, now: Instant): ProbeStatus | undefined;
  log: Log;
  /** What fits through the tunnel is another size than before. */
  changed(tunnel: string): void;
}

/** What is to be found out. Sizes are bytes of IP packets inside the tunnel. */
export interface PathMtuTarget {
  policy: string;
  tunnel: string;
  child: string;
  /** What always passes (RFC 791 §3.2, RFC 8200 §5). */
  floor: number;
  /** What would pass over the path that the configuration names. */
  ceiling: number;
  /** What is found becomes the MTU of a device, which then refuses whatever is larger. */
  byDevice: boolean;
}

/** One echo request to be sent. */
export interface DueSize {
  /** Stands in the packet, and names the target when it comes back. */
  target: number;
  sequence: number;
  source: IpAddress;
  destination: IpAddress;
  size: number;
}

export interface PathMtuStatus {
  /** Bytes of the largest packet that passes inside the tunnel. */
  mtu: number;
  /** Milliseconds since it was found. */
  age: number;
}

export interface PathMtus {
  /** All that there are. */
  configure(targets: readonly PathMtuTarget[], now: Instant): void;
  due(now: Instant): DueSize[];
  answered(answer: { target: number; sequence: number; source: IpAddress }, now: Instant): void;
  /** It does not even leave this machine. */
  refused(target: number, sequence: number, now: Instant): void;
  next(): Instant | undefined;
  of(policy: string, now: Instant): PathMtuStatus | undefined;
  /** Bytes that packets are to be kept to; undefined where none are known, and while more is tried through a device. */
  limit(policy: string): number | undefined;
}

/** A size is given up when so many in a row came to nothing. */
const TRIES = 3;
/** Milliseconds that an answer is waited for: four times what a small one takes, within bounds. */
const WAIT = { times: 4, least: 200, most: 2000 };
/** What was found is tried again so often, milliseconds. */
const VERIFY = 10_000;
/** More is tried so often (RFC 4821 §7.7). */
const AGAIN = 600_000;
/** Whether small probes are answered is looked at so often, milliseconds. */
const LOOK = 1000;

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
  waiting?: { sequence: number; first: Instant; undecided: boolean };
}

interface State {
  target: PathMtuTarget;
  number: number;
  sequence: number;
  run: Run;
}

export function createPathMtus({ upSince, probe, log, changed }: PathMtusOptions): PathMtus {
  const states = new Map<string, State>();
  const byNumber = new Map<number, State>();
  const agenda = new Agenda();
  let nextNumber = 1;

  function ask(state: State, small: ProbeStatus, size: number, now: Instant): DueSize[] {
    const { number: target, run } = state;
    const again = run.search ? run.search.tries > 1 : run.missed > 0;
    const first = again ? (run.waiting?.first ?? now) : now;
    const sequence = state.sequence++ % 65_536;
    run.waiting = { sequence, first, undecided: false };
    agenda.put(state.target.policy, now + patience(small.rttSmoothed));
    return [{ target, sequence, source: small.from!, destination: small.to, size }];
  }

  /** What is to be asked next; where nothing is, the search has found something. */
  function proceed(state: State, small: ProbeStatus, now: Instant): DueSize[] {
    const { run, target } = state;
    if (!run.search && run.found && now < run.againAt) return ask(state, small, run.found.mtu, now);
    if (!run.search && widen(state)) return pause(target.policy, now + LOOK);
    run.search ??= fromTheTop(run.found?.mtu ?? target.floor, target.ceiling);
    if (isOver(run.search)) return settle(state, run.search, now);
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

  function settle({ target, run }: State, { good, silent }: Search, now: Instant): DueSize[] {
    const { tunnel, child, ceiling, policy } = target;
    const before = run.found?.mtu ?? ceiling;
    delete run.search;
    delete run.waiting;
    run.missed = 0;
    run.againAt = now + AGAIN;
    agenda.put(policy, now + VERIFY);
    const { widened } = run;
    run.widened = false;
    if (run.found?.mtu === good) {
      if (widened) changed(tunnel);
      return [];
    }
    run.found = { mtu: good, at: now };
    if (good === before) return [];
    const code = good < before && silent ? 'PATH_BLACK_HOLE' : 'PATH_MTU';
    log({ code, tunnel, detail: { child, mtu: good, wanted: ceiling } });
    changed(tunnel);
    return [];
  }

  function take(policy: string, now: Instant): DueSize[] {
    const state = states.get(policy)!;
    const { target } = state;
    const small = probe(policy, now);
    const since = upSince(target.tunnel, target.child);
    if (since !== state.run.upSince) restart(state, since, now);
    if (since === undefined || small?.verdict !== 'answered' || small.from === undefined)
      return rest(state, now);
    const { run } = state;
    if (run.waiting && isLastTry(run)) {
      const smallPassed = now - (small.age ?? 0) > run.waiting.first;
      if (smallPassed && run.waiting.undecided)
        return ask(state, small, run.search?.size ?? run.found!.mtu, now);
      run.waiting.undecided = !smallPassed;
      if (!smallPassed) return pause(policy, now);
    }
    if (run.waiting) miss(run, target);
    return proceed(state, small, now);
  }

  function pause(policy: string, now: Instant): DueSize[] {
    agenda.put(policy, now + LOOK);
    return [];
  }

  /** Where nothing passes at all, or nobody knows yet, it is no question of size. */
  function rest({ target, run }: State, now: Instant): DueSize[] {
    delete run.waiting;
    run.missed = 0;
    if (run.search) run.search.tries = 0;
    return pause(target.policy, now);
  }

  function restart(state: State, since: Instant | undefined, now: Instant): void {
    const narrowed = state.run.found !== undefined && state.run.found.mtu < state.target.ceiling;
    state.run = newRun(now, since);
    if (narrowed) changed(state.target.tunnel);
  }

  function set(target: PathMtuTarget, now: Instant): void {
    const { policy } = target;
    const before = states.get(policy);
    if (before && isSame(before.target, target)) return;
    if (before) byNumber.delete(before.number);
    const state: State = { target, number: nextNumber++, sequence: 0, run: newRun(now) };
    states.set(policy, state);
    byNumber.set(state.number, state);
    agenda.put(policy, now);
  }

  function remove(policy: string): void {
    byNumber.delete(states.get(policy)!.number);
    states.delete(policy);
    agenda.remove(policy);
  }

  return {
    configure(targets, now) {
      const wanted = new Set(targets.map(({ policy }) => policy));
      for (const policy of [...states.keys()]) if (!wanted.has(policy)) remove(policy);
      for (const target of targets) set(target, now);
    },
    due: (now) => agenda.take(now).flatMap((policy) => take(policy, now)),
    answered({ target: number, sequence, source }, now) {
      const state = byNumber.get(number);
      const to = state && probe(state.target.policy, now)?.to;
      if (state?.run.waiting?.sequence !== sequence || source !== to) return;
      const { run, target } = state;
      delete run.waiting;
      run.missed = 0;
      if (run.search) narrow(run.search, { good: run.search.size });
      agenda.put(target.policy, run.search ? now : now + VERIFY);
    },
    refused(number, sequence, now) {
      const state = byNumber.get(number);
      if (state?.run.waiting?.sequence !== sequence) return;
      const { run, target } = state;
      delete run.waiting;
      if (run.search) narrow(run.search, { bad: run.search.size });
      else if (run.found) run.search = searchOf(target.floor, run.found.mtu, target.ceiling);
      agenda.put(target.policy, now);
    },
    next: () => agenda.next(),
    of(policy, now) {
      const found = states.get(policy)?.run.found;
      return found && { mtu: found.mtu, age: Math.max(0, now - found.at) };
    },
    limit(policy) {
      const { found, widened } = states.get(policy)?.run ?? {};
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

function isLastTry({ search, missed }: Run): boolean {
  return (search ? search.tries : missed + 1) >= TRIES;
}

/** Nothing came back: the packet was lost, or it was too large. */
function miss(run: Run, { floor, ceiling }: PathMtuTarget): void {
  const isLast = isLastTry(run);
  if (!run.search) run.missed++;
  if (!isLast) return;
  delete run.waiting;
  if (run.search) {
    run.search.silent = true;
    narrow(run.search, { bad: run.search.size });
  } else if (run.found) {
    run.search = { ...searchOf(floor, run.found.mtu, ceiling), silent: true };
    run.missed = 0;
  }
}

/** Milliseconds. */
function patience(rtt: number | undefined): number {
  return Math.round(Math.min(WAIT.most, Math.max(WAIT.least, WAIT.times * (rtt ?? WAIT.most))));
}
