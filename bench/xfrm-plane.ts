// Tunnels for the benches of the kernel's tables, and a data plane to put them into.

import { randomBytes } from 'node:crypto';
import { newBreath } from '../src/dataplane/turns.ts';
import { createXfrm, type XfrmPlane } from '../src/dataplane/xfrm.ts';
import { ROUTING } from '../src/host/wanted.ts';
import type { Addon } from '../src/native.ts';
import type { Change, SaParameters, SelectorSet } from '../src/policy/sad.ts';
import { selectorOf } from '../src/policy/selector.ts';
import { cpuMilliseconds, watched } from './watched.ts';

/** Of each a policy and two SAs. */
export function changesFor(tunnels: number): Change[][] {
  return Array.from({ length: tunnels }, (_, index) => changesOf(index));
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

export function openPlane(addon: Addon, batch?: number): { plane: XfrmPlane; end: () => void } {
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

/** As the daemon hands on what its core wants, with pauses for others. */
export async function fill(plane: XfrmPlane, sets: readonly Change[][]): Promise<void> {
  const breath = newBreath();
  const applied: Promise<void>[] = [];
  for (const set of sets) {
    applied.push(plane.apply(set));
    await breath();
  }
  await Promise.all(applied);
}

const LOOKS = 5;

/** CPU seconds of one look at everything, on average. */
export async function lookAt(plane: XfrmPlane): Promise<{ seconds: number; stall: number }> {
  const cpu = cpuMilliseconds();
  const { stall } = await watched(async () => {
    for (let times = 0; times < LOOKS; times++) await plane.snapshot();
  });
  return { seconds: (cpuMilliseconds() - cpu) / LOOKS / 1000, stall };
}
