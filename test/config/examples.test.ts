import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import { loadConfig } from '../../src/config/load.ts';
import { folder, PSK } from './files.ts';

for (const example of globSync('examples/*.yaml').sort()) {
  test(`${example} is good once its secrets are there`, (t) => {
    const files = folder(t);
    const text = readFileSync(example, 'utf8').replaceAll(/file: ([^ },]+)/g, (_, path: string) => {
      return `file: ${files.write(basename(path), PSK)}`;
    });
    const { config, complaints } = loadConfig(files.write(basename(example), text));
    assert.ok(config, complaints.map(complaintText).join('\n'));
    assert.ok(complaints.every(({ level }) => level === 'warning'));
  });
}
