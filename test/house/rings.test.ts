import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRings, ringsIn } from '../../scripts/rings.ts';

const ringsOf = (imports: Record<string, string[]>) => ringsIn(new Map(Object.entries(imports)));

test('no files of src import each other in a ring', () => {
  assert.deepEqual(checkRings(), []);
});

test('a ring is found whatever leads into it, and once', () => {
  assert.deepEqual(ringsOf({ a: ['b'], b: ['c', 'd'], c: ['b'], d: [] }), [['b', 'c']]);
  assert.deepEqual(ringsOf({ a: ['a'] }), [['a']]);
  assert.deepEqual(ringsOf({ a: ['b', 'c'], b: ['d'], c: ['d'], d: [] }), []);
});
