// What an operator sees: each tunnel's state, since when, how much each way, and why it is not passing.

import type { Explained } from '../dataplane/xfrm-statistics.ts';
import type { ChildView, TunnelView } from '../ike/view.ts';
import type { InstalledSa, Instant, Snapshot } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import type { Ending } from './expiry.ts';
import type { InterfaceStatus } from './links.ts';
import { type ChildProof, whyNotPassing } from './passing.ts';
import type { ChildPathMtu, ChildPathMtus } from './path-mtu-outside.ts';
import type { ProbeStatus, Probes } from './probes.ts';
import { type Report, sentenceOf } from './report.ts';

/**
 * `negotiated`: keys are there, and no proof that packets pass. `passing`: authenticated packets came and went since the tunnel
 * is up, and its probe, if it has one, is answered. `degraded`: one way only, the answers have ceased, or a child is missing.
 */
export type TunnelStateName = 'down' | 'connecting' | 'negotiated' | 'passing' | 'degraded';

export interface Flow {
  packets: number;
  bytes: number;
  /** Milliseconds since the last packet. */
  age?: number;
  /** Of the SA in use, where it was asked for: what the network interface does, and why not more. */
  offload?: NonNullable<InstalledSa['offload']>;
}

export interface ChildStatus {
  name: string;
  state: TunnelStateName;
  spiIn: number;
  spiOut: number;
  algorithms: string;
  /** Between the outer addresses themselves, without a header of their own. */
  transport: boolean;
  /** Milliseconds since the keys were made. */
  age: number;
  /** Milliseconds until they are replaced. */
  rekeyIn: number;
  rekey: RekeyStatus;
  local: string[];
  remote: string[];
  /** Since the daemon started, over all rekeys. */
  in: Flow;
  out: Flow;
  probe?: ProbeStatus;
  /** The largest packet that passes, where that is known. */
  pathMtu?: ChildPathMtu;
  /** Why it is not passing, and which side to look at. */
  why?: string;
}

/** Whether the next rekey will succeed, as far as the last one shows. */
export interface RekeyStatus {
  /** `pending`: it is about to be rehearsed; `untried`: `rehearsal` is off, and none was due yet. */
  verdict: 'rehearsed' | 'pending' | 'refused' | 'untried';
  /** Milliseconds since it was found. */
  age?: number;
  /** What is refused, and what to change on which side. */
  sentence?: string;
}

export interface TunnelStatus {
  name: string;
  state: TunnelStateName;
  /** Why it is not passing. */
  why?: string;
  peer: string;
  /** Of a route-based tunnel. */
  interface?: InterfaceStatus;
  /** What the peer says it is. */
  vendor?: string;
  algorithms?: string;
  /** A key exchange of the IKE SA holds against a quantum computer. */
  postQuantum?: boolean;
  /** The PPK that its keys come from. */
  ppk?: string;
  /** Milliseconds since the IKE SA was made. */
  age?: number;
  /** Milliseconds it took to make, where we began. */
  establishedIn?: number;
  nat?: boolean;
  /** Milliseconds since the peer was last heard, by an IKE message or by a packet. */
  heard?: number;
  children: ChildStatus[];
}

export interface Status {
  name: string;
  pid: number;
  /** What protects packets. */
  dataplane: 'engine' | 'xfrm';
  /** A sentence. */
  dataplaneWhy: string;
  /** The folder that every key is written to, while that is so. */
  exportsKeys?: string;
  tunnels: TunnelStatus[];
  /** Every certificate that a tunnel rests on, the next to end first. */
  certificates: Ending[];
  /** Packets dropped by cause; cleartext of protected networks that the guards stopped. */
  drops: Record<string, number>;
  /** Those of the drops that the kernel's IPsec counts: what each means, whose fault it is, what to do. */
  explained: Explained[];
}

/** What shows that packets pass. */
export interface Proofs {
  traffic: Pick<Traffic, 'of'>;
  probes?: Pick<Probes, 'of'>;
  /** And of what size. */
  pathMtus?: Pick<ChildPathMtus, 'of'>;
}

/** Counters of policies over the rekeys of their SAs. */
export interface Traffic {
  update(snapshot: Snapshot): void;
  of(policy: string, direction: 'in' | 'out', now: Instant): Flow;
}

export function createTraffic(): Traffic {
  let seen = new Map<string, InstalledSa>();
  let alive = new Map<string, InstalledSa[]>();
  const gone = new Map<string, { packets: bigint; bytes: bigint; last: Instant }>();

  function retire(sa: InstalledSa): void {
    const key = `${sa.direction} ${sa.policy}`;
    const before = gone.get(key) ?? { packets: 0n, bytes: 0n, last: 0 };
    const last = Math.max(before.last, sa.last ?? 0);
    gone.set(key, { packets: before.packets + sa.packets, bytes: before.bytes + sa.bytes, last });
  }

  return {
    update({ sas }) {
      const next = new Map(sas.map((sa) => [`${sa.direction} ${sa.spi}`, sa]));
      for (const [key, sa] of seen) if (!next.has(key)) retire(sa);
      seen = next;
      alive = byPolicy(sas);
    },
    of(policy, direction, now) {
      const key = `${direction} ${policy}`;
      const present = alive.get(key) ?? [];
      const before = gone.get(key) ?? { packets: 0n, bytes: 0n, last: 0 };
      const last = Math.max(before.last, ...present.map((sa) => sa.last ?? 0));
      const offload = present.find((sa) => sa.inUse && sa.offload)?.offload;
      return {
        packets: Number(present.reduce((sum, sa) => sum + sa.packets, before.packets)),
        bytes: Number(present.reduce((sum, sa) => sum + sa.bytes, before.bytes)),
        ...(last === 0 ? {} : { age: Math.max(0, now - last) }),
        ...(offload ? { offload } : {}),
      };
    },
  };
}

