import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import {
  bindsIdentity,
  certificateKeyHash,
  describeCertificate,
  judgePath,
  matchesPattern,
  type PathQuestion,
  parseName,
  printName,
  publicKeyOf,
  readCertificateFile,
  readPem,
  sameName,
  writePem,
} from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import {
  ask,
  CA_EXTENSIONS,
  certify,
  DAY,
  makeCa,
  makeLeaf,
  NOON,
  nameOf,
  type TestKey,
  testKey,
} from './ca.ts';

async function codes(question: PathQuestion): Promise<string[]> {
  const { reasons, valid } = await judgePath(question);
  assert.equal(valid, reasons.length === 0);
  for (const { text } of reasons) assert.match(text, /^[a-z0-9].{10,}/);
  return reasons.map(({ code }) => code).sort();
}

const root = makeCa();

const KINDS: TestKey[] = ['rsa', 'rsa-pss', 'p256', 'p384', 'p521', 'ed25519', 'ed448', 'ml-dsa-65'];
for (const kind of KINDS)
  test(`a path of ${kind} keys: root, two intermediates in any order, leaf`, async () => {
    const pss = kind === 'rsa-pss';
    const key = (number: number) => testKey(kind, number);
    const top = makeCa(undefined, { key: key(0), pss });
    const first = makeCa(top, { name: 'CN=first', key: key(1), pss });
    const second = makeCa(first, { name: 'CN=second', key: key(2), pss });
    const leaf = makeLeaf(second, { key: key(3), pss });
    for (const between of [
      [first, second],
      [second, first],
      [second, top, first],
    ]) {
      const verdict = await judgePath(ask([leaf, ...between], [top]));
      assert.deepEqual(verdict.reasons, []);
      assert.deepEqual(verdict.path, [leaf.der, second.der, first.der, top.der]);
      assert.deepEqual(verdict.publicKey, issue.spkiOf(leaf.key));
      assert.deepEqual(verdict.names.dns, ['gw.example.org']);
    }
  });

test('RSA: PKCS#1 v1.5 with SHA-2 and PSS by the same key', async () => {
  const key = testKey('rsa', 0);
  for (const wish of [{ pss: true }, { hash: 'sha384' }, { hash: 'sha512' }, { pss: true, hash: 'sha512' }]) {
    const ca = makeCa(undefined, { key });
    assert.deepEqual(await codes(ask([makeLeaf(ca, wish)], [ca])), []);
  }
});

test('nothing trusted: the missing issuer is named', async () => {
  const leaf = makeLeaf(root);
  const { reasons, wanted } = await judgePath(ask([leaf], []));
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['UNTRUSTED'],
  );
  assert.match(reasons[0]!.text, /its issuer is C=DE, O=Example, CN=Root/);
  assert.deepEqual(wanted, []);
});

test('a CA of the same name with another key did not sign: BAD_SIGNATURE and UNTRUSTED', async () => {
  const impostor = makeCa(undefined, { key: testKey('p256', 9) });
  assert.deepEqual(await codes(ask([makeLeaf(impostor)], [root])), ['BAD_SIGNATURE', 'UNTRUSTED']);
});

test('a CA that renewed its key: both anchors have one name, the right one is found', async () => {
  const renewed = makeCa(undefined, { key: testKey('p256', 8) });
  assert.deepEqual(await codes(ask([makeLeaf(renewed)], [root, renewed])), []);
  assert.deepEqual(await codes(ask([makeLeaf(root)], [renewed, root])), []);
});

test('cross certificates: a path that ended is passed by for one that is good', async () => {
  const other = makeCa(undefined, { name: 'CN=Other', key: testKey('p256', 5) });
  const ended = makeCa(other, { name: 'CN=mid', key: testKey('p256', 6), notAfter: NOON - DAY });
  const good = makeCa(root, { name: 'CN=mid', key: testKey('p256', 6) });
  const leaf = makeLeaf(good);
  assert.deepEqual(await codes(ask([leaf, ended, good], [other, root])), []);
  assert.deepEqual(await codes(ask([leaf, ended], [other, root])), ['EXPIRED']);
});

