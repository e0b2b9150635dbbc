// Isthmus against strongSwan, both ways round: `npm run interop`, with `-- --json` for the array of results only,
// `-- --short` for two suites. In namespaces of its own with strongSwan's userspace data plane, then (not when short, and not
// with `-- --namespaces`) in user-mode Linux with the kernel's: see interop-uml.ts.

import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createChecks, demand, type Result, resultLine, type Suite } from './checks.ts';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
import { createStrongswan, type StrongswanTunnel, strongswanIsMissing } from './peers/strongswan.ts';
import { createSite, pause } from './site.ts';
import { SUITES, TWO_PRFS, UNABLE } from './suites.ts';
import { ping } from './traffic.ts';
import { capture, readCapture, tsharkIsMissing } from './tshark.ts';
import { TWO_SITES } from './two-sites.ts';
import { startUml, umlIsMissing } from './uml.ts';

const short = process.argv.includes('--short');
const guest = !short && !process.argv.includes('--namespaces');
const missing = strongswanIsMissing() ?? tsharkIsMissing() ?? (guest ? umlIsMissing() : undefined);
if (missing) {
  console.error(missing);
  process.exit(3);
}
isolate();

const json = process.argv.includes('--json');

const PSK = randomBytes(24).toString('base64url');
const OTHER_PSK = randomBytes(24).toString('base64url');
const site = createSite('gw-a', { 'office.psk': PSK });
const peer = createStrongswan('gw-b');
const { results, configure, theirs, check, establish, passes, deleted, rekeyOnce, wholeSuite } = createChecks(
  {
    site,
    peer,
    peerName: 'strongSwan 5.9.8, kernel-libipsec',
    dataplane: 'engine',
    encapsulation: 'auto',
    psk: PSK,
    rate: 500,
    tell,
  },
);

function tell(result: Result): void {
  if (!json) console.log(resultLine(result));
}

async function suites(): Promise<void> {
  for (const suite of short ? SUITES.slice(0, 2) : SUITES) await wholeSuite(suite);
}

/** tshark opens every message and finds every code right, given our keys; over rekeys of both SAs. */
async function verified(suite: Suite): Promise<void> {
  const [keys, file] = [`${site.folder}/keys`, `${site.folder}/capture.pcapng`];
  configure(suite);
  await site.start('--export-keys', keys);
  await peer.configure(theirs(suite));
  await check('initiator', suite, 'tshark opens all of it', async () => {
    const running = await capture('gw-a', 'wan', file);
    await establish('initiator');
    await ping('host-a', '10.2.0.10', 5);
    await site.isthmus('rekey', 'office');
    await site.isthmus('rekey', 'office', '--child', 'office');
    await ping('host-a', '10.2.0.10', 5);
    await deleted('initiator');
    await running.stop();
    const { encrypted, opened, esp, good, inner } = readCapture(file, keys);
    demand(encrypted > 8 && opened === encrypted, `${opened} of ${encrypted} IKE messages opened`);
    demand(esp >= 20 && good === esp, `${good} of ${esp} ESP packets have the right code`);
    demand(
      inner.every((protocols) => protocols.startsWith('ip:icmp')),
      `inside ESP: ${inner.join(', ')}`,
    );
    return `${opened} IKE messages and ${good} ESP packets, every code right`;
  });
  await site.kill('SIGTERM');
  rmSync(keys, { recursive: true });
  rmSync(file);
}

/**
 * Each side prefers another PRF, so the rekey by the other side would change it. strongSwan then makes the keys with the PRF
 * of the old IKE SA, not with that of the new one as RFC 7296 §2.18 has it: we keep the PRF while both still accept it.
 */
