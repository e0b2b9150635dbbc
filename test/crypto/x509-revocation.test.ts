import assert from 'node:assert/strict';
import { test } from 'node:test';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import { judgePath, type PathQuestion } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { ocspRequest } from '../../src/crypto/x509-ocsp.ts';
import { freshUntil } from '../../src/crypto/x509-revocation.ts';
import { ask, DAY, type Holder, makeCa, makeLeaf, NOON, testKey } from './ca.ts';
import {
  type AnswerWish,
  CRL_NUMBER,
  distributionPoint,
  type ListWish,
  makeAnswer,
  makeList,
  refusal,
  serialOf,
} from './revocation-answers.ts';

const root = makeCa(undefined, { name: 'CN=Root' });
const other = makeCa(undefined, { name: 'CN=Other', key: testKey('p256', 7) });
const leaf = makeLeaf(root, {
  extensions: [
    issue.crlDistributionPoint('http://ca.example/crl'),
    issue.ocspAccess('http://ca.example/ocsp'),
  ],
});
const hard = { revocation: 'hard' } as const;
const soft = { revocation: 'soft' } as const;

async function codes(question: PathQuestion): Promise<string[]> {
  return (await judgePath(question)).reasons.map(({ code }) => code).sort();
}

/** The text of the one reason, or nothing. */
async function told(question: PathQuestion): Promise<string> {
  const { reasons } = await judgePath(question);
  assert.ok(reasons.length < 2);
  return reasons[0]?.text ?? '';
}

const withList = (wish: ListWish, who: Holder = leaf) =>
  ask([who], [root], { crls: [makeList(root, wish)], rules: hard });
const withAnswer = (wish: AnswerWish) =>
  ask([leaf], [root], { ocsp: [makeAnswer(root, leaf, wish)], rules: hard });

test('hard: not to know is a reason; soft: it is not, and in both cases the places to ask are told', async () => {
  assert.deepEqual(await codes(ask([leaf], [root], { rules: hard })), ['REVOCATION_UNKNOWN']);
  assert.deepEqual(await codes(ask([leaf], [root], { rules: soft })), []);
  for (const rules of [hard, soft]) {
    const { wanted } = await judgePath(ask([leaf], [root], { rules }));
    assert.deepEqual(
      wanted.map(({ type, url }) => `${type} ${url}`),
      ['ocsp http://ca.example/ocsp', 'crl http://ca.example/crl'],
    );
    assert.deepEqual([wanted[0]!.certificate, wanted[0]!.issuer], [leaf.der, root.der]);
  }
  const mute = await told(ask([makeLeaf(root)], [root], { rules: hard }));
  assert.match(mute, /no place to ask/);
});

test('a list of the issuer: who is on it is refused, also where failure is soft; who is not is good (RFC 5280 §6.3)', async () => {
  const serial = serialOf(leaf);
  for (const rules of [hard, soft]) {
    const revoked = ask([leaf], [root], {
      crls: [makeList(root, { revoked: [{ serial, reason: 1 }] })],
      rules,
    });
    assert.deepEqual(await codes(revoked), ['REVOKED']);
    assert.match(await told(revoked), /2030-05-31 \(key compromised\)/);
    assert.deepEqual((await judgePath(revoked)).wanted, []);
  }
  assert.deepEqual(
    await codes(withList({ revoked: [{ serial: '0102' }, { serial, reason: 6 }] })),
    ['REVOKED'],
    'on hold',
  );
  assert.deepEqual(await codes(withList({ revoked: [{ serial: '0102' }] })), []);
  assert.deepEqual(await codes(withList({})), []);
  assert.deepEqual((await judgePath(withList({}))).wanted, [], 'nothing is left to ask');
  const undated = derOf(TAG.UTC_TIME, new TextEncoder().encode('300531'));
  assert.match(
    await told(withList({ revoked: [{ serial, date: undated }] })),
    /withdrew it on a day it does not say/,
  );
  const off = ask([leaf], [root], {
    crls: [makeList(root, { revoked: [{ serial }] })],
    rules: { revocation: 'off' },
  });
  assert.deepEqual(await codes(off), []);
});

test('each certificate below the anchor is asked about, with the list of its own issuer', async () => {
  const mid = makeCa(root, { name: 'CN=mid', key: testKey('p256', 3) });
  const low = makeLeaf(mid);
  const question = (crls: Uint8Array[]) => ask([low, mid], [root], { crls, rules: hard });
  assert.deepEqual(await codes(question([makeList(mid)])), ['REVOCATION_UNKNOWN']);
  assert.deepEqual(await codes(question([makeList(root)])), ['REVOCATION_UNKNOWN']);
  assert.deepEqual(await codes(question([makeList(mid), makeList(root)])), []);
  const withdrawn = makeList(root, { revoked: [{ serial: serialOf(mid) }] });
  assert.deepEqual(await codes(question([makeList(mid), withdrawn])), ['REVOKED']);
  assert.deepEqual(
    await codes(ask([leaf], [leaf], { rules: hard })),
    [],
    'a pinned leaf is ours to withdraw',
  );
});

