// What is done with the tunnel `office` to another implementation, by either side, until both sides are seen to have done it.

import type { Role, Suite } from './checks.ts';
import type { Peer } from './peers/peer.ts';
import { type Answer, pause, type Site } from './site.ts';
import { demand } from './steps.ts';

interface Ends {
  site: Site;
  peer: Peer;
}

export type Rekeyed = 'child' | 'IKE SA';
export type By = 'us' | 'them';

export async function establish({ site, peer }: Ends, role: Role): Promise<void> {
  if (role === 'initiator') obeyed(await site.command('up', 'office'));
  else {
    const { status, output } = await peer.initiate();
    demand(status === 0, `not established: ${output.trim().split('\n').at(-1)}`);
  }
  await installed(site);
}

/** What the peer has, or what was promised, our data plane has a moment later; until then it drops (`start: wait`). */
export async function installed(site: Site): Promise<void> {
  for (let attempt = 0; (await site.tunnel('office')).children.length === 0; attempt++) {
    demand(attempt < 40, 'the child is not there');
    await pause(50);
  }
}

export async function signedWith(site: Site, scheme: string): Promise<void> {
  const { output } = await site.isthmus('show', 'sa', '--json');
  const sas: { peer?: { scheme: string } }[] = JSON.parse(output);
  demand(
    sas.length > 0 && sas.every(({ peer: by }) => by?.scheme === scheme),
    `not by ${scheme}: ${JSON.stringify(sas)}`,
  );
}

export async function shown(peer: Peer, suite: Suite): Promise<void> {
  const listed = await peer.sas();
  demand(listed.includes(suite.shown ?? ''), `strongSwan does not show ${suite.shown}: ${listed}`);
}

export async function deleted({ site, peer }: Ends, role: Role): Promise<string> {
  const { output } =
    role === 'initiator' ? { output: (await site.command('down', 'office')).code } : await peer.terminate();
  for (let attempt = 0; attempt < 40; attempt++) {
    const listed = await peer.sas();
    if (listed === '' && (await site.tunnel('office')).state === 'down') return 'gone on both sides';
    await pause(50);
  }
  throw new Error(`still there: ${output}`);
}

export async function rekeyOnce({ site, peer }: Ends, what: Rekeyed, by: By): Promise<void> {
  const before = await peer.generation(what);
  await rekey({ site, peer }, what, by);
  for (let attempt = 0; (await peer.generation(what)) === before; attempt++) {
    demand(attempt < 40, `the ${what} is the same as before`);
    await pause(50);
  }
  await pause(150);
}

async function rekey({ site, peer }: Ends, what: Rekeyed, by: By): Promise<void> {
  if (by === 'us')
    return obeyed(await site.command('rekey', 'office', what === 'child' ? 'office' : undefined));
  const { status, output } = await peer.rekey(what);
  demand(status === 0, output);
}

function obeyed({ code, sentence }: Answer): void {
  demand(code === 'OK', `${sentence} [${code}]`);
}
