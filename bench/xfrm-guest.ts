// In a guest with the kernel's IPsec: thousands of tunnels installed in batches, one by one and by iproute2, looked at, and
// taken away.
// `node bench/xfrm-guest.ts TUNNELS ROUNDS`; lines of JSON behind a mark, for bench/xfrm.ts.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createXfrm, flushXfrm, type XfrmPlane } from '../src/dataplane/xfrm.ts';
import { ROUTING } from '../src/host/wanted.ts';
import { type Addon, loadAddon } from '../src/native.ts';
import type { Change, SaParameters, SelectorSet } from '../src/policy/sad.ts';
import { selectorOf } from '../src/policy/selector.ts';
import { cpuMilliseconds, watched } from './watched.ts';
import { MARK, type Round } from './xfrm-mark.ts';

const plain = loadAddon();
/** Milliseconds within the kernel's calls. */
let inKernel = 0;
const addon: Addon = {
  ...plain,
  netlink(...request) {
    const since = performance.now();
    const answer = plain.netlink(...request);
    inKernel += performance.now() - since;
    return answer;
  },
};
const [tunnels, rounds] = process.argv.slice(2).map(Number) as [number, number];
const LOOKS = 5;
/** One request at a time, as without batches. */
const SINGLE = 1;
const FIRST_PRIORITY = 10_000;

function print(line: object): void {
  console.log(`${MARK}${JSON.stringify(line)}`);
}

function changesOf(index: number): Change[] {
  const [high, low] = [index >> 8, index & 255];
  const policy = `t${index}/net`;
  const selectors: SelectorSet = {
    local: [selectorOf('10.0.0.0/16')!],
    remote: [selectorOf(`11.${high}.${low}.0/24`)!],
  };
  const common: Omit<SaParameters, 'direction' | 'spi' | 'encryption'> = {
    protocol: 'esp',
    mode: 'tunnel',
    policy,
    local: '192.0.2.1',
    remote: `198.18.${high}.${low}`,
    esn: true,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow: 1024,
    selectors,
    lifetime: {},
  };
  const sa = (direction: 'in' | 'out', spi: number): SaParameters => ({
    ...common,
    direction,
    spi,
    encryption: { name: 'aes-gcm-16', keyBits: 256, key: randomBytes(36) },
  });
  return [
    { type: 'add-policy', policy: { id: policy, action: 'protect', order: index, selectors, acquire: true } },
    { type: 'add-inbound', sa: sa('in', 100_000 + index) },
    { type: 'add-outbound', sa: sa('out', 200_000 + index) },
    { type: 'use-outbound', policy, spi: 200_000 + index, remote: common.remote },
  ];
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

function open(batch?: number): { plane: XfrmPlane; end: () => void } {
  const native = addon.create(1, 0);
  addon.openPort(native, [], 0, 0, 0, true, true);
  const plane = createXfrm(addon, native, {
    mark: ROUTING.mark,
    clock: addon.bootTime,
    ...(batch === undefined ? {} : { batch }),
  });
  addon.start(native, () => plane.deliver());
  return { plane, end: () => addon.stop(native) };
}

/** Installed, looked at, and taken away. */
async function inBatches(sets: readonly Change[][]) {
  const { plane, end } = open();
  globalThis.gc!(); // what was made ready here is no part of what is measured
  inKernel = 0;
  const start = await watched(() => Promise.all(sets.map((set) => plane.apply(set))));
  const kernelSeconds = inKernel / 1000;
  const { sas, policies } = await plane.snapshot();
  if (sas.length !== 2 * tunnels || policies.length !== tunnels)
    throw new Error('not everything is installed');
  const cpu = cpuMilliseconds();
  const look = await watched(async () => {
    for (let times = 0; times < LOOKS; times++) await plane.snapshot();
  });
  const spent = (cpuMilliseconds() - cpu) / LOOKS / 1000;
  const stop = await watched(() => plane.close({ guards: 'remove' }));
  end();
  return {
    ...{ batched: start.seconds, inKernel: kernelSeconds, startStall: start.stall, startTurn: start.turn },
    ...{ look: spent, lookStall: look.stall, lookTurn: look.turn },
    ...{ stopStall: stop.stall, stopTurn: stop.turn },
  };
}

/** Installed, and left as by a process that is killed; the next one finds them. */
async function oneByOne(sets: readonly Change[][]) {
  const single = open(SINGLE);
  const alone = await watched(async () => {
    for (const set of sets) for (const change of set) await single.plane.apply([change]);
  });
  single.end();
  const begun = performance.now();
  const next = open();
  await next.plane.settle();
  const restart = (performance.now() - begun) / 1000;
  await next.plane.close({ guards: 'remove' });
  next.end();
  if (flushXfrm(addon) > 0) throw new Error('something was left');
  return { oneByOne: alone.seconds, restart };
}

async function round(number: number): Promise<Round> {
  const say = (what: string) => print({ progress: `round ${number}: ${tunnels} tunnels ${what}` });
  const sets = Array.from({ length: tunnels }, (_, index) => changesOf(index));
  say('in batches');
  const batches = await inBatches(sets);
  say('one by one');
  const singles = await oneByOne(sets);
  say('by ip -batch');
  return { ...batches, ...singles, ipBatch: ipBatch() };
}

for (let number = 1; number <= rounds; number++) print({ round: await round(number) });
process.exit(0);