test('a list that says nothing about the certificate is as good as none', async () => {
  const critical = { critical: true };
  const noCrlSign = makeCa(undefined, {
    name: 'CN=No',
    key: testKey('p256', 8),
    extensions: [issue.basicConstraints(true), issue.keyUsage(5)],
  });
  const below = makeLeaf(noCrlSign);
  const rows: [PathQuestion, RegExp][] = [
    [ask([leaf], [root], { crls: [makeList(other)], rules: hard }), /another issuer/],
    [withList({ signer: other }), /not signed by the issuer/],
    [withList({ thisUpdate: NOON + DAY }), /future/],
    [withList({ nextUpdate: NOON - 1000 }), /out of date/],
    [withList({ nextUpdate: null }), /not of version 2/],
    [withList({ version: 0 }), /not of version 2/],
    [withList({ number: null, extensions: [] }), /not of version 2/],
    [withList({ number: null, extensions: [issue.authorityKeyId(issue.spkiOf(root.key))] }), /not numbered/],
    [
      withList({ number: issue.extension('2.5.29.20', derOf(TAG.INTEGER, Uint8Array.of(1)), critical) }),
      /not numbered/,
    ],
    [withList({ extensions: [CRL_NUMBER] }), /two extensions/],
    [
      withList({
        extensions: [issue.extension('2.5.29.27', derOf(TAG.INTEGER, Uint8Array.of(1)), critical)],
      }),
      /delta/,
    ],
    [withList({ extensions: [issue.extension('1.2.3.4', derOf(TAG.NULL), critical)] }), /1\.2\.3\.4/],
    [withList({ extensions: [distributionPoint({ flags: [2] })] }), /for CAs/],
    [withList({ extensions: [distributionPoint({ flags: [4] })] }), /indirect/],
    [withList({ extensions: [distributionPoint({ flags: [5] })] }), /attributes/],
    [withList({ extensions: [distributionPoint({ reasons: true })] }), /some reasons/],
    [
      withList({ extensions: [distributionPoint({ url: 'http://ca.example/other' })] }),
      /another distribution point/,
    ],
    [
      withList({
        revoked: [
          { serial: '01', extensions: [issue.extension('2.5.29.29', derOf(TAG.SEQUENCE), critical)] },
        ],
      }),
      /2\.5\.29\.29/,
    ],
    [ask([below], [noCrlSign], { crls: [makeList(noCrlSign)], rules: hard }), /cRLSign/],
    [ask([leaf], [root], { crls: [Uint8Array.of(0x30, 0)], rules: hard }), /cannot be read/],
    [ask([leaf], [root], { crls: [makeList(root).subarray(0, -1)], rules: hard }), /cannot be read/],
    [ask([leaf], [root], { crls: [new Uint8Array(4 * 1024 * 1024 + 1)], rules: hard }), /cannot be read/],
  ];
  for (const [question, expected] of rows) {
    assert.deepEqual(await codes(question), ['REVOCATION_UNKNOWN'], String(expected));
    assert.match(await told(question), expected);
    assert.deepEqual(await codes({ ...question, rules: { ...question.rules, ...soft } }), []);
  }
  const rsa = makeCa(undefined, { name: 'CN=R', key: testKey('rsa') });
  const weak = ask([makeLeaf(rsa)], [rsa], { crls: [makeList(rsa, { hash: 'sha1' })], rules: hard });
  assert.match(await told(weak), /not signed/);
});

test('a list for a part of the certificates is good for that part (RFC 5280 §5.2.5)', async () => {
  for (const point of [
    distributionPoint({ flags: [1] }),
    distributionPoint({ url: 'http://ca.example/crl' }),
  ])
    assert.deepEqual(await codes(withList({ extensions: [point] })), []);
  const mid = makeCa(root, { name: 'CN=mid', key: testKey('p256', 3) });
  const forCas = makeList(root, { extensions: [distributionPoint({ flags: [2] })] });
  assert.deepEqual(
    await codes(ask([makeLeaf(mid), mid], [root], { crls: [forCas, makeList(mid)], rules: hard })),
    [],
  );
});

test('a list of fifty thousand entries is read in turns, and the one that matters is found', async () => {
  const revoked = Array.from({ length: 50_000 }, (_, i) => ({ serial: `40${(0x100000 + i).toString(16)}` }));
  const question = withList({ revoked: [...revoked, { serial: serialOf(leaf) }] });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  assert.deepEqual(await codes(question), ['REVOKED']);
  clearInterval(timer);
  assert.ok(turns > 0);
});

