// bench-udp in the namespaces of a laboratory.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { start } from '../lab/netns.ts';
import { pause } from '../lab/site.ts';

const TOOL = fileURLToPath(new URL('../native/build/bench-udp', import.meta.url));
const DRAIN = 150; // ms for what is under way when the sender ends

export interface Sent {
  sent: number;
  seconds: number;
  cpu: number;
}

export interface Received {
  received: number;
  distinct: number;
  cpu: number;
}

export interface Flood {
  from: string;
  to: string;
  address: string;
  port: number;
  /** Packets per second; 0 is as many as go. */
  rate: number;
  seconds: number;
  /** Payload. */
  bytes: number;
  /** More than 1: that many leave the sender as one packet for the kernel to cut (UDP_SEGMENT). */
  segments?: number;
}

/** Sends and counts. */
export async function flood(what: Flood): Promise<{ sent: Sent; received: Received }> {
  const sink = await listen('sink', what.to, what.address, what.port);
  const sent = await send(what).done;
  await pause(DRAIN);
  return { sent, received: (await sink.stop<Received>())! };
}

/** A sink or an echo that runs until `stop`. */
export async function listen(role: 'sink' | 'echo', namespace: string, address: string, port: number) {
  const child = tool(namespace, role, address, String(port));
  const text = collect(child);
  const failed = once(child, 'close').then(() => {
    if (child.exitCode !== 0) throw new Error(`bench-udp ${role} in ${namespace} does not start`);
  });
  failed.catch(() => {});
  await Promise.race([once(child.stdout!, 'data'), failed]);
  return {
    async stop<T>(): Promise<T | undefined> {
      child.stdin!.end();
      await failed;
      return lastLine(text());
    },
  };
}

/** `stop` ends it before its time. */
export function send({ from, address, port, rate, seconds, bytes, segments = 1 }: Flood) {
  return run<Sent>(from, 'send', ...[address, port, rate, seconds, bytes, segments].map(String));
}

/** Microseconds. */
export interface Trips {
  sent: number;
  received: number;
  p50: number;
  p99: number;
  least: number;
}

export function trips(from: string, address: string, port: number, count: number, apart: number) {
  return run<Trips>(from, 'ping', ...[address, port, count, apart].map(String));
}

function run<T>(namespace: string, ...args: string[]): { done: Promise<T>; stop: () => void } {
  const child = tool(namespace, ...args);
  const text = collect(child);
  const done = once(child, 'close').then(() => {
    if (child.exitCode !== 0) throw new Error(`bench-udp ${args.join(' ')} ended with ${child.exitCode}`);
    return lastLine(text()) as T;
  });
  return { done, stop: () => child.stdin!.end() };
}

function tool(namespace: string, ...args: string[]): ChildProcess {
  return start(namespace, [TOOL, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
}

function collect(child: ChildProcess): () => string {
  let text = '';
  child.stdout!.on('data', (chunk) => (text += chunk));
  return () => text;
}

function lastLine(text: string) {
  const line = text.trim().split('\n').at(-1)!;
  return line.startsWith('{') ? JSON.parse(line) : undefined;
}
