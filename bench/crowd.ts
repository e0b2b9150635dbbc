// So many tunnels up in one process, on the memory data plane: what loading, coming up and a status take, and how much
// memory stays. A process of its own for each size: `node --expose-gc bench/crowd.ts TUNNELS`, which prints a `Crowd`.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import { createNodeProvider } from '../src/crypto/node-provider.ts';
import { createDaemon, type Daemon } from '../src/daemon/daemon.ts';
import { createTraffic, statusOfTunnel } from '../src/daemon/status.ts';
import { createMemoryPlane } from '../src/dataplane/memory.ts';
import { singly } from '../src/dataplane/turns.ts';
import type { Action, Event } from '../src/ike/boundary.ts';
import { createGateway, type Gateway } from '../src/ike/gateway.ts';
import type { Tunnel } from '../src/policy/tunnel.ts';
import { jobsOf } from './jobs.ts';
import { cpuMilliseconds, watched } from './watched.ts';

export interface Crowd {
  tunnels: number;
  /** Milliseconds: the file read and resolved, wall time. */
  load: number;
  /** From the configuration to all children up on both sides, which share the process. */
  up: number;
  upCpu: number;
  status: number;
  /** Parts of a CPU while nothing happens, and while the status is asked for each second. */
  idle: number;
  polled: number;
  /** The longest turn of the event loop while all come up, and while all are taken down: milliseconds of CPU time. */
  upTurn: number;
  downTurn: number;
  /** Bytes that stay: the configuration alone, then with the gateway and its data plane. */
  config: number;
  established: number;
  visits: number;
}

interface Node {
  core: Gateway;
  daemon: Daemon;
  /** As what comes by a socket is read: with pauses for the event loop. */
  arrive: (datagram: Event) => void;
  /** Resolves when all tunnels are known: until then nobody listens. */
  told: Promise<void>;
  up: number;
  failed: Map<string, number>;
}

const HUB = '192.0.2.1';

function addressOf(index: number): string {
  return `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`;
}

function networks(index: number): { hub: string; spoke: string } {
  const low = `${(index >> 6) & 0xff}.${(index & 63) << 2}/30`;
  return { hub: '172.16.0.0/16', spoke: `172.${17 + (index >> 14)}.${low}` };
}

/** Half of the tunnels are begun by either side. */
function configure(folder: string, count: number): string {
  const tunnels = Array.from({ length: count }, (_, index) => {
    const secret = join(folder, `${index}.psk`);
    writeFileSync(secret, `a secret of ${index} that nobody else has\n`, { mode: 0o600 });
    const { hub, spoke } = networks(index);
    return `  site-${index}:
    peer: ${addressOf(index)}
    auth: { psk: { file: ${secret} } }
    local: ${hub}
    remote: ${spoke}
    ike-suites: ["aes-gcm-16-256 / prf-hmac-sha2-256 / x25519"]
    start: ${index % 2 === 0 ? 'now' : 'wait'}`;
  });
  const file = join(folder, 'isthmus.yaml');
  writeFileSync(file, `gateway: { name: hub, address: ${HUB} }\ntunnels:\n${tunnels.join('\n')}\n`);
  return file;
}

/** The same tunnels, seen from the other ends. */
function mirrored(tunnel: Tunnel): Tunnel {
  const [address] = tunnel.remote.addresses;
  return {
    ...tunnel,
    start: tunnel.start === 'now' ? 'wait' : 'now',
    local: { address: address!, identity: tunnel.remote.identity },
    remote: { addresses: [tunnel.local.address], identity: tunnel.local.identity },
    children: tunnel.children.map((child) => ({
      ...child,
      selectors: { local: child.selectors.remote, remote: child.selectors.local },
    })),
  };
}

function node(
  config: Config,
  tunnels: readonly Tunnel[],
  send: (action: Action & { type: 'send' }) => boolean,
): Node {
  const provider = createNodeProvider();
  const plane = createMemoryPlane(provider);
  const core = createGateway({ provider, capabilities: plane.capabilities });
  const failed = new Map<string, number>();
  const waiting: Event[] = [];
  const listen = singly(async () => {
    await made.told;
    await made.daemon.feedAll(waiting.splice(0));
  });
  const arrive = (datagram: Event) => {
    waiting.push(datagram);
    listen();
  };
  const made: Node = { core, failed, up: 0, arrive, daemon: undefined as never, told: undefined as never };
  made.daemon = createDaemon({
    core,
    plane,
    send,
    runJob: jobsOf(provider, () => [config]),
    clock: () => Math.round(performance.now()),
    log: ({ code }) => {
      if (code === 'CHILD_ESTABLISHED') made.up++;
      else failed.set(code, (failed.get(code) ?? 0) + 1);
    },
  });
  made.told = made.daemon.feedAll(
    tunnels.map((tunnel) => ({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel }] })),
  );
  return made;
}

