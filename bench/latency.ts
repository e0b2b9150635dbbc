// Round trips of one small packet after the other: what the tunnel adds, idle and at half of what it can carry.

import { chosen, VARIANTS } from './contenders.ts';
import { judge } from './goals.ts';
import { latencyLimit } from './limits.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { BYTES, SEGMENTS, sustainedRate } from './pps.ts';
import { frame, limited, type Result, type Table } from './result.ts';
import { ADDRESS_B, interleave, lower, type Rig, raise } from './rig.ts';
import { median, medians, ratios, rounded, type Spread } from './statistics.ts';
import { listen, send, type Trips, trips } from './udp.ts';

const ECHO_PORT = 7002;
const LOAD_PORT = 7003;
const APART = 500; // µs from one round trip to the next
/** The load begins before the round trips and ends after them, by this. */
const MARGIN = 0.3;

interface Measured {
  idle: Trips;
  loaded: Trips;
}

type All = Map<string, Measured[]>;

export async function latency(options: Options): Promise<Result> {
  const costs = measureCosts();
  const rigs = await raise(chosen(options, VARIANTS.slice(0, 1)));
  const rates = await interleave(
    rigs,
    1,
    'what it can carry',
    (rig) => sustainedRate(rig),
    ({ received }) => `${Math.round(received)} packets/s`,
  );
  const all = await interleave(
    rigs,
    options.rounds,
    'round trips',
    (rig) => measureBoth(rig, rates.get(rig.name)![0]!.received / 2, options.seconds),
    ({ idle, loaded }) => `${idle.p50} µs idle, ${loaded.p50} µs under half load`,
  );
  await lower(rigs);
  return resultOf(options, costs, all, rigs);
}

async function measureBoth(rig: Rig, load: number, seconds: number): Promise<Measured> {
  const echo = await listen('echo', rig.hostB, ADDRESS_B, ECHO_PORT);
  const idle = await measureTrips(rig, seconds);
  const loaded = await underLoad(rig, load, seconds + 2 * MARGIN, () => measureTrips(rig, seconds));
  await echo.stop();
  return { idle, loaded };
}

/** So many that they take about that time where a round trip is short. */
function measureTrips(rig: Rig, seconds: number): Promise<Trips> {
  return trips(rig.hostA, ADDRESS_B, ECHO_PORT, Math.round((seconds * 1e6) / APART / 2), APART).done;
}

async function underLoad<T>(rig: Rig, rate: number, seconds: number, measure: () => Promise<T>): Promise<T> {
  const sink = await listen('sink', rig.hostB, ADDRESS_B, LOAD_PORT);
  const load = send({
    from: rig.hostA,
    to: rig.hostB,
    address: ADDRESS_B,
    port: LOAD_PORT,
    rate,
    seconds,
    bytes: BYTES,
    segments: SEGMENTS,
  });
  await new Promise((resolve) => setTimeout(resolve, MARGIN * 1000));
  const measured = await measure();
  await load.done;
  await sink.stop();
  return measured;
}

function resultOf(options: Options, costs: Result['costs'], all: All, rigs: readonly Rig[]): Result {
  const plain = all.get('plain')!.map(({ idle }) => idle.p50);
  const added = (name: string, when: keyof Measured, part: 'p50' | 'p99') =>
    all.get(name)!.map((round, index) => Math.max(0, round[when][part] - plain[index]!));
  const found: Record<string, Spread> = {};
  for (const name of ['wireguard', 'strongswan']) {
    found[`rtt_${name}`] = ratios(added('isthmus', 'idle', 'p50'), added(name, 'idle', 'p50'));
    found[`rtt_${name}_loaded`] = ratios(added('isthmus', 'loaded', 'p50'), added(name, 'loaded', 'p50'));
  }
  found.rtt_p99_p50_loaded = ratios(added('isthmus', 'loaded', 'p99'), added('isthmus', 'loaded', 'p50'));
  const own = median(added('isthmus', 'idle', 'p50'));
  return {
    ...frame(options, 'latency', costs, options.seconds),
    ratios: found,
    fields: Object.fromEntries(
      rigs
        .filter(({ name }) => name !== 'plain')
        .map(({ name }) => [`${name}_added_us`, rounded(median(added(name, 'idle', 'p50')))]),
    ),
    goals: judge('latency', medians(found), {
      rtt_wireguard: latencyLimit(costs) / median(added('wireguard', 'idle', 'p50')),
    }),
    limits: [limited('added round trip, idle', 'µs', own, latencyLimit(costs), 'lower')],
    tables: [tableOf(all, rigs, added)],
  };
}

function tableOf(
  all: All,
  rigs: readonly Rig[],
  added: (name: string, when: keyof Measured, part: 'p50' | 'p99') => number[],
): Table {
  const middle = (values: number[]) => rounded(median(values));
  return {
    title: 'Round trip of a 64-byte datagram, µs; under load: at half of the rate without loss',
    columns: [
      ...['', 'idle p50', 'idle p99', 'added p50', 'added p99'],
      ...['loaded p50', 'loaded p99', 'added loaded p50', 'added loaded p99', 'unanswered'],
    ],
    rows: rigs.map(({ name, label }) => {
      const rounds = all.get(name)!;
      const lost = rounds.reduce(
        (sum, { idle, loaded }) => sum + idle.sent - idle.received + loaded.sent - loaded.received,
        0,
      );
      return [
        label,
        middle(rounds.map(({ idle }) => idle.p50)),
        middle(rounds.map(({ idle }) => idle.p99)),
        middle(added(name, 'idle', 'p50')),
        middle(added(name, 'idle', 'p99')),
        middle(rounds.map(({ loaded }) => loaded.p50)),
        middle(rounds.map(({ loaded }) => loaded.p99)),
        middle(added(name, 'loaded', 'p50')),
        middle(added(name, 'loaded', 'p99')),
        lost,
      ];
    }),
    picture: { column: 3, unit: 'µs added, idle' },
  };
}
