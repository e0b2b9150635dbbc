// Sizes asked for by IKE: whom, when, and what is left of them inside.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createOutsideMtus, eitherWay } from '../../src/daemon/path-mtu-outside.ts';
import type { ProbeStatus } from '../../src/daemon/probes.ts';
import type { Report } from '../../src/daemon/report.ts';
import type { ReportCode } from '../../src/ike/errors.ts';
import { tunnel } from '../sim/sites.ts';

const MEASURED = tunnel('a', { findPathMtu: true });
const LOST: ProbeStatus = {
  to: '10.2.0.1',
  from: '10.1.0.1',
  every: 1000,
  verdict: 'lost',
  sent: 9,
  answered: 0,
};

/** A path that carries so many bytes, to a peer that answers after 20 ms. */
function path(t: TestContext, carries: number, measured = MEASURED) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const world = { now: 1000, probe: undefined as ProbeStatus | undefined, plain: false, cannot: false };
  const [asked, reports, resized]: [number[], Report[], string[]] = [[], [], []];
  const later = (code: ReportCode, delay: number) =>
    new Promise<ReportCode>((resolve) => setTimeout(() => resolve(code), delay));
  const outside = createOutsideMtus({
    clock: () => world.now,
    log: (report) => void reports.push(report),
    measure(name, size, patience) {
      assert.equal(name, 't');
      asked.push(size);
      if (world.cannot) return later('PATH_UNASKED', 1);
      return size <= carries ? later('OK', 20) : later('PATH_LOST', patience + 20);
    },
    upSince: () => 500,
    probe: () => world.probe,
    roomInside: (_of, outer) => ({ mtu: outer - 60, estimate: world.plain }),
    resized: (name) => void resized.push(name),
  });
  const run = async (seconds: number) => {
    for (let i = 0; i < 100 * seconds; i++) {
      world.now += 10;
      t.mock.timers.tick(10);
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  outside.configure([measured], 1500, () => 1438);
  return { world, outside, asked, reports, resized, run, of: () => outside.of('t/net', world.now) };
}

test('what reaches the peer is found, told, and is less inside by what stands around it', async (t) => {
  const { run, of, outside, reports, resized, world } = path(t, 1400);
  await run(25);
  const { mtu, by, age } = of()!;
  assert.ok(mtu <= 1340 && mtu > 1336 && age < 25_000, `${mtu}`);
  assert.deepEqual([by, outside.limit('t/net')], ['ike', mtu]);
  assert.deepEqual(
    reports.map(({ code, detail }) => [code, detail]),
    [['OUTER_PATH_BLACK_HOLE', { mtu: mtu + 60, wanted: 1500 }]],
  );
  assert.deepEqual(resized, ['t']);
  assert.equal(of()!.estimate, undefined);
  world.plain = true;
  assert.equal(of()!.estimate, true);
});

test('a path that carries what is configured costs one exchange, and one a minute', async (t) => {
  const { run, of, asked, reports } = path(t, 1500);
  await run(5);
  assert.deepEqual([asked, reports], [[1500], []]);
  assert.equal(of()!.mtu, 1438, 'no more than the devices take');
  await run(300);
  assert.ok(asked.length <= 6, `${asked.length}`);
});

test('while an address inside answers, IKE is not asked; once it does not, it is', async (t) => {
  const { run, of, asked, world, outside } = path(t, 1400);
  world.probe = { ...LOST, verdict: 'answered', age: 100 };
  await run(20);
  assert.deepEqual([asked, of()], [[], undefined]);
  world.probe = { ...LOST, verdict: 'waiting' };
  await run(20);
  assert.deepEqual(asked, []);
  const within = { of: () => ({ mtu: 1300, age: 5 }), limit: () => 1300 };
  const both = eitherWay(within, outside);
  assert.deepEqual(both.of('t/net', world.now), { mtu: 1300, age: 5, by: 'probe' });
  world.probe = LOST;
  await run(25);
  assert.ok(of()!.mtu <= 1340);
  const unknown = eitherWay({ of: () => undefined, limit: () => undefined }, outside);
  assert.deepEqual(
    [unknown.of('t/net', world.now)?.by, unknown.limit('t/net')],
    ['ike', outside.limit('t/net')],
  );
});

test('a peer that cannot be asked limits nothing, and is not asked all the time', async (t) => {
  const { run, of, asked, world, outside, reports } = path(t, 1400);
  world.cannot = true;
  await run(60);
  assert.deepEqual([of(), outside.limit('t/net'), reports], [undefined, undefined, []]);
  assert.ok(asked.length > 1 && asked.length <= 13, `${asked.length}`);
});

test('nobody is asked where it is switched off, in transport mode, and after the end', async (t) => {
  const hosts = MEASURED.children.map((child) => ({ ...child, mode: 'transport' as const }));
  for (const never of [tunnel('a'), { ...MEASURED, children: hosts }]) {
    const { run, asked } = path(t, 1400, never);
    await run(20);
    assert.deepEqual(asked, []);
    t.mock.timers.reset();
  }
  const { run, asked, outside } = path(t, 1400);
  outside.stop();
  await run(20);
  assert.deepEqual(asked, []);
});
