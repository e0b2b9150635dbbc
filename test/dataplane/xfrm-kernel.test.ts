// How many requests go to the kernel at a time, on a kernel that takes its time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKernel } from '../../src/dataplane/xfrm-kernel.ts';
import type { Addon } from '../../src/native.ts';
import { CONTROL } from '../../src/wire/netlink.ts';
import { countPolicies } from '../../src/wire/xfrm.ts';

/** Acknowledges each request after so many milliseconds. */
function slowKernel(milliseconds: () => number): Pick<Addon, 'netlink'> {
  return {
    netlink(_family, _requests, answers) {
      const until = performance.now() + answers * milliseconds();
      while (performance.now() < until);
      const received = Buffer.alloc(answers * ACK_BYTES);
      for (let index = 0; index < answers; index++) acknowledge(received, index);
      return received;
    },
  };
}

const ACK_BYTES = 20;

/** struct nlmsghdr, and an errno of 0. */
function acknowledge(received: Buffer, index: number): void {
  received.writeUInt32LE(ACK_BYTES, index * ACK_BYTES);
  received.writeUInt16LE(CONTROL.ERROR, index * ACK_BYTES + 4);
  received.writeUInt32LE(index + 1, index * ACK_BYTES + 8);
}

function sizes(kernel: ReturnType<typeof createKernel>, count: number): number[] {
  const requests = Array.from({ length: count }, countPolicies);
  const found: number[] = [];
  for (const some of kernel.portions(requests)) {
    const answers = kernel.exchange(some);
    assert.ok(answers.length === some.length && answers.every(({ errno }) => errno === 0));
    found.push(some.length);
  }
  return found;
}

test('few requests at first; a kernel that takes long gets fewer at a time, at once, and at least one', () => {
  let each = 1;
  const kernel = createKernel(slowKernel(() => each) as Addon);
  const [first, ...rest] = sizes(kernel, 100);
  assert.equal(first, 8);
  assert.ok(Math.max(...rest) <= 6, `${rest}`);
  each = 30;
  sizes(kernel, 11);
  assert.deepEqual(sizes(kernel, 3), [1, 1, 1]);
});

test('no more than was said, however fast the kernel is', () => {
  const kernel = createKernel(slowKernel(() => 0) as Addon, 2);
  const found = sizes(kernel, 9);
  assert.ok(Math.max(...found) === 2 && found.length >= 5, `${found}`);
});
