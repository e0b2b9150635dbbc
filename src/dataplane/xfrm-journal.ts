// What of the kernel's SAD and SPD is ours, on disk before it is in the kernel: after SIGKILL the next process finds what
// the last one left. One JSON value a line; a torn last line belongs to something that was never installed.

import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** Of all SAs and templates that are ours; others' daemons count from 1. */
export const OUR_REQIDS = { first: 0x69000000, last: 0x69ffffff };

export interface Journal {
  /** Reqids given out, and keys of policies installed, by this and earlier processes. */
  reqids: ReadonlySet<number>;
  policies: ReadonlySet<string>;
  reqid(reqid: number): void;
  policy(key: string): void;
  /** Only these are left. */
  keep(reqids: Iterable<number>, policies: Iterable<string>): void;
  /** Nothing of ours is left. */
  clear(): void;
}

/** Each network namespace has a kernel's SAD of its own, and a journal. */
export function openJournal(folder = '/run/isthmus'): Journal {
  const namespace = readlinkSync('/proc/self/ns/net').replace(/\D/g, '');
  const file = join(folder, `xfrm-${namespace}.journal`);
  const reqids = new Set<number>();
  const policies = new Set<string>();
  for (const entry of entriesOf(file)) {
    if (typeof entry === 'number') reqids.add(entry);
    else if (typeof entry === 'string') policies.add(entry);
  }

  function write<T extends number | string>(known: Set<T>, entry: T): void {
    if (known.has(entry)) return;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    appendFileSync(file, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
    known.add(entry);
  }

  /** In one step: a journal that is cut off would lose what is ours. */
  function keep(keptReqids: Iterable<number>, keptPolicies: Iterable<string>): void {
    replace(reqids, keptReqids);
    replace(policies, keptPolicies);
    const lines = [...reqids, ...policies].map((entry) => `${JSON.stringify(entry)}\n`);
    if (lines.length === 0) return rmSync(file, { force: true });
    writeFileSync(`${file}.next`, lines.join(''), { mode: 0o600 });
    renameSync(`${file}.next`, file);
  }

  return {
    reqids,
    policies,
    reqid: (reqid) => write(reqids, reqid),
    policy: (key) => write(policies, key),
    keep,
    clear: () => keep([], []),
  };
}

function replace<T>(set: Set<T>, kept: Iterable<T>): void {
  const values = [...kept];
  set.clear();
  for (const value of values) set.add(value);
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