test('OCSP: the issuer answers, by name or by key, in each of its hashes (RFC 6960 §4.2)', async () => {
  for (const wish of [
    {},
    { byKey: true },
    { hash: 'sha256' },
    { byKey: true, hash: 'sha256' },
  ] as AnswerWish[]) {
    assert.deepEqual(await codes(withAnswer(wish)), []);
    assert.deepEqual(await codes(withAnswer({ ...wish, status: 'revoked' })), ['REVOKED']);
    assert.match(await told(withAnswer({ ...wish, status: 'unknown' })), /does not know/);
  }
  const revoked = ask([leaf], [root], {
    crls: [makeList(root)],
    ocsp: [makeAnswer(root, leaf, { status: 'revoked' })],
    rules: soft,
  });
  assert.deepEqual(await codes(revoked), ['REVOKED'], 'one that refuses outweighs one that does not');
});

test('OCSP: a responder that the issuer named for it may answer, nobody else (RFC 6960 §4.2.2.2)', async () => {
  const key = testKey('p256', 11);
  const uses = [issue.extendedKeyUsage('1.3.6.1.5.5.7.3.9')];
  const delegate = makeLeaf(root, { name: 'CN=ocsp', key, extensions: uses });
  assert.deepEqual(await codes(withAnswer({ responder: delegate })), []);
  assert.deepEqual(await codes(withAnswer({ responder: delegate, byKey: true })), []);
  assert.deepEqual(await codes(withAnswer({ responder: delegate, status: 'revoked' })), ['REVOKED']);
  const mid = makeCa(root, { name: 'CN=mid', key: testKey('p256', 3) });
  const bad: AnswerWish[] = [
    { responder: makeLeaf(root, { name: 'CN=ocsp', key, extensions: [] }) },
    {
      responder: makeLeaf(root, {
        name: 'CN=ocsp',
        key,
        extensions: [issue.extendedKeyUsage('1.3.6.1.5.5.7.3.1')],
      }),
    },
    { responder: makeLeaf(root, { name: 'CN=ocsp', key, extensions: [...uses, issue.keyUsage(2)] }) },
    { responder: makeLeaf(root, { name: 'CN=ocsp', key, extensions: uses, notAfter: NOON - DAY }) },
    { responder: makeLeaf(root, { name: 'CN=ocsp', key, extensions: uses, notBefore: NOON + DAY }) },
    { responder: makeLeaf(other, { name: 'CN=ocsp', key, extensions: uses }) },
    {
      responder: makeLeaf(mid, { name: 'CN=ocsp', key, extensions: uses }),
      certificates: [makeLeaf(mid, { name: 'CN=ocsp', key, extensions: uses }).der, mid.der],
    },
    {
      responder: makeLeaf(root, {
        name: 'CN=ocsp',
        key,
        extensions: [...uses, issue.extension('1.2.3.4', derOf(TAG.NULL), { critical: true })],
      }),
    },
    { responder: delegate, certificates: [] },
    { responder: leaf },
    { responder: other },
    { responder: { ...root, key: other.key } },
  ];
  for (const wish of bad) assert.match(await told(withAnswer(wish)), /signed by none/);
});

test('OCSP: what is old, early, about another, refused or odd is no answer', async () => {
  const critical = [issue.extension('1.2.3.4', derOf(TAG.NULL), { critical: true })];
  const rows: [AnswerWish, RegExp | undefined][] = [
    [{ nextUpdate: NOON - 1000 }, /out of date/],
    [{ thisUpdate: NOON + DAY }, /future/],
    [{ thisUpdate: NOON + 60_000 }, undefined],
    [{ nextUpdate: null }, undefined],
    [{ nextUpdate: null, thisUpdate: NOON - 2 * DAY }, /out of date/],
    [{ serial: '0102' }, /another certificate/],
    [{ extensions: critical }, /critical/],
    [{ singleExtensions: critical }, /critical/],
    [{ extensions: [issue.extension('1.3.6.1.5.5.7.48.1.2', derOf(TAG.OCTET_STRING))] }, undefined],
  ];
  for (const [wish, expected] of rows)
    if (expected) assert.match(await told(withAnswer(wish)), expected);
    else assert.equal(await told(withAnswer(wish)), '');
  const raw = (der: Uint8Array) => told(ask([leaf], [root], { ocsp: [der], rules: hard }));
  assert.match(await raw(refusal(3)), /tryLater/);
  assert.match(await raw(refusal(6)), /unauthorized/);
  assert.match(await raw(new Uint8Array(70_000)), /70000 bytes/);
  assert.match(await raw(makeAnswer(root, leaf).subarray(0, 100)), /cannot be read/);
  const [TIME, HASH] = [Uint8Array.of(TAG.GENERALIZED_TIME, 15), Uint8Array.of(TAG.OCTET_STRING, 20)];
  for (const [header, nth] of [
    [TIME, 0],
    [HASH, 0],
    [HASH, 1],
  ] as const) {
    const odd = Buffer.from(makeAnswer(root, leaf));
    let at = odd.indexOf(header);
    for (let i = 0; i < nth; i++) at = odd.indexOf(header, at + 2);
    odd[at] = TAG.UTF8_STRING;
    assert.match(await raw(odd), /cannot be read/);
  }
  assert.match(await told(withAnswer({ status: 'revoked' })), /2030-05-31 \(key compromised\)/);
});

