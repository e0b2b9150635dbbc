// Two sites for each contender, all up at once; the interleaving of their rounds.

import { build, remove, run, type Topology } from '../lab/netns.ts';
import { pause } from '../lab/site.ts';
import { ping } from '../lab/traffic.ts';
import { twoSites } from '../lab/two-sites.ts';
import type { Contender, Running } from './contenders.ts';
import { busySeconds, cpuSeconds } from './processes.ts';

export interface Rig extends Contender {
  running: Running;
  /** Namespaces. */
  hostA: string;
  hostB: string;
  topology: Topology;
}

/** Where TSO, GSO and GRO are off, so that every packet crosses by itself, as on wires of 1500 bytes. In this order. */
export type Mode = 'offload' | 'wan' | 'segmented';
export const MODES: Record<Mode, { title: string; off: (device: string) => boolean }> = {
  offload: { title: 'offloads on', off: () => false },
  wan: { title: 'offloads off between the gateways', off: (device) => !OF_A_LAN.includes(device) },
  segmented: { title: 'offloads off', off: () => true },
};

/** Of host-a and host-b. */
export const ADDRESS_A = '10.1.0.10';
export const ADDRESS_B = '10.2.0.10';

/** As lab/two-sites.ts names the ends of a site's own link. */
const OF_A_LAN = ['eth0', 'lan'];
const OFFLOADS = ['tso', 'gso', 'gro', 'tx-udp-segmentation'];
const PATIENCE = 15_000; // ms until something passes

/** A contender does not do its part; the message says which. */
export class NothingPasses extends Error {
  constructor(label: string) {
    super(`${label}: nothing passes between the sites within ${PATIENCE / 1000} s`);
  }
}

export async function raise(contenders: readonly Contender[]): Promise<Rig[]> {
  const rigs: Rig[] = [];
  for (const contender of contenders) {
    tell(`starting ${contender.label}`);
    rigs.push(await raiseOne(contender));
  }
  return rigs;
}

async function raiseOne(contender: Contender): Promise<Rig> {
  const prefix = `${contender.name}-`;
  const topology = topologyOf(contender, prefix);
  build(topology);
  const running = await contender.start(prefix);
  const rig = {
    ...contender,
    running,
    hostA: `${prefix}host-a`,
    hostB: `${prefix}host-b`,
    topology,
  };
  await demandPassing(rig);
  return rig;
}

/** Without the routes to the sites in the middle only a tunnel makes them reach each other. */
function topologyOf({ cleartext }: Contender, prefix: string): Topology {
  const all = twoSites(prefix);
  return cleartext ? all : { ...all, routes: { ...all.routes, [`${prefix}internet`]: [] } };
}

async function demandPassing({ label, hostA }: Rig): Promise<void> {
  const begin = performance.now();
  while ((await ping(hostA, ADDRESS_B, 2)) < 2) {
    if (performance.now() - begin > PATIENCE) throw new NothingPasses(label);
    await pause(100);
  }
}

export async function lower(rigs: readonly Rig[]): Promise<void> {
  for (const { running, topology } of rigs) {
    await running.stop();
    remove(topology);
  }
}

/** Offloads are on when a rig is raised; there is no way back. */
export function setMode(rigs: readonly Rig[], mode: Mode): void {
  const off = OFFLOADS.flatMap((name) => [name, 'off']);
  for (const { topology } of rigs)
    for (const [namespace, device] of topology.links.flat())
      if (MODES[mode].off(device)) run(namespace, 'ethtool', '-K', device, ...off);
}

/** A B C A B C …: what disturbs the machine for a minute falls on all alike. One list a contender. */
export async function interleave<T>(
  rigs: readonly Rig[],
  rounds: number,
  subject: string,
  measure: (rig: Rig) => Promise<T>,
  describe: (measured: T) => string,
): Promise<Map<string, T[]>> {
  const all = new Map<string, T[]>(rigs.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const rig of rigs) {
      const measured = await measure(rig);
      all.get(rig.name)!.push(measured);
      tell(`${subject}, round ${round} of ${rounds}, ${rig.name}: ${describe(measured)}`);
    }
  }
  return all;
}

export interface Used {
  /** Seconds of CPU by process. */
  gatewayA: number;
  gatewayB: number;
  /** Of all the machine, the kernel's part without a process included. */
  machine: number;
}

/** What a measurement cost, beside its result. */
export async function withCpu<T>({ running }: Rig, measure: () => Promise<T>): Promise<[T, Used]> {
  const read = () => [cpuSeconds(running.pids[0]), cpuSeconds(running.pids[1]), busySeconds()] as const;
  const before = read();
  const result = await measure();
  const after = read();
  const [gatewayA, gatewayB, machine] = after.map((value, index) => value - before[index]!);
  return [result, { gatewayA: gatewayA!, gatewayB: gatewayB!, machine: machine! }];
}

/** Progress, beside the result. */
export function tell(text: string): void {
  process.stderr.write(`[bench] ${text}\n`);
}
