// Every check that needs no network and no privilege: format, lint, types, layering, dead exports, the RFC index.

import { spawnSync } from 'node:child_process';
import { checkPerformance } from '../bench/report.ts';
import { checkLayers } from './layers.ts';
import { checkReference } from './reference.ts';
import { checkRfcIndex } from './rfc-index.ts';
import { checkRings } from './rings.ts';

interface Check {
  name: string;
  run: () => string[];
}

const CHECKS: Check[] = [
  { name: 'format and lint', run: () => tool('biome', 'check', '--error-on-warnings', '.') },
  { name: 'types', run: () => tool('tsc', '-p', '.') },
  { name: 'layers', run: checkLayers },
  { name: 'rings', run: checkRings },
  { name: 'dead exports', run: () => tool('knip', '--no-progress') },
  { name: 'docs/rfc.tsv', run: checkRfcIndex },
  { name: 'docs/config.md, docs/errors.md', run: checkReference },
  { name: 'docs/performance.md', run: checkPerformance },
];

/** Complaints of a tool that fails; nothing when it succeeds. */
function tool(name: string, ...args: string[]): string[] {
  const result = spawnSync(`node_modules/.bin/${name}`, args, { encoding: 'utf8' });
  return result.status === 0 ? [] : [result.stdout + result.stderr];
}

let failed = 0;
for (const check of CHECKS) {
  const complaints = check.run();
  console.log(`${complaints.length === 0 ? 'ok  ' : 'FAIL'} ${check.name}`);
  for (const complaint of complaints) console.log(complaint.replace(/^/gm, '     '));
  if (complaints.length > 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
