// From a replaced IKE SA to the one that replaces it (RFC 7296 §2.18).

import { skeyseedRekey } from '../crypto/keymat.ts';
import { type ChosenSuite, suiteText } from '../policy/proposal.ts';
import { lifetimeFrom } from './child.ts';
import { type Context, commandDone, onlyDelete, report, sasOf } from './context.ts';
import { keepLastAnswer } from './farewells.ts';
import { keysOf } from './protect.ts';
import type { Established, IkeSa } from './sa.ts';
import { tunnelLost } from './tunnels.ts';

/** After so long a replaced SA is deleted by us, if its maker has not done so. */
const REPLACED = 60_000;

/** A rekeyed IKE SA, without children yet (RFC 7296 §2.18). */
export function newIkeSa(
  context: Context,
  sa: IkeSa,
  established: Established,
  suite: ChosenSuite,
  made: {
    initiator: boolean;
    spi: string;
    peerSpi: string;
    secret: Uint8Array;
    /** Of additional key exchanges. */
    further?: readonly Uint8Array[];
    ni: Uint8Array;
    nr: Uint8Array;
  },
): IkeSa {
  const { initiator, spi, peerSpi, secret, further, ni, nr } = made;
  const { suite: old, keys: oldKeys } = established;
  const seed = skeyseedRekey(context.provider, old.prf!, oldKeys.d, secret, ni, nr, further);
  const keys = keysOf(context.provider, suite, { initiator, spi, peerSpi }, { skeyseed: seed, ni, nr });
  const { lifetime } = context.tunnels.get(established.tunnel)!.tunnel.ike;
  const next: IkeSa = {
    version: 1,
    spi,
    peerSpi,
    initiator,
    candidates: [established.tunnel],
    local: sa.local,
    remote: sa.remote,
    nat: sa.nat,
    began: context.now,
    ...(sa.vendor === undefined ? {} : { vendor: sa.vendor }),
    ...(sa.shown === undefined ? {} : { shown: sa.shown }),
    ...(sa.fragmentSize === undefined ? {} : { fragmentSize: sa.fragmentSize }),
    window: { nextRequest: 0, nextReceived: 0 },
    state: {
      name: 'established',
      peer: established.peer,
      tunnel: established.tunnel,
      suite,
      keys,
      ...(established.ppk === undefined ? {} : { ppk: established.ppk }),
      since: context.now,
      ...lifetimeFrom(context, lifetime),
      proof: established.proof,
      ...(established.renewedBy === undefined ? {} : { renewedBy: established.renewedBy }),
      ...(established.renews === undefined ? {} : { renews: established.renews }),
      lastHeard: context.now,
      lastSent: context.now,
      children: [],
      tasks: [],
    },
  };
  context.sas.set(spi, next);
  const tunnel = context.tunnels.get(established.tunnel)!;
  tunnel.sas = [...tunnel.sas, spi];
  return next;
}

/** Children and pending work move to the new SA; the old one only waits to be deleted. */
export function inherit(context: Context, sa: IkeSa, established: Established, heir: IkeSa): void {
  if (heir.state.name !== 'established') return;
  heir.state.children.push(...established.children);
  heir.state.tasks.push(
    ...established.tasks.filter(({ type }) => type !== 'rekey-ike' && type !== 'delete-ike'),
  );
  for (const task of established.tasks)
    if (task.type === 'rekey-ike') commandDone(context, task.command, 'OK');
  if (established.tasks.some(({ type }) => type === 'delete-ike')) onlyDelete(context, heir.state);
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

/**
 * The peer asks something of the SA that its rekey made, while ours is still under way: it has seen the answers to both, and
 * judged that its own stands (RFC 7296 §2.8.2). The children go over before it is heard.
 */
export function settleRival(context: Context, heir: IkeSa, established: Established): void {
  if (established.children.length > 0) return;
  for (const sa of sasOf(context, established.tunnel)) {
    const { state } = sa;
    if (state.name !== 'established' || state.replacedBy !== undefined) continue;
    const { own } = state;
    if (own?.task.type === 'rekey-ike' && own.rival?.spi === heir.spi) inherit(context, sa, state, heir);
  }
}

/** The peer's SA of a collision is redundant, and the peer deletes it, unless it has never heard of it. */
export function expectDelete(context: Context, { state }: IkeSa, heir: IkeSa): void {
  if (state.name !== 'established') return;
  state.replacedBy = heir.spi;
  state.endsAt = context.now + REPLACED;
}

/** The peer has deleted a replaced SA that still had an exchange to finish; now it has not. */
export function endReplaced(context: Context, sa: IkeSa): void {
  if (sa.state.name !== 'established') return;
  const { tunnel } = sa.state;
  context.sas.delete(sa.spi);
  keepLastAnswer(context, sa);
  sa.state = { name: 'deleted' };
  tunnelLost(context, sa, tunnel);
}
