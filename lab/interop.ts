// Isthmus against strongSwan, both ways round: `npm run interop`, with `-- --json` for the array of results only,
// `-- --short` for two suites. Everything runs in namespaces of its own.

import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { isolate } from './isolate.ts';
import { build } from './netns.ts';
import {
  createStrongswan,
  type Strongswan,
  type StrongswanTunnel,
  strongswanIsMissing,
} from './peers/strongswan.ts';
import { createSite, pause, type Site } from './site.ts';
import { type Numbered, ping, startNumbered, tcpThroughput } from './traffic.ts';
import { capture, readCapture, tsharkIsMissing } from './tshark.ts';
import { TWO_SITES } from './two-sites.ts';

const missing = strongswanIsMissing() ?? tsharkIsMissing();
if (missing) {
  console.error(missing);
  process.exit(3);
}
isolate();

const json = process.argv.includes('--json');
const short = process.argv.includes('--short');
const REKEYS = 3;
const RATE = 500; // packets per second, each way

interface Suite {
  name: string;
  outer: 4 | 6;
  ike: string;
  esp: string;
  strongswanIke: string;
  strongswanEsp: string;
}

/** Every implemented family, integrity, PRF and group at least once. */
const SUITES: Suite[] = [
  {
    name: 'aes-gcm-256 x25519',
    outer: 4,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gcm-16-256 / x25519',
    strongswanIke: 'aes256gcm16-prfsha256-x25519',
    strongswanEsp: 'aes256gcm16-x25519',
  },
  {
    name: 'aes-cbc-256 sha2-512 modp-2048',
    outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-512-256 / prf-hmac-sha2-512 / modp-2048',
    esp: 'aes-cbc-256 / hmac-sha2-512-256 / modp-2048',
    strongswanIke: 'aes256-sha512-prfsha512-modp2048',
    strongswanEsp: 'aes256-sha512-modp2048',
  },
  {
    name: 'aes-gcm-128 ecp-256',
    outer: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-gcm-16-128 / ecp-256',
    strongswanIke: 'aes128gcm16-prfsha256-ecp256',
    strongswanEsp: 'aes128gcm16-ecp256',
  },
  {
    name: 'chacha20-poly1305 ecp-384',
    outer: 4,
    ike: 'chacha20-poly1305 / prf-hmac-sha2-384 / ecp-384',
    esp: 'chacha20-poly1305 / ecp-384',
    strongswanIke: 'chacha20poly1305-prfsha384-ecp384',
    strongswanEsp: 'chacha20poly1305-ecp384',
  },
  {
    name: 'aes-cbc-128 sha2-256 ecp-256',
    outer: 4,
    ike: 'aes-cbc-128 / hmac-sha2-256-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-128 / hmac-sha2-256-128',
    strongswanIke: 'aes128-sha256-prfsha256-ecp256',
    strongswanEsp: 'aes128-sha256',
  },
  {
    name: 'aes-cbc-192 sha2-384 x25519, aes-gcm-192',
    outer: 4,
    ike: 'aes-cbc-192 / hmac-sha2-384-192 / prf-hmac-sha2-384 / x25519',
    esp: 'aes-gcm-16-192',
    strongswanIke: 'aes192-sha384-prfsha384-x25519',
    strongswanEsp: 'aes192gcm16',
  },
];

interface Result {
  peer: string;
  role: 'initiator' | 'responder';
  suite: string;
  check: string;
  result: 'pass' | 'fail';
  detail: string;
}

const OUTER = { 4: ['192.0.2.1', '198.51.100.1'], 6: ['2001:db8:a::1', '2001:db8:b::1'] } as const;
const PSK = randomBytes(24).toString('base64url');
const OTHER_PSK = randomBytes(24).toString('base64url');
const results: Result[] = [];
const site: Site = createSite('gw-a', { 'office.psk': PSK });
const peer: Strongswan = createStrongswan('gw-b');

function configure({ outer, ike, esp }: Suite, local = '10.1.0.0/16'): void {
  const [ours, theirs] = OUTER[outer];
  site.configure(`gateway: { name: a, address: "${ours}" }
tunnels:
  office:
    peer: "${theirs}"
    auth: { psk: { file: ${site.folder}/office.psk } }
    local: ${local}
    remote: 10.2.0.0/16
    start: wait
    ike-suites: ["${ike}"]
    esp-suites: ["${esp}"]
`);
}

function theirs(suite: Suite, changed: Partial<StrongswanTunnel> = {}): StrongswanTunnel {
  const [remoteAddress, localAddress] = OUTER[suite.outer];
  return {
    localAddress,
    remoteAddress,
    psk: PSK,
    local: '10.2.0.0/16',
    remote: '10.1.0.0/16',
    ike: suite.strongswanIke,
    esp: suite.strongswanEsp,
    ...changed,
  };
}

/** What a check found, or throws with what was wrong. */
async function check(
  role: Result['role'],
  suite: Suite,
  name: string,
  run: () => Promise<string>,
): Promise<void> {
  const common = { peer: 'strongSwan 5.9.8', role, suite: suite.name, check: name };
  let result: Result;
  try {
    result = { ...common, result: 'pass', detail: await run() };
  } catch (error) {
    result = { ...common, result: 'fail', detail: error instanceof Error ? error.message : String(error) };
  }
  results.push(result);
  if (!json) console.log(line(result));
}

