import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getDiffieHellman } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { unhex } from '../../src/crypto/bytes.ts';
import { createKeyExchanges } from '../../src/crypto/node-key-exchange.ts';
import { KEY_EXCHANGE, type KeyExchangeRow } from '../../src/crypto/suites.ts';

const rows: readonly KeyExchangeRow[] = KEY_EXCHANGE;
const groups = rows.filter(({ status }) => status === 'implemented' || status === 'legacy');
const modp = groups.filter(({ kind }) => kind === 'modp');

for (const row of groups) {
  test(`${row.name}: both sides find the same secret, and a handle serves until it is forgotten`, async () => {
    const exchanges = createKeyExchanges();
    const offer = await exchanges.offer(row.id);
    const answer = await exchanges.answer(row.id, offer.public);
    assert.equal(offer.public.length, row.publicBytes);
    assert.deepEqual(await exchanges.finish(offer.handle, row.id, answer.public), answer.secret);
    assert.deepEqual(await exchanges.finish(offer.handle, row.id, answer.public), answer.secret);
    exchanges.forget(offer.handle);
    await assert.rejects(exchanges.finish(offer.handle, row.id, answer.public));
  });

  test(`${row.name} refuses values of another length, and zero where that is none (RFC 6989 §2)`, async () => {
    const exchanges = createKeyExchanges();
    // Zero is an encapsulation key like any other: every coefficient is reduced.
    const zero = row.kind === 'kem' ? [] : [row.publicBytes];
    for (const length of [0, row.publicBytes - 1, row.publicBytes + 1, ...zero]) {
      await assert.rejects(exchanges.answer(row.id, new Uint8Array(length)), { fault: 'peer' });
    }
  });
}

for (const row of groups.filter(({ kind }) => kind === 'kem')) {
  test(`${row.name}: a ciphertext of another length is refused; a damaged one gives another secret, and no error`, async () => {
    const exchanges = createKeyExchanges();
    const offer = await exchanges.offer(row.id);
    const { public: ciphertext, secret } = await exchanges.answer(row.id, offer.public);
    assert.equal(ciphertext.length, row.ciphertextBytes);
    for (const length of [0, row.ciphertextBytes! - 1, row.ciphertextBytes! + 1])
      await assert.rejects(exchanges.finish(offer.handle, row.id, new Uint8Array(length)), { fault: 'peer' });
    const damaged = ciphertext.with(7, ciphertext[7]! ^ 1);
    const other = await exchanges.finish(offer.handle, row.id, damaged);
    assert.equal(other.length, 32);
    assert.notDeepEqual(other, secret);
    assert.deepEqual(await exchanges.finish(offer.handle, row.id, damaged), other);
  });
}

for (const row of modp) {
  test(`${row.name} refuses 0, 1, p-1, p and p+1 (RFC 6989 §2.1), and takes 2 and p-2`, async () => {
    const p = BigInt(`0x${getDiffieHellman(row.node!).getPrime('hex')}`);
    const bytes = (value: bigint) => unhex(value.toString(16).padStart(2 * row.publicBytes, '0'));
    const exchanges = createKeyExchanges();
    for (const value of [0n, 1n, p - 1n, p, p + 1n])
      await assert.rejects(exchanges.answer(row.id, bytes(value)), { fault: 'peer' }, `${value - p}`);
    for (const value of [2n, p - 2n])
      assert.equal((await exchanges.answer(row.id, bytes(value))).secret.length, row.publicBytes);
  });
}

for (const id of [1, 22, 23, 24, 25, 26, 27, 34, 38, 999]) {
  test(`group ${id} is not carried out`, async () => {
    await assert.rejects(createKeyExchanges().offer(id), /none that we offer/);
  });
}

/** A pipe that nobody writes holds one thread of libuv's pool for each open. */
async function withBusyPool(work: (release: () => void) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-pool-'));
  const pipe = join(folder, 'pipe');
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const threads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
  const opened = Array.from({ length: threads }, () => open(pipe, 'r'));
  let writer: number | undefined;
  const release = () => {
    writer ??= openSync(pipe, 'w');
  };
  try {
    await work(release);
  } finally {
    release();
    for (const file of await Promise.all(opened)) await file.close();
    closeSync(writer!);
    rmSync(folder, { recursive: true });
  }
}

test('no step of a MODP exchange is made on the event loop: none ends while the thread pool is busy', async () => {
  const exchanges = createKeyExchanges();
  const offers = await Promise.all(modp.map((row) => exchanges.offer(row.id)));
  await withBusyPool(async (release) => {
    let ended = 0;
    const steps = modp.flatMap((row, index) => {
      const { handle, public: value } = offers[index]!;
      return [
        exchanges.offer(row.id),
        exchanges.answer(row.id, value),
        exchanges.finish(handle, row.id, value),
      ].map((step) => step.then(() => ended++));
    });
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ended, 0);
    release();
    await Promise.all(steps);
    assert.equal(ended, 3 * modp.length);
  });
});

test('the private half is not in what a handle shows', async () => {
  const exchanges = createKeyExchanges();
  const { handle } = await exchanges.offer(31);
  assert.match(handle, /^[0-9a-f-]{36}$/);
});
