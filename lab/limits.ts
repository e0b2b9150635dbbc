// Limits of an SA under traffic that only comes in: at nine tenths it is replaced, and the kernel takes nothing beyond the limit
// itself, whoever is asleep. `npm run limits`, in user-mode Linux; `-- --json` prints an array of `{check, result, detail}`.

import { randomBytes } from 'node:crypto';
import { isolate } from './isolate.ts';
import { type KernelCount, kernelCounts, watchCounts } from './kernel-sas.ts';
import { build } from './netns.ts';
import { createSites, pause } from './site.ts';
import { createSteps, demand, until } from './steps.ts';
import { type Numbered, ping, startNumbered } from './traffic.ts';
import { ENDS, TWO_SITES } from './two-sites.ts';
import { enterUml } from './uml.ts';

await enterUml();
isolate();

const LIMIT = { packets: 1000, bytes: 1_000_000 };
/** A second lies between nine tenths of the limit and the limit: a guest of qemu, which translates each instruction, needs more. */
const RATE = 100;
const [SMALL, LARGE] = [64, 1300];
const PSK = randomBytes(24).toString('base64url');
const { check: step, whole } = createSteps(52);
const sites = createSites({ psk: PSK });
const [a, b] = sites;

/** Only one side has limits, and what counts is what comes in there. */
function configure(index: 0 | 1, more = ''): void {
  const { own, peer, local, remote } = ENDS[index];
  sites[index].configure(`gateway: { name: gw-${index}, address: ${own}, dataplane: xfrm }
tunnels:
  office:
    peer: ${peer}
    auth: { psk: { file: psk } }
    local: ${local}
    remote: ${remote}
    esp-suites: [aes-gcm-16-128]
    rehearsal: false
    start: ${index === 0 ? 'now' : 'wait'}
${more}`);
}

/** Datagrams from site b to site a until there were so many rekeys, and the most that each inbound SA of a was seen with. */
async function rekeysUnder(
  bytes: number,
  rate: number,
  rekeys: number,
): Promise<{ sas: KernelCount[]; numbered: Numbered }> {
  const before = await kernelCounts('gw-a', ENDS[0].own);
  const watch = watchCounts('gw-a', ENDS[0].own);
  const stream = await startNumbered('host-b', 'host-a', '10.1.0.10', 7001, rate, bytes);
  let [current] = [...before.keys()];
  for (let count = 0; count < rekeys; count++) {
    await until('a rekey', async () => (await newest()) !== current);
    current = await newest();
  }
  const numbered = await stream.stop();
  const sas = [...(await watch.stop()).values()];
  return { sas, numbered };
}

async function newest(): Promise<number | undefined> {
  return (await a.tunnel('office')).children.at(-1)?.spiIn;
}

const PLAIN = ({ packets, bytes }: KernelCount) => `${packets} packets, ${bytes} bytes`;

/** All but the last were filled to nine tenths, none beyond the limit. */
function demandFilled(sas: readonly KernelCount[], unit: keyof KernelCount): void {
  for (const [index, sa] of sas.entries()) {
    demand(sa.packets <= LIMIT.packets && sa.bytes <= LIMIT.bytes, `an SA took ${PLAIN(sa)}`);
    const early = index < sas.length - 1 && sa[unit] < 0.9 * LIMIT[unit];
    demand(!early, `an SA was replaced after ${PLAIN(sa)}`);
  }
}

async function softLimits(): Promise<void> {
  for (const [unit, bytes, rate, rekeys] of [
    ['packets', SMALL, RATE, 3],
    ['bytes', LARGE, 0.7 * RATE, 2],
  ] as const) {
    await step(`${rekeys} rekeys by ${unit} that come in`, async () => {
      await freshSa();
      const { sas, numbered } = await rekeysUnder(bytes, rate, rekeys);
      demandFilled(sas, unit);
      const { sent, lost, duplicates } = numbered;
      demand(lost === 0 && duplicates === 0, `${lost} of ${sent} lost, ${duplicates} twice`);
      const filled = sas.slice(0, -1).map((sa) => sa[unit]);
      return `at ${filled.join(', ')} of ${LIMIT[unit]} ${unit}; none of ${sent} datagrams lost, none twice`;
    });
  }
}

/** One that has taken nothing, and no other beside it. */
async function freshSa(): Promise<void> {
  const { code, sentence } = await a.command('rekey', 'office', 'office');
  demand(code === 'OK', `${code}: ${sentence}`);
  await until('only one inbound SA', async () => (await kernelCounts('gw-a', ENDS[0].own)).size === 1);
}

async function hardLimit(): Promise<void> {
  await step('the daemon is stopped: the kernel ends at the limit', async () => {
    await freshSa();
    process.kill(a.pid()!, 'SIGSTOP');
    const watch = watchCounts('gw-a', ENDS[0].own);
    const stream = await startNumbered('host-b', 'host-a', '10.1.0.10', 7001, 4 * RATE, SMALL);
    await until('the SA is gone', async () => (await kernelCounts('gw-a', ENDS[0].own)).size === 0);
    await pause(1000);
    const { sent, distinct } = await stream.stop();
    const [sa] = [...(await watch.stop()).values()];
    demand(distinct === LIMIT.packets, `${distinct} of ${sent} arrived, the limit is ${LIMIT.packets}`);
    demand(sa!.packets <= LIMIT.packets, `the SA took ${sa!.packets}`);
    demand(sent > LIMIT.packets, `only ${sent} were sent`);
    return `${sent} datagrams sent, exactly ${distinct} arrived; the SA is gone`;
  });
  await step('it goes on: a new SA, packets pass', async () => {
    process.kill(a.pid()!, 'SIGCONT');
    const took = await until('traffic', async () => (await ping('host-b', '10.1.0.10', 1)) === 1);
    const answered = await ping('host-b', '10.1.0.10', 10);
    demand(answered === 10, `${answered} of 10 pings`);
    return `${took} ms later; 10 of 10 pings`;
  });
}

const log = () => sites.map((site) => site.log()).join('\n');
await whole('steps as they should be', log, async () => {
  build(TWO_SITES);
  configure(0, `    lifetime-packets: ${LIMIT.packets}\n    lifetime-bytes: ${LIMIT.bytes}\n`);
  configure(1);
  await b.start();
  await a.start();
  await until('it is negotiated', async () => (await a.tunnel('office')).children.length > 0);
  await softLimits();
  await hardLimit();
});