test('a way that is too long is left, and a shorter one is found', async () => {
  const far = makeCa(root, { name: 'CN=far', key: testKey('p256', 5) });
  const long = makeCa(far, { name: 'CN=mid', key: testKey('p256', 6) });
  const other = makeCa(undefined, { name: 'CN=Other', key: testKey('p256', 4) });
  const short = makeCa(other, { name: 'CN=mid', key: testKey('p256', 6) });
  const rules = { longestPath: 3 };
  const leaf = makeLeaf(short);
  assert.deepEqual(await codes(ask([leaf, long, far, short], [root, other], { rules })), []);
  assert.deepEqual(await codes(ask([leaf, long, far], [root], { rules })), ['PATH_TOO_LONG', 'UNTRUSTED']);
  assert.deepEqual(await codes(ask([leaf, long, far], [root], { rules: { longestPath: 4 } })), []);
});

test('key identifiers help to find, and prove nothing (RFC 5280 §4.2.1.1)', async () => {
  const [one, two] = [1, 2].map((i) => {
    const key = testKey('p256', 30 + i);
    return makeCa(undefined, { key, extensions: [...CA_EXTENSIONS, issue.subjectKeyId(issue.spkiOf(key))] });
  });
  const named = (ca: typeof one) => issue.authorityKeyId(issue.spkiOf(ca!.key));
  for (const anchors of [
    [one!, two!],
    [two!, one!],
  ]) {
    assert.deepEqual(await codes(ask([makeLeaf(one!, { extensions: [named(one)] })], anchors)), []);
    assert.deepEqual(await codes(ask([makeLeaf(one!, { extensions: [named(two)] })], anchors)), []);
  }
});

test('where revocation could be asked is told for a verified path only (CVE-2022-40617)', async () => {
  const places = [
    issue.crlDistributionPoint('http://ca.example/crl'),
    issue.ocspAccess('http://ca.example/ocsp'),
  ];
  const leaf = makeLeaf(root, { extensions: places });
  const soft = { rules: { revocation: 'soft' } } as const;
  const { valid, wanted } = await judgePath(ask([leaf], [root], soft));
  assert.ok(valid);
  assert.deepEqual(
    wanted.map(({ type, url }) => [type, url]),
    [
      ['ocsp', 'http://ca.example/ocsp'],
      ['crl', 'http://ca.example/crl'],
    ],
  );
  for (const question of [
    ask([leaf], [], soft),
    ask([leaf], [root], { ...soft, at: NOON + 999 * DAY }),
    ask([makeLeaf(makeCa(undefined, { key: testKey('p256', 9) }), { extensions: places })], [root], soft),
    ask([leaf], [root]),
  ])
    assert.deepEqual((await judgePath(question)).wanted, []);
  assert.deepEqual(await codes(ask([leaf], [root], { rules: { revocation: 'hard' } })), [
    'REVOCATION_UNKNOWN',
  ]);
});

test('validity: each certificate of the path, to the second (RFC 5280 §4.1.2.5)', async () => {
  const leaf = makeLeaf(root, { notBefore: NOON, notAfter: NOON + DAY });
  const at = (time: number) => codes(ask([leaf], [root], { at: time }));
  assert.deepEqual(await at(NOON - 1000), ['NOT_YET_VALID']);
  assert.deepEqual(await at(NOON), []);
  assert.deepEqual(await at(NOON + DAY), []);
  assert.deepEqual(await at(NOON + DAY + 1000), ['EXPIRED']);
  assert.deepEqual(
    await codes(ask([leaf], [root], { at: NOON + DAY + 1000, rules: { clockTolerance: 5000 } })),
    [],
  );
  const old = makeCa(undefined, { notAfter: NOON - DAY });
  assert.deepEqual(await codes(ask([makeLeaf(old)], [old])), ['EXPIRED']);
});

test('every reason is told, not the first alone', async () => {
  const weak = makeCa(undefined, { key: testKey('rsa', 0, 1024), extensions: [], notAfter: NOON - DAY });
  const leaf = makeLeaf(weak, { hash: 'sha1', notBefore: NOON + DAY, extensions: [issue.keyUsage(2)] });
  assert.deepEqual(await codes(ask([leaf], [weak])), [
    'EXPIRED',
    'KEY_USAGE',
    'NOT_A_CA',
    'NOT_YET_VALID',
    'WEAK_KEY',
    'WEAK_SIGNATURE',
  ]);
});

