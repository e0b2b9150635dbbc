import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { UsageError } from '../../src/cli/exit.ts';
import { pki } from '../../src/cli/pki.ts';
import { describeCertificate, readCertificateFile, writePem } from '../../src/crypto/x509.ts';
import { spkiOf } from '../../src/crypto/x509-issue.ts';
import { readRequest, writeRequest } from '../../src/crypto/x509-request.ts';
import { nameOf, testKey } from '../crypto/ca.ts';
import { makeList, serialOf } from '../crypto/revocation-answers.ts';

async function run(...args: string[]) {
  const { exit, text } = await pki(args);
  return { status: exit, stdout: text };
}

function place(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-pki-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function good(...args: string[]): Promise<string> {
  const { status, stdout } = await run(...args);
  assert.equal(status, 0);
  return stdout;
}

test('ca, issue, show, verify: a first site in four commands; keys are for their owner alone', async (t) => {
  const folder = place(t);
  await good('ca', folder, '--subject', 'C=DE, O=Example, CN=Site CA');
  await good('issue', folder, 'gw.example.org', '192.0.2.1', 'admin@example.org', '--days', '30');
  for (const name of ['ca.key', 'gw.example.org.key'])
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
  const [ca, leaf] = [join(folder, 'ca.crt'), join(folder, 'gw.example.org.crt')];
  const told = describeCertificate(readCertificateFile(readFileSync(leaf))[0]!);
  assert.ok(!('code' in told));
  assert.deepEqual(
    [told.subject, told.issuer, told.names.dns, told.names.addresses, told.names.email, told.ca],
    [
      'CN=gw.example.org',
      'C=DE, O=Example, CN=Site CA',
      ['gw.example.org'],
      ['192.0.2.1'],
      ['admin@example.org'],
      false,
    ],
  );
  assert.equal(Math.round((told.notAfter - told.notBefore) / 3_600_000), 30 * 24 + 1);
  assert.match(await good('show', leaf), /subject {2}CN=gw\.example\.org\n.*\nnames {4}gw\.example\.org, /);
  assert.match(
    await good('verify', leaf, '--anchor', ca, '--id', 'GW.example.org'),
    /good: CN=gw\.example\.org < C=DE/,
  );
  for (const id of ['192.0.2.1', 'admin@example.org', 'CN=gw.example.org'])
    await good('verify', leaf, '--anchor', ca, '--id', id);
  assert.deepEqual(JSON.parse(await good('verify', leaf, '--anchor', ca, '--json')), {
    valid: true,
    bound: true,
    reasons: [],
    path: ['CN=gw.example.org', 'C=DE, O=Example, CN=Site CA'],
  });
});

test('every kind of key issues, and its certificates are good', async (t) => {
  const folder = place(t);
  for (const key of ['p384', 'p521', 'ed25519', 'ed448', 'rsa-3072', 'ml-dsa-65']) {
    const own = join(folder, key);
    await good('ca', own, '--key', key);
    await good('issue', own, 'gw.example', '--key', key);
    await good('verify', join(own, 'gw.example.crt'), '--anchor', join(own, 'ca.crt'));
  }
});

test('request and issue: the key stays where it was made', async (t) => {
  const folder = place(t);
  await good('ca', folder);
  await good(
    'request',
    join(folder, 'site'),
    'b.example.org',
    '--key',
    'ed25519',
    '--subject',
    'O=Example, CN=b',
  );
  const csr = join(folder, 'site', 'b.example.org.csr');
  assert.match(await good('show', csr), /request {2}O=Example, CN=b\nnames {4}b\.example\.org/);
  await good('issue', folder, '--request', csr);
  const leaf = join(folder, 'b.example.org.crt');
  await good('verify', leaf, '--anchor', join(folder, 'ca.crt'), '--id', 'b.example.org');
  assert.throws(() => statSync(join(folder, 'b.example.org.key')));
  const key = createPrivateKey(readFileSync(join(folder, 'site', 'b.example.org.key')));
  const told = JSON.parse(await good('show', leaf, '--json'))[0];
  assert.deepEqual([told.subject, told.key], ['O=Example, CN=b', 'Ed25519']);
  assert.equal(spkiOf(key).length, 44);
  await good('issue', folder, '--request', csr, 'c.example.org');
  assert.deepEqual(JSON.parse(await good('show', join(folder, 'c.example.org.crt'), '--json'))[0].names, [
    'c.example.org',
  ]);
});

test('a request that its key did not sign is none (RFC 2986 §4.2)', async () => {
  const names = [{ type: 'dns', value: 'a.example' }] as const;
  const der = writeRequest(nameOf('CN=a'), names, { key: testKey() });
  assert.deepEqual((await readRequest(der)).names, names);
  for (let at = 20; at < der.length; at += 7) {
    const bad = Uint8Array.from(der);
    bad[at]! ^= 1;
    await assert.rejects(readRequest(bad));
  }
});

test('verify: 1 and every reason; a wrong name, a stranger, a withdrawn one', async (t) => {
  const folder = place(t);
  const [mine, other] = [join(folder, 'mine'), join(folder, 'other')];
  for (const one of [mine, other]) await good('ca', one, '--subject', 'CN=CA');
  await good('issue', mine, 'gw.example.org');
  const leaf = join(mine, 'gw.example.org.crt');
  const wrong = await run('verify', leaf, '--anchor', join(mine, 'ca.crt'), '--id', 'gw.example.com');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stdout, /does not name gw\.example\.com; it names gw\.example\.org/);
  const stranger = await run('verify', leaf, '--anchor', join(other, 'ca.crt'));
  assert.equal(stranger.status, 1);
  assert.match(stranger.stdout, /UNTRUSTED .*\nBAD_SIGNATURE /);
  const hard = await run('verify', leaf, '--anchor', join(mine, 'ca.crt'), '--revocation', 'hard');
  assert.match(hard.stdout, /REVOCATION_UNKNOWN/);
  const [ca] = readCertificateFile(readFileSync(join(mine, 'ca.crt')));
  const key = createPrivateKey(readFileSync(join(mine, 'ca.key')));
  const holder = (file: string) => ({
    der: readCertificateFile(readFileSync(file))[0]!,
    key,
    name: nameOf('CN=CA'),
  });
  const now = Date.now();
  const revoked = [{ serial: serialOf(holder(leaf)) }];
  const list = makeList(
    { ...holder(leaf), der: ca! },
    { thisUpdate: now - 1000, nextUpdate: now + 60_000, revoked },
  );
  writeFileSync(join(folder, 'ca.crl'), writePem('X509 CRL', list));
  const withdrawn = await run(
    'verify',
    leaf,
    '--anchor',
    join(mine, 'ca.crt'),
    '--crl',
    join(folder, 'ca.crl'),
    '--revocation',
    'soft',
  );
  assert.match(withdrawn.stdout, /REVOKED CN=gw\.example\.org: /);
  assert.equal(withdrawn.status, 1);
});

