// Either side is killed and comes back: by command, and by itself.

import type { Suite } from '../checks.ts';
import { pause } from '../site.ts';
import { demand } from '../steps.ts';
import { SUITES } from '../suites.ts';
import type { Group, Lab } from './group.ts';

/** Both sides look after the tunnel. */
const WATCHED = {
  ours: { start: 'now', liveness: '1s', retransmit: { first: '200ms', sends: 5 } },
  theirs: { connection: ['dpd_delay = 1s'], child: ['dpd_action = restart', 'start_action = start'] },
} satisfies Pick<Suite, 'ours' | 'theirs'>;

const named = (name: string, changes: Pick<Suite, 'ours' | 'theirs'> = {}): Suite => ({
  ...SUITES[0]!,
  name,
  ...changes,
});

export const killed: Group = {
  name: 'killed',
  async run(lab) {
    if (lab.short) return;
    await theyByCommand(lab);
    await weByCommand(lab);
    await weByThemselves(lab);
    await theyByOurselves(lab);
  },
};

async function theyByCommand(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, deleted } = lab;
  const suite = named('strongSwan killed');
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, suite, 'connected again', async () => {
      await establish('initiator');
      await killStrongswan(lab, suite);
      if (role === 'initiator') await site.command('down', 'office');
      await establish(role);
      return passes(suite);
    });
    await deleted('initiator').catch(() => {});
  }
  await site.kill('SIGTERM');
}

async function killStrongswan({ peer, theirs }: Lab, suite: Suite): Promise<void> {
  await peer.stop('SIGKILL');
  await peer.start();
  await peer.configure(theirs(suite));
}

/** We come back without memory: INITIAL_CONTACT says so, or strongSwan begins anew. */
async function weByCommand(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, deleted } = lab;
  const suite = named('we killed');
  configure(suite);
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await site.start();
    await check(role, suite, 'connected again', async () => {
      await establish('initiator');
      await site.kill('SIGKILL');
      await site.start();
      if (role === 'responder') await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
      await establish(role);
      const { output } = await peer.swanctl('--list-sas');
      const held = output.match(/^tunnel: #/gm)?.length;
      demand(held === 1, `strongSwan holds ${held} IKE SAs`);
      return passes(suite);
    });
    await deleted(role).catch(() => {});
    await site.kill('SIGTERM');
  }
}

/** strongSwan notices by dead peer detection, and starts again. */
async function weByThemselves(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, passes } = lab;
  const suite = named('we killed, strongSwan watches', { theirs: WATCHED.theirs });
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  await check('responder', suite, 'connected again', async () => {
    await negotiated(lab);
    await site.kill('SIGKILL');
    await site.start();
    const seconds = await negotiated(lab);
    return `by itself after ${seconds} s; ${await passes(suite)}`;
  });
  await peer.configure(theirs(named('quiet')));
  await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
  await site.kill('SIGTERM');
}

/** We notice by liveness, and try until strongSwan is there again. */
async function theyByOurselves(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, passes, deleted } = lab;
  const suite = named('strongSwan killed, we watch', { ours: WATCHED.ours });
  configure(suite);
  await peer.configure(theirs(suite));
  await site.start();
  await check('initiator', suite, 'connected again', async () => {
    await negotiated(lab);
    await killStrongswan(lab, suite);
    const listed = async () => (await peer.swanctl('--list-sas')).output.includes('INSTALLED');
    let waited = 0;
    for (; !(await listed()); waited++) {
      demand(waited < 60, 'strongSwan has no child');
      await pause(500);
    }
    return `by itself after ${waited / 2} s; ${await passes(suite)}`;
  });
  await deleted('initiator').catch(() => {});
  await site.kill('SIGTERM');
}

/** Seconds until our side has the child. */
async function negotiated({ site, installed }: Lab): Promise<number> {
  const began = performance.now();
  for (let attempt = 0; (await site.tunnel('office')).children.length === 0; attempt++) {
    demand(attempt < 300, 'the tunnel does not come up');
    await pause(100);
  }
  await installed();
  return Math.round((performance.now() - began) / 1000);
}
