// Files that run in a network namespace of their own, where nothing of the machine is touched.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const FLAGS = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];

/** A test that such a file is: it passes where the file ends with 0. */
export function insideNamespace(name: string, file: string): void {
  const allowed = spawnSync('unshare', [...FLAGS, 'true']).status === 0;
  test(name, { skip: allowed ? false : 'no network namespaces for this user here' }, () => {
    const node = [process.execPath, ...process.execArgv.filter((flag) => !flag.startsWith('--test'))];
    const { status, stdout, stderr } = spawnSync('unshare', [...FLAGS, ...node, file], { encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  });
}
