// 64 bytes of UDP payload: the highest rate received without loss, found by searching.
//
// The sender hands sixteen at a time to its kernel (UDP_SEGMENT), or it would cost more than the gateways: with offloads on
// they travel as one until a device cannot take them so (a TUN without USO), with offloads off each crosses every link alone.

import { chosen } from './contenders.ts';
import { judge } from './goals.ts';
import { type Costs, packetLimit } from './limits.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { searchRate } from './rate-search.ts';
import { frame, limited, type Result, type Table } from './result.ts';
import { ADDRESS_B, interleave, lower, MODES, type Mode, type Rig, raise, setMode, withCpu } from './rig.ts';
import { median, medians, ratios, rounded, type Spread, spread } from './statistics.ts';
import { flood } from './udp.ts';

export const BYTES = 64;
export const SEGMENTS = 16;
const PORT = 7001;
const MEASURED: readonly Mode[] = ['offload', 'segmented'];
/** Of one step of the search. */
const STEP = 0.5;
/** Where the first search begins; the next ones begin at what the last one found, and take smaller steps. */
const FIRST = { first: 20_000, factor: 2, resolution: 1.06, least: 1000 };
const NEXT_FACTOR = 1.2;

export interface Rate {
  /** Packets per second. */
  received: number;
  /** CPU microseconds for each packet that arrived, at the highest rate that passed. */
  perPacket: { gatewayA: number; gatewayB: number; generator: number; sink: number; machine: number };
}

export type Rates = Map<string, Rate[]>;

export async function pps(options: Options): Promise<Result> {
  const costs = measureCosts();
  const rigs = await raise(chosen(options));
  const all = new Map<Mode, Rates>();
  for (const mode of MEASURED) {
    setMode(rigs, mode);
    all.set(mode, await packetRates(rigs, options, mode));
  }
  await lower(rigs);
  return resultOf(options, costs, all, rigs);
}

function resultOf(options: Options, costs: Costs, all: Map<Mode, Rates>, rigs: readonly Rig[]): Result {
  const rates = (name: string, mode: Mode) =>
    all
      .get(mode)!
      .get(name)!
      .map((rate) => rate.received);
  const found: Record<string, Spread> = {};
  for (const name of ['strongswan', 'wireguard', 'plain']) {
    found[`pps_${name}`] = ratios(rates('isthmus', 'offload'), rates(name, 'offload'));
    found[`pps_${name}_segmented`] = ratios(rates('isthmus', 'segmented'), rates(name, 'segmented'));
  }
  const limits = new Map(MEASURED.map((mode) => [mode, limitOf(costs, mode, all.get(mode)!)]));
  return {
    ...frame(options, 'pps', costs, STEP),
    ratios: found,
    fields: {
      pps_ratio: Math.round(100 * found.pps_strongswan!.median) / 100,
      ...Object.fromEntries(
        rigs.map(({ name }) => [`${name}_pps`, Math.round(median(rates(name, 'offload')))]),
      ),
    },
    goals: judge('pps', medians(found), {
      pps_strongswan: limits.get('offload')! / median(rates('strongswan', 'offload')),
    }),
    limits: MEASURED.map((mode) =>
      limited(
        `64-byte UDP without loss, ${MODES[mode].title}`,
        'packets/s',
        median(rates('isthmus', mode)),
        limits.get(mode)!,
      ),
    ),
    tables: MEASURED.map((mode) => packetTable(mode, all.get(mode)!, rigs)),
  };
}

function limitOf(costs: Costs, mode: Mode, rates: Rates): number {
  const plain = 1000 * median(rates.get('plain')!.map((rate) => rate.perPacket.machine));
  return packetLimit(costs, plain, mode === 'offload' ? SEGMENTS : 1);
}

export function packetRates(rigs: readonly Rig[], options: Options, mode: Mode): Promise<Rates> {
  const before = new Map<string, number>();
  return interleave(
    rigs,
    options.rounds,
    `64-byte UDP, ${MODES[mode].title}`,
    async (rig) => {
      const rate = await sustainedRate(rig, before.get(rig.name));
      before.set(rig.name, rate.received);
      return rate;
    },
    ({ received }) => `${Math.round(received)} packets/s without loss`,
  );
}

/** `about`: what another search of the same found. */
export async function sustainedRate(rig: Rig, about?: number): Promise<Rate> {
  let best: Rate | undefined;
  const start = about ? { ...FIRST, first: about, factor: NEXT_FACTOR } : FIRST;
  const received = await searchRate(async (rate) => {
    const step = await measureStep(rig, rate);
    if (!best || step.rate.received > best.received) best = step.rate;
    return step.offered;
  }, start);
  return { ...best!, received };
}

async function measureStep(rig: Rig, rate: number) {
  const [{ sent, received }, used] = await withCpu(rig, () =>
    flood({
      from: rig.hostA,
      to: rig.hostB,
      address: ADDRESS_B,
      port: PORT,
      rate,
      seconds: STEP,
      bytes: BYTES,
      segments: SEGMENTS,
    }),
  );
  const perPacket = (cpu: number) => (1e6 * cpu) / Math.max(1, received.distinct);
  return {
    offered: { sent: sent.sent / sent.seconds, received: received.distinct / sent.seconds },
    rate: {
      received: received.distinct / sent.seconds,
      perPacket: {
        gatewayA: perPacket(used.gatewayA),
        gatewayB: perPacket(used.gatewayB),
        generator: perPacket(sent.cpu),
        sink: perPacket(received.cpu),
        machine: perPacket(used.machine),
      },
    },
  };
}

/** Of those that were measured. */
export function packetTable(mode: Mode, all: Rates, rigs: readonly Rig[]): Table {
  return {
    title: `64-byte UDP received without loss, ${MODES[mode].title}`,
    columns: [
      ...['', 'packets/s', 'least', 'most', 'quartiles'],
      ...['CPU µs/packet: gateway a', 'gateway b', 'generator', 'sink', 'machine'],
    ],
    rows: rigs
      .filter(({ name }) => all.has(name))
      .map(({ name, label }) => {
        const rates = all.get(name)!;
        const { median: middle, min, max, quartiles } = spread(rates.map((rate) => rate.received));
        const cpu = (part: keyof Rate['perPacket']) =>
          rounded(median(rates.map((rate) => rate.perPacket[part])));
        return [
          ...[
            label,
            Math.round(middle),
            Math.round(min),
            Math.round(max),
            quartiles.map(Math.round).join(' to '),
          ],
          ...[cpu('gatewayA'), cpu('gatewayB'), cpu('generator'), cpu('sink'), cpu('machine')],
        ];
      }),
    picture: { column: 1, spread: [2, 3], unit: 'packets/s' },
  };
}
