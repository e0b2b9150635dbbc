// Speed as ratios taken in one run: `npm run bench -- throughput|pps|latency|crypto|lookup|rekey|handshakes|xfrm`, or `all` of them,
// with `--write` to keep the results; `report` makes docs/performance.md from what is kept.

import { isolate } from '../lab/isolate.ts';
import { EXIT, exitCodeOf, explain } from '../src/cli/exit.ts';
import { contendersMissing } from './contenders.ts';
import { crypto } from './crypto.ts';
import { handshakes } from './handshakes.ts';
import { latency } from './latency.ts';
import { lookup } from './lookup.ts';
import { type Options, parseOptions, SUBJECTS, type Subject } from './options.ts';
import { pps } from './pps.ts';
import { rekey } from './rekey.ts';
import { writeReport } from './report.ts';
import { type Result, toJson } from './result.ts';
import { NothingPasses } from './rig.ts';
import { keep } from './store.ts';
import { toText } from './text.ts';
import { throughput } from './throughput.ts';
import { xfrm } from './xfrm.ts';

interface Measure {
  run: (options: Options) => Promise<Result>;
  /** Networks of its own; beside them those who are compared. */
  needs: 'nothing' | 'lab' | 'peers';
}

const MEASURES: Record<Subject, Measure> = {
  throughput: { run: throughput, needs: 'peers' },
  pps: { run: pps, needs: 'peers' },
  latency: { run: latency, needs: 'peers' },
  crypto: { run: crypto, needs: 'nothing' },
  lookup: { run: lookup, needs: 'nothing' },
  rekey: { run: rekey, needs: 'lab' },
  handshakes: { run: handshakes, needs: 'peers' },
  xfrm: { run: xfrm, needs: 'nothing' },
};

/** Exit code as every command's (src/cli/exit.ts). */
async function main(words: readonly string[]): Promise<number> {
  const options = parseOptions(words);
  if (options.what === 'report') return report();
  const subjects = options.what === 'all' ? SUBJECTS : [options.what];
  const needs = subjects.map((subject) => MEASURES[subject].needs);
  const missing = needs.includes('peers') ? contendersMissing() : [];
  for (const line of missing) console.error(line);
  if (missing.length > 0) return EXIT.permission;
  if (needs.some((need) => need !== 'nothing')) isolate();
  let reached = true;
  for (const subject of subjects) reached = show(await MEASURES[subject].run(options), options) && reached;
  if (options.write) report();
  return options.assert && !reached ? EXIT.no : EXIT.yes;
}

/** Whether every floor was reached. */
function show(result: Result, options: Options): boolean {
  process.stdout.write(options.json ? `${toJson(result)}\n` : `${toText(result)}\n`);
  if (options.write) keep(result);
  return result.goals.every(({ verdict }) => verdict === 'aim reached' || verdict === 'floor reached');
}

function report(): number {
  const written = writeReport();
  for (const file of written) console.error(`written: ${file}`);
  if (written.length === 0) console.error('nothing was kept yet: npm run bench -- all --write');
  return written.length === 0 ? EXIT.input : EXIT.yes;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error) => {
    const theirs = error instanceof NothingPasses;
    console.error(theirs ? error.message : explain(error));
    process.exit(theirs ? EXIT.no : exitCodeOf(error));
  },
);
