// The rehearsed first rekey against another implementation: agreed, and with each way in which PFS can differ, in both roles.

import type { Suite } from '../checks.ts';
import { pause, type Site } from '../site.ts';
import { demand } from '../steps.ts';
import type { Group, Lab } from './group.ts';

const COMMON: Pick<Suite, 'outer' | 'ike' | 'ours'> = {
  outer: 4,
  ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
  ours: { rehearsal: true },
};
const [WITH, WITHOUT] = ['aes-gcm-16-256 / x25519', 'aes-gcm-16-256'] as const;

/** What the verdict is; `wish` fits the sentence that comes with it. */
interface Case extends Suite {
  verdict: 'rehearsed' | 'refused';
  wish: RegExp;
}

const CASES: Case[] = [
  {
    ...COMMON,
    name: 'PFS agreed',
    esp: WITH,
    verdict: 'rehearsed',
    wish: /^$/,
  },
  {
    ...COMMON,
    name: 'PFS with another group there',
    esp: WITH,
    theirs: { esp: ['aes-gcm-16-256 / ecp-384'] },
    verdict: 'refused',
    wish: /we have aes-gcm-16-256 \/ x25519; they want ecp-384 \(group 20\)\./,
  },
  {
    ...COMMON,
    name: 'PFS here, none there',
    esp: WITH,
    theirs: { esp: [WITHOUT] },
    verdict: 'refused',
    wish: /they want none of the groups that we know.* \(no PFS\)/,
  },
  {
    ...COMMON,
    name: 'no PFS here, PFS there',
    esp: WITHOUT,
    theirs: { esp: [WITH] },
    verdict: 'refused',
    wish: /they want a key exchange with every rekey \(PFS\)/,
  },
];

/** The verdict has the first minute; strongSwan never rekeys by itself so early. */
const MINUTE = 60_000;

export const rehearsal: Group = {
  name: 'rehearsal',
  async run(lab) {
    if (!lab.short) await rehearsed(lab);
  },
};

async function rehearsed(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, deleted } = lab;
  for (const one of CASES) {
    configure(one);
    await peer.configure(theirs(one));
    for (const role of ['initiator', 'responder'] as const) {
      // A daemon that remembers a verdict rehearses no second time.
      await site.start();
      await check(role, one, `rehearsal: ${one.verdict}`, async () => {
        await establish(role);
        const said = await verdict(site, one);
        return `${said}; ${await passes(one)}`;
      });
      await check(role, one, 'deleted', () => deleted(role));
      await site.kill('SIGTERM');
    }
  }
}

async function verdict(site: Site, { verdict: expected, wish }: Case): Promise<string> {
  const began = performance.now();
  for (;;) {
    const { children } = await site.tunnel('office');
    const rekey = children[0]?.rekey;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    if (rekey && rekey.verdict !== 'pending') {
      const { verdict: found, sentence = '' } = rekey;
      demand(found === expected && wish.test(sentence), `${found}: ${sentence}`);
      return `after ${seconds} s ${sentence}`;
    }
    demand(performance.now() - began < MINUTE, 'no verdict within a minute');
    await pause(250);
  }
}
