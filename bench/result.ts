// What every subject hands back: ratios first, then the rest.

import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import type { Judged } from './goals.ts';
import type { Costs } from './limits.ts';
import type { Options, Subject } from './options.ts';
import type { Spread } from './statistics.ts';

/** What no gateway can exceed here, beside what was measured. */
export interface Limited {
  what: string;
  unit: string;
  measured: number;
  limit: number;
  better: 'higher' | 'lower';
  /** Where the measured value is better than the limit: the formula holds something to be necessary that is not. */
  beaten: boolean;
}

export interface Result {
  subject: Subject;
  ratios: Record<string, Spread>;
  /** Single numbers under names that stay. */
  fields: Record<string, number>;
  goals: Judged[];
  limits: Limited[];
  costs: Costs;
  tables: Table[];
  rounds: number;
  seconds: number;
  about: About;
}

export interface Table {
  title: string;
  columns: string[];
  rows: (string | number)[][];
  /** Drawn as bars: the column of numbers, the two of least and most, the unit. Names stand in the first. */
  picture?: { column: number; spread?: [low: number, high: number]; unit: string };
}

interface About {
  date: string;
  command: string;
  cpu: string;
  cores: number;
  memoryGb: number;
  kernel: string;
  node: string;
  openssl: string;
  system: string;
}

/** A measurement is not called beyond its limit for less than this: both are measured. */
const NOISE = 1.05;

export function limited(
  what: string,
  unit: string,
  measured: number,
  limit: number,
  better: 'higher' | 'lower' = 'higher',
): Limited {
  const beaten = better === 'higher' ? measured > limit * NOISE : measured * NOISE < limit;
  return { what, unit, measured, limit, better, beaten };
}

/** What every result holds, whatever was measured. `seconds`: of one measurement. */
export function frame(options: Options, subject: Subject, costs: Costs, seconds: number) {
  return { subject, costs, rounds: options.rounds, seconds, about: about(options, subject) };
}

function about(options: Options, subject: Subject): About {
  const words = [subject, `--rounds ${options.rounds}`, `--seconds ${options.seconds}`];
  if (options.short) words.push('--short');
  return {
    date: new Date().toISOString().slice(0, 10),
    command: `npm run bench -- ${words.join(' ')}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    openssl: process.versions.openssl ?? 'unknown',
    system: /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
  };
}

/** One object: ratios, then the fields, then what explains them. */
export function toJson({ ratios, fields, ...rest }: Result): string {
  return JSON.stringify({ ratios, ...fields, ...rest });
}
