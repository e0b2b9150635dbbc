// Handshakes: how many IKE SAs with their first child a responder makes in a second of its CPU time, ours and strongSwan's
// with the same load; where our time goes; what ten thousand tunnels take.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build, remove, start } from '../lab/netns.ts';
import type { Crowd } from './crowd.ts';
import { judge } from './goals.ts';
import { handshakeLimit } from './limits.ts';
import type { Done, Order } from './load.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { cpuSeconds } from './processes.ts';
import { type Profile, type Share, shares } from './profile.ts';
import { measureKeys } from './public-keys.ts';
import {
  LOAD,
  makeKeys,
  PLACES,
  PROOFS,
  type Proof,
  type Responder,
  startResponder,
  TOPOLOGY,
} from './responders.ts';
import { frame, limited, type Result, type Table } from './result.ts';
import { tell } from './rig.ts';
import { median, medians, ratios, rounded, type Spread, spread } from './statistics.ts';

/** Handshakes per CPU second, a list of rounds by responder and proof. */
type Rates = Map<string, number[]>;

export async function handshakes(options: Options): Promise<Result> {
  const costs = measureCosts();
  const keys = measureKeys();
  build(TOPOLOGY);
  await makeKeys();
  const { rates, profiled } = await measure(options);
  remove(TOPOLOGY);
  const crowds = options.short ? [crowd(200), crowd(1000)] : [crowd(2000), crowd(10_000)];
  const of = (name: string, proof: Proof) => rates.get(key(name, proof))!;
  const all: Record<string, Spread> = Object.fromEntries(
    PROOFS.map((proof) => [`${proof}_ratio`, ratios(of('isthmus', proof), of('strongswan', proof))]),
  );
  const fields = {
    ...Object.fromEntries([...rates].map(([name, values]) => [name, rounded(median(values))])),
    ...medians(all),
    ...crowdFields(crowds),
  };
  return {
    ...frame(options, 'handshakes', costs, options.seconds),
    ratios: all,
    fields,
    goals: judge('handshakes', fields),
    limits: PROOFS.map((proof) =>
      limited(
        `isthmus, ${TITLES[proof]}`,
        'handshakes per CPU second',
        median(of('isthmus', proof)),
        handshakeLimit(keys, proof === 'ecdsa'),
      ),
    ),
    tables: [...PROOFS.map((proof) => rateTable(proof, of)), shareTable(profiled), crowdTable(crowds)],
  };
}

const TITLES: Record<Proof, string> = {
  psk: 'X25519 and pre-shared keys',
  ecdsa: 'X25519 and ECDSA P-256 certificates',
};

function key(name: string, proof: Proof): string {
  return `${name}_${proof}`;
}

interface Profiled {
  shares: Share[];
  /** CPU microseconds of a handshake, without the profiler. */
  each: number;
}

async function measure(options: Options): Promise<{ rates: Rates; profiled: Profiled }> {
  const responders: Responder[] = [];
  for (const place of PLACES) responders.push(pinned(await startResponder(place)));
  const load = startLoad();
  const rates: Rates = new Map();
  for (const proof of PROOFS) {
    for (const one of responders) {
      rates.set(key(one.name, proof), []);
      await rate(load, one, proof, options.seconds * WARM_UP);
    }
    for (let round = 1; round <= options.rounds; round++) {
      for (const one of responders) {
        const measured = await rate(load, one, proof, options.seconds);
        rates.get(key(one.name, proof))!.push(measured);
        tell(`handshakes, ${proof}, round ${round}, ${one.name}: ${rounded(measured)} per CPU second`);
      }
    }
  }
  for (const one of responders) await one.stop();
  const each = 1e6 / median(rates.get(key('isthmus', 'psk'))!);
  const profiled = { shares: await profile(load, options.seconds * WARM_UP), each };
  load.stop();
  return { rates, profiled };
}

/** So many times as long as a round, so that the compiler is done. */
const WARM_UP = 3;

/** One core for the responder, another for the load. */
function pinned(responder: Responder): Responder {
  if (cpus().length > 1) spawnSync('taskset', ['-acp', '0', String(responder.pid)]);
  return responder;
}

interface Load {
  run(order: Order): Promise<Done>;
  stop(): void;
}

