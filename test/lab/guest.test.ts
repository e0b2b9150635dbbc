import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { startGuest } from '../../lab/guest.ts';
import { qemuGuest } from '../../lab/qemu.ts';
import { UML } from '../../lab/uml.ts';

for (const guest of [UML, qemuGuest()]) {
  test(`${guest.name}: a guest ends as its command does, writes nothing on this machine and leaves nothing behind`, {
    skip: guest.missing() ?? false,
  }, async () => {
    const place = `/usr/isthmus-guest-${process.pid}`;
    const before = readdirSync('/tmp');
    const script = `touch ${place} /tmp/isthmus-guest /var/isthmus-guest; echo "it's $WORD"; id -u; exit 7`;
    const running = startGuest(guest, ['sh', '-c', script], { environment: { WORD: "here 'quoted'" } });
    let output = '';
    running.stdout!.on('data', (chunk) => (output += chunk));
    const status = await new Promise((resolve) => running.once('close', resolve));
    assert.equal(status, 7, output);
    assert.match(output, /^it's here 'quoted'\n0\n$/m);
    for (const file of [place, '/tmp/isthmus-guest', '/var/isthmus-guest', '/run/guest'])
      assert.ok(!existsSync(file), file);
    assert.deepEqual(
      readdirSync('/tmp').filter((name) => !before.includes(name) && /uml|vm_file/.test(name)),
      [],
    );
  });
}
