// Runs the tests: `npm test`, or `npm test -- PART…` for files whose path contains one of the parts.
// With CI=true a skip that test/skips.json does not list with its reason fails the run.

import { globSync, readFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { testsNotRun } from './rfc-index.ts';

const parts = process.argv.slice(2);
const files = globSync('test/**/*.test.ts')
  .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
  .sort();
const allowed: Record<string, string> = JSON.parse(readFileSync('test/skips.json', 'utf8'));
const unexpected: string[] = [];
const ran = new Set<string>();

if (files.length === 0) {
  console.error(`no test file matches ${parts.join(' ')}`);
  process.exit(2);
}

const stream = run({ files, concurrency: 2, timeout: 300_000 });
stream.on('test:fail', () => {
  process.exitCode = 1;
});
stream.on('test:pass', (event) => {
  if (event.skip === undefined) ran.add(event.name);
  if (event.skip !== undefined && !(event.name in allowed)) unexpected.push(event.name);
});
const output = stream.compose(spec());
output.pipe(process.stdout);
await finished(output);

if (unexpected.length > 0) {
  console.error(`skipped without a reason in test/skips.json: ${unexpected.join(', ')}`);
  if (process.env.CI === 'true') process.exitCode = 1;
}

// A test that docs/rfc.tsv names must have run, where all were asked for and nothing failed.
if (parts.length === 0 && !process.exitCode) {
  const missing = testsNotRun(ran);
  for (const title of missing) console.error(`docs/rfc.tsv names a test that did not run: ${title}`);
  if (missing.length > 0) process.exitCode = 1;
}
