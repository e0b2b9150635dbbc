// IKE messages in fragments (RFC 7383): small ones by choice, and on a path that carries 576 bytes and says nothing.

import type { Suite } from '../checks.ts';
import { makeCa } from '../credentials.ts';
import { run } from '../netns.ts';
import { demand } from '../steps.ts';
import { SUITES } from '../suites.ts';
import { ping } from '../traffic.ts';
import { chainsUnder, prepare } from './certificates.ts';
import type { Group, Lab } from './group.ts';

/** So many selectors that IKE_AUTH and CREATE_CHILD_SA are longer than the path is wide. */
const MANY = [0, ...Array.from({ length: 29 }, (_, i) => 2 * i + 2)].map((n) => `10.1.${n}.0/24`);

function wide(suite: Suite, name: string, changes: Pick<Suite, 'ours' | 'theirs'>): Suite {
  return {
    ...suite,
    name,
    ours: { local: MANY, ...changes.ours },
    theirs: { remote: MANY, ...changes.theirs },
  };
}

const fragmentsOf = (bytes: number) => ({ theirs: { settings: { fragment_size: bytes } } });

/** Our messages of which exchanges are in fragments; what the path carries, where that is less than usual. */
interface Row {
  suite: Suite;
  path?: number;
  cut: 'all' | 'IKE_AUTH' | 'none';
  /** Both where nothing is said. */
  roles?: ('initiator' | 'responder')[];
}

const ROWS: Row[] = [
  {
    suite: wide(SUITES[0]!, 'fragments of 256 bytes', { ours: { fragmentation: 256 }, ...fragmentsOf(256) }),
    cut: 'all',
  },
  { suite: wide(SUITES[1]!, 'fragments of 576 bytes, v6', { ours: { fragmentation: 576 } }), cut: 'all' },
  { suite: wide(SUITES[0]!, 'a path of 576 bytes', fragmentsOf(576)), path: 576, cut: 'all' },
  {
    suite: wide(SUITES[0]!, 'strongSwan without fragments', {
      theirs: { connection: ['fragmentation = no'] },
    }),
    cut: 'none',
  },
];

export const fragments: Group = {
  name: 'fragments',
  async run(lab) {
    for (const row of lab.short ? ROWS.slice(0, 1) : [...ROWS, chains(lab)]) {
      if (row.path !== undefined) narrow(row.path);
      await inFragments(lab, row);
      if (row.path !== undefined) run('internet', 'nft', 'delete', 'table', 'ip', 'narrow');
    }
  },
};

/**
 * Three certificates from each side. By us only: what we say of signatures in the answer to IKE_SA_INIT, which is never cut,
 * is longer than that path.
 */
function chains(lab: Lab): Row {
  const root = makeCa('C=DE, O=Example, CN=Root');
  const suite = prepare(lab, root, {
    name: 'chains of certificates, 576 bytes',
    ...chainsUnder(root),
    settings: { fragment_size: 576 },
  });
  return { suite, path: 576, cut: 'IKE_AUTH', roles: ['initiator'] };
}

/** What is longer is dropped without a word. */
function narrow(bytes: number): void {
  run(
    'internet',
    'nft',
    `add table ip narrow; add chain ip narrow forward { type filter hook forward priority 0; }; add rule ip narrow forward ip length > ${bytes} drop`,
  );
}

async function inFragments(
  lab: Lab,
  { suite, path, cut, roles = ['initiator', 'responder'] }: Row,
): Promise<void> {
  const { site, peer, configure, theirs, check, establish, rekeyOnce, passes, deleted } = lab;
  configure(suite);
  await site.start();
  await peer.configure(theirs(suite));
  for (const role of roles) {
    await check(role, suite, 'established', async () => {
      const before = peer.log().length;
      await establish(role);
      return counted(peer.log().slice(before), cut !== 'none');
    });
    await check(role, suite, 'a child rekeyed by both', async () => {
      const before = peer.log().length;
      await rekeyOnce('child', 'us');
      await rekeyOnce('child', 'them');
      return counted(peer.log().slice(before), cut === 'all');
    });
    await check(role, suite, 'ping, TCP', async () => {
      if (path === undefined) return passes(suite);
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
