// CPU time of processes and of the machine, from /proc.

import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts in hundredths of a second for /proc on every machine (USER_HZ). */
const TICKS = 100;

interface Process {
  parent: number;
  seconds: number;
}

/** Seconds of CPU that a process and its living descendants have used. */
export function cpuSeconds(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const all = processes();
  const own = [...all.keys()].filter((candidate) => descends(all, candidate, pid));
  return own.reduce((sum, candidate) => sum + all.get(candidate)!.seconds, 0);
}

/** Seconds in which the machine's cores were busy, whoever kept them so. */
export function busySeconds(): number {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq!) / TICKS;
}

function processes(): Map<number, Process> {
  const found = new Map<number, Process>();
  for (const name of readdirSync('/proc')) {
    const process = /^\d+$/.test(name) ? read(name) : undefined;
    if (process) found.set(Number(name), process);
  }
  return found;
}

/** The name in parentheses may hold anything, so fields are counted behind it (proc_pid_stat(5)). */
function read(pid: string): Process | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return { parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / TICKS };
  } catch {
    return undefined; // it ended meanwhile
  }
}

function descends(all: ReadonlyMap<number, Process>, pid: number, ancestor: number): boolean {
  for (let at: number | undefined = pid; at !== undefined; at = all.get(at)?.parent)
    if (at === ancestor) return true;
  return false;
}
