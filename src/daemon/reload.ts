// Another configuration for a running daemon: all of it, or nothing.

import type { Config } from '../config/config.ts';
import { type Plan, planReload } from '../config/plan.ts';
import { HostError } from '../host/host-error.ts';
import { configureProbes, tellFindings } from './begin.ts';
import { watchFiles } from './credential-files.ts';
import { type Parts, settled } from './parts.ts';
import { ConfigRefused, readConfig } from './read-config.ts';

/** What would happen to each tunnel, and unless `dryRun` happens. Throws ConfigRefused, and then nothing has changed. */
export function reload(parts: Parts, dryRun: boolean): Plan[] {
  const { file, log, choice, state, links, daemon } = parts;
  const before = state.config;
  const next = settled(readConfig(file, log), choice);
  const fixed = fixedChange(before, next);
  if (fixed) throw new ConfigRefused([`${file}:1:1: ${fixed} changed: restart the daemon to use it`]);
  const plan = planReload(before, next);
  if (dryRun) return plan;
  applyOrRestore(parts, next);
  state.config = next;
  state.filesChanged = watchFiles(next.keyring.files);
  for (const { changes } of plan) daemon.feed({ type: 'configure', changes });
  links.apply(next, [next]);
  links.close(before, next);
  configureProbes(parts);
  tellFindings(parts);
  for (const { tunnel, effect } of plan) {
    if (effect !== 'untouched') log({ code: 'CONFIG_RELOADED', tunnel, detail: { effect } });
    if (effect === 'rekey') void daemon.command('rekey', tunnel);
    if (effect === 'renewed') void daemon.command('reauthenticate', tunnel);
  }
  return plan;
}

/** The key of what a running daemon cannot change. */
function fixedChange(config: Config, next: Config): string | undefined {
  if (next.addresses.join() !== config.addresses.join()) return 'gateway.address';
  if (next.dataplane !== config.dataplane) return 'gateway.dataplane';
  const parts = ['engine', 'routing'] as const;
  const changed = parts.find((key) => JSON.stringify(next[key]) !== JSON.stringify(config[key]));
  return changed && `gateway.${changed}`;
}

/** The machine takes the new configuration beside the old one, or stays with the old one. */
function applyOrRestore({ links, state: { config } }: Parts, next: Config): void {
  try {
    links.apply(next, [config, next]);
  } catch (error) {
    links.apply(config, [config]);
    throw error instanceof HostError ? new ConfigRefused([error.message]) : error;
  }
}
