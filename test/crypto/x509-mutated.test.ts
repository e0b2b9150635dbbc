// Damaged certificates, lists and answers: a verdict each time, never a wrong one. ISTHMUS_MUTATIONS sets how many.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeCertificate, judgePath, type Verdict } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { generator, mutated } from '../wire/mutate.ts';
import * as ca from './ca.ts';
import { ask, CA_EXTENSIONS, makeCa, makeLeaf, testKey } from './ca.ts';
import { distributionPoint, makeAnswer, makeList, serialOf } from './revocation-answers.ts';

const COUNT = Number(process.env.ISTHMUS_MUTATIONS ?? 500);

const dns = (value: string) => ({ type: 'dns', value }) as const;
const everything = [
  issue.subjectAltName([
    dns('gw.example.org'),
    { type: 'email', value: 'a@example.org' },
    { type: 'ip', value: Uint8Array.of(192, 0, 2, 1) },
  ]),
  issue.keyUsage(0),
  issue.extendedKeyUsage('1.3.6.1.5.5.7.3.17'),
  issue.crlDistributionPoint('http://ca.example/crl'),
  issue.ocspAccess('http://ca.example/ocsp'),
  ca.policies('1.2.3.1', '1.2.3.2'),
];
const root = makeCa();
const mid = makeCa(root, {
  name: 'C=DE, O=Example, CN=mid',
  key: testKey('rsa', 3),
  extensions: [
    ...CA_EXTENSIONS,
    ca.nameConstraints(
      [dns('example.org')],
      [{ type: 'ip', value: Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0) }],
    ),
    ca.policies('1.2.3.1'),
    ca.policyMappings(['1.2.3.1', '1.2.3.2']),
    ca.policyConstraints({ explicit: 0 }),
    ca.inhibitAnyPolicy(1),
    issue.subjectKeyId(issue.spkiOf(testKey('rsa', 3))),
  ],
});
const leaf = makeLeaf(mid, { pss: true, extensions: everything });
const hard = { revocation: 'hard' } as const;

/** Every string an operator may see is printable, and whatever is refused has a reason. */
function checkVerdict({ valid, reasons, wanted }: Verdict): void {
  assert.equal(valid, reasons.length === 0);
  for (const { text, certificate } of reasons) assert.doesNotMatch(text + certificate, /\p{Cc}/u);
  if (!valid && reasons.some(({ code }) => code !== 'REVOCATION_UNKNOWN')) assert.deepEqual(wanted, []);
}

async function eachMutation(
  original: Uint8Array,
  seed: number,
  judge: (damaged: Uint8Array) => Promise<void>,
) {
  const random = generator(seed);
  for (let i = 0; i < COUNT; i++) await judge(mutated(original, random));
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

test('a damaged leaf is never good: what is signed is what is read', async () => {
  assert.ok((await judgePath(ask([leaf, mid], [root]))).valid);
  await eachMutation(leaf.der, 1, async (damaged) => {
    const verdict = await judgePath(ask([damaged, mid], [root]));
    checkVerdict(verdict);
    assert.ok(!verdict.valid || same(damaged, leaf.der), Buffer.from(damaged).toString('hex'));
    describeCertificate(damaged);
  });
});

test('a damaged CA in between is passed by; where the true one is there too the path is found', async () => {
  await eachMutation(mid.der, 2, async (damaged) => {
    const alone = await judgePath(ask([leaf, damaged], [root]));
    checkVerdict(alone);
    assert.ok(!alone.valid || same(damaged, mid.der), Buffer.from(damaged).toString('hex'));
  });
  const random = generator(3);
  for (let i = 0; i < COUNT / 10; i++)
    assert.ok(
      (await judgePath(ask([leaf, mutated(mid.der, random), mid, mutated(mid.der, random)], [root]))).valid,
    );
});

test('a damaged anchor harms nobody', async () => {
  await eachMutation(root.der, 4, async (damaged) => {
    checkVerdict(await judgePath(ask([leaf, mid], [damaged])));
  });
});

test('a damaged list that withdraws never lets by what it withdraws', async () => {
  const revoked = [
    { serial: '0102', reason: 4 },
    { serial: serialOf(leaf), reason: 1 },
  ];
  const list = makeList(mid, { revoked, extensions: [distributionPoint({ url: 'http://ca.example/crl' })] });
  const above = makeList(root);
  assert.deepEqual(
    (await judgePath(ask([leaf, mid], [root], { crls: [list, above], rules: hard }))).reasons[0]?.code,
    'REVOKED',
  );
  await eachMutation(list, 5, async (damaged) => {
    const verdict = await judgePath(ask([leaf, mid], [root], { crls: [damaged, above], rules: hard }));
    checkVerdict(verdict);
    assert.equal(verdict.valid, false, Buffer.from(damaged).toString('hex'));
  });
});

test('a damaged answer that withdraws never lets by what it withdraws, its responder’s certificate damaged neither', async () => {
  const uses = [issue.extendedKeyUsage('1.3.6.1.5.5.7.3.9')];
  const responder = makeLeaf(mid, {
    name: 'CN=ocsp',
    key: testKey('p256', 11),
    extensions: [...uses, issue.subjectAltName([dns('ocsp.example.org')]), ca.policies('1.2.3.2')],
  });
  const answer = makeAnswer(mid, leaf, { status: 'revoked', responder });
  const above = makeAnswer(root, mid);
  assert.deepEqual(
    (await judgePath(ask([leaf, mid], [root], { ocsp: [answer, above], rules: hard }))).reasons[0]?.code,
    'REVOKED',
  );
  await eachMutation(answer, 6, async (damaged) => {
    const verdict = await judgePath(ask([leaf, mid], [root], { ocsp: [damaged, above], rules: hard }));
    checkVerdict(verdict);
    assert.equal(verdict.valid, false, Buffer.from(damaged).toString('hex'));
  });
});

test('CVE-2017-9023: chance as certificates, lists and answers; nesting and counts without end', async () => {
  const random = generator(7);
  const noise = () => Uint8Array.from({ length: random(300) }, () => random(256));
  for (let i = 0; i < COUNT / 2; i++)
    checkVerdict(
      await judgePath(
        ask([noise(), noise()], [noise(), root], { crls: [noise()], ocsp: [noise()], rules: hard }),
      ),
    );
  const deep = Uint8Array.from({ length: 16_000 }, (_, i) =>
    i % 4 === 0 ? 0x30 : i % 4 === 1 ? 0x82 : 0x3e,
  );
  const wide = Uint8Array.from(
    { length: 16_000 },
    (_, i) => [0x30, 0x82, 0x3e, 0x7c][i] ?? (i % 2 === 0 ? 0x30 : 0),
  );
  const lists = new Uint8Array(4 * 1024 * 1024).fill(0x30);
  lists.set([0x30, 0x83, 0x3f, 0xff, 0xfb]);
  for (const odd of [deep, wide])
    checkVerdict(await judgePath(ask([odd], [root], { crls: [odd, lists], ocsp: [odd] })));
  checkVerdict(
    await judgePath(ask([leaf, mid], [root], { crls: [deep, wide, lists], ocsp: [deep, wide], rules: hard })),
  );
});
