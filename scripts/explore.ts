// `npm run explore -- [--depth N] [--messages N] [--works N] [--seed N] [--from up|nothing] [--states N] [--json]`: every
// order of N wishes with so many lost or repeated messages and late works. Shows how far it is; 1 where something is wrong.

import { parseArgs } from 'node:util';
import { type Explored, explore } from '../test/sim/explore.ts';

const { values } = parseArgs({
  options: {
    depth: { type: 'string', default: '2' },
    messages: { type: 'string', default: '1' },
    works: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: 'up' },
    states: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

const began = performance.now();
const bounds = {
  wishes: Number(values.depth),
  messages: Number(values.messages),
  works: Number(values.works),
  seed: Number(values.seed),
  up: values.from === 'up',
  ...(values.states === undefined ? {} : { states: Number(values.states) }),
};

let shown = began;
const found = explore(bounds, (so) => {
  if (performance.now() - shown < 1000) return;
  shown = performance.now();
  process.stderr.write(`\r${summary(so)}  `);
});
process.stderr.write('\r');
if (values.json) console.log(JSON.stringify({ bounds, ...found, seconds: seconds() }));
else {
  console.log(`${summary(found)}; ${found.whole ? 'everything within the bounds' : 'not everything'}`);
  for (const { complaints, path, ladder } of found.violations)
    console.log(`\n${complaints.join('\n')}\n\n${path.join('\n')}\n\n${ladder}`);
}
process.exitCode = found.violations.length > 0 ? 1 : 0;

function seconds(): number {
  return Math.round((performance.now() - began) / 1000);
}

function summary({ states, steps, ends, violations }: Explored): string {
  return `${states} states, ${steps} steps, ${ends} ends, ${violations.length} violations, ${seconds()} s`;
}