async function prfStays(suite: Suite): Promise<void> {
  const [preferred, other] = suite.ike.match(/prf-[a-z0-9-]+/g)!;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const [role, prf, by] of [
    ['initiator', other!, 'them'],
    ['responder', preferred!, 'us'],
  ] as const) {
    await check(role, suite, 'established', async () => {
      await establish(role);
      return prfIs(prf);
    });
    await check(role, suite, `the same PRF by ${by}`, async () => {
      await rekeyOnce('IKE SA', by);
      const found = await prfIs(prf);
      await rekeyOnce('child', 'us');
      await rekeyOnce('child', 'them');
      return `${found}, a child rekeyed, ${await passes(suite)}`;
    });
    await check(role, suite, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

async function prfIs(prf: string): Promise<string> {
  const { algorithms = 'no IKE SA' } = await site.tunnel('office');
  demand(algorithms.includes(prf), `${prf} is not in ${algorithms}`);
  return algorithms;
}

/** What strongSwan takes and then cannot carry out is told as its refusal, not as a silence. */
async function unable(): Promise<void> {
  const { suite, says } = UNABLE;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, suite, 'strongSwan refuses', async () => {
      const before = [site.log().length, peer.log().length];
      await establish(role).then(
        () => demand(false, 'it is established'),
        () => {},
      );
      await pause(200);
      const told = site.log().slice(before[0]);
      const expected = role === 'initiator' ? /\[PEER_REFUSED_PROPOSAL\]/ : /\[CHILD_DELETED\]/;
      const reason = says.exec(peer.log().slice(before[1]))?.[0];
      demand(reason !== undefined, 'strongSwan does not say why');
      return `strongSwan: ${reason}; we: ${clear(told, expected)}`;
    });
    await site.command('down', 'office');
    await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
  }
  await site.kill('SIGTERM');
}

async function restart(): Promise<void> {
  const suite = SUITES[0]!;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  await check('responder', suite, 'strongSwan restarted', async () => {
    await establish('initiator');
    await peer.stop('SIGKILL');
    await peer.start();
    await peer.configure(theirs(suite));
    await establish('responder');
    return passes(suite);
  });
  await deleted('initiator').catch(() => {});
  await site.kill('SIGTERM');
}

/** What we say, as initiator by `up`, as responder in `show failures`. */
async function failures(): Promise<void> {
  const suite = SUITES[0]!;
  configure(suite);
  await site.start();
  const faults: [string, Partial<StrongswanTunnel>, RegExp, RegExp][] = [
    [
      'wrong key',
      { psk: OTHER_PSK },
      /refuses our authentication|pre-shared key/,
      /pre-shared keys .* differ/,
    ],
    [
      'no common proposal',
      { ike: 'aes256-sha512-modp2048' },
      /accepts none of our algorithms/,
      /no common algorithms/,
    ],
    [
      'no common selector',
      { local: '10.77.0.0/16', remote: '10.78.0.0/16' },
      /traffic selectors/,
      /no common traffic selectors/,
    ],
  ];
  for (const [name, changed, asInitiator, asResponder] of faults) {
    await peer.configure(theirs(suite, changed));
    await check('initiator', suite, name, async () => {
      const up = await site.isthmus('up', 'office');
      const known = `${up.output}${(await site.isthmus('show', 'failures')).output}`;
      return clear(known, asInitiator);
    });
    await site.isthmus('down', 'office');
    await check('responder', suite, name, async () => {
      await peer.swanctl('--initiate', '--child', 'child', '--timeout', '3');
      return clear((await site.isthmus('show', 'failures')).output, asResponder);
    });
    await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
    await site.isthmus('down', 'office');
  }
  await site.kill('SIGTERM');
}

function clear(output: string, sentence: RegExp): string {
  const found = output.split('\n').findLast((one) => sentence.test(one));
  demand(found !== undefined, `no sentence that fits ${sentence}: ${output}`);
  return found.trim();
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
  await suites();
  for (const suite of SUITES.slice(0, 2)) await verified(suite);
  for (const suite of short ? TWO_PRFS.slice(0, 1) : TWO_PRFS) await prfStays(suite);
  if (!short) await unable();
  if (!short) await restart();
  await failures();
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
