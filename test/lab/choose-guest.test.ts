import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenGuest } from '../../lab/choose-guest.ts';

test('a guest is entered where one is needed or named, and the name decides', () => {
  const cases: [args: string[], needed: boolean, guest: string | undefined][] = [
    [[], false, undefined],
    [[], true, 'uml'],
    [['--guest', 'qemu'], false, 'qemu'],
    [['--json', '--guest', 'qemu'], true, 'qemu'],
    [['--guest', 'uml'], false, 'uml'],
  ];
  for (const [args, needed, guest] of cases)
    assert.equal(chosenGuest(args, needed)?.name, guest, args.join(' '));
});

test('a guest that does not exist is refused with the names of those that do', () => {
  for (const args of [['--guest', 'vmware'], ['--guest'], ['--guest', 'toString']])
    assert.throws(() => chosenGuest(args, true), /there is no guest .*: uml, qemu$/);
});
