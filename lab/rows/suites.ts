// Every suite in both roles; tshark as the judge; PRFs that each side prefers otherwise; what strongSwan cannot carry out.

import { rmSync } from 'node:fs';
import { type Suite, sentenceIn } from '../checks.ts';
import { pause } from '../site.ts';
import { demand } from '../steps.ts';
import { SUITES, TWO_PRFS, UNABLE } from '../suites.ts';
import { ping } from '../traffic.ts';
import { capture, readCapture } from '../tshark.ts';
import type { Group, Lab } from './group.ts';

export const suites: Group = {
  name: 'suites',
  async run(lab) {
    for (const suite of lab.short ? SUITES.slice(0, 2) : SUITES) await lab.wholeSuite(suite);
    for (const suite of SUITES.slice(0, 2)) await verified(lab, suite);
    for (const suite of lab.short ? TWO_PRFS.slice(0, 1) : TWO_PRFS) await prfStays(lab, suite);
    if (!lab.short) await unable(lab);
  },
};

/** tshark opens every message and finds every code right, given our keys; over rekeys of both SAs. */
async function verified(lab: Lab, suite: Suite): Promise<void> {
  const { site, peer, configure, theirs, check, establish, deleted } = lab;
  const [keys, file] = [`${site.folder}/keys`, `${site.folder}/capture.pcapng`];
  configure(suite);
  await site.start('--export-keys', keys);
  await peer.configure(theirs(suite));
  await check('initiator', suite, 'tshark opens all of it', async () => {
    const running = await capture('gw-a', 'wan', file);
    await establish('initiator');
    await ping('host-a', '10.2.0.10', 5);
    await site.isthmus('rekey', 'office');
    await site.isthmus('rekey', 'office', '--child', 'office');
    await ping('host-a', '10.2.0.10', 5);
    await deleted('initiator');
    await running.stop();
    const { encrypted, opened, esp, good, inner } = readCapture(file, keys);
    demand(encrypted > 8 && opened === encrypted, `${opened} of ${encrypted} IKE messages opened`);
    demand(esp >= 20 && good === esp, `${good} of ${esp} ESP packets have the right code`);
    demand(
      inner.every((protocols) => protocols.startsWith('ip:icmp')),
      `inside ESP: ${inner.join(', ')}`,
    );
    return `${opened} IKE messages and ${good} ESP packets, every code right`;
  });
  await site.kill('SIGTERM');
  rmSync(keys, { recursive: true });
  rmSync(file);
}

/**
 * Each side prefers another PRF, so the rekey by the other side would change it. strongSwan then makes the keys with the PRF
 * of the old IKE SA, not with that of the new one as RFC 7296 §2.18 has it: we keep the PRF while both still accept it.
 */
async function prfStays(lab: Lab, suite: Suite): Promise<void> {
  const { site, peer, configure, theirs, check, establish, rekeyOnce, passes, deleted } = lab;
  const [preferred, other] = suite.ike.match(/prf-[a-z0-9-]+/g)!;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite, { ike: suite.ike.split(', ').reverse() }));
  for (const [role, prf, by] of [
    ['initiator', other!, 'them'],
    ['responder', preferred!, 'us'],
  ] as const) {
    await check(role, suite, 'established', async () => {
      await establish(role);
      return prfIs(lab, prf);
    });
    await check(role, suite, `the same PRF by ${by}`, async () => {
      await rekeyOnce('IKE SA', by);
      const found = await prfIs(lab, prf);
      await rekeyOnce('child', 'us');
      await rekeyOnce('child', 'them');
      return `${found}, a child rekeyed, ${await passes(suite)}`;
    });
    await check(role, suite, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

async function prfIs({ site }: Lab, prf: string): Promise<string> {
  const { algorithms = 'no IKE SA' } = await site.tunnel('office');
  demand(algorithms.includes(prf), `${prf} is not in ${algorithms}`);
  return algorithms;
}

/** What strongSwan takes and then cannot carry out is told as its refusal, not as a silence. */
async function unable(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish } = lab;
  const { suite, says } = UNABLE;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, suite, 'strongSwan refuses', async () => {
      const before = [site.log().length, peer.log().length];
      await establish(role).then(
        () => demand(false, 'it is established'),
        () => {},
      );
      await pause(200);
      const told = site.log().slice(before[0]);
      const expected = role === 'initiator' ? /\[PEER_REFUSED_PROPOSAL\]/ : /\[CHILD_DELETED\]/;
      const reason = says.exec(peer.log().slice(before[1]))?.[0];
      demand(reason !== undefined, 'strongSwan does not say why');
      return `strongSwan: ${reason}; we: ${sentenceIn(told, expected)}`;
    });
    await site.command('down', 'office');
    await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
  }
  await site.kill('SIGTERM');
}
