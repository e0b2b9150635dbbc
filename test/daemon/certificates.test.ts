// Certificates from the file to the established IKE SA: real keys, real paths, two daemons.

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import type { Trust } from '../../src/config/credentials.ts';
import { signOctets } from '../../src/crypto/node-signatures.ts';
import { schemeRow } from '../../src/crypto/signature-schemes.ts';
import { PATH_RULES } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { type Fetch, FetchError } from '../../src/daemon/fetch.ts';
import { createJudge } from '../../src/daemon/judge.ts';
import { createRevocation } from '../../src/daemon/revocation.ts';
import { type Folder, folder } from '../config/files.ts';
import { DAY, type Holder, makeCa, makeLeaf, NOON, type TestKey, testKey, type Wish } from '../crypto/ca.ts';
import { makeAnswer, makeList, serialOf } from '../crypto/revocation-answers.ts';
import { keyPem, pem, startPair, stopPair } from './pki.ts';

const ROOT = makeCa();
const OTHER_ROOT = makeCa(undefined, { name: 'CN=Other', key: testKey('p256', 3) });

interface Site {
  chain?: Holder[];
  leaf?: Holder;
  /** The CA that this side trusts. */
  ca?: Holder;
  more?: string;
  /** `off`, and what else shall stand behind it. */
  revocation?: string;
}

function leafOf(side: 'a' | 'b', wish: Wish & { issuer?: Holder; dns?: string } = {}): Holder {
  const { issuer = ROOT, dns = `${side}.example`, ...rest } = wish;
  return makeLeaf(issuer, { name: `CN=${side}`, key: testKey('p256', side === 'a' ? 10 : 11), dns, ...rest });
}

/** Files of a side, and the lines that name them. */
function lines(
  files: Folder,
  side: 'a' | 'b',
  { leaf = leafOf(side), chain = [], ca = ROOT, more = '', revocation = 'off' }: Site,
): string {
  const other = side === 'a' ? 'b' : 'a';
  const certificate = files.write(`${side}.pem`, pem(leaf, ...chain));
  const key = files.write(`${side}.key`, keyPem(leaf.key));
  const authority = files.write(`${side}-ca.pem`, pem(ca));
  return `    peer-id: ${other}.example
    auth: { certificate: ${certificate}, key: ${key}, ca: ${authority}, revocation: ${revocation} }
${more}`;
}

/** What `up` of a says, and the log of both sides. */
async function connect(t: TestContext, a: Site = {}, b: Site = {}, at = NOON, fetch?: Fetch) {
  const files = folder(t);
  const pair = startPair(files, lines(files, 'a', a), lines(files, 'b', b), at, fetch);
  const up = await pair.a.daemon.command('up', 't');
  const [seenByA, seenByB] = [pair.a.lines.join('\n'), pair.b.lines.join('\n')];
  const credential = credentialOf(pair.b.gateway.sas()[0]?.state);
  await stopPair(pair);
  return { up, seenByA, seenByB, credential };
}

function credentialOf(state: { name: string; peer?: { credential?: unknown } } | undefined) {
  return state?.peer?.credential as { scheme: string; subject: string; warnings: string[] } | undefined;
}

for (const kind of ['p256', 'p384', 'p521', 'rsa', 'ed25519', 'ed448'] as const satisfies TestKey[]) {
  test(`two daemons with ${kind} certificates under one CA bring a tunnel up`, async (t) => {
    const key = testKey(kind, 20);
    const { up, credential, seenByB } = await connect(t, { leaf: leafOf('a', { key }) });
    assert.equal(up, 'OK', seenByB);
    assert.equal(credential!.subject, 'CN=a');
  });
}

