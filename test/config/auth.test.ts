// `auth`, `id` and `peer-id`: what may stand there, and a complaint with line and column for all the rest.

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { DAY, makeCa, makeLeaf, NOON, testKey } from '../crypto/ca.ts';
import { keyPem, pem, siteFile } from '../daemon/pki.ts';
import { folder, PSK } from './files.ts';

const ROOT = makeCa();
const KEY = testKey('p256', 10);
const LEAF = makeLeaf(ROOT, { key: KEY, dns: 'a.example' });
const RENEWED = makeLeaf(ROOT, { key: testKey('p256', 12), dns: 'a.example' });

/** Files by the words that stand for them in a text. */
function filesOf(t: TestContext): Record<string, string> {
  const files = folder(t);
  const spki = createPublicKey(testKey('p256', 11)).export({ format: 'pem', type: 'spki' }).toString();
  const lower = makeCa(ROOT, { name: 'CN=Lower', key: testKey('p256', 5) });
  return {
    CERT: files.write('a.pem', pem(LEAF)),
    RENEWED: files.write('renewed.pem', pem(RENEWED)),
    NEWKEY: files.write('new.key', keyPem(testKey('p256', 12))),
    EXPIRED: files.write(
      'old.pem',
      pem(makeLeaf(ROOT, { key: KEY, notAfter: NOON - DAY, dns: 'a.example' })),
    ),
    BELOW: files.write('below.pem', pem(makeLeaf(lower, { key: KEY, dns: 'a.example' }))),
    CHAIN: files.write('chain.pem', pem(makeLeaf(lower, { key: KEY, dns: 'a.example' }), lower)),
    KEY: files.write('a.key', keyPem(KEY)),
    OPEN: files.write('open.key', keyPem(KEY), 0o644),
    OTHERKEY: files.write('other.key', keyPem(testKey('p256', 11))),
    WEAK: files.write('weak.key', keyPem(testKey('rsa', 0, 1024))),
    LOCKED: files.write(
      'locked.key',
      KEY.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
    ),
    CA: files.write('ca.pem', pem(ROOT)),
    PUB: files.write('peer.pub', spki),
    PSK: files.write('good.psk', PSK),
    EMPTY: files.write('empty.pem', 'nothing\n'),
    FILE: files.write('isthmus.yaml', ''),
  };
}

/** Lines of a tunnel; a word in capitals behind @ is a file. */
function load(t: TestContext, lines: string): ReturnType<typeof loadConfig> & { texts: string[] } {
  const known = filesOf(t);
  const text = siteFile('a', lines).replace(/@([A-Z]+)/g, (_, word: string) => known[word]!);
  const loaded = loadConfig(folder(t).write('isthmus.yaml', text), NOON);
  const texts = loaded.complaints.map((one) => complaintText({ ...one, file: basename(one.file) }));
  return { ...loaded, texts };
}

function good(t: TestContext, lines: string): Config {
  const { config, texts } = load(t, lines);
  assert.ok(config, texts.join('\n'));
  return config;
}

const PEER = '    peer-id: b.example\n';
const GOOD = `${PEER}    auth: { certificate: @CERT, key: @KEY, ca: @CA }\n`;

