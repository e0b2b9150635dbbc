// A running gateway in a namespace: its configuration, its daemon, its command line.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '../src/control/client.ts';
import type { TunnelStatus } from '../src/daemon/status.ts';
import { slowness } from './guest.ts';
import { type Finished, runAsync, start } from './netns.ts';

/** A small young generation: a gateway makes little garbage, and memory is what it shares with others. */
const ISTHMUS = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=2',
  'src/cli/isthmus.ts',
];

/** What became of a command; the sentence says it in words. */
export interface Answer {
  code: string;
  sentence?: string;
}

export interface Site {
  namespace: string;
  folder: string;
  configure(text: string): void;
  start(...flags: string[]): Promise<void>;
  /** Exit code and output of `isthmus COMMAND…` against this site's daemon. */
  isthmus(...args: string[]): Promise<Finished>;
  /** The same by the control API, without starting a process. */
  command(command: 'up' | 'down' | 'rekey', tunnel: string, child?: string): Promise<Answer>;
  /** What the daemon says of a tunnel, by the control API. */
  tunnel(name: string): Promise<TunnelStatus>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** All that the daemon wrote. */
  log(): string;
  pid(): number | undefined;
}

/** `secrets` become files beside the configuration, readable by their owner only. */
export function createSite(namespace: string, secrets: Record<string, string>): Site {
  const folder = join('/run/lab', namespace);
  const socket = join(folder, 'control.sock');
  const file = join(folder, 'isthmus.yaml');
  let daemon: ChildProcess | undefined;
  let written = '';
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [name, value] of Object.entries(secrets))
    writeFileSync(join(folder, name), `${value}\n`, { mode: 0o600 });

  const isthmus = (...args: string[]) =>
    runAsync(namespace, ISTHMUS[0]!, ...ISTHMUS.slice(1), ...args, '--socket', socket);

  return {
    namespace,
    folder,
    isthmus,
    configure: (text) => writeFileSync(file, text, { mode: 0o600 }),
    async start(...flags) {
      daemon = start(namespace, [...ISTHMUS, 'run', file, '--socket', socket, ...flags]);
      for (const stream of [daemon.stdout!, daemon.stderr!]) stream.on('data', (chunk) => (written += chunk));
      await ready(daemon, () => written, socket);
    },
    async command(command, name, child) {
      const route = createClient(socket).tunnels[':name'][':command'];
      const answer = await (child === undefined
        ? route.$post({ param: { name, command } })
        : route[':child'].$post({ param: { name, command, child } }));
      return answer.json();
    },
    async tunnel(name) {
      const { tunnels } = await (await createClient(socket).status.$get()).json();
      return tunnels.find((one) => one.name === name)!;
    },
    kill: (signal) => end(daemon, signal),
    log: () => written,
    pid: () => daemon?.pid,
  };
}

/** The gateways of lab/two-sites.ts, with the same secrets. */
export function createSites(secrets: Record<string, string>): [Site, Site] {
  return [createSite('gw-a', secrets), createSite('gw-b', secrets)];
}

/** The daemon is ready once it answers; it has half a minute, and in a guest as many times more as things are slower there. */
async function ready(daemon: ChildProcess, log: () => string, socket: string): Promise<void> {
  const deadline = performance.now() + 30_000 * slowness();
  while (daemon.exitCode === null && performance.now() < deadline) {
    if (await answers(socket)) return;
    await pause(20);
  }
  throw new Error(`the daemon does not answer; it said:\n${log()}`);
}

async function answers(socket: string): Promise<boolean> {
  try {
    return (await createClient(socket).status.$get()).ok;
  } catch {
    return false;
  }
}

function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
