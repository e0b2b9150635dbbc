// `npm run mutation [-- NAME…] [--json]`: StrykerJS changes the code that says who is there, what may pass and what comes twice,
// one place at a time, and asks that a test fails. 1 where fewer than 95 % of the changes are noticed.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** What is changed (lines where not the whole file), and the tests that must notice. */
const TARGETS = [
  { name: 'authenticate', mutate: 'src/ike/authenticate.ts', tests: 'test/ike/authenticate.test.ts' },
  { name: 'selector', mutate: 'src/policy/selector.ts', tests: 'test/policy/selector.test.ts' },
  { name: 'window', mutate: 'src/ike/window.ts', tests: 'test/ike/window.test.ts' },
  { name: 'replay', mutate: 'src/dataplane/reference-window.ts', tests: 'test/dataplane/replay.test.ts' },
];

const FLOOR = 0.95;
/** docs/decisions/0006-mutation.md */
const VERSION = '9.6.1';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
});

/** Changes that change nothing, by file, what stands there and what is put there, with the reason. */
const equivalent: Record<string, string> = JSON.parse(readFileSync('test/mutants/equivalent.json', 'utf8'));

const scores = [];
for (const target of TARGETS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)))
  scores.push(measure(target));
if (values.json) console.log(JSON.stringify(scores, undefined, 2));
if (scores.some(({ score }) => score < FLOOR)) process.exitCode = 1;

function measure({ name, mutate, tests }: (typeof TARGETS)[number]) {
  const { source, mutants } = stryker(mutate, tests);
  const counted = mutants.filter(({ status }) => status !== 'Ignored' && status !== 'CompileError');
  const left = counted
    .filter(({ status }) => status !== 'Killed' && status !== 'Timeout')
    .map((mutant) => describe(mutate.split(':')[0]!, source, mutant));
  const survivors = left.filter((text) => !(text in equivalent));
  const total = counted.length - (left.length - survivors.length);
  const score = (total - survivors.length) / total;
  const summary = {
    name,
    changes: counted.length,
    equivalent: left.length - survivors.length,
    survivors,
    score,
  };
  if (!values.json) {
    console.log(`${name}: ${(100 * score).toFixed(1)} % of ${total}, ${summary.equivalent} equivalent`);
    for (const survivor of survivors) console.log(`  ${survivor}`);
  }
  return summary;
}

function stryker(mutate: string, tests: string): { source: string; mutants: Mutant[] } {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-mutation-'));
  const [config, report] = [join(folder, 'config.json'), join(folder, 'report.json')];
  const options = {
    mutate: [mutate],
    testRunner: 'command',
    commandRunner: { command: `scripts/node --test --test-isolation=none ${tests}` },
    reporters: ['json'],
    jsonReporter: { fileName: report },
    coverageAnalysis: 'off',
    concurrency: 2,
    logLevel: 'error',
    // TypeScript 7 has no API that Stryker could rewrite it with; nothing compiles here.
    tsconfigFile: 'none',
    tempDirName: join(folder, 'sandbox'),
    ignorePatterns: ['native', 'docs', 'lab', 'bench', 'test/vectors', 'dist', 'examples'],
  };
  writeFileSync(config, JSON.stringify(options));
  try {
    const args = [
      'exec',
      '--yes',
      `--package=@stryker-mutator/core@${VERSION}`,
      '--',
      'stryker',
      'run',
      config,
    ];
    const { status } = spawnSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`Stryker ends with ${status}`);
    const { files } = JSON.parse(readFileSync(report, 'utf8'));
    return files[mutate.split(':')[0]!];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Mutant {
  status: string;
  replacement: string;
  location: Range;
}

function describe(file: string, source: string, { location, replacement }: Mutant): string {
  // Lines and columns count from 1.
  const { start, end } = location;
  const lines = source.split('\n').slice(start.line - 1, end.line);
  lines[lines.length - 1] = lines.at(-1)!.slice(0, end.column - 1);
  lines[0] = lines[0]!.slice(start.column - 1);
  const short = (text: string) => text.replace(/\s+/g, ' ').slice(0, 80);
  return `${file}: ${short(lines.join(' '))} -> ${short(replacement)}`;
}

interface Range {
  start: { line: number; column: number };
  end: { line: number; column: number };
}
