// `npm run mutants [-- NAME…]`: plants each protocol fault of test/mutants in a copy of src and asks that the simulation
// finds it. 1 where one is not found or does not fit any more.

import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';

const wanted = process.argv.slice(2);
const patches = globSync('test/mutants/*.patch')
  .sort()
  .filter((patch) => wanted.length === 0 || wanted.some((part) => patch.includes(part)));

for (const patch of patches) {
  const began = performance.now();
  const { found, detail } = hunt(patch);
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`${found ? 'found' : 'NOT FOUND'} ${basename(patch, '.patch')} (${seconds} s): ${detail}`);
  if (!found) process.exitCode = 1;
}

function hunt(patch: string): { found: boolean; detail: string } {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-fault-'));
  try {
    for (const part of ['src', 'test/sim', 'package.json'])
      cpSync(part, join(folder, part), { recursive: true });
    symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
    const planted = spawnSync('patch', ['--batch', '--silent', '-p1', '-d', folder, '-i', resolve(patch)]);
    if (planted.status !== 0) return { found: false, detail: 'it does not fit src any more' };
    const hunted = spawnSync(resolve('scripts/node'), ['test/sim/hunt.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    return {
      found: hunted.status === 1 && hunted.stdout !== '',
      detail: hunted.stdout.trim() || hunted.stderr,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