test('ML-DSA-65 where both sides name it (draft-ietf-ipsecme-ikev2-pqc-auth), and not of itself', async (t) => {
  const leaf = leafOf('a', { key: testKey('ml-dsa-65', 20) });
  const named = 'off, signatures: [ml-dsa-65, ecdsa-sha256]';
  const { up, credential, seenByB } = await connect(t, { leaf, revocation: named }, { revocation: named });
  assert.equal(up, 'OK', seenByB);
  assert.equal(credential!.scheme, 'ml-dsa-65');
  const silent = await connect(
    t,
    { leaf, revocation: named },
    { revocation: 'off, signatures: [ecdsa-sha256]' },
  );
  assert.equal(silent.up, 'CONFIG_NO_SIGNATURE');
});

test('intermediates in any order', async (t) => {
  const upper = makeCa(ROOT, { name: 'CN=Upper', key: testKey('p256', 4) });
  const lower = makeCa(upper, { name: 'CN=Lower', key: testKey('p256', 5) });
  const leaf = leafOf('a', { issuer: lower });
  assert.equal((await connect(t, { leaf, chain: [upper, lower] })).up, 'OK');
  assert.equal((await connect(t, { leaf, chain: [lower, upper] })).up, 'OK');
});

const REFUSALS: [string, Site, string, RegExp][] = [
  [
    'of a CA that is not trusted',
    { leaf: leafOf('a', { issuer: OTHER_ROOT }) },
    'PEER_CERTIFICATE_UNTRUSTED',
    /auth: ca/,
  ],
  [
    'that ended yesterday',
    { leaf: leafOf('a', { notAfter: NOON - DAY }) },
    'PEER_CERTIFICATE_EXPIRED',
    /have it issued again/,
  ],
  [
    'that begins tomorrow',
    { leaf: leafOf('a', { notBefore: NOON + DAY }) },
    'PEER_CERTIFICATE_EXPIRED',
    /clock/,
  ],
  [
    'for another name',
    { leaf: leafOf('a', { dns: 'c.example' }), more: '    id: { fqdn: c.example }\n' },
    'PEER_UNKNOWN',
    /set peer-id/,
  ],
];
for (const [what, site, code, advice] of REFUSALS) {
  test(`a certificate ${what}: the reason stands in the log of the side that refuses`, async (t) => {
    const { up, seenByB } = await connect(t, site);
    assert.equal(up, 'PEER_REFUSED_AUTH');
    assert.match(seenByB, new RegExp(code));
    assert.match(seenByB, advice);
  });
}

test('the clock is wrong by a year: the certificate that is out of its time is named', async (t) => {
  const { up, seenByB } = await connect(t, {}, {}, NOON + 400 * DAY);
  assert.equal(up, 'PEER_REFUSED_AUTH');
  assert.match(seenByB, /PEER_CERTIFICATE_EXPIRED/);
});

test('raw public keys (RFC 7670): each side knows the key of the other', async (t) => {
  const files = folder(t);
  const keys = { a: testKey('p256', 10), b: testKey('ed25519', 11) };
  const spki = (side: 'a' | 'b') =>
    createPublicKey(keys[side]).export({ format: 'pem', type: 'spki' }).toString();
  const side = (own: 'a' | 'b', other: 'a' | 'b') => {
    const key = files.write(`${own}.key`, keyPem(keys[own]));
    const known = files.write(`${other}.pub`, spki(other));
    return `    auth: { key: ${key}, public-key: ${known} }\n`;
  };
  const pair = startPair(files, side('a', 'b'), side('b', 'a'));
  assert.equal(await pair.a.daemon.command('up', 't'), 'OK', pair.b.lines.join('\n'));
  await stopPair(pair);
});

test('a raw key that is not the known one is refused, with its fingerprint', async (t) => {
  const files = folder(t);
  const pub = (number: number) =>
    files.write(
      `${number}.pub`,
      createPublicKey(testKey('p256', number)).export({ format: 'pem', type: 'spki' }).toString(),
    );
  const key = (number: number) => files.write(`${number}.key`, keyPem(testKey('p256', number)));
  const pair = startPair(
    files,
    `    auth: { key: ${key(10)}, public-key: ${pub(11)} }\n`,
    `    auth: { key: ${key(11)}, public-key: ${pub(12)} }\n`,
  );
  assert.equal(await pair.a.daemon.command('up', 't'), 'PEER_REFUSED_AUTH');
  assert.match(pair.b.lines.join('\n'), /SHA-256 of the key shown: [0-9a-f]{64}.*PEER_KEY_UNKNOWN/);
  await stopPair(pair);
});

