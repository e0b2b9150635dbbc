// Either side is killed and comes back.

import { SUITES } from '../suites.ts';
import type { Group, Lab } from './group.ts';

export const killed: Group = {
  name: 'killed',
  async run(lab) {
    if (!lab.short) await restarted(lab);
  },
};

async function restarted(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, deleted } = lab;
  const suite = SUITES[0]!;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  await check('responder', suite, 'strongSwan restarted', async () => {
    await establish('initiator');
    await peer.stop('SIGKILL');
    await peer.start();
    await peer.configure(theirs(suite));
    await establish('responder');
    return passes(suite);
  });
  await deleted('initiator').catch(() => {});
  await site.kill('SIGTERM');
}
