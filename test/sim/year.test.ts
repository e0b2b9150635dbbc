import assert from 'node:assert/strict';
import { test } from 'node:test';
import { live } from './year.ts';

test('four days of rekeys with 5 % loss: every packet passes, both sides agree, and the heap is flat', () => {
  const phases = live(4, 4, 0.05);
  const [first, last] = [phases[1]!, phases.at(-1)!];
  assert.ok(last.rekeys > 1000, `${last.rekeys} rekeys`);
  assert.ok(last.heapBytes / first.heapBytes < 1.08, JSON.stringify(phases));
});
