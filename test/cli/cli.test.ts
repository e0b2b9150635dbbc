import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { hex } from '../../src/crypto/bytes.ts';
import { folder, goodFile, PSK } from '../config/files.ts';
import { MESSAGES } from '../wire/samples.ts';

function isthmus(args: string[], input = '') {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', 'src/cli/isthmus.ts', ...args],
    { encoding: 'utf8', input },
  );
  return { status, stdout, stderr };
}

test('check: 0 for a good file, 2 with every complaint for any other', (t) => {
  const files = folder(t);
  const psk = files.write('a.psk', PSK);
  const good = isthmus(['check', files.write('good.yaml', goodFile(psk))]);
  assert.deepEqual([good.status, good.stderr], [0, '']);
  assert.match(good.stdout, /good\.yaml: good, 1 tunnel\n/);
  const bad = isthmus(['check', files.write('bad.yaml', goodFile(psk, '    lifetme: 1h\n'))]);
  assert.equal(bad.status, 2);
  assert.match(bad.stdout, /bad\.yaml:9:5: unknown key lifetme; did you mean lifetime\?/);
});

test('check --json: the same as data', (t) => {
  const file = folder(t).write('bad.yaml', 'tunnels: 5\n');
  const { status, stdout } = isthmus(['check', file, '--json']);
  assert.equal(status, 2);
  const { usable, complaints } = JSON.parse(stdout);
  assert.equal(usable, false);
  assert.ok(
    complaints.every(({ line, problem }: { line: number; problem: string }) => line > 0 && problem !== ''),
  );
});

for (const [what, args, status, sentence] of [
  [
    'a file that is not there',
    ['check', '/nowhere.yaml'],
    2,
    /nowhere\.yaml:1:1: cannot be read: there is no such file/,
  ],
  ['run with a file that is not there', ['run', '/nowhere.yaml'], 2, /there is no such file/],
  ['no file named', ['check'], 2, /FILE is missing/],
  ['a command that does not exist', ['chekc'], 2, /there is no command chekc/],
  ['an option that does not exist', ['status', '--jsn'], 2, /--jsn/],
  [
    'no daemon',
    ['status', '--socket', '/nowhere.sock'],
    4,
    /no daemon answers on \/nowhere\.sock .*start one: isthmus run FILE/,
  ],
  ['show what', ['show', 'everything'], 2, /show what\? sa, policy, config, failures/],
  ['a level that does not exist', ['run', 'x', '--log', 'loud'], 2, /write error, warn, info or debug/],
] as const) {
  test(`${what}: exit ${status} and a sentence`, () => {
    const found = isthmus([...args]);
    assert.equal(found.status, status);
    assert.match(found.stdout + found.stderr, sentence);
    assert.doesNotMatch(found.stderr, /^\s+at /m);
  });
}

test('no command prints the usage', () => {
  assert.equal(isthmus([]).status, 2);
  assert.equal(isthmus(['--help']).status, 0);
  assert.match(isthmus(['--version']).stdout, /^\d+\.\d+\.\d+\n$/);
});

test('dump: hex in, fields out; 1 when it is malformed', () => {
  const bytes = hex(MESSAGES['a fragment']!);
  assert.match(isthmus(['dump'], bytes).stdout, /header\.exchange = 35 IKE_AUTH/);
  assert.equal(isthmus(['dump'], bytes.slice(0, 40)).status, 1);
  assert.equal(isthmus(['dump'], 'no hex').status, 2);
});
