import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../../bench/goals.ts';
import { files } from '../../bench/report.ts';
import { limited, type Result, toJson } from '../../bench/result.ts';
import { spread } from '../../bench/statistics.ts';
import { barChart } from '../../bench/svg.ts';
import { toText } from '../../bench/text.ts';

const RESULT: Result = {
  subject: 'pps',
  ratios: { pps_strongswan: spread([5, 6, 7]) },
  fields: { isthmus_pps: 120_000 },
  goals: judge('pps', { pps_strongswan: 6 }),
  limits: [limited('packets', 'packets/s', 120_000, 100_000)],
  costs: { cores: 2, copy: 10, aes64: 1, aes1420: 5, aes16384: 9, call: 100, wake: 5000 },
  tables: [
    {
      title: 'Packets & more',
      columns: ['', 'packets/s', 'least', 'most'],
      rows: [
        ['plain', 200_000, 190_000, 210_000],
        ['isthmus <engine>', 120_000, 100_000, 130_000],
      ],
      picture: { column: 1, spread: [2, 3], unit: 'packets/s' },
    },
  ],
  rounds: 3,
  seconds: 1,
  about: {
    date: '2026-01-02',
    command: 'npm run bench -- pps',
    cpu: 'a CPU',
    cores: 2,
    memoryGb: 4,
    kernel: '6.1',
    node: '24',
    openssl: '3.5',
    system: 'Debian',
  },
};

test('the page has the verdicts, the ratios, the tables, the limits, the machine, the command and the date', () => {
  const page = files([RESULT])['docs/performance.md']!;
  for (const part of [
    '| 64-byte UDP received without loss, engine / kernel-libipsec | 6 | 4 | 8 | - | floor reached |',
    '| pps_strongswan | 6 | 5 | 7 | 5.5 to 6.5 |',
    '| isthmus <engine> | 120,000 | 100,000 | 130,000 |',
    '![Packets & more](performance/pps-1.svg)',
    '2 cores of a CPU, 4 GB',
    '`npm run bench -- pps`, 2026-01-02, 3 rounds',
  ])
    assert.ok(page.includes(part), `${part}\n${page}`);
});

test('what beats its limit is said to, on the page and on the terminal', () => {
  for (const text of [files([RESULT])['docs/performance.md']!, toText(RESULT)])
    assert.match(text, /beyond the limit/);
});

test('nothing kept, nothing written', () => {
  assert.deepEqual(files([]), {});
});

test('ratios come first in the JSON, and single numbers under names of their own', () => {
  const json = toJson(RESULT);
  assert.ok(json.startsWith('{"ratios":{"pps_strongswan":'));
  assert.equal(JSON.parse(json).isthmus_pps, 120_000);
});

test('a picture: a bar each, as long as its value; text escaped; every element closed', () => {
  const svg = files([RESULT])['docs/performance/pps-1.svg']!;
  const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.equal(widths.length, 2);
  assert.ok(Math.abs(widths[0]! / widths[1]! - 200 / 120) < 0.01, `${widths}`);
  assert.ok(svg.includes('isthmus &lt;engine&gt;') && svg.includes('Packets &amp; more'));
  assert.match(svg, /class="bar ours"/);
  for (const name of ['svg', 'title', 'desc', 'style', 'text'])
    assert.equal(svg.split(`<${name}`).length, svg.split(`</${name}>`).length, name);
  assert.match(svg, /prefers-color-scheme:dark/);
});

test('a picture of nothing but zeros has bars without length', () => {
  assert.match(barChart('none', 's', [{ label: 'a', value: 0, ours: false }]), /width="0" height="20"/);
});
