// Tunnels of the kernel by the thousand, each by its number.

import type { Change } from '../../src/policy/sad.ts';
import { inboundSa, outboundSa, policy, range, SITE_A } from './packets.ts';

const CHOICE = { encryption: 'aes-gcm-16', keyBits: 128 } as const;

export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** The second and third byte of its remote network. */
export function networkOf(index: number): [number, number] {
  return [100 + (index >> 8), index & 255];
}

export function policyOf(index: number): string {
  return `t${index}/net`;
}

/** Generations of SAs: each has SPIs of its own. */
export function spisOf(index: number, generation = 0): { in: number; out: number } {
  return { in: 1_000_000 + generation * 100_000 + index, out: 2_000_000 + generation * 100_000 + index };
}

function selectorsOf(index: number) {
  const [second, third] = networkOf(index);
  return { local: SITE_A, remote: [range(`10.${second}.${third}.0`, `10.${second}.${third}.255`)] };
}

function remoteOf(index: number): string {
  const [second, third] = networkOf(index);
  return `198.18.${second}.${third}`;
}

export function guardOf(index: number): Change {
  return {
    type: 'add-policy',
    policy: policy(policyOf(index), { order: index, selectors: selectorsOf(index) }),
  };
}

export function sasOf(index: number, generation = 0): { in: Change; out: Change; use: Change } {
  const spis = spisOf(index, generation);
  const remote = remoteOf(index);
  const common = { policy: policyOf(index), remote, selectors: selectorsOf(index) };
  return {
    in: { type: 'add-inbound', sa: inboundSa(spis.in, CHOICE, common) },
    out: { type: 'add-outbound', sa: outboundSa(spis.out, CHOICE, common) },
    use: { type: 'use-outbound', policy: policyOf(index), spi: spis.out, remote },
  };
}

export function tunnelOf(index: number): Change[] {
  const sas = sasOf(index);
  return [guardOf(index), sas.in, sas.out, sas.use];
}
