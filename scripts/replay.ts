// `npm run replay -- [--steps N] [--seed N] [--json]`: the reference's replay window against a model, number by number: windows
// of 32 to 4096, extended numbers and not. Shows how far it is; 1 where the two differ. `--kernel`: 100,000 packets through the
// kernel of user-mode Linux instead.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type Replayed, replay } from '../test/dataplane/replay.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    kernel: { type: 'boolean', default: false },
  },
});

if (values.kernel) {
  const { status } = spawnSync(process.execPath, ['--test', 'test/dataplane/replay-xfrm.test.ts'], {
    stdio: 'inherit',
    env: { ...process.env, REPLAY_PACKETS: '100000' },
  });
  process.exit(status ?? 1);
}

const began = performance.now();
let shown = began;
const found = replay(Number(values.steps), Number(values.seed), (so) => {
  if (performance.now() - shown < 1000) return;
  shown = performance.now();
  process.stderr.write(`\r${summary(so)}  `);
});
process.stderr.write('\r');
console.log(values.json ? asJson({ ...found, seconds: seconds() }) : summary(found));
if (found.difference && !values.json) console.log(`they differ: ${asJson(found.difference)}`);
process.exitCode = found.difference ? 1 : 0;

function asJson(value: unknown): string {
  return JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}` : one));
}

function seconds(): number {
  return Math.round((performance.now() - began) / 1000);
}

function summary({ steps, verdicts: { taken, replay, authentication } }: Replayed): string {
  return `${steps} steps: ${taken} taken, ${replay} refused as replays, ${authentication} not authentic, ${seconds()} s`;
}
