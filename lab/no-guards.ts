// User-mode Linux has no nftables families for IP: the engine's guards cannot stand there, nor can segments be clamped.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';

/** Where a guest of user-mode Linux has the modules of its kernel. */
const MODULES = '/run/modules';

/** The family that the guards' netlink has; in the guest's own mounts, which `isolate` leaves. */
export function findNetfilter(): void {
  if (existsSync(MODULES)) execFileSync('modprobe', ['-d', MODULES, 'nfnetlink']);
}

/** Our daemons find a libnftables in that folder which does nothing. */
export function leaveGuardsOut(folder: string): void {
  mkdirSync(folder, { recursive: true });
  execFileSync('gcc', ['-shared', '-fPIC', '-o', `${folder}/libnftables.so.1`, 'lab/no-guards.c']);
  process.env.LD_LIBRARY_PATH = folder;
}
