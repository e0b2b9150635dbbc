// Speed as ratios taken in one run: `npm run bench -- throughput|pps|latency|crypto|lookup|rekey`, and `report`.

import { isolate } from '../lab/isolate.ts';
import { EXIT, exitCodeOf, explain } from '../src/cli/exit.ts';
import { contendersMissing } from './contenders.ts';
import { crypto } from './crypto.ts';
import { latency } from './latency.ts';
import { lookup } from './lookup.ts';
import { type Options, parseOptions, type Subject } from './options.ts';
import { pps } from './pps.ts';
import { rekey } from './rekey.ts';
import { type Result, toJson } from './result.ts';
import { toText } from './text.ts';
import { throughput } from './throughput.ts';

interface Measure {
  run: (options: Options) => Promise<Result>;
  /** Whether it needs networks of its own and those who are compared. */
  lab: boolean;
}

const MEASURES: Record<Subject, Measure> = {
  throughput: { run: throughput, lab: true },
  pps: { run: pps, lab: true },
  latency: { run: latency, lab: true },
  crypto: { run: crypto, lab: false },
  lookup: { run: lookup, lab: false },
  rekey: { run: rekey, lab: true },
};

/** Exit code as every command's (src/cli/exit.ts). */
async function main(words: readonly string[]): Promise<number> {
  const options = parseOptions(words);
  if (options.what === 'report') return EXIT.yes;
  const { run, lab } = MEASURES[options.what];
  const missing = lab ? contendersMissing() : [];
  for (const line of missing) console.error(line);
  if (missing.length > 0) return EXIT.permission;
  if (lab) isolate();
  const result = await run(options);
  process.stdout.write(options.json ? `${toJson(result)}\n` : toText(result));
  const missed = result.goals.some(
    ({ verdict }) => verdict === 'below the floor' || verdict === 'not measured',
  );
  return options.assert && missed ? EXIT.no : EXIT.yes;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error) => {
    console.error(explain(error));
    process.exit(exitCodeOf(error));
  },
);