test('the question names issuer and serial number (RFC 6960 §4.1.1), small enough for GET (RFC 5019 §5)', () => {
  const request = ocspRequest(leaf.der, root.der);
  assert.ok(Buffer.from(request).toString('base64').length < 255);
  const serial = derOf(TAG.INTEGER, Buffer.from(serialOf(leaf), 'hex'));
  const text = Buffer.from(request).toString('hex');
  assert.ok(text.endsWith(Buffer.from(serial).toString('hex')));
  assert.ok(text.includes(Buffer.from(encodeOid('1.3.14.3.2.26')).toString('hex')));
  assert.ok(text.includes(Buffer.from(issue.keyIdOf(bitsOf(issue.spkiOf(root.key)))).toString('hex')));
});

function bitsOf(spki: Uint8Array): Uint8Array {
  return spki.subarray(spki.length - 65);
}

test('how long lists and answers are good, for whoever keeps them', () => {
  assert.equal(freshUntil('crl', makeList(root)), NOON + 7 * DAY);
  assert.equal(freshUntil('ocsp', makeAnswer(root, leaf)), NOON + DAY);
  assert.equal(freshUntil('crl', Uint8Array.of(1)), undefined);
  assert.equal(freshUntil('ocsp', refusal(3)), undefined);
});

test('lists and answers that hide the one that withdraws: given up, and refused however soft the rule', async () => {
  const crls = Array.from({ length: 19 }, () => makeList(root, { signer: other }));
  const ocsp = Array.from({ length: 20 }, () =>
    makeAnswer(root, leaf, { responder: { ...root, key: other.key } }),
  );
  const last = makeList(root, { revoked: [{ serial: serialOf(leaf) }] });
  const judged = (rules: typeof hard | typeof soft, lists: Uint8Array[]) =>
    codes(ask([leaf], [root], { crls: lists, ocsp, rules }));
  assert.deepEqual(await judged(soft, [...crls, last]), ['TOO_BIG']);
  assert.deepEqual(await judged(hard, [...crls, last]), ['REVOCATION_UNKNOWN', 'TOO_BIG']);
  assert.deepEqual(await judged(soft, [...crls, ...crls]), ['TOO_BIG']);
  assert.deepEqual(await codes(ask([leaf], [root], { crls: [...crls, last], rules: soft })), ['REVOKED']);
});

test('a list of millions of fields is given up before they are counted', async () => {
  const fields = new Uint8Array(4 * 1024 * 1024 - 16);
  for (let at = 0; at < fields.length; at += 2) fields[at] = TAG.NULL;
  const signer = { key: root.key };
  const huge = derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, fields.subarray(200)), issue.algorithmFor(signer));
  assert.match(await told(ask([leaf], [root], { crls: [huge], rules: hard })), /more elements/);
  assert.equal(freshUntil('crl', huge), undefined);
});

test('only http is a place to ask: ldap in front, as Windows writes it, is passed over', async () => {
  const urls = [
    'ldap:///CN=a',
    'ldap:///CN=b',
    'ldap:///CN=c',
    'https://ca.example/crl',
    'http://a b/',
    'http://ca.example/\u001b[31m',
  ];
  const extension = (url: string) =>
    derOf(TAG.SEQUENCE, derOf(0xa0, derOf(0xa0, issue.encodeGeneralName({ type: 'uri', value: url }))));
  const points = issue.extension(
    '2.5.29.31',
    derOf(TAG.SEQUENCE, ...[...urls, 'http://ca.example/crl'].map(extension)),
  );
  const { wanted } = await judgePath(
    ask([makeLeaf(root, { extensions: [points] })], [root], { rules: soft }),
  );
  assert.deepEqual(
    wanted.map(({ url }) => url),
    ['http://ca.example/crl'],
  );
});

test('an issuer whose own key usage allows no lists may still answer by OCSP', async () => {
  const ca = makeCa(undefined, { extensions: [issue.basicConstraints(true), issue.keyUsage(5)] });
  const below = makeLeaf(ca);
  assert.deepEqual(await codes(ask([below], [ca], { ocsp: [makeAnswer(ca, below)], rules: hard })), []);
});
