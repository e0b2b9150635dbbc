// Network namespaces and the links between them, described as data. Works inside `isolate()`.

import { type ChildProcess, execFile, execFileSync, type SpawnOptions, spawn } from 'node:child_process';

/** One end of a link: namespace, device, addresses with prefix length. */
export type End = readonly [namespace: string, device: string, ...addresses: string[]];

export interface Topology {
  namespaces: readonly string[];
  links: readonly (readonly [End, End])[];
  /** Arguments of `ip route add`, by namespace. */
  routes: Readonly<Record<string, readonly string[]>>;
  /** Namespaces that forward packets. */
  routers: readonly string[];
}

/** Makes every namespace, link, address and route. IPv6 addresses are usable at once (no duplicate detection). */
export function build(topology: Topology): void {
  for (const namespace of topology.namespaces) {
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'set', 'dev', 'lo', 'up');
    sysctl(namespace, 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0');
  }
  for (const [a, b] of topology.links) {
    ip('link', 'add', 'dev', a[1], 'netns', a[0], 'type', 'veth', 'peer', 'name', b[1], 'netns', b[0]);
    for (const end of [a, b]) configure(end);
  }
  for (const namespace of topology.routers)
    sysctl(namespace, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  for (const [namespace, routes] of Object.entries(topology.routes)) {
    for (const route of routes) ip('-n', namespace, 'route', 'add', ...route.split(' '));
  }
}

/** Takes the namespaces' names away; they end with their last process. */
export function remove(topology: Topology): void {
  for (const namespace of topology.namespaces) ip('netns', 'delete', namespace);
}

function configure([namespace, device, ...addresses]: End): void {
  for (const address of addresses) ip('-n', namespace, 'address', 'add', address, 'dev', device);
  ip('-n', namespace, 'link', 'set', 'dev', device, 'up');
}

export function sysctl(namespace: string, ...settings: string[]): void {
  run(namespace, 'sysctl', '-q', '-w', ...settings);
}

/** Output of a command in a namespace; throws with its error output when it fails. */
export function run(namespace: string, command: string, ...args: string[]): string {
  return execFileSync('ip', ['netns', 'exec', namespace, command, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export interface Finished {
  status: number;
  output: string;
}

/** The same without blocking, and without throwing. */
export function runAsync(namespace: string, command: string, ...args: string[]): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(
      'ip',
      ['netns', 'exec', namespace, command, ...args],
      { encoding: 'utf8', maxBuffer: 1 << 24 },
      (error, stdout, stderr) =>
        resolve({ status: error ? Number(error.code ?? 1) : 0, output: stdout + stderr }),
    );
  });
}

/** Starts a command in a namespace. `ip netns exec` becomes the command, so the child's pid is the command's. */
export function start(
  namespace: string,
  command: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  return spawn('ip', ['netns', 'exec', namespace, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