test('basic constraints: who is no CA issues nothing (RFC 5280 §6.1.4 (k))', async () => {
  for (const extensions of [[], [issue.basicConstraints(false)]]) {
    const no = makeCa(root, { name: 'CN=no', key: testKey('p256', 3), extensions });
    assert.deepEqual(await codes(ask([makeLeaf(no), no], [root])), ['NOT_A_CA']);
  }
});

test('path length: CAs below are counted, self-issued ones and the leaf are not (RFC 5280 §6.1.4 (l), (m))', async () => {
  const limited = (length: number) => [issue.basicConstraints(true, length), issue.keyUsage(5)];
  const top = (length: number) => makeCa(undefined, { extensions: limited(length) });
  for (const [length, expected] of [
    [0, ['PATH_TOO_LONG']],
    [1, []],
    [2, []],
  ] as const) {
    const ca = top(length);
    const mid = makeCa(ca, { name: 'CN=mid', key: testKey('p256', 3) });
    assert.deepEqual(await codes(ask([makeLeaf(mid), mid], [ca])), expected);
    assert.deepEqual(await codes(ask([makeLeaf(ca)], [ca])), []);
  }
  const ca = top(0);
  const rolled = makeCa(ca, { key: testKey('p256', 4) });
  assert.deepEqual(await codes(ask([makeLeaf(rolled), rolled], [ca])), [], 'self-issued');
});

test('key usage: keyCertSign of a CA, digitalSignature or nonRepudiation of a leaf (RFC 4945 §5.1.3.2)', async () => {
  const ca = makeCa(undefined, { extensions: [issue.basicConstraints(true), issue.keyUsage(6)] });
  assert.deepEqual(await codes(ask([makeLeaf(ca)], [ca])), ['KEY_USAGE']);
  for (const [bits, expected] of [
    [[0], []],
    [[1], []],
    [[0, 2], []],
    [[2], ['KEY_USAGE']],
    [[5], ['KEY_USAGE']],
  ] as const)
    assert.deepEqual(
      await codes(ask([makeLeaf(root, { extensions: [issue.keyUsage(...bits)] })], [root])),
      expected,
    );
});

test('extended key usage: absent, IKE, TLS and any are fine; others are not, of an issuer neither (RFC 4945 §5.1.3.12)', async () => {
  const rows = [
    ['1.3.6.1.5.5.7.3.17', []],
    ['1.3.6.1.5.5.7.3.1', []],
    ['1.3.6.1.5.5.7.3.2', []],
    ['2.5.29.37.0', []],
    ['1.3.6.1.5.5.7.3.3', ['EXTENDED_KEY_USAGE']],
    ['1.3.6.1.5.5.7.3.9', ['EXTENDED_KEY_USAGE']],
  ] as const;
  for (const [oid, expected] of rows) {
    const leaf = makeLeaf(root, { extensions: [issue.extendedKeyUsage(oid)] });
    assert.deepEqual(await codes(ask([leaf], [root])), expected);
    const mid = makeCa(root, {
      name: 'CN=m',
      key: testKey('p256', 3),
      extensions: [...CA_EXTENSIONS, issue.extendedKeyUsage(oid)],
    });
    assert.deepEqual(await codes(ask([makeLeaf(mid), mid], [root])), expected);
  }
});

