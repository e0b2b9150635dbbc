// What every handler is given: the clock, the crypto, the tables that IkeSas share, and the list of actions to add to.

import { hex } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import type { ProposalTemplate } from '../policy/proposal.ts';
import type { Capabilities, Change, Instant } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Agenda } from './agenda.ts';
import type { Action, Job } from './boundary.ts';
import type { Cookies } from './cookies.ts';
import type { ReportCode } from './errors.ts';
import type { Farewell } from './farewells.ts';
import type { Rehearsal } from './rehearsal.ts';
import type { Established, IkeSa } from './sa.ts';
import type { SaTable } from './sa-table.ts';
import type { Starts } from './starts.ts';
import type { TunnelTable } from './tunnel-table.ts';

/** A tunnel and what we are doing about it. */
export interface TunnelState {
  tunnel: Tunnel;
  /** It should be up: tried for ever. */
  wanted: boolean;
  /** Children that the operator took down, until somebody asks for them again. */
  down?: string[];
  /** Of children that we could not make, by name: milliseconds to wait after the next failure. */
  unmade?: Record<string, number>;
  /** Taken out of the configuration; gone with its last SA. */
  removed?: true;
  /** When the attempt began that led to the present SA. */
  startedAt?: Instant;
  /** Since when an IKE SA of it is established without a break. */
  upSince?: Instant;
  /** Failed attempts since it was last established. */
  attempt: number;
  retryAt?: Instant;
  /** Of fragments that came through (RFC 7383): bytes of an IP packet. */
  fragmentSize?: number;
  /** What a request that was too large for the path was completed by: IKE fragments, or fragments of IP. */
  completedBy?: 'ike' | 'ip';
  /** One was not completed at all: the peer is not asked before. */
  measurableAt?: Instant;
  /** Commands that wait for the outcome of `up`. */
  waiting: number[];
  /** IKE SAs of this tunnel by SPI, the newest last. */
  sas: string[];
  /** The attempt that is made beside an established SA which has become silent. */
  beside?: string;
  /** The attempt that renews what the peer has proven. */
  renewal?: string;
  /** Commands that wait for its outcome. */
  renewalWaiting?: number[];
  /** Names of the peer that are being looked up, and what waits for them. */
  lookup?: {
    left: string[];
    found: IpAddress[];
    failed?: string;
    purpose: 'connect' | 'beside' | 'watch';
  };
  /** The names have just been looked up. */
  known?: true;
  /** When they are looked up again while the tunnel is up. */
  watchAt?: Instant;
  /** What the last rekey of each child showed. */
  rehearsals?: readonly Rehearsal[];
}

/** A failed negotiation, for the operator. */
export interface NegotiationFailure {
  at: Instant;
  code: ReportCode;
  tunnel?: string;
  detail: Record<string, unknown>;
}

export interface Context {
  now: Instant;
  provider: Provider;
  capabilities: Capabilities | undefined;
  /** What the data plane can do of the proposals of children. */
  capable: WeakMap<ProposalTemplate[], ProposalTemplate[]>;
  cookies: Cookies;
  /** Half-open SAs from which on strangers need a cookie. */
  cookieThreshold: number;
  tunnels: TunnelTable;
  sas: SaTable;
  /** SPIs of the SAs that an earlier gateway handed over, by tunnel, until that is configured. */
  restored: Map<string, string[]>;
  /** Which SA waits for the outcome of a job or a change. */
  waits: Map<number, string>;
  failures: NegotiationFailure[];
  /** Last answers of IKE SAs that are gone, by our SPI, the oldest first. */
  farewells: Map<string, Farewell>;
  /** How many messages for unknown IKE SAs were answered, since when. */
  strangers: { answers: number; since: Instant };
  /** Datagrams dropped, by cause. */
  drops: Record<string, number>;
  /** Bytes that IKE SAs hold in fragments of messages that are not whole yet. */
  held: { bytes: number; bySa: Map<string, number> };
  /** What the data plane was told to expect (`expect-inbound`): an SPI by that of the IKE SA that asked for its SA. */
  expected: Map<string, number>;
  /** In the order of their moments: each waits equally long. */
  removals: { at: Instant; change: Change }[];
  /** The next moment of each IKE SA, by SPI, and of each tunnel, by name. */
  saAgenda: Agenda;
  tunnelAgenda: Agenda;
  starts: Starts;
  actions: Action[];
  nextId: number;
}

