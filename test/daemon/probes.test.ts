import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProbes, type DueProbe, type Probes } from '../../src/daemon/probes.ts';
import type { Report } from '../../src/daemon/report.ts';
import type { Probe, Tunnel } from '../../src/policy/tunnel.ts';
import { tunnel } from '../sim/sites.ts';

const OWN = ['192.0.2.1', '10.1.0.1'];
const POLICY = 't/net';

interface Site {
  probes: Probes;
  reports: Report[];
  now(): number;
  /** Lets time pass; the inside of the other side answers after that many milliseconds, or never. */
  run(milliseconds: number, answersAfter?: (sequence: number) => number | undefined): DueProbe[];
  up: number | undefined;
  silences: number;
  configure(probe: Partial<Probe> | undefined, own?: readonly string[]): void;
}

function site(probe: Partial<Probe> = {}): Site {
  const reports: Report[] = [];
  let now = 10_000;
  const self: Site = {
    reports,
    up: now,
    now: () => now,
    probes: createProbes({
      upSince: () => self.up,
      log: (report) => void reports.push(report),
      silent: () => void self.silences++,
    }),
    silences: 0,
    configure(changed, own = OWN) {
      self.probes.configure([probed(changed)], own, now);
    },
    run(milliseconds, answersAfter) {
      const sent: DueProbe[] = [];
      const answers: { at: number; probe: DueProbe }[] = [];
      for (const end = now + milliseconds; now < end; now++) {
        for (const { probe: one } of answers.filter(({ at }) => at === now)) {
          const { target, sequence, destination: source } = one;
          self.probes.answered({ target, sequence, source, at: now * 1000 }, now);
        }
        if ((self.probes.next() ?? Number.POSITIVE_INFINITY) > now) continue;
        for (const one of self.probes.due(now)) {
          sent.push(one);
          self.probes.sent(one.target, one.sequence, now * 1000);
          const after = answersAfter?.(one.sequence);
          if (after !== undefined) answers.push({ at: now + after, probe: one });
        }
      }
      return sent;
    },
  };
  self.configure(probe);
  return self;
}

function probed(probe: Partial<Probe> | undefined): Tunnel {
  const whole = { to: '10.2.0.1', every: 200, lost: 4, ...probe };
  const children = tunnel('a').children.map((child) => (probe ? { ...child, probe: whole } : child));
  return tunnel('a', { children });
}

const codes = ({ reports }: Site) => reports.map(({ code }) => code);
const statusOf = ({ probes, now }: Site) => probes.of(POLICY, now())!;

test('from the first own address inside local, in its interval, answered: it passes, with its round trip time', () => {
  const a = site();
  const sent = a.run(2000, () => 7);
  assert.equal(sent.length, 10);
  assert.deepEqual([sent[0]!.source, sent[0]!.destination], ['10.1.0.1', '10.2.0.1']);
  const { verdict, rtt, loss, answered } = statusOf(a);
  assert.deepEqual([verdict, rtt, loss, answered], ['answered', 7, 0, 10]);
  assert.deepEqual(codes(a), ['PROBE_ANSWERED']);
});

test('a child that came into being is probed at once, and again soon until it is answered', () => {
  const a = site({ every: 1000 });
  const at: number[] = [];
  a.up = undefined;
  a.run(1500);
  a.up = a.now();
  a.probes.hasten(POLICY, a.now());
  a.probes.hasten('t/nobody', a.now());
  const since = a.now();
  a.run(5000, (sequence) => {
    at.push(a.now() - since);
    return sequence === 3 ? 1 : undefined;
  });
  assert.deepEqual(at.slice(0, 6), [0, 50, 150, 350, 750, 1750]);
});

test('every 200 ms: an inside that dies is told within a second, and once; what comes back is told, too', () => {
  const a = site();
  a.run(5000, () => 3);
  a.run(1000);
  assert.deepEqual(codes(a), ['PROBE_ANSWERED', 'PROBE_LOST']);
  assert.equal(statusOf(a).verdict, 'lost');
  a.run(60_000);
  assert.deepEqual([a.reports.length, a.silences], [2, 1]);
  a.run(300, () => 3);
  assert.deepEqual(codes(a).slice(2), ['PROBE_ANSWERED']);
  assert.equal(statusOf(a).verdict, 'answered');
});