test('the cases of the IPsec scenario of NSS: what other validators accept for IKE', async () => {
  const [dataEncipherment, keyAgreement] = [3, 4];
  const use = (last: string) => `1.3.6.1.5.5.7.3.${last}`;
  const intermediate = '1.3.6.1.5.5.8.2.2';
  const rows: [number[] | undefined, string[], string[]][] = [
    [undefined, [], []],
    [[0], [], []],
    [[1], [], []],
    [[0, 1, 2, dataEncipherment, keyAgreement], [], []],
    [[2, dataEncipherment, keyAgreement], [], ['KEY_USAGE']],
    [undefined, [use('3')], ['EXTENDED_KEY_USAGE']],
    [undefined, [use('1')], []],
    [[0], [use('1')], []],
    [[0], [use('17')], []],
    [[0], [use('5')], []],
    [[0], [use('3'), use('1'), intermediate], []],
    [[0], ['2.5.29.37.0'], []],
    [[0], [use('7')], []],
    // NSS takes mail for IKE; a certificate for mail is none for a gateway.
    [[0], [use('4')], ['EXTENDED_KEY_USAGE']],
  ];
  const mid = makeCa(root, { name: 'CN=CA1', key: testKey('p256', 3) });
  for (const [bits, uses, expected] of rows) {
    const extensions = [
      ...(bits ? [issue.keyUsage(...bits)] : []),
      ...(uses.length > 0 ? [issue.extendedKeyUsage(...uses)] : []),
    ];
    assert.deepEqual(await codes(ask([makeLeaf(mid, { extensions }), mid], [root])), expected);
  }
});

test('weak keys and hashes: the least RSA is a rule, SHA-1 is never accepted', async () => {
  const leaf = makeLeaf(root, { key: testKey('rsa', 0, 1024) });
  assert.deepEqual(await codes(ask([leaf], [root])), ['WEAK_KEY']);
  assert.deepEqual(await codes(ask([leaf], [root], { rules: { minimumRsaBits: 1024 } })), []);
  assert.deepEqual(
    await codes(
      ask([makeLeaf(root, { key: testKey('rsa', 0) })], [root], { rules: { minimumRsaBits: 3072 } }),
    ),
    ['WEAK_KEY'],
  );
  const rsa = makeCa(undefined, { key: testKey('rsa', 0) });
  assert.deepEqual(await codes(ask([makeLeaf(rsa, { hash: 'sha1' })], [rsa])), ['WEAK_SIGNATURE']);
});

test('a leaf pinned as anchor is trusted by itself, and still has to be good', async () => {
  const own = certify(undefined, { name: 'CN=self', key: testKey('ed25519', 1) });
  assert.deepEqual(await codes(ask([own], [own])), []);
  const byCa = makeLeaf(root);
  const verdict = await judgePath(ask([byCa], [byCa]));
  assert.deepEqual([verdict.valid, verdict.path.length], [true, 1]);
  const old = certify(undefined, { name: 'CN=self', notAfter: NOON - DAY });
  assert.deepEqual(await codes(ask([old], [old])), ['EXPIRED']);
  assert.deepEqual(await codes(ask([own], [root])), ['UNTRUSTED']);
  // A certificate of the same name and key is not the one that was pinned.
  const again = certify(undefined, { name: 'CN=self', key: testKey('ed25519', 1) });
  assert.deepEqual(await codes(ask([again], [own])), ['UNTRUSTED']);
});

test('CVE-2024-30397: loops of cross certificates end, and so does a crowd of namesakes', async () => {
  const a = makeCa(undefined, { name: 'CN=a', key: testKey('p256', 3) });
  const b = makeCa(undefined, { name: 'CN=b', key: testKey('p256', 4) });
  const ab = makeCa(b, { name: 'CN=a', key: a.key });
  const ba = makeCa(a, { name: 'CN=b', key: b.key });
  assert.deepEqual(await codes(ask([makeLeaf(ab), ab, ba], [root])), ['UNTRUSTED']);
  const namesakes = Array.from({ length: 9 }, (_, i) =>
    makeCa(undefined, { name: 'CN=x', key: testKey('p256', 20 + i) }),
  );
  const crossed = namesakes.map((one, i) => makeCa(namesakes[(i + 1) % 9]!, { name: 'CN=x', key: one.key }));
  const start = performance.now();
  const found = await codes(ask([makeLeaf(crossed[0]!), ...crossed], [root]));
  assert.ok(found.includes('UNTRUSTED'));
  assert.ok(performance.now() - start < 20_000);
});

test('too many and too large are refused unread', async () => {
  const leaf = makeLeaf(root);
  assert.deepEqual(await codes(ask(Array(11).fill(leaf), [root])), ['TOO_BIG']);
  assert.deepEqual(await codes(ask([], [root])), ['MALFORMED']);
  const large = makeLeaf(root, { extensions: [issue.extension('1.2.3.4', new Uint8Array(20_000))] });
  assert.deepEqual(await codes(ask([large], [root])), ['MALFORMED']);
});

