// What of the kernel's SAD and SPD is ours, on disk before it is in the kernel: after SIGKILL the next process finds what
// the last one left. One JSON value a line; a torn last line belongs to something that was never installed.

import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** Of all SAs and templates that are ours; others' daemons count from 1. */
export const OUR_REQIDS = { first: 0x69000000, last: 0x69ffffff };

/** Entries written at a time where many are. */
const PIECE = 2000;

export interface Journal {
  /** Reqids given out, and keys of policies installed, by this and earlier processes. */
  reqids: ReadonlySet<number>;
  policies: ReadonlySet<string>;
  reqid(...reqids: readonly number[]): void;
  policy(...keys: readonly string[]): void;
  /** Only these are left. Yields between pieces of a long journal; until the end nobody else may write. */
  keep(reqids: Iterable<number>, policies: Iterable<string>): Generator<[], void>;
  /** Nothing of ours is left. */
  clear(): void;
}

/** Each network namespace has a kernel's SAD of its own, and a journal. */
export function openJournal(folder = '/run/isthmus'): Journal {
  const namespace = readlinkSync('/proc/self/ns/net').replace(/\D/g, '');
  const file = join(folder, `xfrm-${namespace}.journal`);
  const reqids = new Set<number>();
  const policies = new Set<string>();
  let open: number | undefined;
  for (const entry of entriesOf(file)) {
    if (typeof entry === 'number') reqids.add(entry);
    else if (typeof entry === 'string') policies.add(entry);
  }

  function write<T extends number | string>(known: Set<T>, entries: readonly T[]): void {
    const fresh = entries.filter((entry) => !known.has(entry));
    if (fresh.length === 0) return;
    append(linesOf(fresh));
    for (const entry of fresh) known.add(entry);
  }

  /** The folder is made when it is not there. */
  function append(lines: string): void {
    if (open === undefined) {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      open = openSync(file, 'a', 0o600);
    }
    writeSync(open, lines);
  }

  /** What is written next goes to the file that then has the name. */
  function close(): void {
    if (open !== undefined) closeSync(open);
    open = undefined;
  }

  /** In one step: a journal that is cut off would lose what is ours. */
  function* keep(keptReqids: Iterable<number>, keptPolicies: Iterable<string>): Generator<[], void> {
    const kept = [new Set(keptReqids), new Set(keptPolicies)] as const;
    const entries = [...kept[0], ...kept[1]];
    if (entries.length === reqids.size + policies.size && entries.every((one) => isNoted(one))) return;
    close();
    replace(reqids, kept[0]);
    replace(policies, kept[1]);
    if (entries.length === 0) return rmSync(file, { force: true });
    writeFileSync(`${file}.next`, '', { mode: 0o600 });
    for (let at = 0; at < entries.length; at += PIECE) {
      if (at > 0) yield [];
      appendFileSync(`${file}.next`, linesOf(entries.slice(at, at + PIECE)));
    }
    renameSync(`${file}.next`, file);
  }

  function isNoted(entry: number | string): boolean {
    return typeof entry === 'number' ? reqids.has(entry) : policies.has(entry);
  }

  return {
    reqids,
    policies,
    reqid: (...fresh) => write(reqids, fresh),
    policy: (...keys) => write(policies, keys),
    keep,
    clear() {
      close();
      reqids.clear();
      policies.clear();
      rmSync(file, { force: true });
    },
  };
}

function linesOf(entries: readonly (number | string)[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

function replace<T>(set: Set<T>, kept: Iterable<T>): void {
  set.clear();
  for (const value of kept) set.add(value);
}

function entriesOf(file: string): unknown[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}
