// Certificates from the file to the established IKE SA: real keys, real paths, two daemons.

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { type Folder, folder } from '../config/files.ts';
import { DAY, type Holder, makeCa, makeLeaf, NOON, type TestKey, testKey, type Wish } from '../crypto/ca.ts';
import { keyPem, pem, startPair, stopPair } from './pki.ts';

const ROOT = makeCa();
const OTHER_ROOT = makeCa(undefined, { name: 'CN=Other', key: testKey('p256', 3) });

interface Site {
  chain?: Holder[];
  leaf?: Holder;
  /** The CA that this side trusts. */
  ca?: Holder;
  more?: string;
}

function leafOf(side: 'a' | 'b', wish: Wish & { issuer?: Holder; dns?: string } = {}): Holder {
  const { issuer = ROOT, dns = `${side}.example`, ...rest } = wish;
  return makeLeaf(issuer, { name: `CN=${side}`, key: testKey('p256', side === 'a' ? 10 : 11), dns, ...rest });
}

/** Files of a side, and the lines that name them. */
function lines(
  files: Folder,
  side: 'a' | 'b',
  { leaf = leafOf(side), chain = [], ca = ROOT, more = '' }: Site,
): string {
  const other = side === 'a' ? 'b' : 'a';
  const certificate = files.write(`${side}.pem`, pem(leaf, ...chain));
  const key = files.write(`${side}.key`, keyPem(leaf.key));
  const authority = files.write(`${side}-ca.pem`, pem(ca));
  return `    peer-id: ${other}.example
    auth: { certificate: ${certificate}, key: ${key}, ca: ${authority}, revocation: off }
${more}`;
}

/** What `up` of a says, and the log of both sides. */
async function connect(t: TestContext, a: Site = {}, b: Site = {}, at = NOON) {
  const files = folder(t);
  const pair = startPair(files, lines(files, 'a', a), lines(files, 'b', b), at);
  const up = await pair.a.daemon.command('up', 't');
  const [seenByA, seenByB] = [pair.a.lines.join('\n'), pair.b.lines.join('\n')];
  const credential = credentialOf(pair.b.gateway.sas()[0]?.state);
  await stopPair(pair);
  return { up, seenByA, seenByB, credential };
}

function credentialOf(state: { name: string; peer?: { credential?: unknown } } | undefined) {
  return state?.peer?.credential as { scheme: string; subject: string } | undefined;
}

for (const kind of ['p256', 'p384', 'p521', 'rsa', 'ed25519', 'ed448'] as const satisfies TestKey[]) {
  test(`two daemons with ${kind} certificates under one CA bring a tunnel up`, async (t) => {
    const key = testKey(kind, 20);
    const { up, credential, seenByB } = await connect(t, { leaf: leafOf('a', { key }) });
    assert.equal(up, 'OK', seenByB);
    assert.equal(credential!.subject, 'CN=a');
  });
}

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
    /Renew it/,
  ],
  [
    'that begins tomorrow',
    { leaf: leafOf('a', { notBefore: NOON + DAY }) },
    'PEER_CERTIFICATE_EXPIRED',
    /clocks/,
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