test('we show a certificate, the peer holds a secret', async (t) => {
  const files = folder(t);
  const leaf = leafOf('a');
  const certificate = files.write('a.pem', pem(leaf));
  const key = files.write('a.key', keyPem(leaf.key));
  const psk = files.write('b.psk', 'correct-horse-battery-staple-42');
  const ca = files.write('ca.pem', pem(ROOT));
  const pair = startPair(
    files,
    `    auth: { own: { certificate: ${certificate}, key: ${key} }, peer: { psk: { file: ${psk} } } }\n`,
    `    peer-id: a.example\n    auth: { own: { psk: { file: ${psk} } }, peer: { ca: ${ca}, revocation: off } }\n`,
  );
  assert.equal(await pair.a.daemon.command('up', 't'), 'OK', pair.b.lines.join('\n'));
  await stopPair(pair);
});

test('every name under a domain, by our own word (peer-id with *)', async (t) => {
  const files = folder(t);
  const pair = startPair(
    files,
    lines(files, 'a', {}),
    lines(files, 'b', {}).replace('peer-id: a.example', "peer-id: '*.example'"),
  );
  assert.equal(await pair.a.daemon.command('up', 't'), 'OK', pair.b.lines.join('\n'));
  await stopPair(pair);
});

test('a distinguished name is compared by RFC 5280 §7.1, whatever the spelling', async (t) => {
  const files = folder(t);
  const leaf = makeLeaf(ROOT, {
    name: 'C=DE, O=Example GmbH, CN=a',
    key: testKey('p256', 10),
    extensions: [],
  });
  const pair = startPair(
    files,
    lines(files, 'a', { leaf }),
    lines(files, 'b', {}).replace('peer-id: a.example', "peer-id: { dn: 'C=DE, O=example  gmbh, CN=A' }"),
  );
  assert.equal(await pair.a.daemon.command('up', 't'), 'OK', pair.b.lines.join('\n'));
  await stopPair(pair);
});

// Revocation: the leaf of a names where its CA publishes.

const LISTED = leafOf('a', {
  extensions: [
    issue.subjectAltName([{ type: 'dns', value: 'a.example' }]),
    issue.crlDistributionPoint('http://ca.example/list.crl'),
  ],
});

test('soft: nobody answers, the tunnel comes up, and the log says what is not known', async (t) => {
  const { up, seenByB, credential } = await connect(t, { leaf: LISTED }, { revocation: 'soft' });
  assert.equal(up, 'OK', seenByB);
  assert.match(
    seenByB,
    /nobody says whether it was revoked: http:\/\/ca.example\/list.crl.*PEER_CERTIFICATE_DOUBT/,
  );
  assert.equal(credential!.warnings.length, 1);
});

test('hard: nobody answers, the tunnel stays down, and the reason names whom we asked', async (t) => {
  const { up, seenByB } = await connect(t, { leaf: LISTED }, { revocation: 'hard' });
  assert.equal(up, 'PEER_REFUSED_AUTH');
  assert.match(seenByB, /http:\/\/ca.example\/list.crl: nobody is there.*PEER_REVOCATION_UNKNOWN/);
});

test('a list that was fetched: not on it, and on it', async (t) => {
  const clean: Fetch = async () => makeList(ROOT);
  assert.equal((await connect(t, { leaf: LISTED }, { revocation: 'hard' }, NOON, clean)).up, 'OK');
  const black: Fetch = async () => makeList(ROOT, { revoked: [{ serial: serialOf(LISTED) }] });
  const { up, seenByB } = await connect(t, { leaf: LISTED }, { revocation: 'soft' }, NOON, black);
  assert.equal(up, 'PEER_REFUSED_AUTH');
  assert.match(seenByB, /PEER_CERTIFICATE_REVOKED/);
});

