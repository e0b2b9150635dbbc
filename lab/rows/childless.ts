// IKE SAs without a first child (RFC 6023), and a new proof of who is there (RFC 7296 §2.8.3, RFC 4478), make before break.

import { type Suite, sentenceIn } from '../checks.ts';
import { pause } from '../site.ts';
import { demand } from '../steps.ts';
import { SUITES } from '../suites.ts';
import type { Group, Lab } from './group.ts';

const suiteOf = (name: string, changes: Pick<Suite, 'ours' | 'theirs'>): Suite => ({
  ...SUITES[0]!,
  name,
  ...changes,
});

const CHILDLESS = suiteOf('childless', {
  ours: { childless: 'require' },
  theirs: { connection: ['childless = force'] },
});
const UNWANTED = suiteOf('childless only there', {
  ours: { childless: 'never' },
  theirs: { connection: ['childless = force'] },
});

/** Seconds after which strongSwan wants a new proof: as initiator it makes one, as responder it tells us (RFC 4478). */
const PROOF = 6;
const PROVEN_ANEW = suiteOf('reauthentication', {
  theirs: {
    connection: [`reauth_time = ${PROOF}s`, 'over_time = 3s', 'rand_time = 0s'],
    settings: { make_before_break: 'yes' },
  },
});

export const childless: Group = {
  name: 'childless',
  async run(lab) {
    if (lab.short) return;
    await withoutChild(lab);
    await unwanted(lab);
    await provenAnew(lab);
  },
};

async function withoutChild(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, rekeyOnce, passes, deleted } = lab;
  configure(CHILDLESS);
  await site.start();
  await peer.configure(theirs(CHILDLESS));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, CHILDLESS, 'established', async () => {
      const before = peer.log().length;
      await establish(role);
      const said = peer.log().slice(before);
      demand(/IKE_AUTH request 1 \[ (?!.*\bTSi\b)/.test(said), `a child in IKE_AUTH: ${said}`);
      demand(/CREATE_CHILD_SA request \d+ \[ .*\bKE\b.*\bTSi\b/.test(said), 'no child with a key exchange');
      return 'nothing but the proof in IKE_AUTH, the child by CREATE_CHILD_SA with a key exchange';
    });
    await check(role, CHILDLESS, 'ping, TCP', () => passes(CHILDLESS));
    await check(role, CHILDLESS, 'a child rekeyed by both', async () => {
      for (const by of ['us', 'them'] as const) await rekeyOnce('child', by);
      return passes(CHILDLESS);
    });
    await check(role, CHILDLESS, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

async function unwanted({ site, peer, configure, theirs, check }: Lab): Promise<void> {
  configure(UNWANTED);
  await site.start();
  await peer.configure(theirs(UNWANTED));
  await check('responder', UNWANTED, 'strongSwan gives up', async () => {
    const before = peer.log().length;
    const { status } = await peer.swanctl('--initiate', '--child', 'child', '--timeout', '5');
    demand(status !== 0, 'it is established');
    return `strongSwan: ${sentenceIn(peer.log().slice(before), /does not support childless/)}`;
  });
  await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
  await site.kill('SIGTERM');
}

async function provenAnew(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, underTraffic, passes, deleted } = lab;
  configure(PROVEN_ANEW);
  await site.start();
  await peer.configure(theirs(PROVEN_ANEW));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, PROVEN_ANEW, 'established', async () => {
      await establish(role);
      return role === 'initiator' ? 'strongSwan tells us how long its proof lasts' : 'by strongSwan';
    });
    await check(role, PROVEN_ANEW, 'make before break', async () => {
      let seconds = 0;
      const lost = await underTraffic(PROVEN_ANEW, async () => {
        seconds = await renewed(lab);
      });
      return `a new IKE SA after ${seconds} s, ${lost}; ${await passes(PROVEN_ANEW)}`;
    });
    await check(role, PROVEN_ANEW, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

/** Seconds until the IKE SA is another one, and the only one. */
async function renewed({ peer }: Lab): Promise<number> {
  const ids = async () => {
    const { output } = await peer.swanctl('--list-sas');
    return output.match(/[0-9a-f]{16}_[ir]\*? [0-9a-f]{16}_[ir]/g) ?? [];
  };
  const [first] = await ids();
  const began = performance.now();
  for (;;) {
    const listed = await ids();
    const seconds = Math.round((performance.now() - began) / 1000);
    if (listed.length === 1 && listed[0] !== first) return seconds;
    demand(seconds < 3 * PROOF, `${listed.length} IKE SAs, ${first} is still there or nothing followed`);
    await pause(200);
  }
}
