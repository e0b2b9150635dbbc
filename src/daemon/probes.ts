// Echo requests inside the SAs, from an inside address of ours to one of the other side: whether packets pass, both ways, where
// nobody else sends any. Decides what is due and what an answer or a silence means; sends nothing itself.

import { Agenda } from '../ike/agenda.ts';
import type { Instant } from '../policy/sad.ts';
import { contains, exactly } from '../policy/selector.ts';
import type { ChildTemplate, Probe, Tunnel } from '../policy/tunnel.ts';
import { familyOf, type IpAddress } from '../wire/address.ts';
import type { Log } from './report.ts';

export interface ProbesOptions {
  /** Since when a tunnel is up, while it has that child; undefined where nothing can be sent. */
  upSince: (tunnel: string, child: string) => Instant | undefined;
  log: Log;
  /** Called once when answers cease: the peer itself may be gone. */
  silent: (tunnel: string) => void;
}

/** One echo request to be sent. */
export interface DueProbe {
  /** Stands in the packet, and names the target when it comes back. */
  target: number;
  sequence: number;
  source: IpAddress;
  destination: IpAddress;
}

export interface ProbeStatus {
  to: IpAddress;
  /** Missing where this gateway has no address to probe from. */
  from?: IpAddress;
  /** What `from` of the configuration names and this machine has not. */
  lacks?: IpAddress;
  /** Milliseconds. */
  every: number;
  /** `lost`: so many went unanswered that nothing can be said to pass. `waiting`: neither yet. */
  verdict: 'answered' | 'lost' | 'waiting';
  /** Since the tunnel is up. */
  sent: number;
  answered: number;
  /** Of the last hundred, from 0 to 1. */
  loss?: number;
  /** Milliseconds there and back: the last, and smoothed. */
  rtt?: number;
  rttSmoothed?: number;
  /** Milliseconds since the last answer. */
  age?: number;
}

export interface Probes {
  /** `own`: the addresses of this machine. */
  configure(tunnels: readonly Tunnel[], own: readonly IpAddress[], now: Instant): void;
  /** The next one of that child is due. */
  hasten(policy: string, now: Instant): void;
  /** What is due is to be sent now. */
  due(now: Instant): DueProbe[];
  /** Times of sending and of the answer in microseconds of one clock. */
  sent(target: number, sequence: number, at: number): void;
  answered(answer: { target: number; sequence: number; source: IpAddress; at: number }, now: Instant): void;
  next(): Instant | undefined;
  of(policy: string, now: Instant): ProbeStatus | undefined;
}

/** Sequence numbers whose answers are still waited for; a power of two, and more than the hundred of the loss. */
const KEPT = 128;
const COUNTED = 100;

/** Behind the first request, milliseconds; each further one is twice as long until there is an answer. */
const FIRST_PAUSE = 50;
/** A tunnel that is down is looked at so often, milliseconds. */
const LOOK = 1000;
/** Multiples of it fall evenly between 0 and 1. */
const GOLDEN = 0.618_033_988_75;

interface Target {
  number: number;
  tunnel: string;
  child: string;
  probe: Probe;
  source?: IpAddress;
  /** Somebody waits for the first answer. */
  hasty?: true;
  run: Run;
}

/** What was seen since the tunnel is up. */
interface Run {
  upSince?: Instant;
  first?: Instant;
  sent: number;
  answered: number;
  /** By sequence number: when it was sent, microseconds; negative once it is answered. */
  times: Float64Array;
  lastAnswer?: Instant;
  rtt?: number;
  rttSmoothed?: number;
  verdict: ProbeStatus['verdict'];
}

const newRun = (upSince?: Instant): Run => ({
  ...(upSince === undefined ? {} : { upSince }),
  sent: 0,
  answered: 0,
  times: new Float64Array(KEPT),
  verdict: 'waiting',
});

