// The package as its users get it: packed, installed in an empty folder, run, imported.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

function run(folder: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

const LIBRARY = `
import { createGateway, createNodeProvider, REPORTS } from 'isthmus';
const gateway = createGateway({ provider: createNodeProvider() });
console.log(gateway.tunnels().length, gateway.nextTimeout(), REPORTS.OK.sentence);
`;

test('npm pack: JavaScript, declarations and the addon’s source; installed, it runs and is a library', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-pack-'));
  t.after(() => rmSync(folder, { recursive: true }));
  run('.', 'npm', 'run', '--silent', 'build');
  const answer = run('.', 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', folder);
  const [packed] = JSON.parse(answer);
  const files: string[] = packed.files.map(({ path }: { path: string }) => path);
  for (const file of [
    'dist/index.js',
    'dist/index.d.ts',
    'dist/cli/isthmus.js',
    'native/binding.cc',
    'native/core/esp.cc',
    'native/Makefile',
    'packaging/isthmus.service',
    'LICENSE',
    'README.md',
  ])
    assert.ok(files.includes(file), `${file} is not in the package`);
  assert.ok(!files.some((file) => /^(src|test|lab)\/|\.node$/.test(file)), files.join('\n'));

  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  run(folder, 'npm', 'install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename));
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.equal(run(folder, join(folder, 'node_modules/.bin/isthmus'), '--version'), `${version}\n`);
  writeFileSync(join(folder, 'library.js'), LIBRARY);
  assert.equal(run(folder, process.execPath, 'library.js'), '0 undefined done\n');
  assert.ok(existsSync(join(folder, 'node_modules/isthmus/dist/index.d.ts')));
});
