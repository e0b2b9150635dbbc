// From a replaced IKE SA to the one that replaces it (RFC 7296 §2.18).

import { suiteText } from '../policy/proposal.ts';
import { type Context, commandDone, report } from './context.ts';
import type { Established, IkeSa } from './sa.ts';
import { tunnelLost } from './tunnels.ts';

/** After so long a replaced SA is deleted by us, if its maker has not done so. */
const REPLACED = 60_000;

/** Children and pending work move to the new SA; the old one only waits to be deleted. */
export function inherit(context: Context, sa: IkeSa, established: Established, heir: IkeSa): void {
  if (heir.state.name !== 'established') return;
  heir.state.children.push(...established.children);
  heir.state.tasks.push(
    ...established.tasks.filter(({ type }) => type !== 'rekey-ike' && type !== 'delete-ike'),
  );
  for (const task of established.tasks)
    if (task.type === 'rekey-ike') commandDone(context, task.command, 'OK');
  if (established.tasks.some(({ type }) => type === 'delete-ike'))
    heir.state.tasks = [{ type: 'delete-ike' }];
  established.children = [];
  established.tasks = [];
  established.replacedBy = heir.spi;
  established.endsAt = context.now + REPLACED;
  report(context, 'IKE_REKEYED', established.tunnel, {
    suite: suiteText(heir.state.suite),
    spi: heir.spi,
    replaced: sa.spi,
  });
}

/** The peer has deleted a replaced SA that still had an exchange to finish; now it has not. */
export function endReplaced(context: Context, sa: IkeSa): void {
  if (sa.state.name !== 'established') return;
  const { tunnel } = sa.state;
  context.sas.delete(sa.spi);
  sa.state = { name: 'deleted' };
  tunnelLost(context, sa, tunnel);
}
