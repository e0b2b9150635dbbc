import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLayers } from '../../scripts/layers.ts';

test('nothing imports upwards, and wire, policy and ike only compute', () => {
  assert.deepEqual(checkLayers(), []);
});
