// One run of a target, and what it says.

import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

export const FUZZ = 'native/build/fuzz';
export const corpusOf = (target: string) => `native/fuzz/corpus/${target}`;
/** Where inputs are left for which something is not so. */
const FOUND = 'native/fuzz/found';

export const targetsOf = () =>
  globSync('native/fuzz/*.cc')
    .map((file) => basename(file, '.cc'))
    .sort();

/** Builds within `folder`; throws with what the compiler says. */
export function make(goal: string, folder = 'native'): void {
  must('make', ['-C', folder, '--no-print-directory', '-j2', goal]);
}

/** Runs a program that has to succeed; what it wrote to stdout. */
export function must(command: string, args: readonly string[], env: Record<string, string> = {}): string {
  const done = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
  });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}\n${done.error ?? done.stderr}`);
  return done.stdout;
}

interface Task {
  binary: string;
  target: string;
  seconds: number;
  /** Without the committed corpus. */
  scratch?: boolean;
  /** Where an input is left that fails. */
  found?: string;
}

export interface Run {
  seconds: number;
  executions: number;
  edges: number;
  /** The folder of the inputs that reach something new. */
  grown: string;
  /** A sentence, and the file. */
  problem?: string;
  input?: string;
}

/** A quarantine that stays in the cache, and no profile written before one is asked for. */
const ENVIRONMENT = { LLVM_PROFILE_FILE: '/dev/null', ASAN_OPTIONS: 'quarantine_size_mb=32' };

/** The committed corpus first, then on from there. */
export function run({ binary, target, seconds, scratch = false, found = FOUND }: Task): Run {
  mkdirSync(found, { recursive: true });
  const grown = mkdtempSync(join(tmpdir(), `isthmus-fuzz-${target}-`));
  const corpus = existsSync(corpusOf(target)) && !scratch ? [corpusOf(target)] : [];
  const flags = { max_total_time: seconds, max_len: 2048, len_control: 10, timeout: 5, print_final_stats: 1 };
  const words = Object.entries(flags).map(([name, value]) => `-${name}=${value}`);
  const begun = performance.now();
  const done = spawnSync(binary, [...words, `-artifact_prefix=${found}/${target}-`, grown, ...corpus], {
    encoding: 'utf8',
    env: { ...process.env, ...ENVIRONMENT },
    maxBuffer: 1 << 28,
  });
  const text = done.stderr;
  const ran: Run = {
    seconds: (performance.now() - begun) / 1000,
    executions: Number(/stat::number_of_executed_units: (\d+)/.exec(text)?.[1] ?? 0),
    edges: Number([...text.matchAll(/ cov: (\d+)/g)].at(-1)?.[1] ?? 0),
    grown,
  };
  if (done.status === 0) return ran;
  const input = /Test unit written to (\S+)/.exec(text)?.[1];
  return { ...ran, input, problem: sentenceOf(target, text, input) };
}

/** What was not so: the target's own sentence, or the sanitizer's. */
function sentenceOf(target: string, text: string, input: string | undefined): string {
  const said =
    /fuzz: not so: (.*)/.exec(text)?.[1] ??
    /runtime error: .*/.exec(text)?.[0] ??
    /SUMMARY: (.*)/.exec(text)?.[1] ??
    text.slice(-400);
  return `${target}: not so: ${said}\n  the input: ${input ?? 'was not written'}\n  once more: ${FUZZ}/${target} ${input ?? ''}`;
}

export const filesIn = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);
