// Another implementation as the checks see it: configured, started, asked to establish, rekey and delete.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Finished } from '../netns.ts';
import type { Files, PeerTunnel } from './tunnel.ts';

export interface Peer {
  /** What our side takes it for, by its vendor id. */
  vendor: string;
  start(): Promise<void>;
  configure(tunnel: PeerTunnel): Promise<void>;
  /** Both end when it is done, or was not. */
  initiate(child?: string): Promise<Finished>;
  rekey(what: 'child' | 'IKE SA'): Promise<Finished>;
  /** The IKE SA and all of its children. */
  terminate(): Promise<Finished>;
  /** Changes with each rekey of a child or of the IKE SA. */
  generation(what: 'child' | 'IKE SA'): Promise<string>;
  /** What it says of its SAs; empty where it has none. */
  sas(): Promise<string>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  log(): string;
  pid(): number | undefined;
}

/** Readable by their owner only. */
export function writeFiles(folder: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content, { mode: 0o600 });
  }
}

export function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}
