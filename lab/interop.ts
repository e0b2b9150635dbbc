// Isthmus against strongSwan, both ways round: `npm run interop`, with `-- --json` for the array of results only,
// `-- --short` for a slice, `-- --group NAME…` for some of the groups. In namespaces of its own with strongSwan's userspace data
// plane, then (not when short or of some groups, and not with `-- --namespaces`) in user-mode Linux with the kernel's: see
// interop-uml.ts.

import { randomBytes } from 'node:crypto';
import { createChecks, type Result, resultLine } from './checks.ts';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
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
const guest = !short && named.length === 0 && !process.argv.includes('--namespaces');
const missing = strongswanIsMissing() ?? tsharkIsMissing() ?? (guest ? umlIsMissing() : undefined);
if (missing) {
  console.error(missing);
  process.exit(3);
}
isolate();

const json = process.argv.includes('--json');
const psk = randomBytes(24).toString('base64url');
const site = createSite('gw-a', { 'office.psk': psk });
const peer = createStrongswan('gw-b');
const checks = createChecks({
  site,
  peer,
  peerName: 'strongSwan 5.9.8, kernel-libipsec',
  dataplane: 'engine',
  encapsulation: 'auto',
  psk,
  rate: 500,
  tell,
});
const { results } = checks;

function tell(result: Result): void {
  if (!json) console.log(resultLine(result));
}

async function timed(group: Group): Promise<void> {
  const began = performance.now();
  await group.run({ ...checks, site, peer, short });
  if (!json) console.log(`      ${group.name}: ${Math.round((performance.now() - began) / 1000)} s`);
}

/** The rows of interop-uml.ts. */
async function inTheKernel(): Promise<Result[]> {
  const uml = startUml([process.execPath, ...process.execArgv, 'lab/interop-uml.ts', '--lines']);
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
    throw new Error(`the guest ended with ${status}`);
  return rows;
}

try {
  build(TWO_SITES);
  await peer.start();
  for (const group of groups) await timed(group);
} catch (error) {
  console.error(`the laboratory failed: ${error instanceof Error ? error.stack : error}\n${site.log()}`);
  process.exit(1);
}
await peer.stop();
if (guest) results.push(...(await inTheKernel()));
const failed = results.filter(({ result }) => result === 'fail').length;
if (json) console.log(JSON.stringify(results));
else console.log(`\n${results.length - failed} of ${results.length} checks pass`);
if (failed > 0 && process.argv.includes('--log')) console.error(`${site.log()}\n${peer.log()}`);
process.exit(failed === 0 ? 0 : 1);
