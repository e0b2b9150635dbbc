// Tests that need the kernel of user-mode Linux: a guest is booted once for some files, and each test that ran in it is told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startUml, umlIsMissing } from '../../lab/uml.ts';
import { MARK } from './lines.ts';

interface Line {
  name: string;
  skip?: string | boolean;
  error?: string;
}

async function outputOf(command: string[]): Promise<{ status: number | null; output: string }> {
  const guest = startUml(command, { environment: passedOn() });
  let output = '';
  guest.stdout!.on('data', (chunk) => (output += chunk));
  const status = await new Promise<number | null>((resolve) => guest.once('close', resolve));
  return { status, output };
}

/** What the files may be told from outside. */
function passedOn(): Record<string, string> {
  const { REPLAY_PACKETS } = process.env;
  return REPLAY_PACKETS ? { REPLAY_PACKETS } : {};
}

export function testInGuest(title: string, ...files: string[]): void {
  test(title, { skip: umlIsMissing() ?? false }, async (t) => {
    const reporter = new URL('./lines.ts', import.meta.url).pathname;
    const { status, output } = await outputOf([
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--test',
      '--test-isolation=none',
      '--test-force-exit',
      `--test-reporter=${reporter}`,
      ...files,
    ]);
    const lines = output.split('\n').filter((line) => line.startsWith(MARK));
    const tests = lines.map((line): Line => JSON.parse(line.slice(MARK.length)));
    for (const { name, skip, error } of tests) {
      await t.test(name, { skip: skip ?? false }, () => assert.equal(error, undefined, error));
    }
    assert.ok(tests.length > 0 && (status === 0 || tests.some(({ error }) => error)), output);
  });
}
