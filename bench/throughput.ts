// One TCP stream, and packets per second of the main four.

import { tcpStream } from '../lab/traffic.ts';
import { chosen, MAIN } from './contenders.ts';
import { judge } from './goals.ts';
import { type Costs, throughputLimit } from './limits.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { packetRates, packetTable, type Rates } from './pps.ts';
import { frame, limited, type Result, type Table } from './result.ts';
import { ADDRESS_B, interleave, lower, MODES, type Mode, type Rig, raise, setMode, withCpu } from './rig.ts';
import { median, medians, ratios, rounded, type Spread, spread } from './statistics.ts';

/** All contenders cut alike: what the smallest MTU of a tunnel among them leaves (1400 bytes, IPv4, TCP). */
const SEGMENT = 1340;

const ALL: readonly Mode[] = ['offload', 'wan', 'segmented'];
const SHORT: readonly Mode[] = ['offload', 'segmented'];

interface Run {
  mbps: number;
  /** CPU seconds for each GB that arrived. */
  perGb: { gatewayA: number; gatewayB: number; client: number; server: number; machine: number };
}

type Runs = Map<string, Run[]>;

export async function throughput(options: Options): Promise<Result> {
  const costs = measureCosts();
  const rigs = await raise(chosen(options));
  const main = rigs.filter(({ name }) => MAIN.some((one) => one.name === name));
  const streams = new Map<Mode, Runs>();
  const packets = await packetRates(main, options, 'offload');
  for (const mode of options.short ? SHORT : ALL) {
    setMode(rigs, mode);
    streams.set(mode, await measureStreams(mode === 'wan' ? main : rigs, options, mode));
  }
  await lower(rigs);
  return resultOf(options, costs, streams, packets, rigs);
}

function measureStreams(rigs: readonly Rig[], options: Options, mode: Mode): Promise<Runs> {
  return interleave(
    rigs,
    options.rounds,
    `one TCP stream, ${MODES[mode].title}`,
    (rig) => measureStream(rig, options.seconds),
    ({ mbps }) => `${Math.round(mbps)} Mbit/s`,
  );
}

async function measureStream(rig: Rig, seconds: number): Promise<Run> {
  const [stream, used] = await withCpu(rig, () =>
    tcpStream(rig.hostA, rig.hostB, ADDRESS_B, seconds, SEGMENT),
  );
  const perGb = (cpu: number) => (1e9 * cpu) / stream.bytes;
  return {
    mbps: stream.mbps,
    perGb: {
      gatewayA: perGb(used.gatewayA),
      gatewayB: perGb(used.gatewayB),
      client: perGb(stream.clientCpu),
      server: perGb(stream.serverCpu),
      machine: perGb(used.machine),
    },
  };
}

function resultOf(
  options: Options,
  costs: Costs,
  streams: ReadonlyMap<Mode, Runs>,
  packets: Rates,
  rigs: readonly Rig[],
): Result {
  const mbps = (name: string, mode: Mode) =>
    streams
      .get(mode)!
      .get(name)!
      .map((run) => run.mbps);
  const modes = [...streams.keys()];
  const found = ratiosOf(mbps, modes);
  const limits = new Map(
    modes.map((mode) => [mode, throughputLimit(costs, nanosecondsPerByte(streams.get(mode)!.get('plain')!))]),
  );
  const ratioLimits = Object.fromEntries(
    pairs(modes).map(([key, name, mode]) => [key, limits.get(mode)! / median(mbps(name, mode))]),
  );
  const pps = (name: string) => packets.get(name)!.map((run) => run.received);
  found.pps_strongswan = ratios(pps('isthmus'), pps('strongswan'));
  return {
    ...frame(options, 'throughput', costs, options.seconds),
    ratios: found,
    fields: fieldsOf(mbps, pps, found),
    goals: judge('throughput', medians(found), ratioLimits),
    limits: modes.map((mode) =>
      limited(
        `one TCP stream, ${MODES[mode].title}`,
        'Mbit/s',
        median(mbps('isthmus', mode)),
        limits.get(mode)!,
      ),
    ),
    tables: [
      ...modes.map((mode) => tableOf(mode, streams.get(mode)!, rigs)),
      packetTable('offload', packets, rigs),
    ],
  };
}

function ratiosOf(
  mbps: (name: string, mode: Mode) => number[],
  modes: readonly Mode[],
): Record<string, Spread> {
  return Object.fromEntries(
    pairs(modes).map(([key, name, mode]) => [key, ratios(mbps('isthmus', mode), mbps(name, mode))]),
  );
}

/** What the ratios are called: `tcp_plain` with offloads on; other modes carry their name. */
function pairs(modes: readonly Mode[]): [key: string, name: string, mode: Mode][] {
  return modes.flatMap((mode) =>
    ['strongswan', 'wireguard', 'plain'].map((name): [string, string, Mode] => [
      mode === 'offload' ? `tcp_${name}` : `tcp_${name}_${mode}`,
      name,
      mode,
    ]),
  );
}

function fieldsOf(
  mbps: (name: string, mode: Mode) => number[],
  pps: (name: string) => number[],
  found: Record<string, Spread>,
): Record<string, number> {
  const fields: Record<string, number> = {
    mbps_ratio: Math.round(100 * found.tcp_strongswan!.median) / 100,
    pps_ratio: Math.round(100 * found.pps_strongswan!.median) / 100,
  };
  for (const { name } of MAIN) {
    fields[`${name}_mbps`] = Math.round(median(mbps(name, 'offload')));
    fields[`${name}_pps`] = Math.round(median(pps(name)));
  }
  return fields;
}

function nanosecondsPerByte(plain: readonly Run[]): number {
  return median(plain.map((run) => run.perGb.machine));
}

function tableOf(mode: Mode, runs: Runs, rigs: readonly Rig[]): Table {
  return {
    title: `One TCP stream, ${MODES[mode].title}`,
    columns: [
      ...['', 'Mbit/s', 'least', 'most', 'quartiles'],
      ...['CPU s/GB: gateway a', 'gateway b', 'iperf3 client', 'iperf3 server', 'machine'],
    ],
    rows: rigs
      .filter(({ name }) => runs.has(name))
      .map(({ name, label }) => {
        const all = runs.get(name)!;
        const { median: middle, min, max, quartiles } = spread(all.map((run) => run.mbps));
        const cpu = (part: keyof Run['perGb']) => rounded(median(all.map((run) => run.perGb[part])));
        return [
          ...[
            label,
            Math.round(middle),
            Math.round(min),
            Math.round(max),
            quartiles.map(Math.round).join(' to '),
          ],
          ...[cpu('gatewayA'), cpu('gatewayB'), cpu('client'), cpu('server'), cpu('machine')],
        ];
      }),
    picture: { column: 1, spread: [2, 3], unit: 'Mbit/s' },
  };
}