test('CVE-2017-9022, CVE-2026-14957: RSA numbers that are zero, one, even, negative or huge', async () => {
  const good = Uint8Array.from({ length: 257 }, (_, i) => (i === 0 ? 0 : 0xc1));
  const e = Uint8Array.of(1, 0, 1);
  const rows: [Uint8Array, Uint8Array][] = [
    [Uint8Array.of(0), e],
    [Uint8Array.of(1), e],
    [Uint8Array.of(0, 0x81), e],
    [Uint8Array.from(good, (byte, i) => (i === 256 ? 0xc2 : byte)), e],
    [good.subarray(1), e],
    [good, Uint8Array.of(0)],
    [good, Uint8Array.of(1)],
    [good, Uint8Array.of(2)],
    [good, Uint8Array.of(0x83)],
    [good, Uint8Array.of(1, ...good.subarray(1))],
    [good, new Uint8Array(8192).fill(0x11)],
    [new Uint8Array(2500).fill(0x11), e],
  ];
  const rsaKey = (n: Uint8Array, x: Uint8Array) =>
    derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, n), derOf(TAG.INTEGER, x));
  for (const [n, x] of rows) {
    const algorithm = derOf(TAG.SEQUENCE, encodeOid('1.2.840.113549.1.1.1'), derOf(TAG.NULL));
    const spki = derOf(TAG.SEQUENCE, algorithm, issue.bitString(rsaKey(n, x)));
    const start = performance.now();
    assert.deepEqual(await codes(ask([makeLeaf(root, { spki })], [root])), ['WEAK_KEY']);
    assert.ok(performance.now() - start < 20_000);
    // As an issuer the key is never asked.
    const ca = makeCa(undefined, { spki });
    const below = makeLeaf({ ...ca, key: testKey() });
    assert.deepEqual(await codes(ask([below], [ca])), ['WEAK_KEY']);
  }
});

test('CVE-2018-17540: an RSA modulus of 1 to 512 bits', async () => {
  const algorithm = derOf(TAG.SEQUENCE, encodeOid('1.2.840.113549.1.1.1'), derOf(TAG.NULL));
  for (let bits = 1; bits <= 512; bits += bits < 32 ? 1 : 15) {
    const modulus = new Uint8Array(Math.floor(bits / 8) + 1).fill(0xff);
    modulus[0] = (1 << (bits % 8)) - 1;
    const numbers = derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, modulus), derOf(TAG.INTEGER, Uint8Array.of(3)));
    const spki = derOf(TAG.SEQUENCE, algorithm, issue.bitString(numbers));
    assert.deepEqual(await codes(ask([makeLeaf(root, { spki })], [root])), ['WEAK_KEY'], `${bits} bits`);
  }
});

test('a point that is none: at infinity, off the curve, of another length', async () => {
  const good = issue.spkiOf(testKey('p256', 2));
  const point = good.slice(-65);
  const algorithm = good.slice(2, 23);
  const off = Uint8Array.from(point, (byte, i) => (i === 64 ? byte ^ 1 : byte));
  for (const bits of [
    Uint8Array.of(0),
    new Uint8Array(),
    off,
    point.subarray(0, 64),
    Uint8Array.of(...point, 0),
  ]) {
    const spki = derOf(TAG.SEQUENCE, algorithm, issue.bitString(bits));
    assert.deepEqual(await codes(ask([makeLeaf(root, { spki })], [root])), ['WEAK_KEY']);
  }
});

