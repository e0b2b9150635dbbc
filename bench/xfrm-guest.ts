// In a guest with the kernel's IPsec: thousands of tunnels installed in batches, one by one and by iproute2, looked at, and
// taken away.
// `node bench/xfrm-guest.ts TUNNELS ROUNDS`; lines of JSON behind a mark, for bench/xfrm.ts.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { flushXfrm } from '../src/dataplane/xfrm.ts';
import { type Addon, loadAddon } from '../src/native.ts';
import type { Change } from '../src/policy/sad.ts';
import { watched } from './watched.ts';
import { type Exchange, MARK, type Told } from './xfrm-mark.ts';
import { changesFor, fill, lookAt, openPlane } from './xfrm-plane.ts';

const plain = loadAddon();
/** How long the kernel took for how many requests at once, or for a piece of a dump. */
let exchanges: Exchange[] = [];
const addon: Addon = {
  ...plain,
  netlink(...request) {
    const since = performance.now();
    const answer = plain.netlink(...request);
    exchanges.push([request[2], performance.now() - since]);
    return answer;
  },
  dumped(...dump) {
    const since = performance.now();
    const piece = plain.dumped(...dump);
    exchanges.push([1, performance.now() - since]);
    return piece;
  },
};
const [tunnels, rounds] = process.argv.slice(2).map(Number) as [number, number];
/** One request at a time, as without batches. */
const SINGLE = 1;
const FIRST_PRIORITY = 10_000;

function print(line: object): void {
  console.log(`${MARK}${JSON.stringify(line)}`);
}

/** What the kernel has of such a tunnel in the end. */
function ipLines(index: number): string[] {
  const [high, low] = [index >> 8, index & 255];
  const [near, far] = ['192.0.2.1', `198.18.${high}.${low}`];
  const [local, remote] = ['10.0.0.0/16', `11.${high}.${low}.0/24`];
  const key = `0x${randomBytes(36).toString('hex')}`;
  const sa = (from: string, to: string, spi: number) =>
    `xfrm state add src ${from} dst ${to} proto esp spi ${spi} reqid ${index} mode tunnel replay-window 1024 flag esn aead rfc4106(gcm(aes)) ${key} 128`;
  const policy = (way: string, from: string, to: string) =>
    `xfrm policy add src ${from} dst ${to} dir ${way} priority ${FIRST_PRIORITY + index * 4} tmpl proto esp reqid ${index} mode tunnel`;
  return [
    sa(far, near, 100_000 + index),
    sa(near, far, 200_000 + index),
    policy('out', local, remote),
    policy('in', remote, local),
    policy('fwd', remote, local),
  ];
}

/** Seconds. Everything of this network namespace is removed, outside of what is measured. */
function ipBatch(): number {
  const file = '/tmp/xfrm.batch';
  writeFileSync(
    file,
    Array.from({ length: tunnels }, (_, index) => `${ipLines(index).join('\n')}\n`).join(''),
  );
  const start = performance.now();
  const { status, stderr } = spawnSync('ip', ['-batch', file], { encoding: 'utf8' });
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) throw new Error(`ip -batch: ${stderr.slice(0, 1000)}`);
  for (const kind of ['policy', 'state']) spawnSync('ip', ['xfrm', kind, 'flush']);
  return seconds;
}

/** What the kernel was asked while that was done. */
async function noted<T>(act: () => Promise<T>): Promise<[T, Exchange[]]> {
  exchanges = [];
  const value = await act();
  return [value, exchanges];
}

/** Installed, looked at, and taken away. */
async function inBatches(sets: readonly Change[][]) {
  const { plane, end } = openPlane(addon);
  globalThis.gc!(); // what was made ready here is no part of what is measured
  const [start, started] = await noted(() => watched(() => fill(plane, sets)));
  const { sas, policies } = await plane.snapshot();
  if (sas.length !== 2 * tunnels || policies.length !== tunnels)
    throw new Error('not everything is installed');
  const [look, looked] = await noted(() => lookAt(plane));
  const [stop, stopped] = await noted(() => watched(() => plane.close({ guards: 'remove' })));
  end();
  const figures = {
    ...{ batched: start.seconds, inKernel: secondsOf(started) },
    longestCall: Math.max(...[...started, ...stopped].map(([, milliseconds]) => milliseconds)),
    ...{ guestStart: start.stall, guestLook: look.seconds, guestStop: stop.stall },
  };
  return { figures, exchanges: { start: started, look: looked, stop: stopped } };
}

function secondsOf(all: readonly Exchange[]): number {
  return all.reduce((sum, [, milliseconds]) => sum + milliseconds, 0) / 1000;
}

/** Installed, and left as by a process that is killed; the next one finds them. */
async function oneByOne(sets: readonly Change[][]) {
  const single = openPlane(addon, SINGLE);
  const alone = await watched(async () => {
    for (const set of sets) for (const change of set) await single.plane.apply([change]);
  });
  single.end();
  const begun = performance.now();
  const next = openPlane(addon);
  await next.plane.settle();
  const restart = (performance.now() - begun) / 1000;
  await next.plane.close({ guards: 'remove' });
  next.end();
  if (flushXfrm(addon) > 0) throw new Error('something was left');
  return { oneByOne: alone.seconds, restart };
}

async function round(number: number): Promise<Told> {
  const say = (what: string) => print({ progress: `round ${number}: ${tunnels} tunnels ${what}` });
  const sets = changesFor(tunnels);
  say('in batches');
  const { figures, exchanges } = await inBatches(sets);
  say('one by one');
  const singles = await oneByOne(sets);
  say('by ip -batch');
  return { round: { ...figures, ...singles, ipBatch: ipBatch() }, exchanges };
}

for (let number = 1; number <= rounds; number++) print({ told: await round(number) });
process.exit(0);
