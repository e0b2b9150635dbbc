// Faults planted in a copy of the core: a fuzzer that does not find them would not find others.

import { cpSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { corpusOf, FUZZ, filesIn, make, must, run } from './libfuzzer.ts';

/** A patch of native/core, named TARGET-what.patch after the target that has to find it. */
export interface Fault {
  name: string;
  target: string;
  patch: string;
}

export interface Found {
  fault: string;
  target: string;
  found: boolean;
  /** From the start of the fuzzer. */
  seconds: number;
  /** Beyond the corpus; 0 where an input of the corpus finds it. */
  executions: number;
  detail: string;
}

export function faultsOf(targets: readonly string[]): Fault[] {
  return globSync('native/fuzz/mutants/*.patch')
    .sort()
    .map((patch) => {
      const name = basename(patch, '.patch');
      return { name, patch: resolve(patch), target: name.split('-')[0]! };
    })
    .filter(({ target }) => targets.includes(target));
}

/** The input that it finds must be one that the core without the fault passes. */
export function find({ name, target, patch }: Fault, seconds: number, scratch: boolean): Found {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-mutant-'));
  try {
    const unfit = plant(folder, patch, target);
    if (unfit !== undefined)
      return { fault: name, target, found: false, seconds: 0, executions: 0, detail: unfit };
    const binary = join(folder, 'native/build/fuzz', target);
    const ran = run({ binary, target, seconds, scratch, found: join(folder, 'found') });
    rmSync(ran.grown, { recursive: true });
    const inputs = scratch ? 0 : filesIn(corpusOf(target)).length;
    const executions = Math.max(0, ran.executions - inputs);
    const result = { fault: name, target, seconds: ran.seconds, executions };
    if (ran.problem === undefined || ran.input === undefined)
      return { ...result, found: false, detail: ran.problem ?? 'every input passes' };
    must(`${FUZZ}/${target}`, [ran.input], { LLVM_PROFILE_FILE: '/dev/null' });
    return { ...result, found: true, detail: ran.problem.split('\n')[0]! };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * With the objects that are built already, so that `make` compiles what the patch changes and nothing else.
 * Answers why it cannot be planted: the core has changed where the patch does.
 */
function plant(folder: string, patch: string, target: string): string | undefined {
  for (const part of ['Makefile', 'core', 'fuzz', 'build/fuzz'])
    cpSync(`native/${part}`, join(folder, 'native', part), { recursive: true, preserveTimestamps: true });
  try {
    must('patch', ['--batch', '--silent', '-p1', '-d', folder, '-i', patch]);
    make(`build/fuzz/${target}`, join(folder, 'native'));
    return undefined;
  } catch (error) {
    return `it does not fit native/core any more and has to be written anew\n${(error as Error).message}`;
  }
}