function startLoad(): Load {
  const pin = cpus().length > 1 ? ['taskset', '-c', '1'] : [];
  const child: ChildProcess = start(LOAD, [...pin, ...NODE, program('load.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: Interface = createInterface(child.stdout!);
  const answers = lines[Symbol.asyncIterator]();
  return {
    async run(order) {
      child.stdin!.write(`${JSON.stringify(order)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error('the load generator has ended');
      return JSON.parse(value);
    },
    stop: () => child.stdin!.end(),
  };
}

const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];

function program(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

async function rate(load: Load, { pid, files, label }: Responder, proof: Proof, seconds: number) {
  const before = cpuSeconds(pid);
  const { handshakes: count, failed } = await load.run({ file: files[proof], milliseconds: seconds * 1000 });
  if (count === 0) throw new Error(`${label}, ${proof}: no handshake, ${JSON.stringify(failed)}`);
  return count / (cpuSeconds(pid) - before);
}

/** Once more under the profiler of the runtime, which writes when the daemon ends. */
async function profile(load: Load, seconds: number): Promise<Share[]> {
  const folder = '/run/lab/profile';
  mkdirSync(folder, { recursive: true });
  process.env.NODE_OPTIONS = `--cpu-prof --cpu-prof-dir=${folder}`;
  const [place] = PLACES;
  const responder = pinned(await startResponder(place!));
  delete process.env.NODE_OPTIONS;
  await rate(load, responder, 'psk', seconds);
  await rate(load, responder, 'psk', seconds);
  await responder.stop();
  const [file] = readdirSync(folder);
  const written: Profile = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
  return shares(written, seconds * 1e6);
}

function crowd(tunnels: number): Crowd {
  tell(`handshakes: ${tunnels} tunnels in one process`);
  const [command, ...words] = [...NODE, '--expose-gc', program('crowd.ts'), String(tunnels)];
  const { stdout, status } = spawnSync(command!, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`${tunnels} tunnels in one process: exit ${status}`);
  return JSON.parse(stdout);
}

/** Memory is the difference of two populations: what does not grow with them is no tunnel's. */
function crowdFields([few, many]: readonly Crowd[]): Record<string, number> {
  const bytes = (many!.established - few!.established) / (many!.tunnels - few!.tunnels);
  return {
    kb_per_tunnel: rounded(bytes / 1000),
    config_seconds: rounded(many!.load / 1000),
    up_seconds: rounded(many!.up / 1000),
    status_seconds: rounded(many!.status / 1000),
    status_polled: rounded(many!.polled / many!.idle),
    up_turn: rounded(many!.upTurn),
    down_turn: rounded(many!.downTurn),
  };
}

function rateTable(proof: Proof, of: (name: string, proof: Proof) => number[]): Table {
  return {
    title: `Handshakes per CPU second of the responder, ${TITLES[proof]}`,
    columns: ['', 'handshakes', 'least', 'most', 'CPU µs each'],
    rows: PLACES.map(({ name, label }) => {
      const { median: middle, min, max } = spread(of(name, proof));
      return [label, ...[middle, min, max, 1e6 / middle].map(rounded)];
    }),
    picture: { column: 1, spread: [2, 3], unit: 'handshakes/CPU s' },
  };
}

function shareTable({ shares: all, each }: Profiled): Table {
  return {
    title: 'Where our time goes, pre-shared keys',
    columns: ['', 'share', 'CPU µs each'],
    rows: all.map(({ part, share }) => [part, rounded(share), rounded(share * each)]),
  };
}

function crowdTable(crowds: readonly Crowd[]): Table {
  return {
    title: 'Many tunnels in one process, memory data plane, both ends of each',
    columns: [
      'tunnels',
      'file read s',
      'all up s',
      'CPU s of it',
      'longest turn ms',
      'longest when they go ms',
      'status s',
      'idle CPU',
      'asked each second',
      'SAs looked at per tunnel',
      'MB',
    ],
    rows: crowds.map(({ tunnels, load, up, upCpu, upTurn, downTurn, ...one }) => [
      tunnels,
      ...[
        load / 1000,
        up / 1000,
        upCpu / 1000,
        upTurn,
        downTurn,
        one.status / 1000,
        one.idle,
        one.polled,
        one.visits / tunnels,
        one.established / 1e6,
      ].map(rounded),
    ]),
  };
}
