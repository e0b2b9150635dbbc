import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openJournal } from '../../src/dataplane/xfrm-journal.ts';

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'isthmus-journal-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

function read(place: string): { reqids: number[]; policies: string[] } {
  const { reqids, policies } = openJournal(place);
  return { reqids: [...reqids], policies: [...policies] };
}

test('what was written is there for the next process', (t) => {
  const place = folder(t);
  const journal = openJournal(place);
  for (const reqid of [7, 8, 7]) journal.reqid(reqid);
  journal.policy('1 2 a/16 b/16 0 0/0 0/0');
  assert.deepEqual(read(place), { reqids: [7, 8], policies: ['1 2 a/16 b/16 0 0/0 0/0'] });
  const [file] = readdirSync(place);
  assert.match(file ?? '', /^xfrm-\d+\.journal$/);
  assert.equal(readFileSync(join(place, file!), 'utf8').split('\n').length, 4);
});

test('a line that was cut off, and lines of nobody, take nothing else with them', (t) => {
  const place = folder(t);
  openJournal(place).reqid(7);
  const file = join(place, readdirSync(place)[0]!);
  appendFileSync(file, '{"a":1}\nnull\n"1 2 cut of');
  assert.deepEqual(read(place), { reqids: [7], policies: [] });
});

test('what is not kept is forgotten, and nothing kept leaves no file', (t) => {
  const place = folder(t);
  const journal = openJournal(place);
  for (const reqid of [7, 8, 9]) journal.reqid(reqid);
  for (const pause of journal.keep([8], ['one'])) assert.deepEqual(pause, []);
  journal.reqid(10);
  assert.deepEqual(read(place), { reqids: [8, 10], policies: ['one'] });
  journal.clear();
  assert.deepEqual(readdirSync(place), []);
});
