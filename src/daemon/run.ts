// A running gateway, and what may be asked of it.

import type { Config } from '../config/config.ts';
import type { Plan } from '../config/plan.ts';
import { flushXfrm } from '../dataplane/xfrm.ts';
import { createHost } from '../host/host.ts';
import type { Command } from '../ike/boundary.ts';
import type { ReportCode } from '../ike/errors.ts';
import { loadAddon } from '../native.ts';
import type { Snapshot } from '../policy/sad.ts';
import { begin } from './begin.ts';
import { lookAfter } from './care.ts';
import { overview } from './overview.ts';
import { joinParts, type Parts } from './parts.ts';
import { type Proof, proofsOf } from './proofs.ts';
import { reload } from './reload.ts';
import { type Log, sentenceOf } from './report.ts';
import type { Status } from './status.ts';

export interface Outcome {
  code: ReportCode;
  sentence: string;
}

/** A negotiation that failed, so many milliseconds ago. */
export interface ToldFailure {
  ago: number;
  code: ReportCode;
  tunnel?: string;
  sentence: string;
  detail: object;
}

export interface Running {
  command(command: Command, tunnel: string, child?: string): Promise<Outcome>;
  status(): Promise<Status>;
  /** By tunnel, where an IKE SA is established. */
  proofs(): Map<string, Proof>;
  snapshot(): Promise<Snapshot>;
  config(): Config;
  failures(): ToldFailure[];
  /** Throws ConfigRefused, and then nothing has changed. */
  reload(options: { dryRun: boolean }): Plan[];
  /** Says goodbye to the peers. Guards and routes stay. */
  stop(): Promise<void>;
}

const GOODBYE = 2000;

/** Throws ConfigRefused, HostError or AddonError; then nothing runs. */
export function runDaemon(file: string, log: Log, options: { exportKeys?: string } = {}): Running {
  const parts = joinParts(file, log, options.exportKeys);
  begin(parts);
  const leaveAlone = lookAfter(parts);
  const { core, daemon } = parts;
  return {
    async command(command, tunnel, child) {
      const code = await daemon.command(command, tunnel, child);
      const failure = core.failures().findLast((one) => one.tunnel === tunnel && one.code === code);
      return { code, sentence: sentenceOf({ code, ...(failure ? { detail: failure.detail } : {}) }) };
    },
    status: () => overview(parts),
    proofs: () => proofsOf(core.tunnels()),
    snapshot: () => daemon.refresh(),
    config: () => parts.state.config,
    failures: () => failuresOf(parts),
    reload: ({ dryRun }) => reload(parts, dryRun),
    async stop() {
      leaveAlone();
      await stop(parts);
    },
  };
}

function failuresOf({ addon, core }: Parts): ToldFailure[] {
  return core.failures().map(({ at, code, tunnel, detail }) => ({
    ago: addon.bootTime() - at,
    code,
    ...(tunnel === undefined ? {} : { tunnel }),
    sentence: sentenceOf({ code, detail }),
    detail,
  }));
}

async function stop({ addon, native, state, links, plane, daemon, probing, outside }: Parts): Promise<void> {
  probing.stop();
  outside.stop();
  await daemon.stop(GOODBYE);
  links.stop(state.config);
  await plane.plane.close();
  addon.stop(native);
}

/** Removes everything of ours from this machine. How many objects that were. */
export function flushHost(): number {
  const addon = loadAddon();
  return flushXfrm(addon) + createHost(addon).flush();
}
