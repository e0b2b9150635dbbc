import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GOALS, judge } from '../../bench/goals.ts';
import { parseOptions, SUBJECTS } from '../../bench/options.ts';
import { UsageError } from '../../src/cli/exit.ts';

test('seven rounds unless something else is said', () => {
  assert.equal(parseOptions(['throughput']).rounds, 7);
  assert.equal(parseOptions(['pps', '--short']).rounds, 2);
  assert.equal(parseOptions(['pps', '--rounds', '11']).rounds, 11);
});

test('peers of the user have a name and a command', () => {
  const { peers } = parseOptions(['latency', '--peer', 'other=sh start.sh A=B', '--peer', 'third=x']);
  assert.deepEqual(peers, [
    { name: 'other', command: 'sh start.sh A=B' },
    { name: 'third', command: 'x' },
  ]);
});

for (const words of [
  [],
  ['speed'],
  ['pps', 'latency'],
  ['pps', '--rounds', '0'],
  ['pps', '--seconds', 'x'],
  ['pps', '--peer', 'noname'],
  ['pps', '--peer', 'Capital=x'],
  ['pps', '--unknown'],
]) {
  test(`refused: ${words.join(' ') || 'nothing'}`, () => {
    assert.throws(() => parseOptions(words), UsageError);
  });
}

test('every subject is asked for something; a floor is never beyond its aim', () => {
  for (const subject of SUBJECTS) assert.ok(GOALS.some((goal) => goal.of === subject));
  for (const { key, floor, aim, better } of GOALS)
    assert.ok(better === 'higher' ? floor <= aim : floor >= aim, key);
});

test('a verdict for each row, also for the one that was not measured', () => {
  const verdicts = (measured: number) => judge('latency', { rtt_wireguard: measured })[0]!.verdict;
  assert.deepEqual([0.5, 0.6, 0.8, 1, 1.1].map(verdicts), [
    'aim reached',
    'aim reached',
    'floor reached',
    'floor reached',
    'below the floor',
  ]);
  assert.equal(judge('pps', {})[0]!.verdict, 'not measured');
  assert.equal(judge('pps', { pps_strongswan: 4 })[0]!.verdict, 'floor reached');
});

test('where the limit of the machine is below the floor, no gateway could reach it, and the verdict says so', () => {
  const verdict = (measured: number, limit: number) =>
    judge('pps', { pps_strongswan: measured }, { pps_strongswan: limit })[0]!.verdict;
  assert.equal(verdict(2, 3), 'out of reach');
  assert.equal(verdict(2, 5), 'below the floor');
  assert.equal(verdict(4, 3), 'floor reached');
});