test('CVE-2018-6459: PSS parameters with each field absent, unknown or of another type are refused', async () => {
  const rsa = makeCa(undefined, { key: testKey('rsa', 0) });
  const good = makeLeaf(rsa, { pss: true });
  assert.deepEqual(await codes(ask([good], [rsa])), []);
  const hash = (oid: string) => derOf(TAG.SEQUENCE, encodeOid(oid), derOf(TAG.NULL));
  const sha256 = hash('2.16.840.1.101.3.4.2.1');
  const mask = derOf(TAG.SEQUENCE, encodeOid('1.2.840.113549.1.1.8'), sha256);
  const salt = (value: Uint8Array) => derOf(0xa2, derOf(TAG.INTEGER, value));
  const parameters: (Uint8Array | undefined)[] = [
    undefined,
    derOf(TAG.NULL),
    derOf(TAG.SEQUENCE),
    derOf(TAG.SEQUENCE, derOf(0xa1, mask), salt(Uint8Array.of(32))),
    derOf(TAG.SEQUENCE, derOf(0xa0, sha256), salt(Uint8Array.of(32))),
    derOf(TAG.SEQUENCE, derOf(0xa0, hash('1.2.3.4')), derOf(0xa1, mask), salt(Uint8Array.of(32))),
    derOf(TAG.SEQUENCE, derOf(0xa0, derOf(TAG.NULL)), derOf(0xa1, mask), salt(Uint8Array.of(32))),
    derOf(TAG.SEQUENCE, derOf(0xa0, sha256), derOf(0xa1, mask), salt(Uint8Array.of(0xff))),
    derOf(TAG.SEQUENCE, derOf(0xa0, sha256), derOf(0xa1, mask), salt(Uint8Array.of(0x7f, 0xff, 0xff, 0xff))),
    derOf(
      TAG.SEQUENCE,
      derOf(0xa0, sha256),
      derOf(0xa1, mask),
      salt(Uint8Array.of(32)),
      derOf(0xa3, derOf(TAG.INTEGER, Uint8Array.of(2))),
    ),
  ];
  for (const one of parameters) {
    const algorithm = derOf(TAG.SEQUENCE, encodeOid('1.2.840.113549.1.1.10'), ...(one ? [one] : []));
    const der = withAlgorithm(good.der, algorithm);
    assert.deepEqual(await codes(ask([der], [rsa])), ['WEAK_SIGNATURE']);
  }
});

/** The same certificate with another AlgorithmIdentifier in both places. */
function withAlgorithm(der: Uint8Array, algorithm: Uint8Array): Uint8Array {
  const [tbs, old, signature] = parts(der);
  const fields = parts(tbs!).map((one) => (Buffer.compare(one, old!) === 0 ? algorithm : one));
  return derOf(TAG.SEQUENCE, derOf(TAG.SEQUENCE, ...fields), algorithm, signature!);
}

function parts(der: Uint8Array): Uint8Array[] {
  const header = der[1]! < 0x80 ? 2 : 2 + (der[1]! & 0x7f);
  const found: Uint8Array[] = [];
  for (let at = header; at < der.length; ) {
    const size = der[at + 1]! & 0x7f;
    const long = der[at + 1]! >= 0x80;
    const length = long
      ? Number.parseInt(Buffer.from(der.subarray(at + 2, at + 2 + size)).toString('hex'), 16)
      : size;
    const end = at + 2 + (long ? size : 0) + length;
    found.push(der.subarray(at, end));
    at = end;
  }
  return found;
}

test('two extensions of a kind, an unknown version, a wrong date: malformed, whatever else', async () => {
  const san = issue.subjectAltName([{ type: 'dns', value: 'a.example' }]);
  const rows = [
    [san, san],
    [issue.extension('2.5.29.17', derOf(TAG.SEQUENCE))],
    [
      issue.extension(
        '2.5.29.17',
        derOf(TAG.SEQUENCE, derOf(0x82, new TextEncoder().encode('a.example\0.evil'))),
      ),
    ],
    [issue.extension('2.5.29.17', derOf(TAG.SEQUENCE, derOf(0x87, new Uint8Array(5))))],
    [issue.extension('2.5.29.19', derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, Uint8Array.of(1))))],
    [issue.extension('2.5.29.19', derOf(TAG.SEQUENCE, derOf(TAG.BOOLEAN, Uint8Array.of(1))))],
    [issue.extension('2.5.29.15', derOf(TAG.OCTET_STRING))],
    [issue.extension('2.5.29.37', derOf(TAG.SEQUENCE))],
  ];
  for (const extensions of rows)
    assert.deepEqual(await codes(ask([makeLeaf(root, { extensions })], [root])), ['MALFORMED']);
});

