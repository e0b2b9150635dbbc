// Traffic through a laboratory: numbered UDP, TCP throughput, ping.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
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
}

/** Starts a receiver and a sender; `stop` ends the sender, waits for what is under way, and counts. */
export async function startNumbered(from: string, to: string, address: string, port: number, rate: number) {
  const receiver = numbered(to, 'receive', address, String(port));
  await once(receiver.stdout!, 'data');
  const sender = numbered(from, 'send', address, String(port), String(rate));
  return {
    async stop(): Promise<Numbered> {
      const { sent } = await result<{ sent: number }>(sender);
      await pause(300);
      const got = await result<{ distinct: number; duplicates: number; longestGap: number }>(receiver);
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
  const { bits_per_second } = await iperf(client, server, address, seconds, reverse ? ['--reverse'] : []);
  return Math.round(bits_per_second / 1e6);
}

/** Packets per second that arrive of a flood of UDP with 64 bytes each. */
export async function udpRate(
  client: string,
  server: string,
  address: string,
  seconds: number,
): Promise<number> {
  const flood = ['--udp', '--bandwidth', '0', '--length', '64'];
  const { packets, lost_packets } = await iperf(client, server, address, seconds, flood);
  return Math.round((packets! - lost_packets!) / seconds);
}

interface Received {
  bits_per_second: number;
  packets?: number;
  lost_packets?: number;
}

async function iperf(
  client: string,
  server: string,
  address: string,
  seconds: number,
  flags: readonly string[],
): Promise<Received> {
  const listening = start(server, ['iperf3', '--server', '--one-off', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(listening.stdout!, 'data');
  const { output } = await runAsync(client, 'iperf3', '-c', address, '-t', `${seconds}`, '--json', ...flags);
  listening.kill('SIGKILL');
  const report: { end?: { sum_received?: Received; sum?: Received }; error?: string } = JSON.parse(output);
  const received = flags.includes('--udp') ? report.end?.sum : report.end?.sum_received;
  if (!received) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return received;
}

/** How many of `count` echo requests were answered. */
export async function ping(
  namespace: string,
  address: string,
  count: number,
  interval = 0.02,
): Promise<number> {
  const { output } = await runAsync(
    namespace,
    'ping',
    '-n',
    '-c',
    String(count),
    '-i',
    String(interval),
    '-W',
    '1',
    address,
  );
  return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
}
