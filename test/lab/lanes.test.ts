import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { inLanes } from '../../lab/lanes.ts';

test('two at a time, the next one when either is done, what came of them in order', async () => {
  const steps: string[] = [];
  const part = (name: string, turns: number) => async () => {
    steps.push(`${name} begins`);
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    steps.push(`${name} ends`);
    return name;
  };
  assert.deepEqual(await inLanes(2, [part('a', 9), part('b', 1), part('c', 1)]), ['a', 'b', 'c']);
  assert.deepEqual(steps, ['a begins', 'b begins', 'b ends', 'c begins', 'c ends', 'a ends']);
});

test('a failure is not waited for behind the others', async () => {
  const never = () => new Promise<string>(() => {});
  await assert.rejects(inLanes(2, [never, () => Promise.reject(new Error('no guest'))]), /no guest/);
});
