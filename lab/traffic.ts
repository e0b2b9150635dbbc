// Traffic through a laboratory: numbered UDP, TCP throughput, ping.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { slowness } from './guest.ts';
import { runAsync, start } from './netns.ts';
import { pause } from './site.ts';

export interface Numbered {
  sent: number;
  distinct: number;
  duplicates: number;
  /** Sent and never received. */
  lost: number;
  /** Milliseconds without a packet, at the longest. */
  longestGap: number;
  /** The numbers of the first ten lost ones, from 0 on. */
  missing: number[];
}

/**
 * Starts a receiver and a sender of so many datagrams a second, of so many bytes; `stop` ends the sender, waits for what is under
 * way, and counts.
 */
export async function startNumbered(
  from: string,
  to: string,
  address: string,
  port: number,
  rate: number,
  bytes = 64,
) {
  const receiver = numbered(to, 'receive', address, String(port));
  await once(receiver.stdout!, 'data');
  const sender = numbered(from, 'send', address, String(port), String(rate), String(bytes));
  return {
    async stop(): Promise<Numbered> {
      const { sent } = await result<{ sent: number }>(sender);
      await pause(300);
      const got = await result<Omit<Numbered, 'sent' | 'lost'>>(receiver);
      return { sent, ...got, lost: sent - got.distinct };
    },
  };
}

function numbered(namespace: string, ...args: string[]): ChildProcess {
  return start(
    namespace,
    [process.execPath, '--disable-warning=ExperimentalWarning', 'lab/numbered.ts', ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
}

async function result<T>(child: ChildProcess): Promise<T> {
  let text = '';
  child.stdout!.on('data', (chunk) => (text += chunk));
  const exited = once(child, 'close');
  child.kill('SIGTERM');
  await exited;
  return JSON.parse(text.trim().split('\n').at(-1)!);
}

/** Megabits per second of one TCP stream, as the receiver saw them. `seconds` is whole. `reverse`: the server sends. */
export async function tcpThroughput(
  client: string,
  server: string,
  address: string,
  seconds: number,
  reverse = false,
): Promise<number> {
  const length = ['--time', String(seconds), ...(reverse ? ['--reverse'] : [])];
  const { received } = await iperf(client, server, address, length);
  return Math.round(received.bits_per_second / 1e6);
}

/**
 * Sends so many bytes by one TCP stream; throws when they do not arrive. iperf3 stops counting once the sender has handed over
 * the last byte: what four small buffers still hold is not counted. `reverse`: the server sends.
 */
export async function tcpTransfer(
  client: string,
  server: string,
  address: string,
  bytes: number,
  reverse = false,
): Promise<void> {
  const length = ['--bytes', String(bytes), '--window', String(BUFFER), ...(reverse ? ['--reverse'] : [])];
  const { received } = await iperf(client, server, address, length);
  if (received.bytes < bytes - 4 * BUFFER)
    throw new Error(`${received.bytes} of ${bytes} bytes by TCP arrived`);
}

const BUFFER = 1 << 18; // bytes; the kernel doubles what it is asked for

export interface Stream {
  mbps: number;
  bytes: number;
  /** Seconds of CPU of the two ends. */
  clientCpu: number;
  serverCpu: number;
}

/** One TCP stream with segments of that size, and what it cost its two ends. */
export async function tcpStream(
  client: string,
  server: string,
  address: string,
  seconds: number,
  segment: number,
): Promise<Stream> {
  const flags = ['--time', String(seconds), '--set-mss', String(segment)];
  const { received, cpu } = await iperf(client, server, address, flags);
  return {
    mbps: received.bits_per_second / 1e6,
    bytes: received.bytes,
    clientCpu: (cpu.host_total / 100) * seconds,
    serverCpu: (cpu.remote_total / 100) * seconds,
  };
}

interface Received {
  bits_per_second: number;
  bytes: number;
}

interface Report {
  end?: {
    sum_received?: Received;
    cpu_utilization_percent?: { host_total: number; remote_total: number };
  };
  error?: string;
}

async function iperf(
  client: string,
  server: string,
  address: string,
  flags: readonly string[],
): Promise<{ received: Received; cpu: { host_total: number; remote_total: number } }> {
  const listening = start(server, ['iperf3', '--server', '--one-off', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(listening, 'close');
  await Promise.race([once(listening.stdout!, 'data'), failure(listening, ended)]);
  const { output } = await runAsync(client, 'iperf3', '-c', address, '--json', ...flags);
  listening.kill('SIGKILL');
  // The next one wants the same port.
  await ended;
  const report: Report = JSON.parse(output);
  const { sum_received: received, cpu_utilization_percent: cpu } = report.end ?? {};
  if (!received || !cpu) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return { received, cpu };
}

/** Throws what a server said that ended before it served. */
async function failure(listening: ChildProcess, ended: Promise<unknown>): Promise<never> {
  let said = '';
  listening.stderr!.on('data', (chunk) => {
    said += chunk;
  });
  await ended;
  throw new Error(`iperf3 ended: ${said.trim()}`);
}

interface Pace {
  /** Seconds between two. */
  interval?: number;
  /** Further words of ping(8), such as where from. */
  words?: readonly string[];
}

/** How many of `count` echo requests were answered. */
export async function ping(
  namespace: string,
  address: string,
  count: number,
  pace: Pace = {},
): Promise<number> {
  return count - (await unanswered(namespace, address, count, pace)).length;
}

/**
 * The numbers of those that were not, from 1 on. Without a deadline ping(8) waits for the last answers only twice as long as the
 * others took; with one it goes on asking until it has as many answers.
 */
export async function unanswered(
  namespace: string,
  address: string,
  count: number,
  { interval = 0.02, words = [] }: Pace = {},
): Promise<number[]> {
  const deadline = Math.ceil(count * interval + slowness());
  const pace = ['-n', '-c', String(count), '-i', String(interval), '-w', String(deadline)];
  const { output } = await runAsync(namespace, 'ping', ...pace, ...words, address);
  const answered = new Set(
    [...output.matchAll(/bytes from .*icmp_seq=(\d+)/g)].map(([, number]) => Number(number)),
  );
  return Array.from({ length: count }, (_, index) => index + 1).filter((number) => !answered.has(number));
}
