import assert from 'node:assert/strict';
import { test } from 'node:test';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import { judgePath, type PathQuestion } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import type { GeneralName } from '../../src/crypto/x509-names.ts';
import * as ca from './ca.ts';
import { ask, CA_EXTENSIONS, makeCa, makeLeaf, nameOf, testKey } from './ca.ts';

async function codes(question: PathQuestion): Promise<string[]> {
  return (await judgePath(question)).reasons.map(({ code }) => code).sort();
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const dns = (value: string): GeneralName => ({ type: 'dns', value });
const email = (value: string): GeneralName => ({ type: 'email', value });
const uri = (value: string): GeneralName => ({ type: 'uri', value });
const ip = (...values: number[]): GeneralName => ({ type: 'ip', value: bytes(...values) });
const dn = (text: string): GeneralName => ({ type: 'dn', value: nameOf(text) });

const root = makeCa(undefined, { name: 'CN=Root' });

/** A CA with the constraints, and a leaf with the one name below it. */
async function judged(name: GeneralName, permitted: GeneralName[], excluded: GeneralName[] = []) {
  const mid = makeCa(root, {
    name: 'CN=mid',
    key: testKey('p256', 3),
    extensions: [...CA_EXTENSIONS, ca.nameConstraints(permitted, excluded)],
  });
  const san = issue.extension('2.5.29.17', derOf(TAG.SEQUENCE, issue.encodeGeneralName(name)), {
    critical: true,
  });
  const found = await codes(ask([makeLeaf(mid, { name: '', extensions: [san] }), mid], [root]));
  assert.ok(
    found.every((code) => code === 'NAME_CONSTRAINTS'),
    found.join(),
  );
  return found.length === 0;
}

/** [base, names within, names outside, names of which it cannot be told: never permitted, always excluded] */
const ROWS: [GeneralName, GeneralName[], GeneralName[], GeneralName[]][] = [
  [
    dns('example.org'),
    [
      dns('example.org'),
      dns('EXAMPLE.org'),
      dns('a.Example.Org'),
      dns('a.b.example.org'),
      dns('a.example.org.'),
      dns('*.example.org'),
    ],
    [
      dns('example.com'),
      dns('badexample.org'),
      dns('example.org.evil'),
      dns('xn--exmple-cua.org'),
      dns('org'),
    ],
    [dns('a..example.org'), dns('.example.org'), dns('*.*.example.org'), dns('a*.example.org'), dns('*.org')],
  ],
  [dns('EXAMPLE.ORG.'), [dns('a.example.org')], [dns('example.com')], []],
  [dns('xn--exmple-cua.org'), [dns('XN--EXMPLE-CUA.org')], [dns('example.org')], []],
  [dns(''), [dns('a.example')], [], []],
  [dns('.example.org'), [], [], [dns('a.example.org'), dns('example.org')]],
  [
    email('example.org'),
    [email('a@example.org'), email('A@EXAMPLE.ORG')],
    [email('a@b.example.org'), email('a@example.com')],
    [
      email('example.org'),
      email('a@b@example.org'),
      email('@example.org'),
      email('"a@example.org"@example.com'),
    ],
  ],
  [email('.example.org'), [email('a@b.example.ORG')], [email('a@example.org')], []],
  [email('a@Example.org'), [email('a@example.org')], [email('A@example.org'), email('b@example.org')], []],
  [
    uri('example.org'),
    [uri('http://example.org/a'), uri('HTTPS://u@Example.ORG:8080?x'), uri('ldap://example.org')],
    [
      uri('http://a.example.org/'),
      uri('http://example.com/example.org'),
      uri('http://example.org@example.com/'),
    ],
    [uri('urn:a:b'), uri('http://192.0.2.1/'), uri('http:///a'), uri('mailto:a@example.org')],
  ],
  [uri('.example.org'), [uri('http://a.example.org')], [uri('http://example.org')], []],
  [
    ip(192, 0, 2, 0, 255, 255, 255, 0),
    [ip(192, 0, 2, 0), ip(192, 0, 2, 255)],
    [ip(192, 0, 3, 1), { type: 'ip', value: new Uint8Array(16) }],
    [],
  ],
  [
    {
      type: 'ip',
      value: bytes(0x20, 1, 0xd, 0xb8, ...Array(12).fill(0), 255, 255, 255, 255, ...Array(12).fill(0)),
    },
    [{ type: 'ip', value: bytes(0x20, 1, 0xd, 0xb8, ...Array(11).fill(7), 1) }],
    [{ type: 'ip', value: bytes(0x20, 1, 0xd, 0xb9, ...Array(12).fill(0)) }],
    [],
  ],
  [
    dn('C=DE, O=Example'),
    [dn('C=DE, O=Example'), dn('C=de, O=EXAMPLE, CN=gw'), dn('C=DE, O= Example , OU=x, CN=y')],
    [dn('C=DE'), dn('O=Example, C=DE'), dn('C=DE, O=Example 2'), dn('C=FR, O=Example')],
    [],
  ],
  [{ type: 'other', tag: 0x88 }, [], [], [{ type: 'other', tag: 0x88 }]],
];

test('CVE-2026-35331: name constraints, every kind of name, whatever its case, final dot, wildcard or string type', async () => {
  for (const [base, within, outside, unclear] of ROWS) {
    for (const name of within) {
      assert.equal(await judged(name, [base]), true, `${JSON.stringify(name)} permitted`);
      assert.equal(await judged(name, [], [base]), false, `${JSON.stringify(name)} excluded`);
    }
    for (const name of outside) {
      assert.equal(await judged(name, [base]), false, `${JSON.stringify(name)} not permitted`);
      assert.equal(await judged(name, [], [base]), true, `${JSON.stringify(name)} not excluded`);
    }
    for (const name of unclear) {
      assert.equal(await judged(name, [base]), false, `${JSON.stringify(name)} unclear, permitted`);
      assert.equal(await judged(name, [], [base]), false, `${JSON.stringify(name)} unclear, excluded`);
    }
  }
});

test('a kind of name that is not constrained is free; permitted by one of several is permitted', async () => {
  assert.ok(await judged(dns('a.example'), [ip(10, 0, 0, 0, 255, 0, 0, 0)]));
  assert.ok(await judged(dns('a.example.com'), [dns('example.org'), dns('example.com')]));
  const [registered, party] = [{ type: 'other', tag: 0x88 } as const, { type: 'other', tag: 0xa5 } as const];
  assert.ok(await judged(party, [registered], [registered]));
  assert.ok(!(await judged(dns('a.example.com'), [dns('example.com')], [dns('A.EXAMPLE.COM')])));
});

test('the subject is a name too, and its mail address where no alternative name is one (RFC 5280 §4.2.1.10)', async () => {
  const mid = (constraints: Uint8Array) =>
    makeCa(root, { name: 'CN=mid', key: testKey('p256', 3), extensions: [...CA_EXTENSIONS, constraints] });
  const inside = mid(ca.nameConstraints([dn('O=Example')]));
  assert.deepEqual(await codes(ask([makeLeaf(inside, { name: 'O=example, CN=a' }), inside], [root])), []);
  assert.deepEqual(await codes(ask([makeLeaf(inside, { name: 'O=Other, CN=a' }), inside], [root])), [
    'NAME_CONSTRAINTS',
  ]);
  const mail = mid(ca.nameConstraints([email('example.org')]));
  assert.deepEqual(await codes(ask([makeLeaf(mail, { name: 'E=a@example.ORG' }), mail], [root])), []);
  assert.deepEqual(await codes(ask([makeLeaf(mail, { name: 'E=a@example.com' }), mail], [root])), [
    'NAME_CONSTRAINTS',
  ]);
});

test('constraints hold for all that is below, the anchor’s too; a self-issued CA is let by, a leaf never', async () => {
  const key = testKey('p256', 5);
  const extensions = [...CA_EXTENSIONS, ca.nameConstraints([dn('O=Example')])];
  const anchor = makeCa(undefined, { name: 'CN=anchor', key, extensions });
  const mid = makeCa(anchor, { name: 'O=Example, CN=mid', key: testKey('p256', 3) });
  const leaf = (name: string) => makeLeaf(mid, { name });
  assert.deepEqual(await codes(ask([leaf('O=Example, CN=x'), mid], [anchor])), []);
  assert.deepEqual(await codes(ask([leaf('O=Other'), mid], [anchor])), ['NAME_CONSTRAINTS']);
  const renewed = makeCa(anchor, { name: 'CN=anchor', key: testKey('p256', 6) });
  assert.deepEqual(await codes(ask([makeLeaf(renewed, { name: 'O=Example, CN=y' }), renewed], [anchor])), []);
  assert.deepEqual(await codes(ask([makeLeaf(anchor, { name: 'CN=anchor' })], [anchor])), [
    'NAME_CONSTRAINTS',
  ]);
});

test('constraints that are none are malformed: minimum, a mask with holes, nothing at all', async () => {
  const base = issue.encodeGeneralName(dns('example.org'));
  const values = [
    derOf(TAG.SEQUENCE),
    derOf(TAG.SEQUENCE, derOf(0xa0)),
    derOf(TAG.SEQUENCE, derOf(0xa0, derOf(TAG.SEQUENCE, base, derOf(0x80, bytes(1))))),
    derOf(TAG.SEQUENCE, derOf(0xa0, derOf(TAG.SEQUENCE, derOf(0x87, bytes(10, 0, 0, 0, 255, 0, 255, 0))))),
    derOf(TAG.SEQUENCE, derOf(0xa0, derOf(TAG.SEQUENCE, derOf(0x87, bytes(10, 0, 0, 0))))),
  ];
  for (const value of values) {
    const wrong = issue.extension('2.5.29.30', value, { critical: true });
    const anchor = makeCa(undefined, { extensions: [...CA_EXTENSIONS, wrong] });
    assert.deepEqual(await codes(ask([makeLeaf(anchor)], [anchor])), ['MALFORMED', 'UNTRUSTED']);
  }
});

test('names and constraints in thousands are given up, not compared', async () => {
  const many = (count: number, prefix: string) =>
    Array.from({ length: count }, (_, i) => dns(`${prefix}${i}.example`));
  const mid = makeCa(root, {
    name: 'CN=mid',
    key: testKey('p256', 3),
    extensions: [...CA_EXTENSIONS, ca.nameConstraints(many(600, 'a'))],
  });
  const leaf = makeLeaf(mid, { extensions: [issue.subjectAltName(many(700, 'a'))] });
  const start = performance.now();
  assert.deepEqual(await codes(ask([leaf, mid], [root])), ['TOO_BIG']);
  assert.ok(performance.now() - start < 20_000);
});

const [P, Q, R, ANY] = ['1.2.3.1', '1.2.3.2', '1.2.3.3', '2.5.29.32.0'];

/** root → CAs with the extensions → leaf with the last ones */
async function underPolicies(chain: Uint8Array[][], acceptedPolicies?: string[]): Promise<string[]> {
  let issuer = root;
  const between: ca.Holder[] = [];
  for (const [i, extensions] of chain.slice(0, -1).entries()) {
    issuer = makeCa(issuer, {
      name: `CN=p${i}`,
      key: testKey('p256', 40 + i),
      extensions: [...CA_EXTENSIONS, ...extensions],
    });
    between.push(issuer);
  }
  const leaf = makeLeaf(issuer, { extensions: chain.at(-1)! });
  return codes(ask([leaf, ...between], [root], { rules: acceptedPolicies ? { acceptedPolicies } : {} }));
}

test('policies: nothing is demanded unless a CA or we demand it (RFC 5280 §6.1.5)', async () => {
  assert.deepEqual(await underPolicies([[ca.policies(P)], [ca.policies(Q)]]), []);
  assert.deepEqual(await underPolicies([[], []]), []);
  const explicit = ca.policyConstraints({ explicit: 0 });
  assert.deepEqual(await underPolicies([[ca.policies(P), explicit], [ca.policies(P)]]), []);
  assert.deepEqual(await underPolicies([[ca.policies(ANY), explicit], [ca.policies(Q)]]), []);
  assert.deepEqual(await underPolicies([[ca.policies(P), explicit], [ca.policies(Q)]]), ['POLICY']);
  assert.deepEqual(await underPolicies([[ca.policies(P), explicit], []]), ['POLICY']);
  assert.deepEqual(await underPolicies([[explicit], [ca.policies(P)]]), ['POLICY']);
  assert.deepEqual(await underPolicies([[ca.policyConstraints({ explicit: 1 })], []]), ['POLICY']);
  assert.deepEqual(await underPolicies([[ca.policyConstraints({ explicit: 2 })], []]), []);
});

test('policies that we demand hold for the whole path', async () => {
  assert.deepEqual(await underPolicies([[ca.policies(P, Q)], [ca.policies(P)]], [P]), []);
  assert.deepEqual(await underPolicies([[ca.policies(P, Q)], [ca.policies(P)]], [R, P]), []);
  assert.deepEqual(await underPolicies([[ca.policies(P, Q)], [ca.policies(P)]], [Q]), ['POLICY']);
  assert.deepEqual(await underPolicies([[ca.policies(ANY)], [ca.policies(P)]], [P]), []);
  assert.deepEqual(await underPolicies([[], [ca.policies(P)]], [P]), ['POLICY']);
  assert.deepEqual(await underPolicies([[ca.policies(P)], [ca.policies(ANY)]], [P]), []);
});

test('inhibitAnyPolicy ends what stands for every policy (RFC 5280 §6.1.3 (d))', async () => {
  assert.deepEqual(await underPolicies([[ca.policies(P), ca.inhibitAnyPolicy(0)], [ca.policies(ANY)]], [P]), [
    'POLICY',
  ]);
  assert.deepEqual(
    await underPolicies([[ca.policies(P), ca.inhibitAnyPolicy(1)], [ca.policies(ANY)]], [P]),
    [],
  );
  assert.deepEqual(
    await underPolicies([[ca.policies(P), ca.inhibitAnyPolicy(0)], [ca.policies(P)]], [P]),
    [],
  );
});

test('policy mapping: a policy of ours by the name that the other domain gives it (RFC 5280 §6.1.4 (b))', async () => {
  const first = [ca.policies(P), ca.policyMappings([P, Q])];
  assert.deepEqual(await underPolicies([first, [ca.policies(Q)]], [P]), []);
  assert.deepEqual(await underPolicies([first, [ca.policies(P)]], [P]), ['POLICY']);
  assert.deepEqual(
    await underPolicies([[ca.policies(ANY), ca.policyMappings([P, Q])], [ca.policies(Q)]], [P]),
    [],
  );
  assert.deepEqual(
    await underPolicies(
      [[ca.policies(P), ca.policyConstraints({ mapping: 0 })], first, [ca.policies(Q)]],
      [P],
    ),
    ['POLICY'],
  );
  for (const pair of [
    [ANY, P],
    [P, ANY],
  ] as [string, string][])
    assert.deepEqual(
      await underPolicies([[ca.policies(P, ANY), ca.policyMappings(pair)], [ca.policies(P)]]),
      ['POLICY'],
    );
});

test('CVE-2023-0464: policies that multiply at each level cost no more than they are long', async () => {
  const oids = (level: number) => Array.from({ length: 100 }, (_, i) => `1.2.${level}.${i}`);
  const maps = (level: number) =>
    oids(level).map((oid, i): [string, string] => [oid, oids(level + 1)[(i * 7) % 100]!]);
  const levels = [3, 4, 5, 6].map((level) => [
    ca.policies(...oids(level)),
    ca.policyMappings(...maps(level)),
  ]);
  const start = performance.now();
  assert.deepEqual(await underPolicies([...levels, [ca.policies(...oids(7))]], ['1.2.3.5']), []);
  assert.ok(performance.now() - start < 20_000);
  assert.deepEqual(
    await underPolicies([[ca.policies(...Array.from({ length: 200 }, (_, i) => `1.2.9.${i}`))], []]),
    ['TOO_BIG'],
  );
});

test('critical extensions: unknown ones refuse, and those that may not or have to be critical (RFC 5280 §4.2)', async () => {
  const leaf = (...extensions: Uint8Array[]) => codes(ask([makeLeaf(root, { extensions })], [root]));
  const odd = derOf(TAG.NULL);
  assert.deepEqual(await leaf(issue.extension('1.2.3.4', odd, { critical: true })), ['CRITICAL_EXTENSION']);
  assert.deepEqual(await leaf(issue.extension('1.2.3.4', odd)), []);
  const anchor = makeCa(undefined, {
    extensions: [...CA_EXTENSIONS, issue.extension('1.2.3.4', odd, { critical: true })],
  });
  assert.deepEqual(await codes(ask([makeLeaf(anchor)], [anchor])), ['CRITICAL_EXTENSION']);
  const skid = derOf(TAG.OCTET_STRING, bytes(1, 2, 3));
  assert.deepEqual(await leaf(issue.extension('2.5.29.14', skid, { critical: true })), [
    'CRITICAL_EXTENSION',
  ]);
  assert.deepEqual(await leaf(issue.extension('2.5.29.36', derOf(TAG.SEQUENCE, derOf(0x80, bytes(5))))), [
    'CRITICAL_EXTENSION',
  ]);
  const san = issue.subjectAltName([dns('a.example')]);
  assert.deepEqual(await codes(ask([makeLeaf(root, { name: '', extensions: [san] })], [root])), [
    'CRITICAL_EXTENSION',
  ]);
  assert.deepEqual(
    await leaf(
      issue.extension('2.5.29.37', derOf(TAG.SEQUENCE, encodeOid('2.5.29.37.0')), { critical: true }),
    ),
    [],
  );
});

test('two ways to an anchor, one of them bad in any way: the other is found, whatever the order; both bad is bad', async () => {
  const key = testKey('rsa', 6);
  const above = makeCa(undefined, { name: 'CN=Above', key: testKey('rsa', 7) });
  const mid = (wish: ca.Wish) => makeCa(above, { name: 'CN=mid', key, ...wish });
  const odd = issue.extension('1.2.3.4', derOf(TAG.NULL), { critical: true });
  const bad: Record<string, ca.Holder> = {
    EXPIRED: mid({ notAfter: ca.NOON - ca.DAY }),
    NOT_YET_VALID: mid({ notBefore: ca.NOON + ca.DAY }),
    NOT_A_CA: mid({ extensions: [] }),
    KEY_USAGE: mid({ extensions: [issue.basicConstraints(true), issue.keyUsage(6)] }),
    EXTENDED_KEY_USAGE: mid({ extensions: [...CA_EXTENSIONS, issue.extendedKeyUsage('1.3.6.1.5.5.7.3.4')] }),
    NAME_CONSTRAINTS: mid({ extensions: [...CA_EXTENSIONS, ca.nameConstraints([dns('example.com')])] }),
    POLICY: mid({ extensions: [...CA_EXTENSIONS, ca.policyConstraints({ explicit: 0 })] }),
    WEAK_SIGNATURE: mid({ hash: 'sha1' }),
    CRITICAL_EXTENSION: mid({ extensions: [...CA_EXTENSIONS, odd] }),
    BAD_SIGNATURE: makeCa({ ...above, key: testKey('rsa', 8) }, { name: 'CN=mid', key }),
    UNTRUSTED: makeCa(makeCa(undefined, { name: 'CN=Nobody' }), { name: 'CN=mid', key }),
  };
  const good = mid({});
  const leaf = makeLeaf(good);
  for (const [code, one] of Object.entries(bad)) {
    for (const between of [
      [one, good],
      [good, one],
    ])
      assert.deepEqual(await codes(ask([leaf, ...between], [root, above])), [], `${code} beside a good one`);
    assert.ok((await codes(ask([leaf, one], [root, above]))).includes(code), code);
  }
  const all = Object.values(bad).slice(0, 8);
  assert.deepEqual(await codes(ask([leaf, ...all, good], [above])), []);
  assert.notDeepEqual(await codes(ask([leaf, ...all], [above])), []);
});