function byPolicy(sas: readonly InstalledSa[]): Map<string, InstalledSa[]> {
  const groups = new Map<string, InstalledSa[]>();
  for (const sa of sas) {
    const key = `${sa.direction} ${sa.policy}`;
    const group = groups.get(key);
    if (group) group.push(sa);
    else groups.set(key, [sa]);
  }
  return groups;
}

export function statusOfTunnel(
  view: TunnelView,
  tunnel: Tunnel,
  proofs: Proofs,
  failure: Report | undefined,
  now: Instant,
): TunnelStatus {
  const { ikeSa } = view;
  const children = newest(view.children).map((child) => statusOfChild(view, tunnel, child, proofs, now));
  const there = new Set(children.map(({ name }) => name));
  const missing = tunnel.children.flatMap(({ name }) => (there.has(name) ? [] : [name]));
  const state = stateOf(view, children, missing.length);
  const why = reason(state, children, missing, failure, tunnel);
  return {
    name: view.name,
    state,
    ...(why === undefined ? {} : { why }),
    peer: ikeSa?.remote.address ?? tunnel.remote.addresses[0] ?? tunnel.remote.names?.[0] ?? 'any',
    ...(ikeSa ? statusOfIke(ikeSa, now) : {}),
    children,
  };
}

function statusOfIke(ikeSa: NonNullable<TunnelView['ikeSa']>, now: Instant): Partial<TunnelStatus> {
  const { vendor, establishedIn } = ikeSa;
  return {
    algorithms: ikeSa.algorithms,
    postQuantum: ikeSa.postQuantum,
    ...(ikeSa.ppk === undefined ? {} : { ppk: ikeSa.ppk }),
    age: now - ikeSa.since,
    nat: ikeSa.nat,
    heard: Math.max(0, now - ikeSa.lastHeard),
    ...(vendor === undefined ? {} : { vendor }),
    ...(establishedIn === undefined ? {} : { establishedIn }),
  };
}

/** Of two generations of a child, the newer. */
function newest(children: readonly ChildView[]): ChildView[] {
  return [...new Map(children.map((child) => [child.name, child])).values()];
}

function statusOfChild(
  { ikeSa }: TunnelView,
  tunnel: Tunnel,
  child: ChildView,
  { traffic, probes, pathMtus }: Proofs,
  now: Instant,
): ChildStatus {
  const policy = `${tunnel.name}/${child.name}`;
  const [into, out] = [traffic.of(policy, 'in', now), traffic.of(policy, 'out', now)];
  const probe = probes?.of(policy, now);
  const pathMtu = pathMtus?.of(policy, now);
  const { name, spiIn, spiOut, algorithms, transport, local, remote } = child;
  const proof: ChildProof = {
    into,
    out,
    local,
    up: now - (ikeSa?.upSince ?? child.since),
    heard: now - (ikeSa?.lastHeard ?? child.since),
    ...(ikeSa?.unanswered === undefined ? {} : { unanswered: ikeSa.unanswered }),
    ...(probe ? { probe } : {}),
  };
  const { state, why } = whyNotPassing(proof);
  return {
    name,
    state,
    spiIn,
    spiOut,
    algorithms,
    transport,
    age: now - child.since,
    rekeyIn: Number.isFinite(child.rekeyAt) ? child.rekeyAt - now : 0,
    rekey: rekeyStatus(tunnel, child, now),
    local,
    remote,
    in: into,
    out,
    ...(probe ? { probe } : {}),
    ...(pathMtu ? { pathMtu } : {}),
    ...(why === undefined ? {} : { why }),
  };
}

function rekeyStatus({ rehearsal: wanted }: Tunnel, { rehearsal }: ChildView, now: Instant): RekeyStatus {
  if (!rehearsal) return { verdict: wanted ? 'pending' : 'untried' };
  const { at, refusal } = rehearsal;
  const age = Math.max(0, now - at);
  return refusal ? { verdict: 'refused', age, sentence: sentenceOf(refusal) } : { verdict: 'rehearsed', age };
}

function stateOf(view: TunnelView, children: readonly ChildStatus[], missing: number): TunnelStateName {
  if (view.state !== 'established') return view.state;
  if (missing > 0 || children.some(({ state }) => state === 'degraded')) return 'degraded';
  return children.every(({ state }) => state === 'passing') ? 'passing' : 'negotiated';
}

function reason(
  state: TunnelStateName,
  children: readonly ChildStatus[],
  missing: readonly string[],
  failure: Report | undefined,
  tunnel: Tunnel,
): string | undefined {
  switch (state) {
    case 'passing':
      return undefined;
    case 'negotiated':
    case 'degraded': {
      if (missing.length > 0)
        return `${missing.join(', ')} is not established${failure ? `: ${sentenceOf(failure)}` : ''}`;
      const child = children.find((one) => one.state === state);
      return child?.why && `${children.length > 1 ? `${child.name}: ` : ''}${child.why}`;
    }
    case 'connecting':
    case 'down':
      if (failure) return sentenceOf(failure);
      return tunnel.start === 'now' ? undefined : `it starts ${STARTS[tunnel.start]}`;
  }
}

const STARTS = { 'on-traffic': 'at the first packet', wait: 'when the peer asks' };
