// The end of certificates: in the status always, in the log 30, 7 and 1 days ahead, and once each.

import assert from 'node:assert/strict';
import { rmSync, utimesSync } from 'node:fs';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { watchFiles } from '../../src/daemon/credential-files.ts';
import { createExpiryLog, endingsOf } from '../../src/daemon/expiry.ts';
import { proofsOf } from '../../src/daemon/proofs.ts';
import { type Report, sentenceOf } from '../../src/daemon/report.ts';
import type { TunnelView } from '../../src/ike/view.ts';
import { folder } from '../config/files.ts';
import { DAY, makeCa, makeLeaf, NOON, testKey } from '../crypto/ca.ts';
import { keyPem, pem, siteFile } from './pki.ts';

const KEY = testKey('p256', 10);
const ROOT = makeCa(undefined, { notAfter: NOON + 400 * DAY });
const LEAF = makeLeaf(ROOT, { key: KEY, dns: 'a.example', notAfter: NOON + 40 * DAY });

function configured(t: Parameters<typeof folder>[0]) {
  const files = folder(t);
  const paths = {
    certificate: files.write('a.pem', pem(LEAF)),
    key: files.write('a.key', keyPem(KEY)),
    ca: files.write('ca.pem', pem(ROOT)),
  };
  const auth = `{ certificate: ${paths.certificate}, key: ${paths.key}, ca: ${paths.ca} }`;
  const file = files.write('isthmus.yaml', siteFile('a', `    peer-id: b.example\n    auth: ${auth}\n`));
  return { config: loadConfig(file, NOON).config!, paths };
}

const VIEW = {
  name: 't',
  state: 'established',
  ikeSa: {
    peer: {
      identity: { type: 'fqdn', value: 'b.example' },
      credential: {
        subject: 'CN=b',
        fingerprint: 'ff',
        notAfter: NOON + 5 * DAY,
        scheme: 'ed25519',
        warnings: [],
      },
    },
    shown: LEAF.der,
  },
  children: [],
} as unknown as TunnelView;

test('the status names ours, the CA and the one of the peer, the next to end first', (t) => {
  const { config } = configured(t);
  const endings = endingsOf(config, [VIEW], NOON);
  assert.deepEqual(
    endings.map(({ whose, subject, days, tunnels }) => [whose, subject, days, tunnels.join()]),
    [
      ['peer', 'CN=b', 5, 't'],
      ['own', 'C=DE, O=Example, CN=gw', 40, 't'],
      ['ca', 'C=DE, O=Example, CN=Root', 400, 't'],
    ],
  );
});

test('the log tells 30, 7 and 1 days ahead and at the end, each once, asked every hour', (t) => {
  const { config } = configured(t);
  const reports: { day: number; report: Report }[] = [];
  let hour = 0;
  const tell = createExpiryLog((report) => reports.push({ day: hour / 24, report }));
  for (; hour < 42 * 24; hour++) tell(endingsOf(config, [], NOON + (hour / 24) * DAY));
  assert.deepEqual(
    reports.map(({ day, report }) => [Math.floor(day), report.code]),
    [
      [10, 'CERTIFICATE_ENDS'],
      [33, 'CERTIFICATE_ENDS'],
      [39, 'CERTIFICATE_ENDS'],
      [40, 'CERTIFICATE_ENDED'],
    ],
  );
  assert.match(
    sentenceOf(reports[0]!.report),
    /^our certificate C=DE, O=Example, CN=gw ends in 29 days, on 2030-07-11: renew it before \(tunnels t\)$/,
  );
});

test('by what an IKE SA was proven: both certificates', () => {
  const proof = proofsOf([VIEW]).get('t')!;
  assert.equal(proof.identity, 'b.example');
  assert.equal(proof.peer!.subject, 'CN=b');
  assert.equal(proof.own!.issuer, 'C=DE, O=Example, CN=Root');
});

test('a file that changed or is gone is noticed, once', (t) => {
  const { config, paths } = configured(t);
  const changed = watchFiles(config.keyring.files);
  assert.deepEqual([...config.keyring.files].sort(), Object.values(paths).sort());
  assert.equal(changed(), false);
  utimesSync(paths.key, 1, 1);
  assert.deepEqual([changed(), changed()], [true, false]);
  rmSync(paths.ca);
  assert.deepEqual([changed(), changed()], [true, false]);
});
