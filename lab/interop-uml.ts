// Isthmus against strongSwan with the kernel's data plane, in user-mode Linux: our engine and our xfrm, both roles.
// `node lab/interop-uml.ts`, with `--lines` for a line of JSON a result, `--short` for one suite. Part of `npm run interop`.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { createChecks, type Result, resultLine } from './checks.ts';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
import { createStrongswan, strongswanIsMissing } from './peers/strongswan.ts';
import { createSite } from './site.ts';
import { KERNEL_SUITES } from './suites.ts';
import { TWO_SITES } from './two-sites.ts';
import { enterUml } from './uml.ts';

/** lab/uml-init.sh makes it. */
const MODULES = '/run/modules';

const missing = strongswanIsMissing();
if (missing) {
  console.error(missing);
  process.exit(3);
}
await enterUml();
findNetfilter();
isolate();

const lines = process.argv.includes('--lines');
const suites = process.argv.includes('--short') ? KERNEL_SUITES.slice(0, 1) : KERNEL_SUITES;
const psk = randomBytes(24).toString('base64url');
const site = createSite('gw-a', { 'office.psk': psk });
const peer = createStrongswan('gw-b', 'kernel-netlink');

function tell(result: Result): void {
  console.log(lines ? JSON.stringify(result) : resultLine(result));
}

/** The family that the guards' netlink has; in the guest's own mounts, which `isolate` leaves. */
function findNetfilter(): void {
  if (existsSync(MODULES)) execFileSync('modprobe', ['-d', MODULES, 'nfnetlink']);
}

/** The engine starts only with its guards, which this kernel has no tables for. */
function leaveGuardsOut(folder: string): void {
  mkdirSync(folder, { recursive: true });
  execFileSync('gcc', ['-shared', '-fPIC', '-o', `${folder}/libnftables.so.1`, 'lab/no-guards.c']);
  process.env.LD_LIBRARY_PATH = folder;
}

const results: Result[] = [];
try {
  build(TWO_SITES);
  leaveGuardsOut('/run/lab/no-guards');
  await peer.start();
  for (const dataplane of ['engine', 'xfrm'] as const) {
    const checks = createChecks({
      site,
      peer,
      peerName: 'strongSwan 5.9.8, kernel-netlink',
      dataplane,
      encapsulation: 'esp',
      psk,
      rate: 100,
      tell,
    });
    for (const suite of suites) await checks.wholeSuite(suite);
    results.push(...checks.results);
    await site.isthmus('flush');
  }
} catch (error) {
  console.error(
    `the laboratory failed: ${error instanceof Error ? error.stack : error}\n${site.log()}\n${peer.log()}`,
  );
  process.exit(1);
}
await peer.stop();
const failed = results.filter(({ result }) => result === 'fail').length;
if (!lines) console.log(`\n${results.length - failed} of ${results.length} checks pass`);
if (failed > 0 && process.argv.includes('--log')) console.error(`${site.log()}\n${peer.log()}`);
process.exit(failed === 0 ? 0 : 1);
