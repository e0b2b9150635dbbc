// From a verified peer to an established SA, and what becomes of the others to the same peer (RFC 7296 §2.4).

import { isPostQuantum, mayBePostQuantum } from '../../policy/post-quantum.ts';
import { suiteText } from '../../policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import type { VerifiedPeer } from '../authenticate.ts';
import { lifetimeFrom } from '../child.ts';
import { type Context, onlyDelete, report, reportFailure, sasOf } from '../context.ts';
import { rememberSize } from '../fragments.ts';
import { beginHandOver } from '../hand-over.ts';
import { beginWatch } from '../names.ts';
import { proofFrom } from '../proof-lifetime.ts';
import type { Established, IkeSa, Secrets, Task } from '../sa.ts';
import { tunnelEstablished } from '../tunnels.ts';
import { isSilent } from '../window.ts';
import { natInTheWay } from './child-mode.ts';
import { deleteIke } from './informational.ts';

/** The only way into `established`. */
export function establish(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  secrets: Secrets,
  peer: VerifiedPeer,
): Established {
  sa.candidates = [tunnel.name];
  rememberSize(context, sa);
  delete sa.heard;
  const established: Established = {
    peer,
    tunnel: tunnel.name,
    suite: secrets.suite,
    keys: secrets.keys,
    ...(secrets.ppk ? { ppk: secrets.ppk.id } : {}),
    since: context.now,
    ...lifetimeFrom(context, tunnel.ike.lifetime),
    proof: proofFrom(context, tunnel, sa.initiator),
    lastHeard: context.now,
    lastSent: context.now,
    children: [],
    tasks: otherChildren(context, sa, tunnel),
  };
  sa.state = { name: 'established', ...established };
  report(context, 'IKE_ESTABLISHED', tunnel.name, {
    peer: peer.identity.value,
    suite: suiteText(secrets.suite),
  });
  for (const message of peer.credential?.warnings ?? [])
    report(context, 'PEER_CERTIFICATE_DOUBT', tunnel.name, { peer: peer.identity.value, message });
  if (tunnel.ppk && !secrets.ppk)
    report(context, 'IKE_WITHOUT_PPK', tunnel.name, { peer: peer.identity.value, id: tunnel.ppk.id });
  if (!isPostQuantum(secrets.suite) && tunnel.ike.proposals.some(mayBePostQuantum))
    report(context, 'IKE_CLASSICAL', tunnel.name, { peer: peer.identity.value });
  const replaced = replaceSilent(context, sa, tunnel);
  tunnelEstablished(context, sa, tunnel.name);
  beginWatch(context, context.tunnels.get(tunnel.name)!);
  const renewed = beginHandOver(context, sa, sa.state);
  if (!replaced && !renewed) dropDouble(context, sa, tunnel);
  if (sa.unwanted) onlyDelete(context, sa.state);
  return sa.state;
}

/** Whoever began makes all the children; the other side mends what is still missing after a while. */
function otherChildren(context: Context, sa: IkeSa, tunnel: Tunnel): Task[] {
  const { down = [] } = context.tunnels.get(tunnel.name)!;
  const first = firstChild(context, sa, tunnel);
  const others = sa.initiator ? tunnel.children.filter((child) => child !== first) : [];
  return others.flatMap(({ name }) => (down.includes(name) ? [] : { type: 'create', child: name }));
}

/** The child that comes with IKE_AUTH: the first one that the operator has not taken down and no NAT prevents. */
export function firstChild(context: Context, sa: IkeSa, { name, children }: Tunnel): ChildTemplate {
  const { down = [] } = context.tunnels.get(name)!;
  const wanted = children.filter((child) => !down.includes(child.name));
  return wanted.find((child) => !natInTheWay(sa, child)) ?? wanted[0] ?? children[0]!;
}

/** The IKE SA came without a child (RFC 6023): the first one is made like the others. */
export function childrenFollow(context: Context, sa: IkeSa, established: Established, tunnel: Tunnel): void {
  established.tasks.unshift({ type: 'create', child: firstChild(context, sa, tunnel).name });
}

/** The attempt beside a silent SA came through: that SA goes, with a word to the peer where it speaks again. */
function replaceSilent(context: Context, sa: IkeSa, { name }: Tunnel): boolean {
  const tunnelState = context.tunnels.get(name)!;
  if (tunnelState.beside !== sa.spi) return false;
  delete tunnelState.beside;
  for (const other of sasOf(context, name)) {
    if (other === sa || other.state.name !== 'established') continue;
    if (isSilent(other)) endSilent(context, other, name);
    else onlyDelete(context, other.state);
  }
  return true;
}

/** A peer that restarted without a word looks as if it had got no question of size, and is asked again after so long. */
const ASK_AGAIN = 86_400_000;

function endSilent(context: Context, silent: IkeSa, tunnel: string): void {
  const { sends, whole, lost } = silent.window.sent!;
  // It lives, does not say that it lost the SA, and what it did not answer was a question of size.
  const isStuck = whole !== undefined && !lost;
  const code = isStuck ? 'PATH_STUCK' : 'PEER_VANISHED';
  if (isStuck) context.tunnels.get(tunnel)!.measurableAt = context.now + ASK_AGAIN;
  reportFailure(context, code, tunnel, { remote: silent.remote.address, sends });
  deleteIke(context, silent, 'us');
}

/** Until both sides have both SAs and their children. */
const SETTLE = 3000;

/**
 * Both sides began at once, neither knowing of the other: of the two IKE SAs the one with the lower initiator's SPI goes,
 * by its initiator. One that was begun when the other was there already is meant to be beside it.
 */
function dropDouble(context: Context, sa: IkeSa, { name }: Tunnel): void {
  for (const other of sasOf(context, name)) {
    if (other.state.name !== 'established' || other.state.replacedBy !== undefined) continue;
    if (other.initiator === sa.initiator || other.state.since < sa.began) continue;
    const [ours, theirs] = sa.initiator ? [sa, other] : [other, sa];
    if (ours.state.name === 'established' && ours.spi < theirs.peerSpi)
      ours.state.tasks.push({ type: 'delete-ike', notBefore: context.now + SETTLE });
  }
}
