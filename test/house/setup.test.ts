import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

for (const goal of ['demo', 'test', 'build']) {
  test(`once all is there, the set-up for ${goal} does nothing and says nothing`, () => {
    const { status, stdout, stderr } = spawnSync('sh', ['scripts/setup.sh', goal], { encoding: 'utf8' });
    assert.deepEqual([status, stdout, stderr], [0, '', '']);
  });
}
