// Exit codes of every command.

import { NoDaemon } from '../control/client.ts';
import { ConfigRefused } from '../daemon/read-config.ts';
import { HostError } from '../host/host-error.ts';
import { AddonError } from '../native.ts';

export const EXIT = { yes: 0, no: 1, input: 2, permission: 3, noDaemon: 4, ourFault: 5 } as const;

/** The command cannot be understood. */
export class UsageError extends Error {}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof ConfigRefused) return EXIT.input;
  if (error instanceof HostError || error instanceof AddonError) return EXIT.permission;
  return error instanceof NoDaemon ? EXIT.noDaemon : EXIT.ourFault;
}

/** A sentence where the fault is known, everything where it is ours. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return exitCodeOf(error) === EXIT.ourFault ? `this is a fault of Isthmus: ${error.stack}` : error.message;
}