test('an identity is bound by type and value, and by nothing else', () => {
  const ascii = (text: string) => new TextEncoder().encode(text);
  const subject = nameOf('C=DE, O=Example, CN=gw.example.org');
  const names = {
    subject,
    dns: ['gw.Example.org', '*.wild.example'],
    email: ['Admin@Example.org'],
    addresses: ['192.0.2.1', '2001:db8::1'],
    uris: [],
  };
  const good: [number, Uint8Array][] = [
    [1, Uint8Array.of(192, 0, 2, 1)],
    [2, ascii('GW.example.ORG')],
    [3, ascii('Admin@example.ORG')],
    [5, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
    [9, subject],
  ];
  for (const [idType, data] of good)
    for (let other = 0; other < 16; other++)
      assert.equal(bindsIdentity(names, { idType: other, data }), other === idType, `${idType} as ${other}`);
  const bad: [number, Uint8Array][] = [
    [2, ascii('gw.example.org.')],
    [2, ascii('gw.example.or')],
    [2, ascii('x.gw.example.org')],
    [2, ascii('a.wild.example')],
    [2, ascii('*.wild.example')],
    [2, ascii('')],
    [3, ascii('admin@example.org')],
    [3, ascii('Admin@example.org\0')],
    [1, Uint8Array.of(192, 0, 2)],
    [9, Uint8Array.of(0x30, 0)],
    [9, subject.subarray(0, subject.length - 1)],
    [9, new Uint8Array()],
  ];
  for (const [idType, data] of bad) assert.equal(bindsIdentity(names, { idType, data }), false);
  assert.equal(
    bindsIdentity({ ...names, subject: Uint8Array.of(0x30, 0) }, { idType: 9, data: Uint8Array.of(0x30, 0) }),
    false,
  );
});

test('names are equal by RFC 5280 §7.1: case and white space no, order and count yes', () => {
  const name = (text: string) => parseName(text)!;
  const gw = name('C=DE, O=Example Site, CN=gw');
  for (const same of ['C=de, O=example  SITE, CN=GW', 'c=DE,o= Example Site ,cn=gw'])
    assert.ok(sameName(gw, name(same)));
  for (const other of [
    'O=Example Site, C=DE, CN=gw',
    'C=DE, O=Example Site',
    'C=DE, O=ExampleSite, CN=gw',
    'C=DE, O=Example Site, CN=gw, CN=x',
    'C=DE, O=Example Site, OU=gw',
  ])
    assert.ok(!sameName(gw, name(other)), other);
  assert.ok(sameName(name('C=DE, CN=a+OU=b'), name('C=DE, OU=b+CN=a')), 'within an RDN order is none');
  assert.ok(!sameName(name('CN=a+OU=b'), name('CN=a, OU=b')));
});

test('CVE-2013-6075: a name is never equal to the start of another, and comparing is symmetric', () => {
  const texts = [
    'CN=a',
    'CN=ab',
    'C=DE, CN=a',
    'CN=a, C=DE',
    'CN=a, CN=a',
    'CN=a+CN=b',
    'O=a',
    'CN=A',
    'CN= a',
  ];
  const names = texts.map((text) => parseName(text)!);
  const odd = names.flatMap((one) => [one.subarray(0, -1), one.subarray(0, 4), Uint8Array.of(...one, 0)]);
  for (const a of [...names, ...odd, new Uint8Array()])
    for (const b of [...names, ...odd, new Uint8Array()]) {
      assert.equal(sameName(a, b), sameName(b, a));
      if (odd.includes(a)) assert.equal(sameName(a, b), false);
    }
  assert.equal(new Set(names.map((one) => names.findIndex((other) => sameName(one, other)))).size, 7);
});

test('names as text and back; what could deceive a terminal is escaped', () => {
  for (const text of [
    'C=DE, O=Example, CN=gw',
    'O=Example\\, Inc., CN=a\\+b',
    '1.2.3.4=x, E=a@example.org, DC=org',
    'CN=ä ß 雪',
  ])
    assert.equal(printName(parseName(text)!), text);
  assert.equal(printName(parseName('CN=a\u001b[31m\u202e')!), 'CN=a\\1b[31m\\e2\\80\\ae');
  for (const text of ['', 'gw', 'CN=', 'XX=y', '9.9.9=y']) assert.equal(parseName(text), undefined, text);
});

test('patterns of ours: a star is one whole label, mailbox or attribute', () => {
  const ascii = (text: string) => new TextEncoder().encode(text);
  const fqdn = (pattern: string, text: string) =>
    matchesPattern({ type: 'fqdn', value: pattern }, { idType: 2, data: ascii(text) });
  assert.ok(fqdn('*.example.org', 'gw.Example.org'));
  assert.ok(fqdn('gw.*.org', 'gw.x.org'));
  for (const text of [
    'example.org',
    'a.b.example.org',
    '.example.org',
    'gw.example.com',
    'gw.example.org.',
    'a b.example.org',
    '*.example.org',
  ])
    assert.ok(!fqdn('*.example.org', text), text);
  const email = (text: string) =>
    matchesPattern({ type: 'email', value: '*@example.org' }, { idType: 3, data: ascii(text) });
  assert.ok(
    email('a@EXAMPLE.org') &&
      !email('@example.org') &&
      !email('a@b@example.com') &&
      !email('a@x.example.org'),
  );
  const dn = (text: string) =>
    matchesPattern({ type: 'dn', value: 'C=DE, O=Example, CN=*' }, { idType: 9, data: parseName(text)! });
  assert.ok(dn('C=DE, O=example, CN=anything'));
  for (const text of [
    'C=DE, O=Example',
    'C=DE, O=Example, CN=a, CN=b',
    'C=DE, O=Other, CN=a',
    'O=Example, C=DE, CN=a',
    'C=DE, O=Example, OU=a',
  ])
    assert.ok(!dn(text), text);
  assert.ok(!matchesPattern({ type: 'dn', value: 'CN=*' }, { idType: 2, data: parseName('CN=a')! }));
  const two = { type: 'dn', value: 'CN=*+CN=*' } as const;
  assert.ok(!matchesPattern(two, { idType: 9, data: parseName('CN=a+OU=b')! }));
});

test('PEM: several objects, text between them, line ends of any kind; what is broken is told by line', () => {
  const [a, b] = [makeCa().der, makeLeaf(root).der];
  const text = `# comment\n${writePem('CERTIFICATE', a)}\nsubject: x\n${writePem('PRIVATE KEY', b)}${writePem('CERTIFICATE', b)}`;
  for (const file of [text, text.replaceAll('\n', '\r\n')]) {
    assert.deepEqual(readCertificateFile(new TextEncoder().encode(file)), [a, b]);
    assert.deepEqual(
      readPem(file).map(({ label }) => label),
      ['CERTIFICATE', 'PRIVATE KEY', 'CERTIFICATE'],
    );
  }
  assert.deepEqual(readCertificateFile(a), [a]);
  const broken = [
    '',
    'nothing',
    '-----BEGIN CERTIFICATE-----\nAAAA\n',
    '-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----',
    '-----END CERTIFICATE-----',
  ];
  for (const one of broken)
    assert.throws(() => readCertificateFile(new TextEncoder().encode(one)), RangeError);
});

test('CERTREQ names a CA by SHA-1 over its key (RFC 7296 §3.7); a description says what a certificate is', () => {
  const spki = issue.spkiOf(root.key);
  assert.deepEqual(publicKeyOf(root.der), spki);
  assert.equal(publicKeyOf(Uint8Array.of(1, 2)), undefined);
  assert.deepEqual(certificateKeyHash(spki), new Uint8Array(createHash('sha1').update(spki).digest()));
  const leaf = makeLeaf(root, { key: testKey('rsa', 0) });
  const told = describeCertificate(leaf.der);
  assert.ok(!('code' in told));
  assert.deepEqual(
    [told.subject, told.issuer, told.key, told.signature, told.ca, told.notAfter],
    [
      'C=DE, O=Example, CN=gw',
      'C=DE, O=Example, CN=Root',
      'RSA 2048 bits',
      'ecdsaWithSHA256',
      false,
      NOON + 300 * DAY,
    ],
  );
  assert.ok('code' in describeCertificate(Uint8Array.of(0x30, 0)));
});
