// Isthmus against peers with the kernel's data plane, in user-mode Linux: our engine and our xfrm, both roles.
// `node lab/interop-uml.ts`, with `--peer NAME` for strongswan (where nothing is said), libreswan or kernel, `--dataplane NAME` for one
// of ours, `--lines` for a line of JSON a result, `--short` for one suite, `--suite TEXT` for those whose name contains it,
// `--plain` for ESP in tunnel mode only. Part of `npm run interop`.

import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createChecks, type Result, resultLine, type Suite } from './checks.ts';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
import { findNetfilter, leaveGuardsOut } from './no-guards.ts';
import { createLibreswan, libreswanIsMissing } from './peers/libreswan.ts';
import { createStrongswan, strongswanIsMissing } from './peers/strongswan.ts';
import { libreswanCertificates } from './rows/certificates.ts';
import { witness } from './rows/witness.ts';
import { createSite } from './site.ts';
import { STATIC_ROWS } from './static-rows.ts';
import { AH_AND_TRANSPORT, KERNEL_SUITES, LIBRESWAN_SUITES, ROUTED } from './suites.ts';
import { TWO_SITES } from './two-sites.ts';
import { enterUml } from './uml.ts';

const PEERS = {
  strongswan: {
    label: 'strongSwan 5.9.8, kernel-netlink',
    missing: strongswanIsMissing,
    create: () => createStrongswan('gw-b', 'kernel-netlink'),
    suites: () => [...KERNEL_SUITES, ...AH_AND_TRANSPORT, ...ROUTED],
  },
  libreswan: {
    label: 'libreswan 4.10',
    missing: libreswanIsMissing,
    create: () => createLibreswan('gw-b'),
    suites: (folder: string) => [...LIBRESWAN_SUITES, ...libreswanCertificates(folder)],
  },
  /** No daemon: the kernel itself with static SAs. */
  kernel: undefined,
};

const options = parseArgs({
  options: {
    peer: { type: 'string', default: 'strongswan' },
    dataplane: { type: 'string' },
    suite: { type: 'string', default: '' },
    plain: { type: 'boolean' },
    lines: { type: 'boolean' },
    short: { type: 'boolean' },
    log: { type: 'boolean' },
  },
}).values;
if (!(options.peer in PEERS)) refuse(`there is no peer ${options.peer}: ${Object.keys(PEERS).join(', ')}`);
const chosen = PEERS[options.peer as keyof typeof PEERS];
const missing = chosen?.missing();
if (missing) refuse(missing);
await enterUml();
findNetfilter();
isolate();

const planes = (['engine', 'xfrm'] as const).filter((plane) => plane === (options.dataplane ?? plane));
const results: Result[] = [];
let logs = () => '';

function refuse(why: string): never {
  console.error(why);
  process.exit(3);
}

/** The rows that the command line asks for. */
function asked<T extends { name: string }>(rows: readonly T[]): T[] {
  return (options.short ? rows.slice(0, 1) : rows).filter(({ name }) => name.includes(options.suite));
}

function tell(result: Result): void {
  results.push(result);
  console.log(options.lines ? JSON.stringify(result) : resultLine(result));
}

/** With `--plain` ESP in tunnel mode only. */
function isAsked({ protocol, transport, route }: Suite): boolean {
  return !options.plain || (protocol ?? transport ?? route) === undefined;
}

/** A row of docs/interop.md. */
function featureOf({ outer, inner = 4, protocol, transport, route }: Suite): string {
  const inside = transport === true ? 'the gateways' : transport === 'gre' ? 'GRE' : `IPv${inner}`;
  return `${protocol ? 'AH' : 'ESP'}, ${transport ? 'transport' : 'tunnel'} mode, by ${route ? 'route' : 'policy'}, ${inside} in IPv${outer}`;
}

async function withDaemon({ create, label, suites }: NonNullable<typeof chosen>): Promise<void> {
  const psk = randomBytes(24).toString('base64url');
  const site = createSite('gw-a', { 'office.psk': psk });
  const peer = create();
  logs = () => `${site.log()}\n${peer.log()}`;
  await peer.start();
  const rows = asked(suites(site.folder)).filter(isAsked);
  for (const dataplane of planes) {
    const checks = createChecks({
      site,
      peer,
      peerName: label,
      feature: 'ESP',
      dataplane,
      encapsulation: 'esp',
      psk,
      rate: 100,
      tell,
    });
    for (const one of rows) await checks.wholeSuite({ feature: featureOf(one), ...one });
    await site.isthmus('flush');
  }
  await peer.stop();
}

try {
  build(TWO_SITES);
  leaveGuardsOut('/run/lab/no-guards');
  if (chosen) await withDaemon(chosen);
  else for (const dataplane of planes) await witness(dataplane, asked(STATIC_ROWS), tell);
} catch (error) {
  console.error(`the laboratory failed: ${error instanceof Error ? error.stack : error}\n${logs()}`);
  process.exit(1);
}
const failed = results.filter(({ result }) => result === 'fail').length;
if (!options.lines) console.log(`\n${results.length - failed} of ${results.length} checks pass`);
if (failed > 0 && options.log) console.error(logs());
process.exit(failed === 0 ? 0 : 1);
