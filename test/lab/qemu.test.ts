import assert from 'node:assert/strict';
import { test } from 'node:test';
import { qemuCommand } from '../../lab/qemu.ts';

const COMMAND = qemuCommand('/kernels', '6.1.0-1-amd64');

/** What follows each flag of that name. */
function valuesOf(flag: string): string[] {
  return COMMAND.flatMap((word, index) => (word === flag ? [COMMAND[index + 1]!] : []));
}

test('qemu boots the kernel of that release with the first root beside it', () => {
  assert.deepEqual(valuesOf('-kernel'), ['/kernels/boot/vmlinuz-6.1.0-1-amd64']);
  assert.deepEqual(valuesOf('-initrd'), ['/kernels/first-root']);
});

test('the file system of the machine is read-only for the guest, the folder of the guest is not', () => {
  const shared = valuesOf('-virtfs').map((value) =>
    Object.fromEntries(value.split(',').map((one) => one.split('='))),
  );
  assert.deepEqual(
    shared.map((one) => [one.path, one.mount_tag, one.readonly]),
    [
      ['/', 'machine', 'on'],
      ['/run/guest', 'guest', 'off'],
    ],
  );
});

test('the kernel is told what the first root looks for', () => {
  const words = valuesOf('-append')[0]!.split(' ');
  assert.ok(words.includes('guest=qemu'));
  assert.match(words.find((word) => word.startsWith('then='))!, /^then=\/.*\/lab\/guest-init\.sh$/);
});

test('nobody is asked for virtualization, and nothing is read from the machine’s own configuration', () => {
  assert.match(valuesOf('-accel')[0]!, /^tcg/);
  assert.ok(COMMAND.includes('-no-user-config') && COMMAND.includes('-nodefaults'));
});
