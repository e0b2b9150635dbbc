import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcp } from 'node:net';
import { test } from 'node:test';
import type { PathRules } from '../../src/crypto/x509.ts';
import * as issue from '../../src/crypto/x509-issue.ts';
import { createFetch, type Fetch, FetchError, isPublic } from '../../src/daemon/fetch.ts';
import { createRevocation } from '../../src/daemon/revocation.ts';
import { ask, DAY, makeCa, makeLeaf, NOON, testKey } from '../crypto/ca.ts';
import { makeAnswer, makeList, serialOf } from '../crypto/revocation-answers.ts';

const root = makeCa(undefined, { name: 'CN=Root' });
const CRL = 'http://ca.example/crl';
const OCSP = 'http://ca.example/ocsp';
const leaf = makeLeaf(root, { extensions: [issue.ocspAccess(OCSP), issue.crlDistributionPoint(CRL)] });

const question = (rule: PathRules['revocation'], who = leaf, anchors = [root]) =>
  ask([who], anchors, { rules: { revocation: rule } });

/** Answers by URL; whatever has no row fails. Keeps what was asked. */
function places(rows: Record<string, Uint8Array | (() => Promise<Uint8Array>)>): {
  fetch: Fetch;
  asked: string[];
} {
  const asked: string[] = [];
  return {
    asked,
    fetch: async ({ url, body }) => {
      asked.push(body ? `POST ${url}` : `GET ${url}`);
      const row = rows[url];
      if (!row) throw new FetchError('it answered 404');
      return row instanceof Uint8Array ? row : row();
    },
  };
}

async function judged(rows: Parameters<typeof places>[0], rule: PathRules['revocation'] = 'hard') {
  const { fetch, asked } = places(rows);
  const revocation = createRevocation({ fetch, now: () => NOON });
  const { reasons } = await revocation.judge(question(rule));
  return { asked, codes: reasons.map(({ code }) => code), text: reasons[0]?.text ?? '' };
}

test('OCSP is asked first, the list where it does not answer; a list that refuses refuses', async () => {
  const good = await judged({ [OCSP]: makeAnswer(root, leaf), [CRL]: makeList(root) });
  assert.deepEqual([good.codes, good.asked], [[], [`POST ${OCSP}`]]);
  const list = await judged({ [CRL]: makeList(root) });
  assert.deepEqual([list.codes, list.asked], [[], [`POST ${OCSP}`, `GET ${CRL}`]]);
  const revoked = makeList(root, { revoked: [{ serial: serialOf(leaf) }] });
  for (const rule of ['hard', 'soft'] as const)
    assert.deepEqual((await judged({ [CRL]: revoked }, rule)).codes, ['REVOKED']);
});

test('nobody answers: hard refuses and says whom we asked, soft accepts, off asks nobody', async () => {
  const hard = await judged({});
  assert.deepEqual(hard.codes, ['REVOCATION_UNKNOWN']);
  assert.match(hard.text, /http:\/\/ca\.example\/crl: it answered 404/);
  assert.deepEqual((await judged({}, 'soft')).codes, []);
  assert.deepEqual((await judged({}, 'off')).asked, []);
});

test('CVE-2022-40617: nothing is fetched for a path that reaches no anchor or is bad otherwise', async () => {
  const stranger = makeCa(undefined, { name: 'CN=Root', key: testKey('p256', 9) });
  const extensions = [issue.ocspAccess(OCSP), issue.crlDistributionPoint(CRL)];
  const forged = makeLeaf(stranger, { extensions });
  const expired = makeLeaf(root, { extensions, notAfter: NOON - DAY });
  const { fetch, asked } = places({});
  const revocation = createRevocation({ fetch, now: () => NOON });
  for (const who of [forged, expired])
    assert.equal((await revocation.judge(question('hard', who))).valid, false);
  assert.equal((await revocation.judge(question('hard', leaf, []))).valid, false);
  assert.deepEqual(asked, []);
});