test('a list from a file (crl), with nobody to ask', async (t) => {
  const files = folder(t);
  const list = files.write('list.crl', '');
  writeFileSync(list, makeList(ROOT, { revoked: [{ serial: serialOf(LISTED) }] }));
  const { up, seenByB } = await connect(t, { leaf: LISTED }, { revocation: `soft, crl: ${list}` });
  assert.equal(up, 'PEER_REFUSED_AUTH');
  assert.match(seenByB, /PEER_CERTIFICATE_REVOKED/);
});

test('nothing is asked for a certificate of a stranger, a thief or a wrong name', async (t) => {
  let asked = 0;
  const fetch: Fetch = async () => {
    asked++;
    return makeList(ROOT);
  };
  const extensions = (dns: string) => [
    issue.subjectAltName([{ type: 'dns', value: dns }]),
    issue.crlDistributionPoint('http://attacker.example/'),
  ];
  const stranger = leafOf('a', { issuer: OTHER_ROOT, extensions: extensions('a.example') });
  const b = { revocation: 'hard' };
  assert.notEqual((await connect(t, { leaf: stranger }, b, NOON, fetch)).up, 'OK');
  const question = {
    type: 'verify',
    trust: 't',
    schemes: ['ecdsa-sha256'],
    octets: new Uint8Array(8),
    signature: new Uint8Array(70),
    certificates: [{ encoding: 4, data: leafOf('a', { extensions: extensions('a.example') }).der }],
  } as const;
  const judge = judgeWith(fetch);
  for (const value of ['a.example', 'c.example']) {
    const { valid } = await judge({
      ...question,
      schemes: [...question.schemes],
      certificates: [...question.certificates],
      identity: { type: 'fqdn', value },
    });
    assert.equal(valid, false);
  }
  assert.equal(asked, 0);
});

/** Trusts ROOT, and knows whether anything was revoked or nothing. */
function judgeWith(fetch: Fetch, revocation: 'soft' | 'hard' = 'hard') {
  const rules = { ...PATH_RULES, revocation };
  return createJudge({
    trust: () => ({ anchors: [ROOT.der], publicKeys: [], crls: [], rules }),
    wallClock: () => NOON,
    revocation: createRevocation({ fetch, now: () => NOON, limits: { question: 300, fetch: 300 } }),
  });
}

test('a CA that never answers holds up its own peer for a bounded time, and nobody else', async () => {
  const judge = judgeWith(() => new Promise(() => {}));
  const octets = new TextEncoder().encode('octets');
  const ask = async (leaf: Holder) => {
    const signature = await signOctets(leaf.key, schemeRow('ecdsa-sha256'), octets);
    return judge({
      type: 'verify',
      trust: 't',
      identity: { type: 'fqdn', value: 'a.example' },
      schemes: ['ecdsa-sha256'],
      octets,
      signature,
      certificates: [{ encoding: 4, data: leaf.der }],
    });
  };
  const order: string[] = [];
  const slow = ask(LISTED).then(() => order.push('slow'));
  const others = Array.from({ length: 20 }, () => ask(leafOf('a')).then(() => order.push('other')));
  await Promise.all([slow, ...others]);
  assert.deepEqual([order.length, order.indexOf('slow')], [21, 20]);
});

