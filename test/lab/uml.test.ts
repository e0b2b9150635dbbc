import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { startUml, umlIsMissing } from '../../lab/uml.ts';

test('a guest ends as its command does, writes nothing on this machine and leaves nothing behind', {
  skip: umlIsMissing() ?? false,
}, async () => {
  const place = `/usr/isthmus-guest-${process.pid}`;
  const before = readdirSync('/tmp');
  const script = `touch ${place} /tmp/isthmus-guest /var/isthmus-guest; echo "it's $WORD"; id -u; exit 7`;
  const guest = startUml(['sh', '-c', script], { environment: { WORD: "here 'quoted'" } });
  let output = '';
  guest.stdout!.on('data', (chunk) => (output += chunk));
  const status = await new Promise((resolve) => guest.once('close', resolve));
  assert.equal(status, 7, output);
  assert.match(output, /^it's here 'quoted'\n0\n$/m);
  for (const file of [place, '/tmp/isthmus-guest', '/var/isthmus-guest', '/run/uml'])
    assert.ok(!existsSync(file), file);
  assert.deepEqual(
    readdirSync('/tmp').filter((name) => !before.includes(name) && /uml|vm_file/.test(name)),
    [],
  );
});