export function createProbes({ upSince, log, silent }: ProbesOptions): Probes {
  const targets = new Map<string, Target>();
  const byNumber = new Map<number, Target>();
  const agenda = new Agenda();
  let nextNumber = 1;

  function set(policy: string, target: Omit<Target, 'number' | 'run'>, now: Instant): void {
    const before = targets.get(policy);
    if (before && sameProbe(before.probe, target.probe)) {
      Object.assign(before, target);
      if (!target.source) delete before.source;
      return;
    }
    if (before) byNumber.delete(before.number);
    const added = { ...target, number: nextNumber++, run: newRun() };
    targets.set(policy, added);
    byNumber.set(added.number, added);
    // Many are not sent at one moment.
    const spread = Math.min(added.probe.every, LOOK);
    agenda.put(policy, now + Math.floor((((added.number - 1) * GOLDEN) % 1) * spread));
  }

  function take(policy: string, now: Instant): DueProbe[] {
    const target = targets.get(policy)!;
    const { probe, source } = target;
    const since = upSince(target.tunnel, target.child);
    const ready = since !== undefined && source !== undefined;
    if (since !== target.run.upSince) target.run = newRun(since);
    agenda.put(policy, now + (ready ? pauseOf(target) : Math.min(probe.every, LOOK)));
    if (!ready) return [];
    const { run } = target;
    run.first ??= now;
    if (run.verdict !== 'lost' && isOverdue(target, now)) lose(target, now);
    const sequence = run.sent++ % 65_536;
    return [{ target: target.number, sequence, source, destination: probe.to }];
  }

  function lose({ tunnel, child, probe, run }: Target, now: Instant): void {
    run.verdict = 'lost';
    const seconds = ((now - (run.lastAnswer ?? run.first ?? now)) / 1000).toFixed(1);
    log({ code: 'PROBE_LOST', tunnel, detail: { child, to: probe.to, seconds } });
    silent(tunnel);
  }

  return {
    configure(tunnels, own, now) {
      const wanted = new Set<string>();
      for (const tunnel of tunnels) {
        for (const child of tunnel.children) {
          if (!child.probe) continue;
          const source = sourceOf(child, child.probe, own);
          const policy = `${tunnel.name}/${child.name}`;
          wanted.add(policy);
          const common = { tunnel: tunnel.name, child: child.name, probe: child.probe };
          set(policy, source === undefined ? common : { ...common, source }, now);
        }
      }
      for (const [policy, { number }] of targets) {
        if (wanted.has(policy)) continue;
        targets.delete(policy);
        byNumber.delete(number);
        agenda.remove(policy);
      }
    },
    hasten(policy, now) {
      const target = targets.get(policy);
      if (!target) return;
      target.hasty = true;
      agenda.put(policy, now);
    },
    due: (now) => agenda.take(now).flatMap((policy) => take(policy, now)),
    sent(number, sequence, at) {
      const target = byNumber.get(number);
      if (target) target.run.times[sequence % KEPT] = at;
    },
    answered({ target: number, sequence, source, at }, now) {
      const target = byNumber.get(number);
      const sentAt = target?.run.times[sequence % KEPT] ?? 0;
      if (!target || source !== target.probe.to || sentAt <= 0) return;
      const { run, tunnel, child, probe } = target;
      run.times[sequence % KEPT] = -1;
      run.answered++;
      run.lastAnswer = now;
      run.rtt = Math.max(0, at - sentAt) / 1000;
      run.rttSmoothed = smoothed(run.rttSmoothed, run.rtt);
      if (run.verdict === 'answered') return;
      run.verdict = 'answered';
      log({ code: 'PROBE_ANSWERED', tunnel, detail: { child, to: probe.to, rtt: run.rtt.toFixed(1) } });
    },
    next: () => agenda.next(),
    of(policy, now) {
      const target = targets.get(policy);
      return target && statusOf(target, now);
    },
  };
}

/** Milliseconds to the next one. Where the first answer is waited for, its request may have come too early. */
function pauseOf({ probe, hasty, run: { verdict, sent } }: Target): number {
  return hasty && verdict === 'waiting' ? Math.min(probe.every, FIRST_PAUSE * 2 ** sent) : probe.every;
}

function sameProbe(a: Probe, b: Probe): boolean {
  return a.to === b.to && a.from === b.from && a.every === b.every && a.lost === b.lost;
}

/** Where nothing else is said, the first own address that may go through the child. */
function sourceOf(
  { selectors }: ChildTemplate,
  probe: Probe,
  own: readonly IpAddress[],
): IpAddress | undefined {
  const protocol = familyOf(probe.to) === 4 ? 1 : 58;
  const fits = (address: IpAddress) =>
    familyOf(address) === familyOf(probe.to) &&
    selectors.local.some((selector) =>
      contains({ ...selector, startPort: 0, endPort: 65535 }, exactly(address, protocol, 0)),
    );
  return own.find((address) => (probe.from === undefined ? fits(address) : address === probe.from));
}

/** So many are unanswered, and the last of them has had as long as the next one took to come. */
function isOverdue({ probe, run }: Target, now: Instant): boolean {
  const heard = run.lastAnswer ?? run.first ?? now;
  return now - heard > (probe.lost + 0.5) * probe.every;
}

/** RFC 6298 §2: an eighth of the new one. */
function smoothed(before: number | undefined, rtt: number): number {
  return before === undefined ? rtt : before + (rtt - before) / 8;
}

function statusOf({ probe, source, run }: Target, now: Instant): ProbeStatus {
  const { verdict, sent, answered, rtt, rttSmoothed, lastAnswer } = run;
  const loss = lossOf(run, probe.lost);
  return {
    to: probe.to,
    ...(source === undefined ? {} : { from: source }),
    ...(source === undefined && probe.from !== undefined ? { lacks: probe.from } : {}),
    every: probe.every,
    verdict,
    sent,
    answered,
    ...(loss === undefined ? {} : { loss }),
    ...(rtt === undefined ? {} : { rtt }),
    ...(rttSmoothed === undefined ? {} : { rttSmoothed }),
    ...(lastAnswer === undefined ? {} : { age: Math.max(0, now - lastAnswer) }),
  };
}

/** Without the newest, whose answers may be on their way. */
function lossOf({ sent, times }: Run, waiting: number): number | undefined {
  const last = sent - waiting;
  const first = Math.max(0, last - COUNTED);
  if (last <= 0) return undefined;
  let lost = 0;
  for (let sequence = first; sequence < last; sequence++) if (times[sequence % KEPT]! >= 0) lost++;
  return lost / (last - first);
}
