// Revocation that comes with the peer's own message: lists as CERT 7, OCSP answers as CERT 14 (RFC 4806).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signOctets } from '../../src/crypto/node-signatures.ts';
import { schemeRow } from '../../src/crypto/signature-schemes.ts';
import { PATH_RULES, type PathRules } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { FetchError } from '../../src/daemon/fetch.ts';
import { createJudge } from '../../src/daemon/judge.ts';
import { createRevocation } from '../../src/daemon/revocation.ts';
import { CERT_ENCODING } from '../../src/wire/numbers.ts';
import { makeCa, makeLeaf, NOON, testKey } from '../crypto/ca.ts';
import { makeAnswer, makeList, serialOf } from '../crypto/revocation-answers.ts';

const root = makeCa();
const leaf = makeLeaf(root, {
  extensions: [
    issue.subjectAltName([{ type: 'dns', value: 'gw.example.org' }]),
    issue.ocspAccess('http://ca.example/ocsp'),
  ],
});
const octets = new TextEncoder().encode('signed octets');

/** Codes of what is against the peer, with what it sends beside its certificate. */
async function judged(
  revocation: PathRules['revocation'],
  beside: [keyof typeof CERT_ENCODING, Uint8Array][],
  ours: Uint8Array[] = [],
): Promise<{ codes: string[]; asked: number }> {
  let asked = 0;
  const fetch = async () => {
    asked++;
    throw new FetchError('it answered 503');
  };
  const judge = createJudge({
    trust: () => ({ anchors: [root.der], publicKeys: [], crls: ours, rules: { ...PATH_RULES, revocation } }),
    wallClock: () => NOON,
    revocation: createRevocation({ fetch, now: () => NOON }),
  });
  const certificates = [
    { encoding: CERT_ENCODING.X509_SIGNATURE, data: leaf.der },
    ...beside.map(([encoding, data]) => ({ encoding: CERT_ENCODING[encoding], data })),
  ];
  const signature = await signOctets(leaf.key, schemeRow('ecdsa-sha256'), octets);
  const identity = { type: 'fqdn', value: 'gw.example.org' } as const;
  const { valid, reasons } = await judge({
    type: 'verify',
    trust: 't',
    identity,
    schemes: ['ecdsa-sha256'],
    octets,
    signature,
    certificates,
  });
  assert.equal(valid, reasons.length === 0);
  return { codes: reasons.map(({ code }) => code), asked };
}

test('an OCSP answer or a list that the peer brings is as good as one that was fetched (RFC 4806)', async () => {
  assert.deepEqual(await judged('hard', []), { codes: ['PEER_REVOCATION_UNKNOWN'], asked: 1 });
  assert.deepEqual(await judged('hard', [['OCSP_CONTENT', makeAnswer(root, leaf)]]), { codes: [], asked: 0 });
  assert.deepEqual(await judged('hard', [['CRL', makeList(root)]]), { codes: [], asked: 0 });
  const withdrawn = makeAnswer(root, leaf, { status: 'revoked' });
  assert.deepEqual(await judged('soft', [['OCSP_CONTENT', withdrawn]]), {
    codes: ['PEER_CERTIFICATE_REVOKED'],
    asked: 0,
  });
});

test('what the peer brings outweighs nothing of ours: a forged or old answer, and our list that withdraws', async () => {
  const stranger = { ...root, key: testKey('p256', 9) };
  const forged = makeAnswer(root, leaf, { responder: stranger });
  const ours = makeList(root, { revoked: [{ serial: serialOf(leaf) }] });
  assert.deepEqual((await judged('hard', [['OCSP_CONTENT', forged]])).codes, ['PEER_REVOCATION_UNKNOWN']);
  assert.deepEqual((await judged('soft', [['OCSP_CONTENT', makeAnswer(root, leaf)]], [ours])).codes, [
    'PEER_CERTIFICATE_REVOKED',
  ]);
  const crowd = Array.from({ length: 15 }, (): ['CRL', Uint8Array] => ['CRL', makeList(stranger)]);
  assert.deepEqual((await judged('soft', crowd, [ours])).codes, ['PEER_CERTIFICATE_REVOKED']);
});
