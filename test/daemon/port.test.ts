// The outer sockets in a real kernel: in a network namespace of its own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const INSIDE = 'test/daemon/port.inside.ts';
const flags = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];
const allowed = spawnSync('unshare', [...flags, 'true']).status === 0;

test('what is to go in one piece does so or not at all, and what follows may be fragmented', {
  skip: allowed ? false : 'no network namespaces for this user here',
}, () => {
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    [...flags, process.execPath, ...process.execArgv.filter((flag) => !flag.startsWith('--test')), INSIDE],
    { encoding: 'utf8' },
  );
  assert.equal(status, 0, stdout + stderr);
});
