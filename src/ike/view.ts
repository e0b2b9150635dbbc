// Tunnels as an operator sees them.

import { innerRoom } from '../policy/overhead.ts';
import { isPostQuantum } from '../policy/post-quantum.ts';
import { suiteText } from '../policy/proposal.ts';
import type { Instant } from '../policy/sad.ts';
import { selectorText } from '../policy/selector.ts';
import type { Identity } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import type { VerifiedPeer } from './authenticate.ts';
import type { Endpoint, PeerCredential } from './boundary.ts';
import type { Context, TunnelState } from './context.ts';
import { type Rehearsal, rehearsalOf } from './rehearsal.ts';
import type { ChildSa } from './sa.ts';
import { isSilent } from './window.ts';

export interface TunnelView {
  name: string;
  state: 'down' | 'connecting' | 'established';
  ikeSa?: {
    spis: [string, string];
    algorithms: string;
    /** The PPK that its keys come from. */
    ppk?: string;
    /** A key exchange of it holds against a quantum computer. */
    postQuantum: boolean;
    local: Endpoint;
    remote: Endpoint;
    since: Instant;
    /** Since when the tunnel is up without a break, over rekeys. */
    upSince: Instant;
    /** When the peer was last heard, by a message or by a packet. */
    lastHeard: Instant;
    /** Transmissions of a request that has waited too long for its answer. */
    unanswered?: number;
    /** Milliseconds from the attempt's begin; missing where the peer began. */
    establishedIn?: number;
    rekeyAt: Instant;
    nat: boolean;
    /** What the peer says it is, where the name is known. */
    vendor?: string;
    /** Who it proved to be, and with what. */
    peer: { identity: Identity; credential?: PeerCredential };
    /** The certificate or raw key that we showed, DER. */
    shown?: Uint8Array;
  };
  children: ChildView[];
}

export interface ChildView {
  name: string;
  spiIn: number;
  spiOut: number;
  algorithms: string;
  /** Between the outer addresses themselves. */
  transport: boolean;
  since: Instant;
  rekeyAt: Instant;
  local: string[];
  remote: string[];
  /** What the last rekey showed; missing until there was one. */
  rehearsal?: Pick<Rehearsal, 'at' | 'refusal'>;
}

export function viewOf(context: Context, state: TunnelState): TunnelView {
  const sas = state.sas.toReversed().flatMap((spi) => context.sas.peek(spi) ?? []);
  const sa = sas.find(({ state: { name } }) => name === 'established');
  if (sa?.state.name !== 'established') {
    return { name: state.tunnel.name, state: sas.length > 0 ? 'connecting' : 'down', children: [] };
  }
  const established = sa.state;
  return {
    name: state.tunnel.name,
    state: 'established',
    ikeSa: {
      spis: sa.initiator ? [sa.spi, sa.peerSpi] : [sa.peerSpi, sa.spi],
      algorithms: suiteText(established.suite),
      postQuantum: isPostQuantum(established.suite),
      ...(established.ppk === undefined ? {} : { ppk: established.ppk }),
      local: sa.local,
      remote: sa.remote,
      since: established.since,
      upSince: state.upSince ?? established.since,
      lastHeard: established.lastHeard,
      ...(isSilent(sa) ? { unanswered: sa.window.sent!.sends } : {}),
      ...(sa.initiator && state.startedAt !== undefined
        ? { establishedIn: established.since - state.startedAt }
        : {}),
      rekeyAt: established.rekeyAt,
      nat: sa.nat.local || sa.nat.remote,
      ...(sa.vendor === undefined ? {} : { vendor: sa.vendor }),
      peer: peerView(established.peer),
      ...(sa.shown === undefined ? {} : { shown: sa.shown }),
    },
    children: established.children.map((child) => childView(child, rehearsalOf(state, child.name))),
  };
}

function peerView({ identity, credential }: VerifiedPeer): {
  identity: Identity;
  credential?: PeerCredential;
} {
  return { identity, ...(credential ? { credential } : {}) };
}

function childView(child: ChildSa, rehearsal: Rehearsal | undefined): ChildView {
  const { name, spiIn, spiOut, suite, since, rekeyAt, selectors } = child;
  const [local, remote] = [selectors.local.map(selectorText), selectors.remote.map(selectorText)];
  return {
    name,
    spiIn,
    spiOut,
    algorithms: suiteText(suite),
    transport: child.transport === true,
    since,
    rekeyAt,
    local,
    remote,
    ...(rehearsal ? { rehearsal } : {}),
  };
}

/** Since when the tunnel is up, while it has a child of that name to send with. */
export function carriedSince(context: Context, name: string, child: string): Instant | undefined {
  const carrying = carrierOf(context, name, child);
  return carrying && (context.tunnels.peek(name)?.upSince ?? carrying.since);
}

/** Whether what that child sends finds the other half of it at the peer. */
export function isTaken(context: Context, name: string, child: string, now: Instant): boolean {
  const carrying = carrierOf(context, name, child);
  return carrying !== undefined && (carrying.child.peerHasItAt ?? now) <= now;
}

/** What an outer packet of a size carries. */
export interface RoomInside {
  /** Bytes of an IP packet. */
  mtu: number;
  /** Packets of the child travel another way than IKE does, which was measured. */
  estimate: boolean;
}

/** Of the child that is sent with. */
export function roomInside(
  context: Context,
  of: { tunnel: string; child: string },
  outer: number,
): RoomInside | undefined {
  const carrying = carrierOf(context, of.tunnel, of.child);
  if (!carrying) return undefined;
  const { remote, child } = carrying;
  const mtu = innerRoom(outer, familyOf(remote.address), child.suite, child.udp);
  return { mtu, estimate: !child.udp };
}

/** The child that is sent with, where to, and since when its IKE SA is there. */
function carrierOf(
  context: Context,
  name: string,
  child: string,
): { child: ChildSa; remote: Endpoint; since: Instant } | undefined {
  for (const spi of context.tunnels.peek(name)?.sas ?? []) {
    const sa = context.sas.peek(spi);
    if (sa?.state.name !== 'established') continue;
    const found = sa.state.children.find((one) => one.name === child && one.used);
    if (found) return { child: found, remote: sa.remote, since: sa.state.since };
  }
  return undefined;
}
