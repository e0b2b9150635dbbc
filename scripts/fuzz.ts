// native/core under libFuzzer: `npm run fuzz [-- TARGET…] [--seconds N] [--json] [--grow] [--mutants | --all] [--scratch]`.
// Each target runs over its committed corpus and then goes on for N seconds. --mutants plants the faults of
// native/fuzz/mutants one by one and asks that the fuzzer finds each within four times N seconds; --all does both.
// Exit code 1: an input was found for which something is not so, or a planted fault was not found.

import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cover, type FileLines, grow, REACHED } from './fuzz/corpus.ts';
import { FUZZ, make, run, targetsOf } from './fuzz/libfuzzer.ts';
import { type Found, faultsOf, find } from './fuzz/mutants.ts';

interface Result {
  target: string;
  seconds: number;
  executions: number;
  edges: number;
  lines: FileLines[];
  /** Where the input lies for which something is not so, and what. */
  problem?: string;
}

/** A fault is found within seconds; on a busy machine it may take longer, and waiting costs nothing where it is found. */
const PATIENCE = 4;

const USAGE =
  'usage: npm run fuzz -- [TARGET…] [--seconds N] [--json] [--grow] [--mutants | --all] [--scratch]';

function readOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        seconds: { type: 'string', default: '30' },
        json: { type: 'boolean', default: false },
        grow: { type: 'boolean', default: false },
        mutants: { type: 'boolean', default: false },
        all: { type: 'boolean', default: false },
        scratch: { type: 'boolean', default: false },
      },
    });
    const seconds = Number(values.seconds);
    const unknown = positionals.filter((name) => !targetsOf().includes(name));
    if (unknown.length > 0)
      throw new Error(`no target ${unknown.join(', ')}; there are ${targetsOf().join(', ')}`);
    if (!Number.isInteger(seconds) || seconds < 1)
      throw new Error('--seconds wants a whole number, at least 1');
    return { ...values, seconds, targets: positionals.length > 0 ? positionals : targetsOf() };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

const options = readOptions();
const say = (text: string) => options.json || console.log(text);

function fuzz(target: string): Result {
  const ran = run({ binary: `${FUZZ}/${target}`, target, seconds: options.seconds });
  if (ran.problem !== undefined) rmSync(ran.grown, { recursive: true });
  if (options.grow && ran.problem === undefined) grow(target, ran.grown);
  const { seconds, executions, edges, problem } = ran;
  const result: Result = { target, seconds, executions, edges, lines: [] };
  if (problem !== undefined) return { ...result, problem };
  return { ...result, lines: cover(target, options.grow ? [] : [ran.grown]) };
}

const percent = (lines: FileLines) => `${((100 * lines.covered) / lines.total).toFixed(1)}%`;

/** Lines of the core's files that each target reaches. */
function table(results: readonly Result[]): string {
  const files = REACHED.filter((file) => results.some(({ lines }) => lines.some((row) => row.file === file)));
  const head = ['lines of native/core', ...results.map(({ target }) => target)];
  const rows = files.map((file) => [
    file,
    ...results.map(({ lines }) => {
      const row = lines.find((line) => line.file === file);
      return row && row.covered > 0 ? percent(row) : '-';
    }),
  ]);
  return [head, ...rows]
    .map(([first, ...rest]) => `${first!.padEnd(22)}${rest.map((cell) => cell.padStart(12)).join('')}`)
    .join('\n');
}

function fuzzAll(): Result[] {
  const results: Result[] = [];
  for (const target of options.targets) {
    const result = fuzz(target);
    results.push(result);
    say(
      result.problem ??
        `${target.padEnd(12)}${result.executions} executions in ${result.seconds.toFixed(0)} s, ${result.edges} edges`,
    );
  }
  say(`\n${table(results.filter(({ problem }) => problem === undefined))}\n`);
  return results;
}

function findAll(): Found[] {
  return faultsOf(options.targets).map((fault) => {
    const found = find(fault, PATIENCE * options.seconds, options.scratch);
    const how = found.executions === 0 ? 'by an input of the corpus' : `after ${found.executions} executions`;
    say(
      found.found
        ? `planted fault ${found.fault}: found ${how}, ${found.seconds.toFixed(1)} s`
        : `planted fault ${found.fault}: NOT FOUND (${PATIENCE * options.seconds} s): ${found.detail}`,
    );
    return found;
  });
}

make('fuzz');
const targets = options.mutants ? [] : fuzzAll();
const mutants = options.mutants || options.all ? findAll() : [];
if (options.json) console.log(JSON.stringify({ targets, mutants }, undefined, 2));
const failed = targets.some(({ problem }) => problem !== undefined) || mutants.some(({ found }) => !found);
if (failed) process.exitCode = 1;
