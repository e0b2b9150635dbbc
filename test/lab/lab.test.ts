// The two commands of the README, run as a user runs them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { whatIsMissing } from '../../lab/isolate.ts';
import { strongswanIsMissing } from '../../lab/peers/strongswan.ts';
import { tsharkIsMissing } from '../../lab/tshark.ts';

/** The last line of a laboratory's output, as JSON. */
function lab(file: string, ...args: string[]): { status: number | null; last: string; all: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, '--json', ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  });
  return { status, last: stdout.trim().split('\n').at(-1) ?? '', all: stdout + stderr };
}

function skipped(t: TestContext, missing: string | undefined): boolean {
  if (missing === undefined) return false;
  t.skip(missing);
  return true;
}

test('demo: two sites, rekeys, a killed daemon; nothing lost, no cleartext', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const { status, last, all } = lab('lab/demo.ts');
  assert.equal(status, 0, all);
  const result = JSON.parse(last);
  assert.equal(result.ping_received, result.ping_sent);
  assert.equal(result.packets_lost_in_rekey, 0);
  assert.equal(result.cleartext_packets, 0);
  assert.ok(result.child_rekeys >= 10 && result.ike_rekeys >= 3);
});

test('demo as an ordinary user, in a user namespace: the same', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const allowed = spawnSync('setpriv', [...nobody, 'unshare', '--user', '--map-root-user', '--net', 'true']);
  if (skipped(t, allowed.status === 0 ? undefined : 'no user namespaces for ordinary users here')) return;
  const { status, stdout, stderr } = spawnSync(
    'setpriv',
    [...nobody, process.execPath, 'lab/demo.ts', '--json'],
    { encoding: 'utf8', env: { ...process.env, HOME: '/tmp' } },
  );
  assert.equal(status, 0, stdout + stderr);
});

test('faults: what goes wrong on machines ends in a sentence, and loses nothing that was running', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const { status, last, all } = lab('lab/faults.ts');
  assert.equal(status, 0, all);
  const results: { fault: string; result: string }[] = JSON.parse(last);
  assert.deepEqual(
    results.filter(({ result }) => result !== 'pass'),
    [],
  );
  assert.ok(results.length >= 17);
});

test('paths: fragments before and after, DF, DSCP, floods, two threads a direction', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const { status, last, all } = lab('lab/paths.ts');
  assert.equal(status, 0, all);
  assert.ok(JSON.parse(last).length >= 10);
});

test('probes: what is inside dies and comes back, and the status knows within seconds', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const { status, last, all } = lab('lab/probes.ts');
  assert.equal(status, 0, all);
  assert.ok(JSON.parse(last).length >= 6);
});

test('path MTU: a path that swallows what is large is found and named, hosts are told, TCP passes', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const { status, last, all } = lab('lab/path-mtu.ts', '--short');
  assert.equal(status, 0, all);
  assert.ok(JSON.parse(last).length >= 11);
});

test('bench: rekeys under a flood are counted, beside the limit and the verdict', (t) => {
  if (skipped(t, whatIsMissing()[0])) return;
  const built = spawnSync('make', ['-C', 'bench/native'], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  const { status, last, all } = lab('bench/bench.ts', 'rekey', '--short');
  assert.equal(status, 0, all);
  const result = JSON.parse(last);
  assert.deepEqual([result.child_rekeys, result.ike_rekeys], [10, 2]);
  assert.ok(result.rekey_sent > 0 && result.rekey_duplicates === 0, all);
  assert.equal(result.goals[0].key, 'rekey_lost');
});

test('interop: strongSwan as initiator and as responder', (t) => {
  if (skipped(t, whatIsMissing()[0] ?? strongswanIsMissing() ?? tsharkIsMissing())) return;
  const { status, last, all } = lab('lab/interop.ts', '--short');
  assert.equal(status, 0, all);
  const results: { check: string; result: string; detail: string }[] = JSON.parse(last);
  assert.deepEqual(
    results.filter(({ result }) => result !== 'pass'),
    [],
  );
  assert.ok(results.length >= 20);
});