test('what cannot be used: exit 2 and a sentence; nothing is written over', async (t) => {
  const folder = place(t);
  await good('ca', folder);
  const before = readFileSync(join(folder, 'ca.key'), 'utf8');
  writeFileSync(join(folder, 'odd'), 'nothing');
  const rows: [string[], RegExp][] = [
    [[], /usage: isthmus pki/],
    [['sign'], /there is no command pki sign/],
    [['ca', folder], /ca\.key is there already/],
    [['ca', join(folder, 'x'), '--key', 'dsa'], /--key dsa: write one of p256/],
    [['ca', join(folder, 'x'), '--subject', 'gw'], /write it like C=DE/],
    [['ca', join(folder, 'x'), '--days', '0'], /write a number of days/],
    [['issue', folder], /NAME is missing/],
    [['issue', folder, 'a b'], /no host name, address or mail address/],
    [['issue', folder, '*.example.org'], /no host name/],
    [['issue', join(folder, 'none'), 'a.example'], /ca\.crt cannot be read: ENOENT/],
    [['issue', folder, '--request', join(folder, 'odd')], /there is no certificate request/],
    [['show', join(folder, 'odd')], /there is no certificate in it/],
    [['show', join(folder, 'none')], /cannot be read: ENOENT/],
    [['verify', join(folder, 'ca.crt')], /--anchor is missing/],
    [
      ['verify', join(folder, 'ca.crt'), '--anchor', join(folder, 'ca.crt'), '--revocation', 'maybe'],
      /write off, soft or hard/,
    ],
  ];
  for (const [args, expected] of rows) {
    await assert.rejects(pki(args), (error) => error instanceof UsageError && expected.test(error.message));
  }
  assert.equal(readFileSync(join(folder, 'ca.key'), 'utf8'), before);
});

test('on the command line: what is printed, and exit 0, 1 or 2', async (t) => {
  const folder = place(t);
  await good('ca', folder);
  await good('issue', folder, 'gw.example');
  const verify = (...more: string[]) =>
    spawnSync(
      process.execPath,
      ['src/cli/isthmus.ts', 'pki', 'verify', join(folder, 'gw.example.crt'), ...more],
      { encoding: 'utf8' },
    );
  const anchor = ['--anchor', join(folder, 'ca.crt')];
  assert.deepEqual([verify(...anchor).status, verify(...anchor, '--id', 'x.example').status], [0, 1]);
  const { status, stdout, stderr } = verify();
  assert.deepEqual([status, stdout], [2, '']);
  assert.match(stderr, /--anchor is missing/);
});
