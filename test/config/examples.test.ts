import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import { loadConfig } from '../../src/config/load.ts';
import { makeCa, makeLeaf, NOON, testKey } from '../crypto/ca.ts';
import { keyPem, pem } from '../daemon/pki.ts';
import { folder, PSK } from './files.ts';

const ROOT = makeCa();
const LEAF = makeLeaf(ROOT, { key: testKey('p256', 10), dns: 'a.example.org' });
const CREDENTIALS = {
  'ca.crt': pem(ROOT),
  'a.example.org.crt': pem(LEAF),
  'a.example.org.key': keyPem(LEAF.key),
  'lab.pub': createPublicKey(testKey('p256', 11)).export({ format: 'pem', type: 'spki' }).toString(),
};

for (const example of globSync('examples/*.yaml').sort()) {
  test(`${example} is good once its secrets are there`, (t) => {
    const files = folder(t);
    // Names without a folder are meant beside the configuration.
    const text = readFileSync(example, 'utf8');
    for (const [, name] of text.matchAll(/file: ([^ },]+)/g)) files.write(basename(name!), PSK);
    for (const [name, content] of Object.entries(CREDENTIALS)) files.write(name, content);
    const local = text.replaceAll(/file: \/[^ },]*\//g, 'file: ');
    const { config, complaints } = loadConfig(files.write(basename(example), local), NOON);
    assert.ok(config, complaints.map(complaintText).join('\n'));
    assert.ok(complaints.every(({ level }) => level === 'warning'));
  });
}
