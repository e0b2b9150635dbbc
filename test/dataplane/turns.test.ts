import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newBreath, singly } from '../../src/dataplane/turns.ts';

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test('a breath is taken where the slice is used up', async () => {
  const breath = newBreath();
  let turns = 0;
  setImmediate(() => turns++);
  const until = performance.now() + 11;
  while (performance.now() < until);
  await breath();
  assert.equal(turns, 1);
});

test('one run at a time, and one more for all that was asked meanwhile', async () => {
  const release: (() => void)[] = [];
  const ask = singly(() => new Promise((resolve) => release.push(resolve)));
  for (let times = 0; times < 3; times++) ask();
  assert.equal(release.length, 1);
  release[0]!();
  await nextTurn();
  assert.equal(release.length, 2);
  release[1]!();
  await nextTurn();
  assert.equal(release.length, 2);
  ask();
  assert.equal(release.length, 3);
});