test('what was fetched is kept until it ends; who failed is left alone for a minute', async () => {
  const { fetch, asked } = places({ [CRL]: makeList(root, { nextUpdate: NOON + 3_600_000 }) });
  let now = NOON;
  const revocation = createRevocation({ fetch, now: () => now });
  const once = async (at: number) => {
    now = at;
    asked.length = 0;
    const { valid } = await revocation.judge({ ...question('hard'), at });
    return { valid, asked: [...asked] };
  };
  assert.deepEqual(await once(NOON), { valid: true, asked: [`POST ${OCSP}`, `GET ${CRL}`] });
  assert.deepEqual(await once(NOON + 59_000), { valid: true, asked: [] });
  assert.deepEqual(await once(NOON + 61_000), { valid: true, asked: [`POST ${OCSP}`] });
  assert.deepEqual(await once(NOON + 3_601_000), { valid: false, asked: [`POST ${OCSP}`, `GET ${CRL}`] });
});

test('an answer that cannot be used is not kept as if it could', async () => {
  const rows: Record<string, Uint8Array> = {
    [CRL]: makeList(root, { signer: makeCa(undefined, { key: testKey('p256', 9) }) }),
  };
  const { fetch } = places(rows);
  let now = NOON;
  const revocation = createRevocation({ fetch, now: () => now });
  assert.equal((await revocation.judge(question('hard'))).valid, false);
  rows[CRL] = makeList(root);
  now += 61_000;
  assert.equal((await revocation.judge(question('hard'))).valid, true);
});

test('the same place is asked once at a time, and at most four places at once', async () => {
  let running = 0;
  let most = 0;
  const slow = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running--;
    return makeList(root);
  };
  const leaves = Array.from({ length: 30 }, (_, i) =>
    makeLeaf(root, { extensions: [issue.crlDistributionPoint(`http://ca.example/${i % 10}`)] }),
  );
  const rows = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`http://ca.example/${i}`, slow]));
  const { fetch, asked } = places(rows);
  const revocation = createRevocation({ fetch, now: () => NOON });
  const verdicts = await Promise.all(leaves.map((who) => revocation.judge(question('hard', who))));
  assert.ok(verdicts.every(({ valid }) => valid));
  assert.deepEqual([asked.length, most], [10, 4]);
});

test('more than sixty-four that wait are turned away, and told so', async () => {
  const leaves = Array.from({ length: 100 }, (_, i) =>
    makeLeaf(root, { extensions: [issue.crlDistributionPoint(`http://ca.example/${i}`)] }),
  );
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const fetch: Fetch = async () => {
    await gate;
    return makeList(root);
  };
  const revocation = createRevocation({ fetch, now: () => NOON });
  let done = 0;
  const one = async (who: (typeof leaves)[0]) => {
    const verdict = await revocation.judge(question('hard', who));
    if (++done === 100 - 4 - 64) release();
    return verdict;
  };
  const verdicts = await Promise.all(leaves.map(one));
  const refused = verdicts.filter(({ valid }) => !valid);
  assert.equal(refused.length, 100 - 4 - 64);
  assert.match(refused[0]!.reasons[0]!.text, /too many fetches wait/);
  assert.equal(revocation.size().entries, 4 + 64, 'who was turned away may come again at once');
});

test('a path waits so long and no longer, whoever is before it in the queue', async () => {
  const fetch: Fetch = () => new Promise(() => {});
  const revocation = createRevocation({ fetch, now: () => NOON, limits: { question: 50 } });
  const alive = setTimeout(() => {}, 60_000);
  const { reasons } = await revocation.judge(question('hard'));
  clearTimeout(alive);
  assert.match(reasons[0]!.text, /no answer came in time/);
});

test('CVE-2021-41991: what is kept stays within entries and bytes, however many certificates come', async () => {
  const list = makeList(root);
  const { fetch } = places(
    Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`http://ca.example/${i}`, list])),
  );
  const limits = { entries: 20, bytes: 10 * list.length };
  const revocation = createRevocation({ fetch, now: () => NOON, limits });
  for (let i = 0; i < 500; i++) {
    const who = makeLeaf(root, { extensions: [issue.crlDistributionPoint(`http://ca.example/${i}`)] });
    assert.equal((await revocation.judge(question('hard', who))).valid, true);
    const { entries, bytes } = revocation.size();
    assert.ok(entries <= 20 && bytes <= limits.bytes);
  }
  assert.deepEqual(revocation.size(), { entries: 10, bytes: 10 * list.length });
});

async function serving<T>(handler: RequestListener, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer(handler);
  return using(server, use);
}

