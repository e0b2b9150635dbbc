// Routes every event to its IkeSa and holds what they share. Performs no I/O, knows no clock, draws no randomness of its own.

import type { Provider } from '../crypto/provider.ts';
import type { Capabilities, Instant } from '../policy/sad.ts';
import { decodeMessage } from '../wire/ikev2.ts';
import type { TooBig } from '../wire/too-big.ts';
import { Agenda } from './agenda.ts';
import { startWaiting } from './attempts.ts';
import type { Action, Core, Event, Failure, JobResult } from './boundary.ts';
import { addressesChanged, askPeer, command, configure, takeDown } from './commands.ts';
import { type Context, forgetOffer, type NegotiationFailure, type TunnelState } from './context.ts';
import { Cookies } from './cookies.ts';
import { heldBy } from './fragments.ts';
import { planeEvent } from './plane-events.ts';
import { senderOf } from './quoted.ts';
import { receive } from './receive.ts';
import { reauthenticate, renewOutdated } from './renewal.ts';
import { resolved } from './resolved.ts';
import type { Established, IkeSa } from './sa.ts';
import { SaTable } from './sa-table.ts';
import { Starts } from './starts.ts';
import { runTasks } from './tasks.ts';
import { nextTimeout, settle, timeout } from './timers.ts';
import { TunnelTable } from './tunnel-table.ts';
import { createFinished, createOffered } from './v2/create-child-sa.ts';
import { createInstalled } from './v2/create-child-sa-made.ts';
import { answerInstalled, createAnswerReady } from './v2/create-child-sa-served.ts';
import { authSigned, authVerified } from './v2/ike-auth.ts';
import { answerSigned, peerVerified } from './v2/ike-auth-served.ts';
import { followupFinished, followupOffered } from './v2/ike-followup-ke.ts';
import { followupAnswerReady } from './v2/ike-followup-ke-served.ts';
import {
  afterExchange,
  intermediateFinished,
  intermediateOffered,
  ppkConfirmed,
  ppkSeeded,
} from './v2/ike-intermediate.ts';
import { intermediateAnswerReady, ppkWeighed } from './v2/ike-intermediate-served.ts';
import { initFinished, offered } from './v2/ike-sa-init.ts';
import { initAnswerReady } from './v2/ike-sa-init-served.ts';
import { measure, unsent } from './v2/measure.ts';
import { noPpkSigned, ppkAnswerMixed, ppkMixed } from './v2/ppk-mixed.ts';
import { carriedSince, isTaken, type RoomInside, roomInside, type TunnelView, viewOf } from './view.ts';

export interface GatewayOptions {
  provider: Provider;
  /** Half-open SAs from which on strangers need a cookie (RFC 7296 §2.6). */
  cookieThreshold?: number;
  /** Of the data plane: what it cannot do is never offered. Without them everything implemented is. */
  capabilities?: Capabilities;
  /** Established SAs of an earlier gateway (`sas()`), whose data plane this one continues. */
  sas?: readonly IkeSa[];
  /** All that another gateway knew, to be this one's own: it goes on as that one would have. */
  memory?: Memory;
}

/** What a gateway knows between two events; the rest follows from it. Plain data; holds keys. */
export interface Memory
  extends Pick<
    Context,
    'restored' | 'waits' | 'failures' | 'farewells' | 'expected' | 'removals' | 'nextId'
  > {
  sas: IkeSa[];
  tunnels: TunnelState[];
}

export interface Gateway extends Core {
  tunnels(): TunnelView[];
  /** Since when a tunnel is up, while it has that child to send with. */
  carriedSince(tunnel: string, child: string): Instant | undefined;
  /** Whether what that child sends finds the other half of it at the peer. */
  isTaken(tunnel: string, child: string, now: Instant): boolean;
  /** The largest packet of a child that goes into an outer one of so many bytes. */
  roomInside(of: { tunnel: string; child: string }, outer: number): RoomInside | undefined;
  /** The tunnel that sent what a router quotes. */
  senderOf(quoted: Omit<TooBig, 'mtu'>): string | undefined;
  failures(): readonly NegotiationFailure[];
  /** Datagrams dropped since the start, by cause. */
  drops(): Readonly<Record<string, number>>;
  /** Our IKE SPIs that are in use, 16 hex digits each. */
  spis(): string[];
  /** Of these, which came and which went since the last call. */
  takeSpiChanges(): { came: string[]; went: string[] };
  /** A copy of all IKE SAs, to continue elsewhere. Holds keys. */
  sas(): IkeSa[];
  /** How often an IKE SA was looked at: a few times an event, however many there are. */
  visits(): number;
  /** What it knows; the parts are its own, not copies. */
  memory(): Memory;
}