const WRONG: [string, string, RegExp][] = [
  ['nothing at all', '    auth: {}\n', /:8:11: it says nothing of how we prove ourselves: auth: \{ psk/],
  [
    'a certificate without a key',
    `${PEER}    auth: { certificate: @CERT, ca: @CA }\n`,
    /:9:26: key is missing/,
  ],
  [
    'no CA',
    `${PEER}    auth: { certificate: @CERT, key: @KEY }\n`,
    /what proves the peer is missing: ca: FILE/,
  ],
  [
    'a key that others can read',
    GOOD.replace('@KEY', '@OPEN'),
    /others can read the private key in .*chmod 600/,
  ],
  [
    'a key of another certificate',
    GOOD.replace('@KEY', '@OTHERKEY'),
    /the key does not belong to the certificate/,
  ],
  ['a weak key', GOOD.replace('@KEY', '@WEAK'), /1024 bits, 2048 are the least/],
  ['a locked key', GOOD.replace('@KEY', '@LOCKED'), /locked with a password: openssl pkey/],
  [
    'a certificate as key',
    GOOD.replace('@KEY', '@PSK'),
    /the private key .* cannot be read: it is no PEM key/,
  ],
  [
    'a file that is not there',
    GOOD.replace('@CA', '/nowhere'),
    /certificate \/nowhere cannot be read: there is no such file/,
  ],
  ['a file without a certificate', GOOD.replace('@CERT', '@EMPTY'), /there is no certificate in it/],
  [
    'an id that the certificate does not name',
    `${GOOD}    id: c.example\n`,
    /:10:9: our certificate does not prove c.example; it proves a.example/,
  ],
  [
    'a scheme of another key',
    GOOD.replace('ca:', 'signatures: [ed25519], ca:'),
    /can sign with none of ed25519/,
  ],
  ['a scheme that nobody knows', GOOD.replace('ca:', 'signatures: [rsa-md5], ca:'), /Invalid option/],
  ['a secret beside a certificate', GOOD.replace('ca:', 'psk: { file: @PSK }, ca:'), /write own: and peer:/],
  ['own without peer', '    auth: { own: { psk: { file: @PSK } } }\n', /write own: and peer: both/],
  [
    'a wildcard with one secret',
    "    peer-id: '*.example'\n    auth: { psk: { file: @PSK } }\n",
    /does not tell them apart/,
  ],
  ['an id of two types', `${GOOD}    id: { fqdn: a.example, dn: CN=a }\n`, /one type is wanted/],
  ['an address that is none', `${GOOD}    id: { ipv4: a.example }\n`, /"a.example" is not of type ipv4/],
];
for (const [what, lines, complaint] of WRONG) {
  test(`refused: ${what}`, (t) => {
    const { config, texts } = load(t, lines);
    assert.equal(config, undefined);
    assert.match(texts.join('\n'), complaint);
  });
}

test('a warning, no more: our certificate has ended; the chain is not complete', (t) => {
  const expired = load(t, GOOD.replace('@CERT', '@EXPIRED'));
  assert.match(expired.texts.join('\n'), /warning: our certificate ended on 2030-05-31: renew it/);
  assert.ok(expired.config);
  const incomplete = load(t, GOOD.replace('@CERT', '@BELOW'));
  assert.match(incomplete.texts.join('\n'), /warning: the certificate of CN=Lower stands neither/);
  assert.deepEqual(load(t, GOOD.replace('@CERT', '@CHAIN')).texts, []);
});

test('the chain is sent without its root, and CERTREQ may name each CA over us', (t) => {
  const { auth } = good(t, GOOD.replace('@CERT', '@CHAIN')).tunnels[0]!;
  assert.ok(auth.method === 'each' && auth.own.method === 'signature');
  const [key] = auth.own.keys;
  assert.deepEqual([key!.certificates.length, key!.authorities.length], [2, 2]);
});

test('without id the certificate says who we are, visibly', (t) => {
  assert.deepEqual(good(t, GOOD).tunnels[0]!.local.identity, { type: 'fqdn', value: 'a.example' });
  const byKey = good(t, '    auth: { key: @KEY, public-key: @PUB }\n').tunnels[0]!;
  assert.deepEqual(byKey.local.identity, { type: 'ipv4', value: '192.0.2.1' });
});

test('identities of every type, by form and by name', (t) => {
  const peer = (text: string) =>
    good(t, `    peer-id: ${text}\n    auth: { psk: { file: @PSK } }\n`).tunnels[0]!.remote.identity;
  assert.deepEqual(peer('198.51.100.7'), { type: 'ipv4', value: '198.51.100.7' });
  assert.deepEqual(peer("'2001:DB8::7'"), { type: 'ipv6', value: '2001:db8::7' });
  assert.deepEqual(peer('gw.example'), { type: 'fqdn', value: 'gw.example' });
  assert.deepEqual(peer('vpn@example.org'), { type: 'email', value: 'vpn@example.org' });
  assert.deepEqual(peer("'C=DE, O=Example, CN=gw'"), { type: 'dn', value: 'C=DE, O=Example, CN=gw' });
  assert.deepEqual(peer('branch-7'), { type: 'key-id', value: 'branch-7' });
  assert.deepEqual(peer('{ fqdn: gw }'), { type: 'fqdn', value: 'gw' });
  assert.deepEqual(peer("{ key-id: 'hex:00ff' }"), { type: 'key-id', value: 'hex:00ff' });
});

test('signatures: in the order given, the old methods of the same kind behind; ML-DSA only when named', (t) => {
  const schemes = (lines: string) => {
    const { auth } = good(t, lines).tunnels[0]!;
    assert.ok(auth.method === 'each' && auth.peer.method === 'signature');
    return auth.peer.schemes;
  };
  const some = schemes(GOOD.replace('ca:', 'signatures: [ecdsa-sha256, rsa-pss-sha256], ca:'));
  assert.deepEqual(some, ['ecdsa-sha256', 'rsa-pss-sha256', 'ecdsa-sha256-old', 'rsa-sha256-old']);
  assert.ok(!schemes(GOOD).some((name) => /ml-dsa|sha1/.test(name)));
  assert.ok(schemes(`${GOOD}    legacy: true\n`).includes('rsa-sha1-old'));
});

test('a renewed certificate or key disturbs nothing; another CA or another secret begins anew', (t) => {
  const effect = (before: string, after: string) => {
    const known = filesOf(t);
    const config = (lines: string) => {
      const text = siteFile('a', lines).replace(/@([A-Z]+)/g, (_, word: string) => known[word]!);
      return loadConfig(folder(t).write('isthmus.yaml', text), NOON).config!;
    };
    return planReload(config(before), config(after))[0]!.effect;
  };
  assert.equal(effect(GOOD, GOOD), 'untouched');
  assert.equal(effect(GOOD, GOOD.replace('@CERT', '@RENEWED').replace('@KEY', '@NEWKEY')), 'renewed');
  assert.equal(effect(GOOD, GOOD.replace('@CA', '@CHAIN')), 'restart');
  assert.equal(effect(GOOD, '    auth: { psk: { file: @PSK } }\n'), 'restart');
});

test('no dump of a configuration holds a key', (t) => {
  const config = good(t, GOOD);
  const secret = KEY.export({ format: 'jwk' }).d!;
  const text = JSON.stringify({ ...config, keyring: [...config.keyring.keys.entries()] });
  assert.ok(!text.includes(secret));
});