async function using<T>(
  server: Server | ReturnType<typeof createTcp>,
  use: (url: string) => Promise<T>,
): Promise<T> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    if ('closeAllConnections' in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const inside = createFetch({ inside: 'allow' });
const wish = { most: 1000, timeout: 10_000 };

test('fetch: what a server says, by GET and by POST', async () => {
  const echo: RequestListener = (request, response) => {
    request.pipe(response.setHeader('x', request.headers['content-type'] ?? ''));
  };
  await serving(echo, async (url) => {
    assert.deepEqual(
      await inside({ ...wish, url, body: Uint8Array.of(1, 2), contentType: 'a/b' }),
      Uint8Array.of(1, 2),
    );
    assert.deepEqual(await inside({ ...wish, url }), new Uint8Array());
  });
});

test('fetch: huge, endless, compressed, moved, missing and cut off are told apart', async () => {
  const rows: [RequestListener, RegExp][] = [
    [(_, response) => response.end(Buffer.alloc(2000)), /longer than 1000/],
    [
      (_, response) => response.writeHead(200, { 'content-length': '5000000' }).write('x'),
      /longer than 1000/,
    ],
    [(_, response) => pour(response), /longer than 1000/],
    [(_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'), /compressed/],
    [(_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), /answered 302/],
    [(_, response) => response.writeHead(404).end(), /answered 404/],
    [
      (_, response) =>
        response.writeHead(200, { 'content-length': '10' }).write('x', () => response.destroy()),
      /aborted|cut off|hang up/,
    ],
    [(_, response) => response.writeHead(200, { x: 'a'.repeat(20_000) }).end(), /[Hh]eader/],
  ];
  for (const [handler, expected] of rows)
    await serving(handler, (url) =>
      assert.rejects(
        inside({ ...wish, url }),
        (error) => error instanceof FetchError && expected.test(error.message),
      ),
    );
});

function pour(response: {
  write: (part: Buffer) => boolean;
  once: (event: string, then: () => void) => unknown;
}): void {
  if (response.write(Buffer.alloc(100))) setImmediate(() => pour(response));
  else response.once('drain', () => pour(response));
}

test('fetch: a server that is silent, or gives a byte at a time, is left when the time is over', async () => {
  const dripping: RequestListener = (_, response) => {
    const timer = setInterval(() => response.write('x'), 20);
    response.on('close', () => clearInterval(timer));
  };
  for (const handler of [() => {}, dripping] as RequestListener[])
    await serving(handler, (url) =>
      assert.rejects(inside({ ...wish, url, timeout: 200 }), /no answer within 0\.2 s/),
    );
  const mute = createTcp(() => {});
  const sockets: { destroy: () => void }[] = [];
  mute.on('connection', (socket) => sockets.push(socket));
  await using(mute, async (url) => {
    await assert.rejects(inside({ ...wish, url, timeout: 200 }), /no answer within/);
    for (const socket of sockets) socket.destroy();
  });
});

test('fetch: only http, no inside address, by whatever name or spelling', async () => {
  const outside = createFetch({ inside: 'refuse' });
  const urls = [
    'https://ca.example/crl',
    'ftp://ca.example/crl',
    'ldap://ca.example/cn=x',
    'file:///etc/passwd',
    'http://user:secret@ca.example/',
    'not a url',
    'http://127.0.0.1/',
    'http://127.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[fe80::1]/',
    'http://[fd00::1]/',
    'http://10.0.0.1/',
    'http://169.254.169.254/latest/meta-data',
    'http://localhost/',
    `http://ca.example/${'x'.repeat(3000)}`,
  ];
  let hits = 0;
  await serving(
    () => hits++,
    async (url) => {
      for (const one of [...urls, url, url.replace('127.0.0.1', 'localhost')])
        await assert.rejects(outside({ ...wish, url: one }), FetchError, one);
    },
  );
  assert.equal(hits, 0);
});

test('which addresses everybody can have', () => {
  for (const address of ['192.0.3.1', '8.8.8.8', '100.128.0.1', '172.32.0.1', '2a00::1', '2001:4860::1'])
    assert.ok(isPublic(address), address);
  for (const address of [
    '0.0.0.0',
    '100.64.1.1',
    '172.31.255.255',
    '192.168.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fc00::1',
    'fe80::1',
    'ff02::1',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
    '2001:db8::1',
    '2002:7f00:1::',
    'name',
  ])
    assert.ok(!isPublic(address), address);
});
