import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { test } from 'node:test';

const patches = globSync('test/mutants/*.patch');

test('the planted faults are still faults of this source: each fits (npm run mutants finds them)', () => {
  assert.ok(patches.length >= 10);
  for (const patch of patches) {
    const { status, stdout } = spawnSync('patch', ['--batch', '--dry-run', '-p1', '-i', patch], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, `${patch}: ${stdout}`);
  }
});
