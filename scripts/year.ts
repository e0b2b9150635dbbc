// `npm run year -- [--days N] [--loss PERCENT] [--json]`: a simulated year of rekeys in one process. 1 where its memory grows by
// more than a twentieth from the second tenth to the last.

import { parseArgs } from 'node:util';
import { live, type Phase } from '../test/sim/year.ts';

const { values } = parseArgs({
  options: {
    days: { type: 'string', default: '365' },
    loss: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});

const phases = live(Number(values.days), 10, Number(values.loss) / 100, values.json ? undefined : show);
const growth = phases.at(-1)!.heapBytes / phases[1]!.heapBytes;
console.log(
  values.json ? JSON.stringify({ phases, growth }) : `the heap grew to ${growth.toFixed(3)} of itself`,
);
if (growth > 1.05) process.exitCode = 1;

function show({ days, rekeys, ikeRekeys, heapBytes }: Phase): void {
  console.log(
    `day ${days}: ${rekeys} rekeys of children, ${ikeRekeys} of IKE SAs, ${(heapBytes / 1e6).toFixed(2)} MB`,
  );
}
