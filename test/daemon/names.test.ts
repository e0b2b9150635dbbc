import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lookUp } from '../../src/daemon/names.ts';

test('a name of this machine becomes its addresses of that family', async () => {
  const answer = await lookUp({ tunnel: 't', name: 'localhost', family: 4 });
  assert.deepEqual(answer, { tunnel: 't', name: 'localhost', addresses: ['127.0.0.1'] });
});

test('whatever goes wrong is an answer: no address, and why', async () => {
  const answer = await lookUp({ tunnel: 't', name: 'nowhere.invalid', family: 4 });
  assert.deepEqual(answer.addresses, []);
  assert.ok(answer.failed);
});

test('a resolver that takes its time is not waited for', async () => {
  const answer = await lookUp({ tunnel: 't', name: 'nowhere.invalid', family: 6 }, 0);
  assert.deepEqual(answer.addresses, []);
});
