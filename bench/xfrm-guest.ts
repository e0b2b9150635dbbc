// In a guest with the kernel's IPsec: thousands of tunnels installed in batches and one by one, looked at, and taken away.
// `node bench/xfrm-guest.ts TUNNELS ROUNDS`; lines of JSON behind a mark, for bench/xfrm.ts.

import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createXfrm, flushXfrm, type XfrmPlane } from '../src/dataplane/xfrm.ts';
import { ROUTING } from '../src/host/wanted.ts';
import { loadAddon } from '../src/native.ts';
import type { Change, SaParameters, SelectorSet } from '../src/policy/sad.ts';
import { selectorOf } from '../src/policy/selector.ts';
import { MARK, type Round } from './xfrm-mark.ts';

const addon = loadAddon();
const [tunnels, rounds] = process.argv.slice(2).map(Number) as [number, number];
const LOOKS = 5;
/** One request at a time, as without batches. */
const SINGLE = 1;

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

/** How long the event loop was kept while something was done: milliseconds of the clock, and of this thread's CPU time. */
async function watched(
  act: () => Promise<unknown>,
): Promise<{ seconds: number; stall: number; turn: number }> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  let [turn, going] = [0, true];
  let before = cpuMilliseconds();
  const count = () => {
    const now = cpuMilliseconds();
    turn = Math.max(turn, now - before);
    before = now;
    if (going) setImmediate(count);
  };
  delays.enable();
  setImmediate(count);
  const start = performance.now();
  await act();
  const seconds = (performance.now() - start) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 5));
  going = false;
  delays.disable();
  return { seconds, turn, stall: delays.max / 1e6 };
}

function cpuMilliseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

async function round(number: number): Promise<Round> {
  const sets = Array.from({ length: tunnels }, (_, index) => changesOf(index));
  print({ progress: `round ${number}: ${tunnels} tunnels in batches` });
  const { plane, end } = open();
  const start = await watched(() => Promise.all(sets.map((set) => plane.apply(set))));
  const { sas, policies } = await plane.snapshot();
  if (sas.length !== 2 * tunnels || policies.length !== tunnels)
    throw new Error('not everything is installed');
  print({ progress: `round ${number}: looking at them` });
  const cpu = cpuMilliseconds();
  const look = await watched(async () => {
    for (let times = 0; times < LOOKS; times++) await plane.snapshot();
  });
  const spent = (cpuMilliseconds() - cpu) / LOOKS / 1000;
  print({ progress: `round ${number}: taking them away` });
  const stop = await watched(() => plane.close({ guards: 'remove' }));
  end();
  print({ progress: `round ${number}: ${tunnels} tunnels one by one` });
  const single = open(SINGLE);
  const alone = await watched(async () => {
    for (const set of sets) for (const change of set) await single.plane.apply([change]);
  });
  await single.plane.close({ guards: 'remove' });
  single.end();
  if (flushXfrm(addon) > 0) throw new Error('something was left');
  return {
    batched: start.seconds,
    oneByOne: alone.seconds,
    startStall: start.stall,
    startTurn: start.turn,
    stopStall: stop.stall,
    stopTurn: stop.turn,
    lookStall: look.stall,
    lookTurn: look.turn,
    look: spent,
  };
}

for (let number = 1; number <= rounds; number++) print({ round: await round(number) });
process.exit(0);
