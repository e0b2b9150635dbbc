// What a running gateway is given that is broken: certificates and revocation answers of every malformed kind from the wire,
// a clock that is wrong by a day, a secret that is gone. A reason is told, and whoever else is connected notices nothing.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { derOf, encodeOid, TAG } from '../../src/crypto/der.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { encodeProof, schemeRow } from '../../src/crypto/signature-schemes.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { sentenceOf } from '../../src/daemon/report.ts';
import type { Job, JobResult } from '../../src/ike/boundary.ts';
import { sealInner } from '../../src/ike/protect.ts';
import { encodePayloads, type Payload } from '../../src/wire/ikev2.ts';
import { CERT_ENCODING, EXCHANGE, ID_TYPE, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { type Folder, folder } from '../config/files.ts';
import { DAY, type Holder, makeCa, makeLeaf, NOON, nameOf, testKey } from '../crypto/ca.ts';
import { makeAnswer, makeList, refusal } from '../crypto/revocation-answers.ts';
import { generator, mutated } from '../wire/mutate.ts';
import { keyPem, pem, type RunJob, type Running, siteFile, start } from './pki.ts';

const ROOT = makeCa();
const STRANGER = '203.0.113.9';
const HOUR = 3_600_000;

function leafOf(side: string, key: number, wish: Parameters<typeof makeLeaf>[1] = {}): Holder {
  return makeLeaf(ROOT, { name: `CN=${side}`, key: testKey('p256', key), dns: `${side}.example`, ...wish });
}

function authLines(files: Folder, own: string, leaf: Holder, peer: string, revocation = 'off'): string {
  const [certificate, key] = [
    files.write(`${own}.pem`, pem(leaf)),
    files.write(`${own}.key`, keyPem(leaf.key)),
  ];
  const ca = files.write('ca.pem', pem(ROOT));
  return `    id: ${own}.example
    peer-id: ${peer}.example
    auth: { certificate: ${certificate}, key: ${key}, ca: ${ca}, revocation: ${revocation} }
`;
}

interface World {
  /** Well-behaved, connected to b. */
  a: Running;
  b: Running;
  /** Hostile: what it signs comes to `signed`, and its core goes no further. */
  m: Running;
  /** What b sent to m since it was emptied. */
  toM: Uint8Array[];
  signed: () => Promise<{ job: Job & { type: 'sign' }; signature: Uint8Array }>;
}

async function world(t: TestContext, revocation = 'off'): Promise<World> {
  const files = folder(t);
  const toM: Uint8Array[] = [];
  let arrived: (value: { job: Job & { type: 'sign' }; signature: Uint8Array }) => void = () => {};
  const holdsBack =
    (runJob: RunJob): RunJob =>
    async (job) => {
      const result = await runJob(job);
      if (job.type !== 'sign' || result.type !== 'sign') return result;
      arrived({ job, signature: result.signature });
      return new Promise<JobResult>(() => {});
    };
  const second = `  x:
    peer: ${STRANGER}
    start: wait
    local: 10.2.0.0/16
    remote: 10.3.0.0/16
    retransmit: { first: 10ms, sends: 1 }
${authLines(files, 'b', leafOf('b', 11), 'm', revocation)}`;
  const own = leafOf('a', 10);
  const at: Record<string, () => Running> = {
    '192.0.2.1': () => a,
    '198.51.100.1': () => b,
    [STRANGER]: () => m,
  };
  const deliver = (address: string): Running => {
    const to = at[address]!();
    if (to !== m) return to;
    const feed: Running['daemon']['feed'] = (event) => {
      if (event.type === 'datagram') toM.push(event.bytes);
      m.daemon.feed(event);
    };
    return { ...m, daemon: { ...m.daemon, feed } };
  };
  const a: Running = start(
    files.write('a.yaml', siteFile('a', authLines(files, 'a', own, 'b'))),
    deliver,
    NOON,
  );
  const lines = `${authLines(files, 'b', leafOf('b', 11), 'a')}${second}`;
  const b: Running = start(files.write('b.yaml', siteFile('b', lines)), deliver, NOON);
  const mFile = siteFile('a', authLines(files, 'm', leafOf('m', 12), 'b'))
    .replaceAll('192.0.2.1', STRANGER)
    .replace('10.1.0.0', '10.3.0.0');
  const m: Running = start(files.write('m.yaml', mFile), deliver, NOON, undefined, holdsBack);
  t.after(() => stopAll(a, b, m));
  assert.equal(await a.daemon.command('up', 't'), 'OK', b.lines.join('\n'));
  return {
    ...{ a, b, m, toM },
    signed: () =>
      new Promise((resolve) => {
        arrived = resolve;
      }),
  };
}

async function stopAll(...all: Running[]): Promise<void> {
  await Promise.all(all.map(({ daemon }) => daemon.stop(20)));
}

const provider = createNodeProvider();

/** One attempt of m with these CERT payloads; what b says of it, with the code. The log itself would cut such a flood. */
async function attempt(
  world: World,
  certificates: { encoding: number; data: Uint8Array }[],
): Promise<string> {
  const { b, m, toM } = world;
  const waiting = world.signed();
  m.daemon.command('up', 't');
  const { job, signature } = await waiting;
  const [sa] = m.gateway.sas();
  assert.ok(sa?.state.name === 'auth-signing');
  const row = schemeRow(job.scheme);
  const selector = { tsType: 7, protocol: 0, startPort: 0, endPort: 65535 };
  const transforms = [
    { type: 1, id: 20, keyBits: 256 },
    { type: 5, id: 0 },
  ];
  const payloads: Payload[] = [
    {
      type: PAYLOAD.IDi,
      critical: false,
      idType: ID_TYPE.ID_FQDN,
      data: new TextEncoder().encode('m.example'),
    },
    ...certificates.map((one) => ({ type: PAYLOAD.CERT, critical: false, ...one })),
    { type: PAYLOAD.AUTH, critical: false, method: row.method, data: encodeProof(row, signature) },
    {
      type: PAYLOAD.SA,
      critical: false,
      proposals: [{ number: 1, protocol: PROTOCOL.ESP, spi: Uint8Array.of(192, 1, 2, 3), transforms }],
    },
    {
      type: PAYLOAD.TSi,
      critical: false,
      selectors: [{ ...selector, start: '10.3.0.0', end: '10.3.255.255' }],
    },
    {
      type: PAYLOAD.TSr,
      critical: false,
      selectors: [{ ...selector, start: '10.2.0.0', end: '10.2.255.255' }],
    },
  ];
  const fields = {
    initiatorSpi: sa.spi,
    responderSpi: sa.peerSpi,
    exchange: EXCHANGE.IKE_AUTH,
    flags: { initiator: true, response: false, version: false },
    messageId: sa.window.nextRequest,
  };
  const bytes = sealInner(provider, sa.state.secrets, fields, encodePayloads(payloads));
  const before = b.gateway.failures().at(-1);
  toM.length = 0;
  b.daemon.feed({ type: 'datagram', bytes, local: sa.remote, remote: sa.local });
  await answered(world);
  await m.daemon.command('down', 't');
  const established = b.gateway.tunnels().find(({ name }) => name === 'x')!.state === 'established';
  if (established) await b.daemon.command('down', 'x');
  const failure = b.gateway.failures().at(-1);
  if (failure === before || !failure || failure.code === 'PEER_VANISHED')
    return established ? 'established' : 'nothing';
  return `${failure.tunnel}: ${sentenceOf(failure)} [${failure.code}]`;
}

/** Far more than any message may take; a loop takes longer. */
const FOR_EVER = 10_000;

async function answered({ toM }: World): Promise<void> {
  const began = performance.now();
  while (toM.length === 0) {
    assert.ok(performance.now() - began < FOR_EVER, 'no answer');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The good neighbour is still there, and goes on. */
async function unaffected({ a, b }: World): Promise<void> {
  assert.equal(b.gateway.tunnels().find(({ name }) => name === 't')!.state, 'established');
  assert.equal(await a.daemon.command('rekey', 't'), 'OK');
}

const x509 = (...data: Uint8Array[]) =>
  data.map((one) => ({ encoding: CERT_ENCODING.X509_SIGNATURE, data: one }));
const LEAF = leafOf('m', 12).der;
const random = generator(17);
const bytesOf = (count: number, value?: number) =>
  Uint8Array.from({ length: count }, () => value ?? random(256));

/** SEQUENCE in SEQUENCE, so deep. */
function nested(depth: number): Uint8Array {
  let inner: Uint8Array = new Uint8Array(0);
  for (let i = 0; i < depth; i++) inner = derOf(TAG.SEQUENCE, inner);
  return inner;
}

function rsaKey(modulus: Uint8Array, exponent: Uint8Array): Uint8Array {
  const algorithm = derOf(TAG.SEQUENCE, encodeOid('1.2.840.113549.1.1.1'), Uint8Array.of(5, 0));
  const key = derOf(TAG.SEQUENCE, derOf(TAG.INTEGER, modulus), derOf(TAG.INTEGER, exponent));
  return derOf(TAG.SEQUENCE, algorithm, issue.bitString(key));
}

function ecKey(curve: string, point: Uint8Array): Uint8Array {
  const algorithm = derOf(TAG.SEQUENCE, encodeOid('1.2.840.10045.2.1'), encodeOid(curve));
  return derOf(TAG.SEQUENCE, algorithm, issue.bitString(point));
}

const withKey = (spki: Uint8Array) => leafOf('m', 12, { spki }).der;
const MODULUS = bytesOf(256, 0x7f);
const three = Uint8Array.of(3);

function loop(): Uint8Array[] {
  const [one, other] = [testKey('p256', 21), testKey('p256', 22)];
  const first = { name: nameOf('CN=One'), key: one, der: LEAF };
  const second = makeCa(first, { name: 'CN=Other', key: other });
  const back = makeCa(second, { name: 'CN=One', key: one });
  return [
    makeLeaf(back, { name: 'CN=m', key: testKey('p256', 12), dns: 'm.example' }).der,
    back.der,
    second.der,
  ];
}

const CERTIFICATES: [string, Uint8Array[]][] = [
  ['none', []],
  ['an empty one', [new Uint8Array(0)]],
  ['one byte', [Uint8Array.of(0x30)]],
  ['60,000 zeros', [bytesOf(60_000, 0)]],
  ['noise', [bytesOf(1000)]],
  ['PEM in the place of DER', [new TextEncoder().encode(pem(LEAF))]],
  ['a list of revoked ones', [makeList(ROOT)]],
  ['a key without a certificate', [issue.spkiOf(testKey('p256', 12))]],
  ['no end of length', [Uint8Array.of(0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0)]],
  ['a length of 4 GiB', [Uint8Array.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1)]],
  ['a length in 126 bytes', [Uint8Array.of(0x30, 0xfe, ...bytesOf(126, 0xff))]],
  ['5000 levels', [nested(5000)]],
  ['an object identifier without an end', [derOf(TAG.SEQUENCE, derOf(TAG.OID, bytesOf(5000, 0x80)))]],
  ['something behind it', [Uint8Array.of(...LEAF, 0, 0)]],
  ['the same sixteen times', Array(16).fill(LEAF)],
  ['the same seventeen times', Array(17).fill(LEAF)],
  ['two that sign each other', loop()],
  ['5000 names', [leafOf('m', 12, { extensions: [issue.subjectAltName(manyNames(3000))] }).der]],
  ['a modulus of zero', [withKey(rsaKey(Uint8Array.of(0), three))]],
  ['a modulus of one', [withKey(rsaKey(Uint8Array.of(1), three))]],
  ['an even modulus', [withKey(rsaKey(Uint8Array.of(...MODULUS.slice(1), 2), three))]],
  ['a modulus of 8 bits', [withKey(rsaKey(Uint8Array.of(0x7f), three))]],
  ['a modulus of 40,000 bytes', [withKey(rsaKey(bytesOf(40_000, 0x7f), three))]],
  ['an exponent of zero', [withKey(rsaKey(MODULUS, Uint8Array.of(0)))]],
  ['an exponent of one', [withKey(rsaKey(MODULUS, Uint8Array.of(1)))]],
  ['an even exponent', [withKey(rsaKey(MODULUS, Uint8Array.of(2)))]],
  ['an exponent of 20,000 bytes', [withKey(rsaKey(MODULUS, bytesOf(20_000, 0x7f)))]],
  [
    'a point that is not on the curve',
    [withKey(ecKey('1.2.840.10045.3.1.7', Uint8Array.of(4, ...bytesOf(64, 9))))],
  ],
  ['a point at infinity', [withKey(ecKey('1.2.840.10045.3.1.7', Uint8Array.of(0)))]],
  ['a curve that nobody knows', [withKey(ecKey('1.2.3.4', Uint8Array.of(4, ...bytesOf(64, 9))))]],
];

function manyNames(count: number) {
  return Array.from({ length: count }, (_, i) => ({ type: 'dns' as const, value: `h${i}.example` }));
}

test('certificates of every malformed kind: a reason each, and the others go on', async (t) => {
  const all = await world(t);
  for (const [what, certificates] of CERTIFICATES) {
    const said = await attempt(all, x509(...certificates));
    if (what !== 'the same sixteen times')
      assert.match(said, /^x: .*203\.0\.113\.9.*\[PEER_[A-Z_]+\]$/s, `${what}: ${said}`);
    assert.doesNotMatch(said, /BUG_/, what);
  }
  assert.equal(all.b.gateway.sas().length, 1, 'of the hostile peer nothing is left');
  await unaffected(all);
});

test('200 damaged certificates, beginning and end cut, and chains of them', async (t) => {
  const all = await world(t);
  const chain = makeCa(ROOT, { name: 'CN=Middle', key: testKey('p256', 30) });
  const leaf = makeLeaf(chain, { name: 'CN=m', key: testKey('p256', 12), dns: 'm.example' });
  for (let i = 0; i < 200; i++) {
    const one = mutated(leaf.der, random);
    const other = random(2) === 0 ? chain.der : mutated(chain.der, random);
    const cut =
      i % 5 === 0
        ? one.subarray(random(one.length))
        : i % 5 === 1
          ? one.subarray(0, random(one.length))
          : one;
    const said = await attempt(all, x509(cut, other));
    assert.match(said, /\[PEER_[A-Z_]+\]|^established$/, said);
    assert.doesNotMatch(said, /BUG_/);
  }
  assert.equal(all.b.gateway.sas().length, 1);
  await unaffected(all);
});

test('revocation answers of malformed kinds in CERT payloads (RFC 4806): a reason each, or no weight', async (t) => {
  const all = await world(t, 'soft');
  const about = leafOf('m', 12);
  const answers = [
    new Uint8Array(0),
    bytesOf(50_000, 0),
    bytesOf(500),
    nested(3000),
    LEAF,
    refusal(1),
    refusal(255),
  ];
  const good = [makeAnswer(ROOT, about), makeList(ROOT)] as const;
  for (let i = 0; i < 60; i++) answers.push(mutated(good[i % 2]!, random));
  for (const [index, data] of answers.entries()) {
    for (const encoding of [CERT_ENCODING.OCSP_CONTENT, CERT_ENCODING.CRL]) {
      const said = await attempt(all, [...x509(about.der), { encoding, data }]);
      assert.match(said, /\[PEER_[A-Z_]+\]|^established$/, `${index}: ${said}`);
      assert.doesNotMatch(said, /BUG_/, `${index}`);
    }
  }
  await unaffected(all);
});

test('certificates of a kind that we never asked for are refused by their kind', async (t) => {
  const all = await world(t);
  for (const encoding of [0, 1, 2, 3, 5, 6, 8, 9, 10, 12, 13, 201, 255]) {
    const said = await attempt(all, [{ encoding, data: LEAF }]);
    assert.match(said, /\[PEER_CERTIFICATE_(KIND|[A-Z]+)\]|\[PEER_[A-Z_]+\]/, `${encoding}: ${said}`);
  }
  await unaffected(all);
});

test('a clock that jumps by a day: who is connected stays, who comes is told which certificate and when', async (t) => {
  const files = folder(t);
  let now = NOON;
  const young = leafOf('a', 10, { notBefore: NOON - HOUR, notAfter: NOON + 2 * HOUR });
  const sides = { a: () => a, b: () => b };
  const a: Running = start(
    files.write('a.yaml', siteFile('a', authLines(files, 'a', young, 'b'))),
    () => sides.b(),
    NOON,
  );
  const file = files.write('b.yaml', siteFile('b', authLines(files, 'b', leafOf('b', 11), 'a')));
  const b: Running = start(
    file,
    () => sides.a(),
    () => now,
  );
  t.after(() => stopAll(a, b));
  assert.equal(await a.daemon.command('up', 't'), 'OK');
  for (const [wrong, sentence] of [
    [NOON + DAY, /CN=a.*PEER_CERTIFICATE_EXPIRED/],
    [NOON - DAY, /CN=a.*PEER_CERTIFICATE_EXPIRED/],
  ] as const) {
    now = wrong;
    assert.equal(await a.daemon.command('rekey', 't'), 'OK', 'timers and keys do not look at that clock');
    assert.equal(b.gateway.tunnels()[0]!.state, 'established');
    assert.equal(await a.daemon.command('down', 't'), 'OK');
    assert.equal(await a.daemon.command('up', 't'), 'PEER_REFUSED_AUTH');
    assert.match(b.lines.join('\n'), sentence);
    await a.daemon.command('down', 't');
    now = NOON;
    assert.equal(await a.daemon.command('up', 't'), 'OK');
  }
});

for (const kind of ['psk', 'certificate'] as const) {
  test(`a ${kind} that is gone while in use: rekeys go on, the next authentication says what is missing`, async (t) => {
    const files = folder(t);
    const psk = files.write('psk', 'correct-horse-battery-staple-42');
    const lines = (own: 'a' | 'b', peer: 'a' | 'b') =>
      kind === 'psk'
        ? `    auth: { psk: { file: ${psk} } }\n`
        : authLines(files, own, leafOf(own, own === 'a' ? 10 : 11), peer);
    const sides = { a: () => a, b: () => b };
    const a: Running = start(files.write('a.yaml', siteFile('a', lines('a', 'b'))), () => sides.b(), NOON);
    const b: Running = start(files.write('b.yaml', siteFile('b', lines('b', 'a'))), () => sides.a(), NOON);
    t.after(() => stopAll(a, b));
    assert.equal(await a.daemon.command('up', 't'), 'OK');
    for (const table of [b.keyring.secrets, b.keyring.keys]) table.clear();
    assert.equal(await a.daemon.command('rekey', 't'), 'OK');
    assert.equal(await b.daemon.command('rekey', 't'), 'OK');
    await a.daemon.command('down', 't');
    assert.equal(await a.daemon.command('up', 't'), 'PEER_REFUSED_AUTH');
    assert.match(b.lines.join('\n'), /t: .*no (pre-shared|private) key for .*\[CONFIG_NO_SECRET\]/);
    assert.equal(b.gateway.sas().length, 0);
  });
}