const MOST_FAILURES = 50;

export function startJob(context: Context, sa: IkeSa, job: Job): number {
  const id = context.nextId++;
  context.waits.set(id, sa.spi);
  context.actions.push({ type: 'job', id, job });
  return id;
}

/** A private half that nobody will ask for. */
export function forgetOffer(context: Context, handle: string): void {
  context.actions.push({ type: 'job', id: context.nextId++, job: { type: 'forget', handle } });
}

/** The outcome comes as `applied` with the id returned. */
export function install(context: Context, sa: IkeSa, changes: Change[]): number {
  const id = context.nextId++;
  context.waits.set(id, sa.spi);
  context.actions.push({ type: 'dataplane', id, changes });
  return id;
}

/** Changes whose outcome nobody waits for. */
export function applyChanges(context: Context, changes: Change[]): void {
  if (changes.length > 0) context.actions.push({ type: 'dataplane', id: context.nextId++, changes });
}

export function report(
  context: Context,
  code: ReportCode,
  tunnel?: string,
  detail: Record<string, unknown> = {},
): void {
  context.actions.push({ type: 'report', code, ...(tunnel === undefined ? {} : { tunnel }), detail });
}

/** A report that is also kept: the last fifty failed negotiations, strangers included. */
export function reportFailure(
  context: Context,
  code: ReportCode,
  tunnel: string | undefined,
  detail: Record<string, unknown>,
): void {
  report(context, code, tunnel, detail);
  context.failures.push({ at: context.now, code, ...(tunnel === undefined ? {} : { tunnel }), detail });
  if (context.failures.length > MOST_FAILURES) context.failures.shift();
}

/** Counted, and not told: whoever sends it could otherwise fill the log. */
export function drop({ drops }: Context, cause: string): undefined {
  drops[cause] = (drops[cause] ?? 0) + 1;
}

/** The IKE SA is to go: whatever else was to be done is not done any more, and whoever asked for it hears so. */
export function onlyDelete(context: Context, state: Established, command?: number): void {
  for (const task of state.tasks)
    commandDone(context, task.command, task.type === 'delete-ike' ? 'OK' : 'TUNNEL_DOWN');
  state.tasks = [{ type: 'delete-ike', ...(command === undefined ? {} : { command }) }];
}

export function commandDone(context: Context, id: number | undefined, outcome: ReportCode): void {
  if (id !== undefined) context.actions.push({ type: 'command-done', id, outcome });
}

/** Random, never zero, not in use (RFC 7296 §2.6). */
export function drawIkeSpi(context: Context): string {
  for (;;) {
    const spi = hex(context.provider.random(8));
    if (!/^0+$/.test(spi) && !context.sas.has(spi)) return spi;
  }
}

/** Random, above the reserved ones (RFC 4303 §2.1), not in use. */
export function drawChildSpi(context: Context): number {
  for (;;) {
    const [a, b, c, d] = context.provider.random(4);
    const spi = ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
    if (spi >= 256 && !context.sas.hasChild(spi)) return spi;
  }
}

/** A factor between 1 - jitter and 1 + jitter. */
export function jittered(context: Context, value: number, jitter: number): number {
  const [a, b] = context.provider.random(2);
  return Math.round(value * (1 + jitter * (((a! << 8) | b!) / 32767.5 - 1)));
}

/** The first candidate's tunnel: the one it is, once there is only one left. */
export function tunnelOf(context: Context, sa: IkeSa): TunnelState | undefined {
  return context.tunnels.get(sa.candidates[0] ?? '');
}

/** The IKE SAs of a tunnel, the newest last; half-open ones that a peer began are nobody's yet. */
export function sasOf(context: Context, tunnel: string): IkeSa[] {
  return context.tunnels.get(tunnel)?.sas.flatMap((spi) => context.sas.get(spi) ?? []) ?? [];
}