const COOKIE_THRESHOLD = 30;

export function createGateway(options: GatewayOptions): Gateway {
  const { sas, tunnels, ...memory } = options.memory ?? newMemory(options.sas ?? []);
  const context: Context = {
    ...memory,
    now: 0,
    provider: options.provider,
    capabilities: options.capabilities,
    capable: new WeakMap(),
    cookies: new Cookies(options.provider),
    cookieThreshold: options.cookieThreshold ?? COOKIE_THRESHOLD,
    tunnels: new TunnelTable(),
    sas: new SaTable(sas),
    saAgenda: new Agenda(),
    tunnelAgenda: new Agenda(),
    starts: new Starts(),
    strangers: { answers: 0, since: 0 },
    drops: {},
    held: heldBy(sas),
    actions: [],
  };
  for (const state of tunnels) context.tunnels.set(state.tunnel.name, state);
  settle(context);
  return {
    handle(event, now): Action[] {
      context.now = now;
      dispatch(context, event);
      startWaiting(context);
      runTasks(context);
      settle(context);
      return context.actions.splice(0);
    },
    nextTimeout: () => nextTimeout(context),
    names: () => context.tunnels.names(),
    tunnels: () =>
      [...context.tunnels.all()].filter(({ removed }) => !removed).map((state) => viewOf(context, state)),
    spis: () => [...context.sas.keys()],
    takeSpiChanges: () => context.sas.takeChanges(),
    sas: () => [...context.sas.all()].map((sa) => structuredClone(sa)),
    carriedSince: (tunnel, child) => carriedSince(context, tunnel, child),
    isTaken: (tunnel, child, now) => isTaken(context, tunnel, child, now),
    roomInside: (of, outer) => roomInside(context, of, outer),
    senderOf: (quoted) => senderOf(context, quoted),
    failures: () => context.failures,
    drops: () => context.drops,
    visits: () => context.sas.visits(),
    memory() {
      const { restored, waits, failures, farewells, expected, removals, nextId } = context;
      const [sas, tunnels] = [[...context.sas.all()], [...context.tunnels.all()]];
      return { sas, tunnels, restored, waits, failures, farewells, expected, removals, nextId };
    },
  };
}

function newMemory(handedOver: readonly IkeSa[]): Memory {
  const sas = handedOver.map((sa) => structuredClone(sa));
  const nothing = {
    tunnels: [],
    waits: new Map(),
    failures: [],
    farewells: new Map(),
    expected: new Map<string, number>(),
    removals: [],
    nextId: 1,
  };
  return { ...nothing, sas, restored: byTunnel(sas) };
}

function byTunnel(sas: readonly IkeSa[]): Map<string, string[]> {
  const spis = new Map<string, string[]>();
  for (const { state, spi } of sas)
    if (state.name === 'established') spis.set(state.tunnel, [...(spis.get(state.tunnel) ?? []), spi]);
  return spis;
}