function bytesInUse(): number {
  for (let round = 0; round < 4; round++) globalThis.gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Both sides in this process; the other one is gone when it ends. */
async function allUp(config: Config): Promise<{ hub: Node; up: number; upCpu: number; upTurn: number }> {
  const { tunnels } = config;
  const ends: { hub?: Node; spokes?: Node } = {};
  const towards = (to: 'hub' | 'spokes') => (action: Action & { type: 'send' }) => {
    const { local: remote, remote: local } = action;
    const bytes = action.bytes.slice();
    setImmediate(() => ends[to]?.arrive({ type: 'datagram', bytes, local, remote }));
    return true;
  };
  const cpu = process.cpuUsage();
  const { seconds, turn } = await watched(async () => {
    ends.spokes = node(config, tunnels.map(mirrored), towards('hub'));
    ends.hub = node(config, tunnels, towards('spokes'));
    while (Object.values(ends).some(({ up }) => up < tunnels.length)) await pause(20);
  });
  const { user, system } = process.cpuUsage(cpu);
  const { hub, spokes } = ends as Record<'hub' | 'spokes', Node>;
  await quiet(hub, tunnels.length);
  Object.assign(ends, { hub: undefined, spokes: undefined });
  await spokes.daemon.stop(0);
  return { hub, up: seconds * 1000, upCpu: (user + system) / 1000, upTurn: turn };
}

/** Each tunnel has rehearsed its first rekey, and what that replaced is gone; two minutes at most. */
async function quiet({ failed }: Node, tunnels: number): Promise<void> {
  const gone = () => failed.get('CHILD_DELETED') ?? 0;
  for (let rounds = 0; rounds < QUIET_ROUNDS && gone() < tunnels; rounds++) await pause(QUIET);
  await pause(QUIET);
}

/** Longer than a replaced child is drained. */
const QUIET = 6000;
const QUIET_ROUNDS = 20;

/** Milliseconds that it took, the text of it included. */
async function askStatus({ core, daemon }: Node, { tunnels }: Config): Promise<number> {
  const begin = performance.now();
  const traffic = createTraffic();
  traffic.update(await daemon.refresh());
  const byName = new Map(tunnels.map((tunnel) => [tunnel.name, tunnel]));
  JSON.stringify(
    core.tunnels().map((view) => statusOfTunnel(view, byName.get(view.name)!, { traffic }, undefined, 0)),
  );
  return performance.now() - begin;
}

/** Of a CPU, where this is done at the beginning of each second. */
async function shareOf(act: () => Promise<unknown>): Promise<number> {
  const [cpu, begin] = [cpuMilliseconds(), performance.now()];
  for (let seconds = 0; seconds < WATCHED; seconds++) {
    const next = pause(1000);
    await act();
    await next;
  }
  return (cpuMilliseconds() - cpu) / (performance.now() - begin);
}

const WATCHED = 5;

async function measure(count: number): Promise<Crowd> {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-crowd-'));
  try {
    loadConfig(configure(folder, 1)); // so that the reader itself is not counted
    const file = configure(folder, count);
    const before = bytesInUse();
    const begin = performance.now();
    const { config, complaints } = loadConfig(file);
    const load = performance.now() - begin;
    if (!config) throw new Error(complaints[0]?.problem);
    const configBytes = bytesInUse() - before;
    const { hub, ...came } = await allUp(config);
    const status = await askStatus(hub, config);
    const idle = await shareOf(async () => {});
    const polled = await shareOf(() => askStatus(hub, config));
    await pause(100);
    const establishedBytes = bytesInUse() - before;
    const { turn } = await watched(() => hub.daemon.stop(0));
    return {
      ...{ tunnels: count, load, ...came, status, idle, polled, downTurn: turn },
      ...{ config: configBytes, established: establishedBytes, visits: hub.core.visits() },
      ...{ failed: [...hub.failed] },
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

console.log(JSON.stringify(await measure(Number(process.argv[2]))));
if (process.argv[3]) (await import('node:v8')).writeHeapSnapshot(process.argv[3]);
process.exit(0);
