// Isthmus against other implementations, both ways round: `npm run interop`, with `-- --json` for the array of results only,
// `-- --short` for a slice, `-- --group NAME…` for some of the groups. In namespaces of its own with strongSwan's userspace data
// plane, then (not when short or of some groups, and not with `-- --namespaces`) in user-mode Linux with the kernel's: see
// interop-uml.ts. Two parts run side by side. `-- --all` has every peer there and writes docs/interop.md.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createChecks, type Result, resultLine } from './checks.ts';
import { GUESTS, SHORT_GUESTS } from './guests.ts';
import { interopReport } from './interop-report.ts';
import { isolate } from './isolate.ts';
import { knownRed, turnedGreen } from './known-reds.ts';
import { inLanes } from './lanes.ts';
import { build } from './netns.ts';
import { libreswanIsMissing } from './peers/libreswan.ts';
import { createStrongswan, strongswanIsMissing } from './peers/strongswan.ts';
import { certificates } from './rows/certificates.ts';
import { childless } from './rows/childless.ts';
import { children } from './rows/children.ts';
import { failures } from './rows/failures.ts';
import { fragments } from './rows/fragments.ts';
import type { Group } from './rows/group.ts';
import { killed } from './rows/killed.ts';
import { nat } from './rows/nat.ts';
import { postQuantum } from './rows/post-quantum.ts';
import { ppk } from './rows/ppk.ts';
import { rehearsal } from './rows/rehearsal.ts';
import { rekeys } from './rows/rekeys.ts';
import { suites } from './rows/suites.ts';
import { createSite } from './site.ts';
import { tsharkIsMissing } from './tshark.ts';
import { TWO_SITES } from './two-sites.ts';
import { startUml, umlIsMissing } from './uml.ts';
import { versions } from './versions.ts';

// biome-ignore format: one group a line
const GROUPS: readonly Group[] = [
  suites,
  certificates,
  fragments,
  children,
  nat,
  rekeys,
  childless,
  killed,
  failures,
  rehearsal,
  postQuantum,
  ppk,
];

const named = process.argv.includes('--group') ? process.argv.slice(process.argv.indexOf('--group') + 1) : [];
const groups = GROUPS.filter(({ name }) => named.length === 0 || named.includes(name));
const short = process.argv.includes('--short');
const all = process.argv.includes('--all');
const guest = !short && named.length === 0 && !process.argv.includes('--namespaces');
if (all && libreswanIsMissing() !== undefined)
  spawnSync('sh', ['scripts/setup.sh', 'interop'], { stdio: ['ignore', 'inherit', 'inherit'] });
const missing =
  strongswanIsMissing() ??
  tsharkIsMissing() ??
  (guest ? umlIsMissing() : undefined) ??
  (all ? libreswanIsMissing() : undefined);
if (missing) {
  console.error(missing);
  process.exit(3);
}
isolate();

const json = process.argv.includes('--json');
const psk = randomBytes(24).toString('base64url');
const site = createSite('gw-a', { 'office.psk': psk });
const peer = createStrongswan('gw-b');
const results: Result[] = [];
const began = performance.now();
/** Each part mostly waits, and a guest has one processor. */
const LANES = 2;

function tell(result: Result): void {
  if (!json) console.log(resultLine(result));
}

async function timed(group: Group): Promise<Result[]> {
  const begin = performance.now();
  const checks = createChecks({
    site,
    peer,
    peerName: 'strongSwan 5.9.8, kernel-libipsec',
    feature: group.name,
    dataplane: 'engine',
    encapsulation: 'auto',
    psk,
    rate: 500,
    tell,
  });
  await group.run({ ...checks, site, peer, short });
  if (!json) console.log(`      ${group.name}: ${Math.round((performance.now() - begin) / 1000)} s`);
  return checks.results;
}

async function inNamespaces(): Promise<Result[]> {
  const rows: Result[] = [];
  build(TWO_SITES);
  await peer.start();
  for (const group of groups) rows.push(...(await timed(group)));
  await peer.stop();
  return rows;
}

/** The rows of interop-uml.ts with those arguments. */
async function inTheKernel(args: readonly string[]): Promise<Result[]> {
  const uml = startUml([process.execPath, ...process.execArgv, 'lab/interop-uml.ts', '--lines', ...args]);
  const rows: Result[] = [];
  let text = '';
  uml.stdout!.on('data', (chunk) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith('{')) continue;
      rows.push(JSON.parse(line));
      tell(rows.at(-1)!);
    }
  });
  const status = await new Promise((resolve) => uml.once('close', resolve));
  if (status !== 0 && rows.every(({ result }) => result === 'pass'))
    throw new Error(`the guest with ${args.join(' ')} ended with ${status}`);
  return rows;
}

function writeReport(): void {
  const minutes = Math.round((performance.now() - began) / 60_000);
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync('docs/interop.md', interopReport(results, { date, versions: versions(), minutes }));
}

try {
  const guests = guest ? (all ? GUESTS : SHORT_GUESTS) : [];
  const parts = [inNamespaces, ...guests.map((args) => () => inTheKernel(args))];
  results.push(...(await inLanes(LANES, parts)).flat());
} catch (error) {
  console.error(`the laboratory failed: ${error instanceof Error ? error.stack : error}\n${site.log()}`);
  process.exit(1);
}
if (all) writeReport();
const failed = results.filter(({ result }) => result === 'fail');
const unknown = failed.filter((result) => !knownRed(result));
if (json) console.log(JSON.stringify(results));
else {
  const known = failed.length > unknown.length ? `, ${failed.length - unknown.length} known to fail` : '';
  console.log(`\n${results.length - failed.length} of ${results.length} checks pass${known}`);
  for (const { peer: whose, why } of turnedGreen(results))
    console.log(`passes again: ${whose}: ${why}; take its row out of lab/known-reds.ts`);
}
if (failed.length > 0 && process.argv.includes('--log')) console.error(`${site.log()}\n${peer.log()}`);
process.exit(unknown.length === 0 ? 0 : 1);