test('three lost in a row are chance, the loss is counted', () => {
  const a = site();
  a.run(40_000, (sequence) => (sequence % 4 === 0 ? 3 : undefined));
  assert.deepEqual(codes(a), ['PROBE_ANSWERED']);
  assert.equal(statusOf(a).loss, 0.75);
});

test('an answer that takes longer than the interval is no loss', () => {
  const a = site();
  a.run(10_000, () => 750);
  assert.deepEqual(codes(a), ['PROBE_ANSWERED']);
  assert.deepEqual([statusOf(a).loss, statusOf(a).rtt], [0, 750]);
});

test('never answered: lost, without an age', () => {
  const a = site({ every: 1000 });
  a.run(6000);
  assert.deepEqual(codes(a), ['PROBE_LOST']);
  assert.deepEqual([statusOf(a).verdict, statusOf(a).age], ['lost', undefined]);
});

test('a tunnel that is down is not probed; up again, nothing of before proves anything', () => {
  const a = site();
  a.run(2000, () => 3);
  a.up = undefined;
  assert.equal(a.run(2000).length, 0);
  assert.deepEqual([statusOf(a).verdict, statusOf(a).age], ['waiting', undefined]);
  a.up = a.now();
  a.run(300, () => 3);
  assert.deepEqual(codes(a), ['PROBE_ANSWERED', 'PROBE_ANSWERED']);
});

test('an answer from somebody else, twice, or to what was never sent counts nothing', () => {
  const a = site();
  const [first] = a.run(1);
  const answer = { target: first!.target, sequence: 0, source: '10.2.0.1', at: a.now() * 1000 };
  a.probes.answered({ ...answer, source: '10.2.0.2' }, a.now());
  a.probes.answered({ ...answer, sequence: 9 }, a.now());
  a.probes.answered({ ...answer, target: 77 }, a.now());
  assert.equal(statusOf(a).answered, 0);
  a.probes.answered(answer, a.now());
  a.probes.answered(answer, a.now());
  assert.equal(statusOf(a).answered, 1);
});

test('without an address inside local there is nothing to probe from, until one comes', () => {
  const a = site();
  a.configure({}, ['192.0.2.1']);
  assert.equal(a.run(1000).length, 0);
  assert.equal(statusOf(a).from, undefined);
  a.configure({ from: '10.1.0.9' });
  assert.equal(a.run(1000).length, 0);
  assert.equal(statusOf(a).lacks, '10.1.0.9');
  a.configure({}, OWN);
  assert.ok(a.run(1000, () => 3).length > 0);
  assert.equal(statusOf(a).from, '10.1.0.1');
});

test('a reload keeps what is known of a probe that stays, and forgets one that goes', () => {
  const a = site();
  a.run(2000, () => 3);
  a.configure({});
  assert.equal(statusOf(a).verdict, 'answered');
  a.configure({ to: '10.2.0.9' });
  assert.equal(statusOf(a).verdict, 'waiting');
  a.configure(undefined);
  assert.equal(a.probes.of(POLICY, a.now()), undefined);
  assert.equal(a.probes.next(), undefined);
});

test('ten thousand with one interval are spread over it', () => {
  const sent: number[] = [];
  const probes = createProbes({ upSince: () => 0, log: () => {}, silent: () => {} });
  const all = Array.from({ length: 10_000 }, (_, index) => ({
    ...probed({ every: 1000 }),
    name: `t${index}`,
  }));
  probes.configure(all, OWN, 0);
  for (let now = 0; now < 1000; now += 10) sent.push(probes.due(now + 9).length);
  assert.equal(
    sent.reduce((sum, count) => sum + count, 0),
    10_000,
  );
  assert.ok(Math.max(...sent) < 130, `${Math.max(...sent)} at once`);
});

test('a tunnel with a long interval is probed within a second of its coming up', () => {
  const a = site({ every: 3_600_000 });
  a.up = undefined;
  a.configure({ every: 3_600_000, to: '10.2.0.7' });
  a.run(5000);
  a.up = a.now();
  assert.equal(a.run(1001).length, 1);
});
