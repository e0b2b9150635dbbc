// A tunnel that nobody uses, probed: `scripts/node lab/probes.ts`, with `-- --json` for the results only; with
// `--dataplane xfrm` in user-mode Linux. What is inside dies, the way to it is shut, and what the status says of it.

import { randomBytes } from 'node:crypto';
import type { TunnelStatus } from '../src/daemon/status.ts';
import { isolate } from './isolate.ts';
import { build, run } from './netns.ts';
import { createSite, pause, type Site } from './site.ts';
import { createSteps } from './steps.ts';
import { TWO_SITES } from './two-sites.ts';
import { enterUml } from './uml.ts';

const dataplane = process.argv.includes('xfrm') ? 'xfrm' : 'engine';
if (dataplane === 'xfrm') await enterUml();
isolate();

const PSK = randomBytes(24).toString('base64url');
const { check, failed, finish } = createSteps(48);
const a = createSite('gw-a', { 'office.psk': PSK });
const b = createSite('gw-b', { 'office.psk': PSK });

/** Two children: with the peer's gateway as the target over IPv6, with a host behind it over IPv4. */
function configure(
  site: Site,
  own: string,
  peer: string,
  [from, to]: [string, string],
  probed: boolean,
): void {
  const probe = (address: string) => (probed ? `, probe: { to: "${address}", every: 200ms }` : '');
  site.configure(`gateway: { name: ${site.namespace}, address: ${own}, dataplane: ${dataplane} }
tunnels:
  office:
    peer: ${peer}
    auth: { psk: { file: ${site.folder}/office.psk } }
    start: ${probed ? 'now' : 'wait'}
    children:
      four: { local: 10.${from}.0.0/16, remote: 10.${to}.0.0/16${probe(`10.${to}.0.10`)} }
      six: { local: "fd0${from}::/64", remote: "fd0${to}::/64"${probe(`fd0${to}::1`)} }
`);
}

/** The status once it is so, and how long that took. */
async function becomes(
  what: (tunnel: TunnelStatus) => boolean,
  patience: number,
): Promise<{ tunnel: TunnelStatus; after: number }> {
  const began = performance.now();
  for (;;) {
    const tunnel = await a.tunnel('office');
    const after = Math.round(performance.now() - began);
    if (what(tunnel)) return { tunnel, after };
    if (after > patience) throw new Error(`not after ${after} ms: ${JSON.stringify(tunnel)}`);
    await pause(20);
  }
}

const child = ({ children }: TunnelStatus, name: string) => children.find((one) => one.name === name);

build(TWO_SITES);
configure(a, '192.0.2.1', '198.51.100.1', ['1', '2'], true);
configure(b, '198.51.100.1', '192.0.2.1', ['2', '1'], false);
await b.start();
await a.start();

await check('nobody sends, and it passes by its probes', async () => {
  const { tunnel, after } = await becomes(({ state }) => state === 'passing', 20_000);
  const [four, six] = [child(tunnel, 'four')!.probe!, child(tunnel, 'six')!.probe!];
  if (four.from !== '10.1.0.1' || six.from !== 'fd01::1')
    throw new Error(`from ${four.from} and ${six.from}`);
  return `after ${after} ms; there and back ${four.rtt?.toFixed(2)} and ${six.rtt?.toFixed(2)} ms`;
});

await check('the other side passes by the same packets', async () => {
  const { state } = await b.tunnel('office');
  if (state !== 'passing') throw new Error(state);
  return state;
});

await check('what is inside dies: degraded, and where to look', async () => {
  run('host-b', 'ip', 'link', 'set', 'dev', 'eth0', 'down');
  const { tunnel, after } = await becomes(({ state }) => state === 'degraded', 20_000);
  if (child(tunnel, 'six')!.state !== 'passing') throw new Error('the other child is degraded, too');
  if (!/^four: 10\.2\.0\.10 has not answered for .*look behind it/.test(tunnel.why ?? ''))
    throw new Error(tunnel.why);
  if (!a.log().includes('[PROBE_LOST]')) throw new Error('the log does not say so');
  return `after ${after} ms: ${tunnel.why}`;
});

await check('it comes back: passing', async () => {
  run('host-b', 'ip', 'link', 'set', 'dev', 'eth0', 'up');
  run('host-b', 'ip', 'route', 'replace', 'default', 'via', '10.2.0.1');
  const { tunnel, after } = await becomes(({ state }) => state === 'passing', 20_000);
  return `after ${after} ms, ${Math.round(100 * child(tunnel, 'four')!.probe!.loss!)} % of the last hundred lost`;
});

await check('the tunnel ends and comes back: proven anew', async () => {
  await a.isthmus('down', 'office');
  const { tunnel } = await becomes(({ state }) => state === 'down', 5000);
  await a.isthmus('up', 'office');
  const { after } = await becomes(({ state }) => state === 'passing', 20_000);
  return `${tunnel.state}, then passing after ${after} ms`;
});

await check('the table shows it', async () => {
  const { output, status } = await a.isthmus('status');
  const line = output.split('\n').find((one) => one.includes('four')) ?? output;
  if (status !== 0 || !/ago, \d+\.\d ms/.test(line)) throw new Error(output);
  return line.trim().replace(/\s+/g, ' ');
});

if (failed() > 0) console.error(`${a.log()}\n${b.log()}`);
for (const site of [a, b]) await site.kill('SIGTERM');
finish('checks pass');
