// Work that goes on side by side, on a kernel that only notes what it is asked.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DataPlaneError } from '../../src/dataplane/dataplane.ts';
import { type Answer, demand, type Kernel } from '../../src/dataplane/xfrm-kernel.ts';
import { createQueue } from '../../src/dataplane/xfrm-queue.ts';
import { run, together, type Work } from '../../src/dataplane/xfrm-work.ts';

/** A request of three bytes: who asks, how often before, the errno that it gets. */
function notingKernel(most = 100): { kernel: Kernel; exchanges: string[] } {
  const exchanges: string[] = [];
  const kernel: Pick<Kernel, 'exchange' | 'portions'> = {
    exchange(requests) {
      exchanges.push(requests.map(([who, turn]) => `${String.fromCharCode(who!)}${turn}`).join(' '));
      return requests.map((request): Answer => ({ errno: request[2]!, found: [] }));
    },
    portions: (requests) =>
      Array.from({ length: Math.ceil(requests.length / most) }, (_, index) =>
        requests.slice(index * most, (index + 1) * most),
      ),
  };
  return { kernel: kernel as Kernel, exchanges };
}

function* asks(who: string, turns: number, failing?: number): Work<string> {
  for (let turn = 0; turn < turns; turn++)
    yield* demand(Uint8Array.of(who.charCodeAt(0), turn, turn === failing ? 22 : 0), who);
  return who;
}

test('what asks at the same time asks in one exchange, in its order', async () => {
  const { kernel, exchanges } = notingKernel();
  const outcomes = await run(kernel, together([asks('a', 1), asks('b', 3), asks('c', 2)]));
  assert.deepEqual(outcomes, [{ value: 'a' }, { value: 'b' }, { value: 'c' }]);
  assert.deepEqual(exchanges, ['a0 b0 c0', 'b1 c1', 'b2']);
});

test('a failure belongs to the one that asked, and the others go on', async () => {
  const { kernel, exchanges } = notingKernel();
  const outcomes = await run(kernel, together([asks('a', 3, 1), asks('b', 3)]));
  const [failed, done] = outcomes;
  assert.ok('error' in failed! && failed.error instanceof DataPlaneError);
  assert.match(failed.error.message, /^a: invalid argument/);
  assert.deepEqual(done, { value: 'b' });
  assert.deepEqual(exchanges, ['a0 b0', 'a1 b1', 'b2']);
});

test('a kernel that does not answer fails all that waited for it', async () => {
  const { kernel } = notingKernel();
  const silent = {
    ...kernel,
    exchange: () => {
      throw new DataPlaneError('refused', 'netlink receive: timed out');
    },
  };
  const outcomes = await run(silent, together([asks('a', 1), asks('b', 1)]));
  for (const outcome of outcomes) assert.match(String('error' in outcome && outcome.error), /timed out/);
});

test('an exchange has no more requests than the kernel takes in one piece', async () => {
  const { kernel, exchanges } = notingKernel(2);
  await run(kernel, together(['a', 'b', 'c'].map((who) => asks(who, 1))));
  assert.deepEqual(exchanges, ['a0 b0', 'c0']);
});

test('what was asked for in one turn goes together, up to the first that shares a subject', async () => {
  const { kernel, exchanges } = notingKernel();
  const queue = createQueue(kernel);
  const add = (who: string, ...subjects: string[]) =>
    queue.add(
      () => subjects,
      function* () {
        yield* asks(who, 1);
      },
    );
  await Promise.all([add('a', 'x'), add('b', 'y'), add('c', 'x', 'z'), add('d', 'w')]);
  assert.deepEqual(exchanges, ['a0 b0', 'c0 d0']);
});

test('what touches everything goes alone, and what fails does not stop what comes behind it', async () => {
  const { kernel, exchanges } = notingKernel();
  const queue = createQueue(kernel);
  const work = (who: string, failing?: number) =>
    function* (): Work {
      yield* asks(who, 1, failing);
    };
  const results = await Promise.allSettled([
    queue.add(() => ['x'], work('a')),
    queue.add(() => undefined, work('b', 0)),
    queue.add(() => ['x'], work('c')),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(exchanges, ['a0', 'b0', 'c0']);
});

test('the event loop is not kept by long work', async () => {
  const { kernel } = notingKernel();
  let turns = 0;
  let going = true;
  const count = () => {
    turns++;
    if (going) setImmediate(count);
  };
  setImmediate(count);
  const busy = {
    ...kernel,
    exchange(requests: readonly Uint8Array[]) {
      const until = performance.now() + 11;
      while (performance.now() < until);
      return kernel.exchange(requests);
    },
  };
  await run(busy, asks('a', 5));
  going = false;
  assert.ok(turns >= 5, `${turns} turns of the event loop`);
});
