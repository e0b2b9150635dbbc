import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { dropsSince, explainDrops, kernelDrops } from '../../src/dataplane/xfrm-statistics.ts';

const FILE = '/proc/self/net/xfrm_stat';

test('what rose since the start is explained: what it means, whose fault it is, what to do', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-statistics-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'xfrm_stat');
  writeFileSync(
    file,
    'XfrmInError             \t0\nXfrmInNoStates          \t7\nXfrmOutPolBlock         \t2\n',
  );
  const before = kernelDrops(file);
  assert.deepEqual(before, { 'inbound-unknown-spi': 7n, 'outbound-discard-policy': 2n });
  writeFileSync(file, 'XfrmInError\t1\nXfrmInNoStates\t9\nXfrmOutPolBlock\t2\nXfrmInTomorrow\t4\n');
  const since = dropsSince(before, file);
  assert.deepEqual(since, { XfrmInError: 1n, 'inbound-unknown-spi': 2n, XfrmInTomorrow: 4n });
  const explained = explainDrops(since);
  assert.deepEqual(
    explained.map(({ kernel, name, count, fault }) => [kernel, name, count, fault]),
    [
      ['XfrmInError', 'XfrmInError', 1, 'host'],
      ['XfrmInNoStates', 'inbound-unknown-spi', 2, 'peer'],
    ],
  );
  assert.match(explained[1]!.meaning, /SPI that no SA here has/);
  assert.match(explained[1]!.advice, /isthmus rekey/);
});

test('every counter of this kernel has its sentences', {
  skip: existsSync(FILE) ? false : 'this kernel has no XFRM statistics',
}, () => {
  const names = [...readFileSync(FILE, 'utf8').matchAll(/^\w+/gm)].map(([name]) => name);
  assert.ok(names.length > 20);
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-statistics-'));
  const file = join(folder, 'xfrm_stat');
  writeFileSync(file, names.map((name) => `${name} 1\n`).join(''));
  const explained = explainDrops(kernelDrops(file));
  rmSync(folder, { recursive: true });
  assert.deepEqual(
    explained.map(({ kernel }) => kernel),
    names,
  );
});
