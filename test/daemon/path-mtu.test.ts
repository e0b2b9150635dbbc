import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPathMtus, type PathMtus, type PathMtuTarget } from '../../src/daemon/path-mtu.ts';
import type { Report } from '../../src/daemon/report.ts';

const TARGET: PathMtuTarget = {
  key: 't/net',
  tunnel: 't',
  child: 'net',
  floor: 576,
  ceiling: 1400,
  byDevice: false,
};
/** A tunnel over a path that lets packets of up to `passes` through; larger ones vanish, or are refused here. */
class Path {
  passes = 1400;
  refuses = Number.POSITIVE_INFINITY;
  /** What a router says that passes, when something does not. */
  says: number | undefined;
  /** Answers to small probes, and to all. */
  alive = true;
  lossy: (sent: number) => boolean = () => false;
  up: number | undefined = 500;
  now = 1000;
  sizes: number[] = [];
  reports: Report[] = [];
  resized = 0;
  #lastSmall = 1000;
  readonly #told: boolean;
  readonly mtus: PathMtus;

  constructor(target: Partial<PathMtuTarget> = {}, silence: 'told' | 'deduced' = 'deduced') {
    const byDevice = target.byDevice === true;
    this.mtus = createPathMtus({
      upSince: () => this.up,
      small: (_target, now) => ({ pass: true, rtt: 20, age: now - this.#lastSmall }),
      silence,
      pace: { verify: 10_000, least: 200, look: 1000 },
      codes: { other: 'PATH_MTU', blackHole: 'PATH_BLACK_HOLE' },
      log: (report) => void this.reports.push(report),
      changed: () => {
        this.resized++;
        if (byDevice) this.refuses = this.mtus.limit(TARGET.key) ?? TARGET.ceiling;
      },
    });
    this.#told = silence === 'told';
    this.mtus.configure([{ ...TARGET, ...target }], this.now);
  }

  run(seconds: number): this {
    const late: {
      at: number;
      outcome: 'answered' | 'lost' | 'undecided';
      target: number;
      sequence: number;
    }[] = [];
    for (const end = this.now + 1000 * seconds; this.now < end; this.now += 10) {
      if (this.alive && this.now % 1000 === 0) this.#lastSmall = this.now;
      late.sort((a, b) => a.at - b.at);
      for (const one of late.splice(0, late.findIndex(({ at }) => at > this.now) >>> 0))
        this.mtus[one.outcome](one, this.now);
      if ((this.mtus.next() ?? Number.POSITIVE_INFINITY) > this.now) continue;
      for (const due of this.mtus.due(this.now)) {
        const { target, sequence, size, patience } = due;
        this.sizes.push(size);
        const isLost = !this.alive || this.lossy(this.sizes.length);
        const one = { target, sequence };
        if (this.says !== undefined && size > this.passes) this.mtus.hint(TARGET.key, this.says, this.now);
        if (size > this.refuses) this.mtus.refused(due, this.now);
        else if (size <= this.passes && !isLost)
          late.push({ at: this.now + 20, outcome: 'answered', ...one });
        else if (this.#told)
          late.push({
            at: this.now + patience,
            outcome: this.alive ? 'lost' : 'undecided',
            ...one,
          });
      }
    }
    return this;
  }

  get mtu(): number | undefined {
    return this.mtus.of(TARGET.key, this.now)?.mtu;
  }

  get codes(): string[] {
    return this.reports.map(({ code }) => code);
  }
}

test('a path that carries what is configured is found with one probe, and nothing is told', () => {
  const path = new Path().run(5);
  assert.deepEqual([path.mtu, path.sizes, path.codes, path.resized], [1400, [1400], [], 0]);
});

test('every size of a black hole is found to within four bytes, in a few seconds, and named', () => {
  for (let passes = 576; passes < 1400; passes += 7) {
    const path = new Path();
    path.passes = passes;
    path.run(15);
    assert.ok(path.mtu! <= passes && path.mtu! > passes - 4, `${path.mtu} of ${passes}`);
    assert.deepEqual([path.codes, path.resized], [['PATH_BLACK_HOLE'], 1]);
    assert.deepEqual(path.reports[0]!.detail, { child: 'net', mtu: path.mtu, wanted: 1400 });
  }
});

test('what does not leave here is no black hole, and costs no patience', () => {
  const path = new Path();
  path.refuses = 1000;
  path.passes = 1000;
  path.run(4);
  assert.deepEqual([path.mtu, path.codes], [1000, ['PATH_MTU']]);
});

test('the floor is taken for what passes, and nothing smaller is asked', () => {
  const path = new Path({ floor: 1280 });
  path.passes = 1000;
  path.run(10);
  assert.deepEqual([path.mtu, Math.min(...path.sizes) > 1280], [1280, true]);
});

test('a lost packet is not a size that is too large', () => {
  const path = new Path();
  path.lossy = (sent) => sent % 3 !== 0;
  path.run(60);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
});

test('where nothing passes at all, no size is given up', () => {
  const path = new Path().run(5);
  path.alive = false;
  path.run(40);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
  path.alive = true;
  path.run(40);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
});

test('large packets cease to pass: noticed within a minute; they pass again: found after ten', () => {
  const path = new Path().run(30);
  path.passes = 1200;
  path.run(60);
  assert.deepEqual([path.mtu, path.codes, path.resized], [1200, ['PATH_BLACK_HOLE'], 1]);
  path.passes = 1400;
  path.run(500);
  assert.equal(path.mtu, 1200);
  path.run(200);
  assert.deepEqual([path.mtu, path.codes.at(-1), path.resized], [1400, 'PATH_MTU', 2]);
});

test('a device that refuses more than was found makes room before more is tried', () => {
  const path = new Path({ byDevice: true });
  path.passes = 1200;
  path.run(30);
  assert.deepEqual([path.mtu, path.mtus.limit(TARGET.key), path.refuses], [1200, 1200, 1200]);
  path.run(610);
  assert.deepEqual([path.mtu, path.refuses, path.resized], [1200, 1200, 3], 'narrow again');
  path.passes = 1400;
  path.run(610);
  assert.deepEqual([path.mtu, path.refuses, path.codes.at(-1)], [1400, 1400, 'PATH_MTU']);
});

test('a tunnel that comes up again is looked at anew, and until then nothing is known of it', () => {
  const path = new Path();
  path.passes = 900;
  path.run(15);
  assert.equal(path.mtu, 900);
  path.up = undefined;
  path.run(15);
  assert.deepEqual([path.mtu, path.resized], [undefined, 2]);
  path.passes = 1400;
  path.up = path.now;
  path.run(5);
  assert.equal(path.mtu, 1400);
});

test('an answer to something else is none', () => {
  const path = new Path();
  const [asked] = path.mtus.due(path.now);
  path.mtus.answered({ ...asked!, sequence: asked!.sequence + 1 }, path.now);
  path.mtus.answered({ ...asked!, target: asked!.target + 1 }, path.now);
  assert.deepEqual(
    [asked!.target, asked!.target + 1].map((target) => path.mtus.named(target)),
    [TARGET.key, undefined],
  );
  path.passes = 0;
  path.run(10);
  assert.equal(path.mtu, 576);
});

test('a large packet now and then: so many bytes are spent on a tunnel whose size is known', () => {
  const path = new Path().run(600);
  assert.ok(path.sizes.length <= 62, `${path.sizes.length} probes in ten minutes`);
  path.mtus.configure([], path.now);
  assert.equal(path.mtus.next(), undefined);
});

test('where it is told what came to nothing, every size is found as well', () => {
  for (let passes = 576; passes < 1400; passes += 11) {
    const path = new Path({}, 'told');
    path.passes = passes;
    path.run(15);
    assert.ok(path.mtu! <= passes && path.mtu! > passes - 4, `${path.mtu} of ${passes}`);
    assert.deepEqual([path.codes, path.resized], [['PATH_BLACK_HOLE'], 1]);
  }
});

test('a loss that is told is a lost packet first, and a size that is too large the third time', () => {
  const path = new Path({}, 'told');
  path.lossy = (sent) => sent % 3 !== 0;
  path.run(60);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
});

test('what nobody knows the outcome of decides nothing, and is asked again', () => {
  const path = new Path({}, 'told').run(5);
  path.alive = false;
  path.run(40);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
  const asked = path.sizes.length;
  path.alive = true;
  path.run(40);
  assert.ok(path.sizes.length > asked && path.sizes.length < asked + 10, `${path.sizes.length}`);
  assert.deepEqual([path.mtu, path.codes], [1400, []]);
});

test('who never says what came of a probe is asked again after two minutes', () => {
  const path = new Path({}, 'told');
  assert.equal(path.mtus.due(path.now).length, 1);
  path.run(119);
  assert.deepEqual(path.sizes, []);
  path.run(5);
  assert.deepEqual([path.sizes, path.mtu], [[1400], 1400]);
});

for (const silence of ['deduced', 'told'] as const) {
  test(`a router that says what it takes is taken at its word once probes show it, and that is no black hole (${silence})`, () => {
    for (let passes = 576; passes < 1396; passes += 13) {
      const path = new Path({}, silence);
      path.passes = path.says = passes;
      path.run(10);
      assert.deepEqual([path.mtu, path.codes, path.resized], [passes, ['PATH_MTU'], 1], `${passes}`);
      assert.ok(path.sizes.length <= 6, `${path.sizes}`);
    }
  });

  test(`a word of what is in use is verified at once, and what follows takes seconds (${silence})`, () => {
    const path = new Path({}, silence).run(21);
    path.passes = 1200;
    path.mtus.hint(TARGET.key, 1200, path.now);
    path.run(5);
    assert.deepEqual([path.mtu, path.codes], [1200, ['PATH_MTU']]);
  });
}

test('a forged word lowers nothing: it costs a few probes, and no more when it is repeated', () => {
  for (const silence of ['deduced', 'told'] as const) {
    const path = new Path({}, silence).run(21);
    const before = path.sizes.length;
    for (let i = 0; i < 1000; i++) path.mtus.hint(TARGET.key, 68 + i, path.now);
    path.run(4);
    assert.deepEqual([path.mtu, path.codes, path.resized], [1400, [], 0]);
    assert.ok(path.sizes.length <= before + 2, `${path.sizes}`);
    const early = new Path({}, silence);
    early.passes = 1300;
    early.says = 600;
    early.run(30);
    assert.ok(early.mtu! <= 1300 && early.mtu! > 1296, `${early.mtu}`);
  }
});

test('a word of more than is in use, or of somebody unknown, is none', () => {
  const path = new Path().run(5);
  const asked = path.sizes.length;
  path.mtus.hint(TARGET.key, 1400, path.now);
  path.mtus.hint('t/other', 600, path.now);
  path.run(3);
  assert.equal(path.sizes.length, asked);
});
