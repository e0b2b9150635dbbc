// One IKE SA with a peer, or several: what a new one means for those that are there (RFC 7296 §2.4).

import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY } from '../../wire/numbers.ts';
import { type Context, sasOf } from '../context.ts';
import type { IkeSa } from '../sa.ts';
import { isSilent } from '../window.ts';
import { deleteIke } from './informational.ts';

/** `unique: keep`: the peer asks for a second IKE SA while the first one answers, and does not say that it lost that. */
export function isOneTooMany(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  payloads: readonly Payload[],
): boolean {
  if (tunnel.unique !== 'keep' || findNotify(payloads, NOTIFY.INITIAL_CONTACT)) return false;
  return earlier(context, sa, tunnel).some((other) => !isSilent(other));
}

/** RFC 7296 §2.4: the peer holds no other SA, so ours with the same identity are leftovers. */
export function forgetOthers(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  payloads: readonly Payload[],
): void {
  if (tunnel.unique === 'never' || !findNotify(payloads, NOTIFY.INITIAL_CONTACT)) return;
  for (const other of earlier(context, sa, tunnel)) deleteIke(context, other, 'peer');
}

/** What was made while this one was, the peer may not have known when it sent the word. */
function earlier(context: Context, sa: IkeSa, { name }: Tunnel): IkeSa[] {
  return sasOf(context, name).filter(
    (other) => other !== sa && other.state.name === 'established' && other.state.since < sa.began,
  );
}
