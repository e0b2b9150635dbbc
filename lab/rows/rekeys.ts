// Fifty rekeys from each side under traffic both ways: every fifth of the IKE SA, the others of the child.

import type { Suite } from '../checks.ts';
import { SUITES } from '../suites.ts';
import type { Group } from './group.ts';

const COUNT = 50;
const FIFTH = 5;

export const rekeys: Group = {
  name: 'rekeys',
  async run({ short, site, peer, configure, theirs, check, establish, underTraffic, rekeyOnce, deleted }) {
    if (short) return;
    const suite: Suite = { ...SUITES[0]!, name: `${COUNT} rekeys from each side` };
    configure(suite);
    await site.start();
    await peer.configure(theirs(suite));
    await check('initiator', suite, 'established', async () => {
      await establish('initiator');
      return 'by us';
    });
    for (const by of ['us', 'them'] as const) {
      await check('initiator', suite, `${COUNT} rekeys by ${by}`, () =>
        underTraffic(suite, async () => {
          for (let i = 1; i <= COUNT; i++) await rekeyOnce(i % FIFTH === 0 ? 'IKE SA' : 'child', by);
        }),
      );
    }
    await check('initiator', suite, 'deleted', () => deleted('initiator'));
    await site.kill('SIGTERM');
  },
};