test('certificates and lists of any bytes: a reason, never an exception', async () => {
  const judge = judgeWith(() => Promise.reject(new FetchError('none')));
  const good = leafOf('a').der;
  for (let i = 0; i < 400; i++) {
    const data = good.slice(0, i % 3 === 0 ? (i * 37) % good.length : good.length);
    if (data.length > 0) data[(i * 7919) % data.length]! ^= 1 << (i & 7);
    const encoding = [4, 4, 7, 14, 15][i % 5]!;
    const { valid, reasons } = await judge({
      type: 'verify',
      trust: 't',
      identity: { type: 'fqdn', value: 'a.example' },
      schemes: ['ecdsa-sha256', 'ed25519', 'rsa-sha256'],
      octets: data,
      signature: data.slice(0, 70),
      certificates: [{ encoding, data }],
    });
    assert.ok(!valid && reasons.length > 0);
  }
});

test('an OCSP answer comes along in IKE_AUTH where it is asked for, and nobody else is (RFC 4806)', async (t) => {
  const files = folder(t);
  const answer = (status: 'good' | 'revoked') => {
    const file = files.write(`${status}.ocsp`, '');
    writeFileSync(file, makeAnswer(ROOT, LISTED, { status }));
    return file;
  };
  const hard = { revocation: 'hard' };
  const shown = (file: string) => ({ leaf: LISTED, revocation: `off, ocsp: ${file}` });
  const good = await connect(t, shown(answer('good')), hard);
  assert.equal(good.up, 'OK', good.seenByB);
  assert.deepEqual(good.credential!.warnings, []);
  const revoked = await connect(t, shown(answer('revoked')), { revocation: 'soft' });
  assert.match(revoked.seenByB, /PEER_CERTIFICATE_REVOKED/);
});

test('what is shown is held against what is known: a certificate against a known key, nothing, a raw key against a CA', async () => {
  const leaf = leafOf('a');
  const octets = new TextEncoder().encode('octets');
  const signature = await signOctets(leaf.key, schemeRow('ecdsa-sha256'), octets);
  const spki = issue.spkiOf(leaf.key);
  const judge = (
    known: Partial<Trust>,
    certificates: { encoding: number; data: Uint8Array }[],
    schemes = ['ecdsa-sha256'],
  ) =>
    createJudge({
      trust: () => ({
        anchors: [],
        publicKeys: [],
        crls: [],
        rules: { ...PATH_RULES, revocation: 'off' },
        ...known,
      }),
      wallClock: () => NOON,
      revocation: createRevocation({ fetch: () => Promise.reject(new FetchError('none')), now: () => NOON }),
    })({
      type: 'verify',
      trust: 't',
      identity: { type: 'fqdn', value: 'a.example' },
      schemes,
      octets,
      signature,
      certificates,
    });
  const shown = [{ encoding: 4, data: leaf.der }];
  const first = async (verdict: ReturnType<typeof judge>) => (await verdict).reasons[0];
  assert.equal((await judge({ publicKeys: [spki] }, shown)).valid, true);
  assert.equal((await judge({ publicKeys: [spki] }, [])).valid, true);
  assert.equal(
    (await judge({ anchors: [ROOT.der], publicKeys: [spki] }, [{ encoding: 15, data: spki }])).valid,
    true,
  );
  assert.deepEqual(await first(judge({ anchors: [ROOT.der] }, [])), {
    code: 'PEER_NO_CERTIFICATE',
    message: 'none came',
  });
  assert.match(
    (await first(judge({ anchors: [ROOT.der] }, [{ encoding: 15, data: spki }])))!.message,
    /raw public key came/,
  );
  assert.equal(
    (await first(judge({ publicKeys: [issue.spkiOf(testKey('p256', 11))] }, [])))?.code,
    'PEER_SIGNATURE_INVALID',
  );
  assert.match(
    (await first(judge({ anchors: [ROOT.der] }, shown, ['ed25519'])))!.message,
    /signs with ed25519, and its key is ec/,
  );
  assert.equal((await judge({ anchors: [ROOT.der] }, shown, ['ecdsa-sha384'])).valid, false);
  assert.equal((await judge({ anchors: [ROOT.der] }, shown, ['ecdsa-sha384', 'ecdsa-sha256'])).valid, true);
});