function dispatch(context: Context, event: Event): void {
  switch (event.type) {
    case 'datagram':
      return receive(context, event.bytes, { local: event.local, remote: event.remote });
    case 'timeout':
      return timeout(context);
    case 'command':
      return event.command === 'reauthenticate' ? reauthenticate(context, event) : command(context, event);
    case 'configure':
      for (const change of event.changes) {
        configure(context, change);
        if (change.type === 'set-tunnel') renewOutdated(context, change.tunnel.name);
      }
      return;
    case 'addresses':
      return addressesChanged(context, event.local);
    case 'applied':
      withWaiting(context, event.id, (sa) => applied(context, sa, event.id, event.failed));
      return;
    case 'job-done':
      return jobResult(context, event.id, event.result);
    case 'dataplane':
      return planeEvent(context, event.event);
    case 'silence':
      return askPeer(context, event.tunnel);
    case 'measure':
      return measure(context, event);
    case 'unsent':
      return unsent(context, event.bytes);
    case 'resolved':
      return resolved(context, event);
    case 'shutdown': {
      const state = context.tunnels.get(event.tunnel);
      if (state) takeDown(context, state, undefined);
    }
  }
}

function withWaiting(context: Context, id: number, handle: (sa: IkeSa) => void): boolean {
  const sa = context.sas.get(context.waits.get(id) ?? '');
  context.waits.delete(id);
  if (sa) handle(sa);
  return sa !== undefined;
}

/** A result whose SA is gone is dropped, and what it left behind is cleared away. */
function jobResult(context: Context, id: number, result: JobResult): void {
  const wanted = withWaiting(context, id, (sa) => jobDone(context, sa, id, result));
  if (!wanted && result.type === 'offer') forgetOffer(context, result.handle);
}

// Results

function jobDone(context: Context, sa: IkeSa, id: number, result: JobResult): void {
  const { state } = sa;
  if (state.name === 'established') return establishedJobDone(context, sa, state, id, result);
  if (!('job' in state) || state.job !== id) return;
  switch (state.name) {
    case 'offering':
      return offered(context, sa, state, result);
    case 'init-finishing': {
      const secrets = initFinished(context, sa, state, result);
      return secrets && afterExchange(context, sa, state.attempt, secrets);
    }
    case 'ppk-confirming':
      return ppkConfirmed(context, sa, state, result);
    case 'ppk-seeding':
      return ppkSeeded(context, sa, state, result);
    case 'ppk-weighing':
      return ppkWeighed(context, sa, state, result);
    case 'ppk-mixing':
      return ppkMixed(context, sa, state, result);
    case 'no-ppk-signing':
      return noPpkSigned(context, sa, state, result);
    case 'ppk-answering':
      return ppkAnswerMixed(context, sa, state, result);
    case 'intermediate-offering':
      return intermediateOffered(context, sa, state, result);
    case 'intermediate-finishing':
      return intermediateFinished(context, sa, state, result);
    case 'intermediate-answering':
      return intermediateAnswerReady(context, sa, state, result);
    case 'auth-signing':
      return authSigned(context, sa, state, result);
    case 'auth-verifying':
      return authVerified(context, sa, state, result);
    case 'init-answering':
      return initAnswerReady(context, sa, state, decodeMessage(state.request), result);
    case 'peer-verifying':
      return peerVerified(context, sa, state, result);
    case 'answer-signing':
      return answerSigned(context, sa, state, result);
  }
}

function establishedJobDone(
  context: Context,
  sa: IkeSa,
  state: Established,
  id: number,
  result: JobResult,
): void {
  const { own, serving } = state;
  if (own?.step === 'offering' && own.job === id) return createOffered(context, sa, state, own, result);
  if (own?.step === 'finishing' && own.job === id) return createFinished(context, sa, state, own, result);
  if (own?.step === 'followup-offering' && own.job === id)
    return followupOffered(context, sa, state, own, result);
  if (own?.step === 'followup-finishing' && own.job === id)
    return followupFinished(context, sa, state, own, result);
  if (serving?.step === 'followup' && serving.job === id)
    return followupAnswerReady(context, sa, state, serving, result);
  if (serving?.step === 'answering' && serving.job === id)
    createAnswerReady(context, sa, state, serving, result);
}

function applied(context: Context, sa: IkeSa, id: number, failed: Failure | undefined): void {
  if (sa.state.name !== 'established') return;
  const { own, serving } = sa.state;
  if (own?.step === 'installing' && own.job === id) createInstalled(context, sa, sa.state, own, failed);
  else if (serving?.step === 'installing' && serving.job === id)
    answerInstalled(context, sa, sa.state, serving, failed);
}
