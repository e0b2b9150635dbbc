// IKE messages in fragments (RFC 7383): small ones by choice, and on a path that carries 576 bytes and says nothing.

import { demand, type Suite } from '../checks.ts';
import { run } from '../netns.ts';
import { SUITES } from '../suites.ts';
import { ping } from '../traffic.ts';
import type { Group, Lab } from './group.ts';

/** So many selectors that IKE_AUTH and CREATE_CHILD_SA are longer than the path is wide. */
const MANY = [0, ...Array.from({ length: 29 }, (_, i) => 2 * i + 2)].map((n) => `10.1.${n}.0/24`);

function wide(suite: Suite, name: string, changes: Pick<Suite, 'ours' | 'theirs'>): Suite {
  return {
    ...suite,
    name,
    ours: { local: MANY, ...changes.ours },
    theirs: { remote: MANY.join(','), ...changes.theirs },
  };
}

const fragmentsOf = (bytes: number) => ({ theirs: { settings: { fragment_size: bytes } } });

/** `cut`: our messages are in fragments. */
const ROWS: { suite: Suite; path?: number; cut: boolean }[] = [
  {
    suite: wide(SUITES[0]!, 'fragments of 256 bytes', { ours: { fragmentation: 256 }, ...fragmentsOf(256) }),
    cut: true,
  },
  { suite: wide(SUITES[1]!, 'fragments of 576 bytes, v6', { ours: { fragmentation: 576 } }), cut: true },
  { suite: wide(SUITES[0]!, 'a path of 576 bytes', fragmentsOf(576)), path: 576, cut: true },
  {
    suite: wide(SUITES[0]!, 'strongSwan without fragments', {
      theirs: { connection: ['fragmentation = no'] },
    }),
    cut: false,
  },
];

export const fragments: Group = {
  name: 'fragments',
  async run(lab) {
    for (const { suite, path, cut } of lab.short ? ROWS.slice(0, 1) : ROWS) {
      if (path !== undefined) narrow(path);
      await inFragments(lab, suite, cut, path !== undefined);
      if (path !== undefined) run('internet', 'nft', 'delete', 'table', 'ip', 'narrow');
    }
  },
};

/** What is longer is dropped without a word. */
function narrow(bytes: number): void {
  run(
    'internet',
    'nft',
    `add table ip narrow; add chain ip narrow forward { type filter hook forward priority 0; }; add rule ip narrow forward ip length > ${bytes} drop`,
  );
}

async function inFragments(lab: Lab, suite: Suite, cut: boolean, narrowPath: boolean): Promise<void> {
  const { site, peer, configure, theirs, check, establish, rekeyOnce, passes, deleted } = lab;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, suite, 'established', async () => {
      const before = peer.log().length;
      await establish(role);
      return counted(peer.log().slice(before), cut);
    });
    await check(role, suite, 'a child rekeyed by both', async () => {
      const before = peer.log().length;
      await rekeyOnce('child', 'us');
      await rekeyOnce('child', 'them');
      return counted(peer.log().slice(before), cut);
    });
    await check(role, suite, 'ping, TCP', async () => {
      if (!narrowPath) return passes(suite);
      const answered = await ping('host-a', '10.2.0.10', 10);
      demand(answered === 10, `${answered} of 10 pings answered`);
      return '10 of 10 pings answered';
    });
    await check(role, suite, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

/** strongSwan's word for it: how many fragments of ours it joined, and into how many it cut its own. */
function counted(log: string, cut: boolean): string {
  const joined = [...log.matchAll(/received fragment #(\d+) of (\d+)/g)];
  const messages = log.match(/reassembled fragmented IKE message/g)?.length ?? 0;
  demand(messages > 0 === cut, `strongSwan put together ${messages} messages of ours`);
  const own = [...log.matchAll(/splitting IKE message .* into (\d+) fragments/g)].map(([, count]) => count);
  return cut
    ? `${messages} messages of ours in ${joined.length} fragments; theirs in ${own.join(' and ') || 'one piece'}`
    : 'in one piece both ways';
}