function line({ role, suite, check: name, result, detail }: Result): string {
  return `${result.padEnd(4)}  ${role.padEnd(9)}  ${suite.padEnd(41)}  ${name.padEnd(22)}  ${detail.replace(/\n/g, ' ').slice(0, 400)}`;
}

function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

async function establish(role: Result['role']): Promise<void> {
  const { status, output } =
    role === 'initiator'
      ? await site.isthmus('up', 'office')
      : await peer.swanctl('--initiate', '--child', 'child', '--timeout', '10');
  demand(status === 0, `not established: ${output.trim().split('\n').at(-1)}`);
}

async function passes(): Promise<string> {
  const answered = await ping('host-a', '10.2.0.10', 10);
  const back = await ping('host-b', '10.1.0.10', 10);
  demand(answered === 10 && back === 10, `${answered} and ${back} of 10 pings answered`);
  const there = await tcpThroughput('host-a', 'host-b', '10.2.0.10', 1);
  const reverse = await tcpThroughput('host-a', 'host-b', '10.2.0.10', 1, true);
  demand(there > 1 && reverse > 1, 'TCP does not pass');
  return `20 of 20 pings, TCP ${there} and ${reverse} Mbit/s`;
}

async function deleted(role: Result['role']): Promise<string> {
  const ours = role === 'initiator';
  const { output } = ours
    ? await site.isthmus('down', 'office')
    : await peer.swanctl('--terminate', '--ike', 'tunnel', '--timeout', '5');
  for (let attempt = 0; attempt < 40; attempt++) {
    const listed = (await peer.swanctl('--list-sas')).output.trim();
    if (listed === '' && (await tunnel()).state === 'down') return 'gone on both sides';
    await pause(50);
  }
  throw new Error(`still there: ${output}`);
}

async function tunnel(): Promise<{ state: string; vendor?: string; children: unknown[] }> {
  const { output } = await site.isthmus('status', 'office', '--json');
  return JSON.parse(output).tunnels[0];
}

async function underTraffic(act: () => Promise<void>): Promise<string> {
  const streams = await Promise.all([
    startNumbered('host-a', 'host-b', '10.2.0.10', 7101, RATE),
    startNumbered('host-b', 'host-a', '10.1.0.10', 7102, RATE),
  ]);
  await pause(200);
  await act();
  await pause(300);
  const counted: Numbered[] = [];
  for (const stream of streams) counted.push(await stream.stop());
  const [sent, lost] = [sum(counted.map((one) => one.sent)), sum(counted.map((one) => one.lost))];
  demand(lost === 0, `${lost} of ${sent} packets lost`);
  return `none of ${sent} packets lost`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

async function rekeys(suite: Suite): Promise<void> {
  const ways: [string, string, () => Promise<{ status: number; output: string }>][] = [
    ['child', 'us', () => site.isthmus('rekey', 'office', '--child', 'office')],
    ['IKE SA', 'us', () => site.isthmus('rekey', 'office')],
    ['child', 'them', () => peer.swanctl('--rekey', '--child', 'child')],
    ['IKE SA', 'them', () => peer.swanctl('--rekey', '--ike', 'tunnel')],
  ];
  for (const [what, by, rekey] of ways) {
    await check('initiator', suite, `${REKEYS} rekeys ${what} by ${by}`, () =>
      underTraffic(async () => {
        for (let i = 0; i < REKEYS; i++) {
          const before = await generation(what);
          const { status, output } = await rekey();
          demand(status === 0, output);
          for (let attempt = 0; (await generation(what)) === before; attempt++) {
            demand(attempt < 40, `the ${what} is the same as before`);
            await pause(50);
          }
          await pause(150);
        }
      }),
    );
  }
}

/** Changes with each rekey of a child or of the IKE SA, as strongSwan sees them. */
async function generation(what: string): Promise<string> {
  const { output } = await peer.swanctl('--list-sas');
  const ids =
    what === 'child' ? output.match(/^\s+(?:in|out)\s+[0-9a-f]{8}/gm) : output.match(/[0-9a-f]{16}_[ir]/g);
  return (ids ?? []).join();
}

async function suites(): Promise<void> {
  for (const suite of short ? SUITES.slice(0, 2) : SUITES) {
    configure(suite);
    await site.start();
    await peer.configure(theirs(suite));
    for (const role of ['initiator', 'responder'] as const) {
      await check(role, suite, 'established', async () => {
        await establish(role);
        const { vendor } = await tunnel();
        demand(vendor === 'strongSwan', `the peer is taken for ${vendor}`);
        return 'IKE_SA_INIT, IKE_AUTH, strongSwan by its vendor id';
      });
      await check(role, suite, 'ping, TCP', passes);
      if (suite === SUITES[0] && role === 'initiator') await rekeys(suite);
      await check(role, suite, 'deleted', () => deleted(role));
    }
    await site.kill('SIGTERM');
  }
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
    return passes();
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

try {
  build(TWO_SITES);
  await peer.start();
  await suites();
  for (const suite of SUITES.slice(0, 2)) await verified(suite);
  if (!short) await restart();
  await failures();
} catch (error) {
  console.error(`the laboratory failed: ${error instanceof Error ? error.stack : error}\n${site.log()}`);
  process.exit(1);
}
await peer.stop();
const failed = results.filter(({ result }) => result === 'fail').length;
if (json) console.log(JSON.stringify(results));
else console.log(`\n${results.length - failed} of ${results.length} checks pass`);
if (failed > 0 && process.argv.includes('--log')) console.error(`${site.log()}\n${peer.log()}`);
process.exit(failed === 0 ? 0 : 1);
