import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Result } from '../../lab/checks.ts';
import { interopReport } from '../../lab/interop-report.ts';
import { type KnownRed, knownRed, turnedGreen } from '../../lab/known-reds.ts';

const result = (changes: Partial<Result> = {}): Result => ({
  peer: 'libreswan 4.10',
  feature: 'AH',
  dataplane: 'engine',
  role: 'initiator',
  suite: 'sha2-256',
  check: 'deleted',
  result: 'pass',
  detail: 'gone on both sides',
  ...changes,
});

const OCCASION = { date: '2026-11-25', versions: ['libreswan 4.10'], minutes: 30 };

const ROW: KnownRed = { peer: 'libreswan', check: 'deleted', whose: 'the peer', why: 'its DELETE names ESP' };

test('docs/interop.md: a column a peer and data plane, a row a feature, counts in the cells', () => {
  const text = interopReport(
    [
      result(),
      result({ role: 'responder' }),
      result({ dataplane: 'xfrm', feature: 'ESP' }),
      result({ result: 'fail', detail: 'still there\nand more' }),
    ],
    OCCASION,
  );
  assert.match(text, /^\| \| libreswan 4\.10; our engine \| libreswan 4\.10; our xfrm \|$/m);
  assert.match(text, /^\| AH \| 2 of 3 \[1\] \| {2}\|$/m);
  assert.match(text, /^\| ESP \| {2}\| 1 of 1 \|$/m);
  assert.match(text, /^3 of 4 checks pass\.$/m);
  assert.match(text, /^1\. sha2-256, we as initiator, deleted\. Not explained yet: still there$/m);
  assert.match(text, /on 2026-11-25, in 30 minutes/);
});

test('docs/interop.md: where nothing fails nothing is said of it', () => {
  assert.doesNotMatch(interopReport([result()], OCCASION), /What fails/);
});

test('a known red fits by parts of its fields, and is told once it passes', () => {
  assert.equal(knownRed(result({ result: 'fail' }), [ROW]), ROW);
  assert.equal(knownRed(result({ check: 'established' }), [ROW]), undefined);
  assert.equal(knownRed(result(), [{ ...ROW, dataplane: 'xfrm' }]), undefined);
  assert.equal(knownRed(result(), [{ ...ROW, role: 'responder' }]), undefined);
  assert.equal(
    knownRed(result({ detail: '1 of ours and 0 of theirs' }), [{ ...ROW, detail: ' 0 of ours' }]),
    undefined,
  );
  assert.deepEqual(turnedGreen([result()], [ROW]), [ROW]);
  assert.deepEqual(turnedGreen([result(), result({ result: 'fail' })], [ROW]), []);
  assert.deepEqual(turnedGreen([], [ROW]), []);
  assert.deepEqual(turnedGreen([result()], [{ ...ROW, sometimes: true }]), []);
});
