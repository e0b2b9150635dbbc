// Routes every event to its IkeSa and holds what they share. Performs no I/O, knows no clock, draws no randomness of its own.

import type { Provider } from '../crypto/provider.ts';
import { suiteText } from '../policy/proposal.ts';
import type { Capabilities, DataPlaneEvent, Instant } from '../policy/sad.ts';
import { exactly, selectorText } from '../policy/selector.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { WireError } from '../wire/codec.ts';
import { decodeHeader, decodeMessage, type Message, NO_SPI } from '../wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../wire/numbers.ts';
import type { Action, ConfigChange, Core, Endpoint, Event, JobResult } from './boundary.ts';
import { policyId, useChild } from './child.ts';
import {
  applyChanges,
  type Context,
  commandDone,
  type NegotiationFailure,
  report,
  type TunnelState,
} from './context.ts';
import { Cookies } from './cookies.ts';
import { openMessage } from './protect.ts';
import type { ChildSa, Established, IkeSa, Task } from './sa.ts';
import { giveUp, retryDelay } from './tunnels.ts';
import {
  answerInstalled,
  beginCreate,
  createAnswered,
  createAnswerReady,
  createFinished,
  createInstalled,
  createOffered,
  createRequested,
} from './v2/create-child-sa.ts';
import {
  answerSigned,
  authAnswered,
  authRequested,
  authSigned,
  authVerified,
  peerVerified,
} from './v2/ike-auth.ts';
import {
  initAnswered,
  initAnswerReady,
  initFinished,
  initiate,
  initRequested,
  offered,
  refuse,
  reportConnecting,
} from './v2/ike-sa-init.ts';
import {
  beginInformational,
  deleteIke,
  informationalAnswered,
  informationalRequested,
} from './v2/informational.ts';
import { notifyPayload } from './v2/payloads.ts';
import { retransmit, send, sendResponse } from './window.ts';

export interface GatewayOptions {
  provider: Provider;
  /** Half-open SAs from which on strangers need a cookie (RFC 7296 §2.6). */
  cookieThreshold?: number;
}

export interface TunnelView {
  name: string;
  state: 'down' | 'connecting' | 'established';
  ikeSa?: {
    spis: [string, string];
    algorithms: string;
    local: Endpoint;
    remote: Endpoint;
    since: Instant;
    /** Milliseconds from the attempt's begin; missing where the peer began. */
    establishedIn?: number;
    rekeyAt: Instant;
    nat: boolean;
  };
  children: ChildView[];
}

export interface ChildView {
  name: string;
  spiIn: number;
  spiOut: number;
  algorithms: string;
  since: Instant;
  rekeyAt: Instant;
  local: string[];
  remote: string[];
}

export interface Gateway extends Core {
  tunnels(): TunnelView[];
  failures(): readonly NegotiationFailure[];
  /** Our IKE SPIs that are in use, 16 hex digits each. */
  spis(): string[];
}

const COOKIE_THRESHOLD = 30;
const HALF_OPEN_LIMIT = 1000;

export function createGateway(options: GatewayOptions): Gateway {
  const context: Context = {
    now: 0,
    provider: options.provider,
    capabilities: undefined as Capabilities | undefined,
    tunnels: new Map(),
    sas: new Map(),
    waits: new Map(),
    failures: [],
    removals: [],
    actions: [],
    nextId: 1,
  };
  const cookies = new Cookies(options.provider);
  const threshold = options.cookieThreshold ?? COOKIE_THRESHOLD;
  return {
    handle(event, now): Action[] {
      context.now = now;
      dispatch(context, cookies, threshold, event);
      runTasks(context);
      return context.actions.splice(0);
    },
    nextTimeout: () => nextTimeout(context),
    tunnels: () =>
      [...context.tunnels.values()].filter(({ removed }) => !removed).map((state) => viewOf(context, state)),
    spis: () => [...context.sas.keys()],
    failures: () => context.failures,
  };
}

function dispatch(context: Context, cookies: Cookies, threshold: number, event: Event): void {
  switch (event.type) {
    case 'datagram':
      return receive(context, cookies, threshold, event.bytes, { local: event.local, remote: event.remote });
    case 'timeout':
      return timeout(context);
    case 'command':
      return command(context, event);
    case 'configure':
      for (const change of event.changes) configure(context, change);
      return;
    case 'addresses':
      return;
    case 'applied':
      return withWaiting(context, event.id, (sa) => applied(context, sa, event.id, event.failed?.message));
    case 'job-done':
      return withWaiting(context, event.id, (sa) => jobDone(context, sa, event.id, event.result));
    case 'dataplane':
      return planeEvent(context, event.event);
    case 'shutdown':
      for (const state of context.tunnels.values()) takeDown(context, state, undefined);
  }
}

/** A result whose SA is gone is dropped. */
function withWaiting(context: Context, id: number, handle: (sa: IkeSa) => void): void {
  const sa = context.sas.get(context.waits.get(id) ?? '');
  context.waits.delete(id);
  if (sa) handle(sa);
}

// Datagrams

function receive(
  context: Context,
  cookies: Cookies,
  threshold: number,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  try {
    const header = decodeHeader(bytes);
    if (header.major !== 2) return;
    const own = header.flags.initiator ? header.responderSpi : header.initiatorSpi;
    const sa = context.sas.get(own);
    if (sa) return receiveFor(context, sa, decodeMessage(bytes), bytes, path);
    if (
      header.exchange === EXCHANGE.IKE_SA_INIT &&
      header.responderSpi === NO_SPI &&
      header.flags.initiator &&
      !header.flags.response
    ) {
      receiveStranger(context, cookies, threshold, decodeMessage(bytes), bytes, path);
    }
  } catch (error) {
    // What cannot be read is dropped; RangeError and the like are ours and must show.
    if (!(error instanceof WireError)) throw error;
  }
}

function receiveStranger(
  context: Context,
  cookies: Cookies,
  threshold: number,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const known = answeredBefore(context, message, path);
  if (known) return send(context, known, known.window.answered!.bytes);
  if (answeringNow(context, message)) return;
  const halfOpen = countHalfOpen(context);
  if (halfOpen >= HALF_OPEN_LIMIT) return;
  if (halfOpen >= threshold && !cookies.fits(message, path.remote, context.now)) {
    return refuse(context, message, path, NOTIFY.COOKIE, cookies.make(message, path.remote, context.now));
  }
  const candidates = [...context.tunnels.values()]
    .filter(({ removed }) => !removed)
    .map(({ tunnel }) => tunnel)
    .filter((tunnel) => mayBe(tunnel, path));
  initRequested(context, message, bytes, path, candidates);
}

/** The first stage of the choice: the addresses. */
function mayBe(tunnel: Tunnel, path: { local: Endpoint; remote: Endpoint }): boolean {
  const { addresses } = tunnel.remote;
  return (
    tunnel.local.address === path.local.address &&
    (addresses.length === 0 || addresses.includes(path.remote.address))
  );
}

/** A repeated IKE_SA_INIT gets the same answer (RFC 7296 §2.1). */
function answeredBefore(
  context: Context,
  { header }: Message,
  { remote }: { remote: Endpoint },
): IkeSa | undefined {
  return [...context.sas.values()].find(
    (sa) =>
      sa.state.name === 'init-answered' &&
      sa.peerSpi === header.initiatorSpi &&
      sa.remote.address === remote.address &&
      sa.remote.port === remote.port,
  );
}

function answeringNow(context: Context, { header }: Message): boolean {
  return [...context.sas.values()].some((sa) => !sa.initiator && sa.peerSpi === header.initiatorSpi);
}

function countHalfOpen(context: Context): number {
  let count = 0;
  for (const sa of context.sas.values()) if (!sa.initiator && sa.state.name !== 'established') count++;
  return count;
}

function receiveFor(
  context: Context,
  sa: IkeSa,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const { header } = message;
  if (header.flags.initiator === sa.initiator) return; // our own message, reflected
  if (header.flags.response) return receiveResponse(context, sa, message, bytes);
  receiveRequest(context, sa, message, bytes, path);
}

function receiveResponse(context: Context, sa: IkeSa, message: Message, bytes: Uint8Array): void {
  const { header } = message;
  if (header.messageId !== sa.window.sent?.id) return;
  const { state } = sa;
  if (state.name === 'init-sent') {
    if (header.exchange === EXCHANGE.IKE_SA_INIT) initAnswered(context, sa, state, message, bytes);
    return;
  }
  const protection =
    state.name === 'auth-sent' ? state.secrets : state.name === 'established' ? state : undefined;
  if (!protection || header.responderSpi === NO_SPI) return;
  const payloads = openMessage(context.provider, protection.suite, protection.keys, message, bytes);
  if (!payloads) return;
  if (state.name === 'auth-sent') return authAnswered(context, sa, state, payloads, bytes);
  if (state.name !== 'established') return;
  state.lastHeard = context.now;
  const { own } = state;
  if (own?.step !== 'sent') return;
  const { task } = own;
  if (task.type === 'create' || task.type === 'rekey-child' || task.type === 'rekey-ike') {
    return createAnswered(context, sa, state, own, payloads, bytes);
  }
  informationalAnswered(context, sa, state, task);
}

function receiveRequest(
  context: Context,
  sa: IkeSa,
  message: Message,
  bytes: Uint8Array,
  path: { local: Endpoint; remote: Endpoint },
): void {
  const { header } = message;
  const { window, state } = sa;
  const protection = state.name === 'established' ? state : 'secrets' in state ? state.secrets : undefined;
  if (!protection) return;
  if (header.messageId === window.answered?.id) return send(context, sa, window.answered.bytes);
  if (header.messageId !== window.nextReceived) return;
  const payloads = openMessage(context.provider, protection.suite, protection.keys, message, bytes);
  if (!payloads) return;
  follow(sa, path);
  const critical = payloads.find((payload) => payload.type === 0 && payload.critical);
  if (critical?.type === 0) {
    const notify = notifyPayload(NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(critical.number));
    return void sendResponse(context, sa, header.exchange, header.messageId, [notify], protection);
  }
  if (state.name === 'init-answered') {
    // CVE-2014-2338: before AUTH nothing but IKE_AUTH is heard.
    if (header.exchange === EXCHANGE.IKE_AUTH)
      authRequested(context, sa, state, payloads, bytes, header.messageId);
    return;
  }
  if (state.name !== 'established' || state.serving) return;
  state.lastHeard = context.now;
  if (header.exchange === EXCHANGE.CREATE_CHILD_SA)
    return createRequested(context, sa, state, payloads, bytes, header.messageId);
  if (header.exchange === EXCHANGE.INFORMATIONAL)
    return informationalRequested(context, sa, state, payloads, header.messageId);
  sendResponse(
    context,
    sa,
    header.exchange,
    header.messageId,
    [notifyPayload(NOTIFY.INVALID_SYNTAX)],
    protection,
  );
}

/** An authentic request from another port: the peer floated, or its NAT did (RFC 7296 §2.23). */
function follow(sa: IkeSa, { local, remote }: { local: Endpoint; remote: Endpoint }): void {
  if (!sa.nat.local && !sa.nat.remote) return;
  sa.local = local;
  if (sa.nat.remote || remote.address === sa.remote.address) sa.remote = remote;
}

// Results

function jobDone(context: Context, sa: IkeSa, id: number, result: JobResult): void {
  const { state } = sa;
  if (state.name === 'established') return establishedJobDone(context, sa, state, id, result);
  if (!('job' in state) || state.job !== id) return;
  switch (state.name) {
    case 'offering':
      return offered(context, sa, state, result);
    case 'init-finishing':
      return initFinished(context, sa, state, result);
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
  if (serving?.step === 'answering' && serving.job === id)
    createAnswerReady(context, sa, state, serving, result);
}

function applied(context: Context, sa: IkeSa, id: number, failed: string | undefined): void {
  if (sa.state.name !== 'established') return;
  const { own, serving } = sa.state;
  if (own?.step === 'installing' && own.job === id) createInstalled(context, sa, sa.state, own, failed);
  else if (serving?.step === 'installing' && serving.job === id)
    answerInstalled(context, sa, sa.state, serving, failed);
}

// The data plane

function planeEvent(context: Context, event: DataPlaneEvent): void {
  switch (event.type) {
    case 'first-inbound':
      return withChild(
        context,
        (child) => child.spiIn === event.spi,
        (sa, state, child) => useChild(context, sa, state, child),
      );
    case 'expire':
      return withChild(context, isOf(event), (_sa, state, child) => {
        const { spiIn, name } = child;
        state.tasks.push(
          event.hard ? { type: 'delete-child', spiIn } : { type: 'rekey-child', spiIn, child: name },
        );
      });
    case 'usage':
      if (event.direction === 'in') {
        withChild(context, isOf(event), (_sa, state) => {
          state.lastHeard = Math.max(state.lastHeard, event.last);
        });
      }
      return;
    case 'acquire':
      return acquire(context, event);
    case 'mapping':
      return;
  }
}

function isOf(event: { direction: 'in' | 'out'; spi: number }): (child: ChildSa) => boolean {
  return (child) => (event.direction === 'in' ? child.spiIn : child.spiOut) === event.spi;
}

function withChild(
  context: Context,
  matches: (child: ChildSa) => boolean,
  handle: (sa: IkeSa, state: Established, child: ChildSa) => void,
): void {
  for (const sa of context.sas.values()) {
    const child = sa.state.name === 'established' ? sa.state.children.find(matches) : undefined;
    if (child) return handle(sa, sa.state as Established, child);
  }
}

function acquire(context: Context, { policy, packet }: DataPlaneEvent & { type: 'acquire' }): void {
  const [name, child] = policy.split('/') as [string, string];
  const state = context.tunnels.get(name);
  if (!state) return;
  const established = establishedOf(context, state);
  if (!established) return connect(context, state);
  const { children, tasks, own } = established;
  const busy = [...tasks, ...(own ? [own.task] : [])].some(
    (task) => task.type === 'create' && task.child === child,
  );
  if (busy || children.some((existing) => existing.name === child)) return;
  tasks.push({
    type: 'create',
    child,
    packet: {
      local: [exactly(packet.local, packet.protocol, packet.localPort)],
      remote: [exactly(packet.remote, packet.protocol, packet.remotePort)],
    },
  });
}

// Configuration and commands

function configure(context: Context, change: ConfigChange): void {
  if (change.type === 'remove-tunnel') return removeTunnel(context, change.tunnel);
  const { tunnel } = change;
  const existing = context.tunnels.get(tunnel.name);
  const state: TunnelState = existing ?? { tunnel, wanted: false, attempt: 0, waiting: [], sas: [] };
  state.tunnel = tunnel;
  delete state.removed;
  context.tunnels.set(tunnel.name, state);
  applyChanges(
    context,
    tunnel.children.map((child) => ({
      type: 'add-policy',
      policy: {
        id: policyId(tunnel.name, child.name),
        action: 'protect',
        order: child.order,
        selectors: child.selectors,
        acquire: tunnel.start !== 'wait',
      },
    })),
  );
  if (tunnel.start === 'now') {
    state.wanted = true;
    if (!establishedOf(context, state)) connect(context, state);
  }
}

function removeTunnel(context: Context, name: string): void {
  const state = context.tunnels.get(name);
  if (!state) return;
  takeDown(context, state, undefined);
  applyChanges(
    context,
    state.tunnel.children.map((child) => ({ type: 'remove-policy', policy: policyId(name, child.name) })),
  );
  if (state.sas.length === 0) context.tunnels.delete(name);
  else state.removed = true;
}

function command(context: Context, event: Event & { type: 'command' }): void {
  const state = context.tunnels.get(event.tunnel);
  if (!state || state.removed) return commandDone(context, event.id, 'CONFIG_UNKNOWN_TUNNEL');
  switch (event.command) {
    case 'up':
      state.wanted = true;
      if (establishedOf(context, state)) return commandDone(context, event.id, 'OK');
      state.waiting.push(event.id);
      return connect(context, state);
    case 'down':
      return takeDown(context, state, event.id);
    case 'rekey':
      return rekey(context, state, event);
  }
}

function rekey(context: Context, state: TunnelState, { id, child }: Event & { type: 'command' }): void {
  const established = establishedOf(context, state);
  if (!established) return commandDone(context, id, 'PEER_VANISHED');
  if (child === undefined) return void established.tasks.push({ type: 'rekey-ike', command: id });
  const found = established.children.find((existing) => existing.name === child && existing.used);
  if (!found) return commandDone(context, id, 'PEER_VANISHED');
  established.tasks.push({ type: 'rekey-child', spiIn: found.spiIn, child, command: id });
}

function takeDown(context: Context, state: TunnelState, id: number | undefined): void {
  state.wanted = false;
  delete state.retryAt;
  let pending = id;
  for (const spi of [...state.sas]) {
    const sa = context.sas.get(spi);
    if (!sa) continue;
    if (sa.state.name !== 'established') {
      context.sas.delete(spi);
      continue;
    }
    sa.state.tasks = [{ type: 'delete-ike', ...(pending === undefined ? {} : { command: pending }) }];
    pending = undefined;
  }
  for (const waiting of state.waiting.splice(0)) commandDone(context, waiting, 'OK');
  commandDone(context, pending, 'OK');
}

/** A new attempt, unless one is under way. */
function connect(context: Context, state: TunnelState): void {
  const underWay = state.sas.some((spi) => context.sas.has(spi));
  if (underWay) return;
  const { tunnel } = state;
  const { addresses } = tunnel.remote;
  if (addresses.length === 0) {
    report(context, 'CONFIG_NO_ADDRESS', tunnel.name);
    for (const waiting of state.waiting.splice(0)) commandDone(context, waiting, 'CONFIG_NO_ADDRESS');
    return;
  }
  const address = addresses[state.attempt % addresses.length]!;
  delete state.retryAt;
  if (state.attempt === 0) state.startedAt = context.now;
  state.attempt++;
  const sa = initiate(context, tunnel, { transport: 'udp', address, port: 500 });
  state.sas.push(sa.spi);
  reportConnecting(context, sa, state.attempt);
}

function establishedOf(context: Context, state: TunnelState): Established | undefined {
  for (const spi of state.sas.toReversed()) {
    const sa = context.sas.get(spi);
    if (sa?.state.name === 'established' && sa.state.replacedBy === undefined) return sa.state;
  }
  return undefined;
}

// Time

/** Every due moment, by what it is for. */
function timers(context: Context, sa: IkeSa): [Instant, () => void][] {
  const { state } = sa;
  const due: [Instant, () => void][] = [];
  if (sa.window.sent) due.push([sa.window.sent.due, () => retransmitOrEnd(context, sa)]);
  if ('until' in state) due.push([state.until, () => context.sas.delete(sa.spi)]);
  if (state.name === 'established') due.push(...establishedTimers(context, sa, state));
  return due;
}

function establishedTimers(context: Context, sa: IkeSa, state: Established): [Instant, () => void][] {
  const due: [Instant, () => void][] = [];
  const later = state.tasks
    .filter(({ notBefore }) => notBefore !== undefined)
    .map(({ notBefore }) => notBefore!);
  if (later.length > 0) due.push([Math.min(...later), () => {}]);
  if (state.replacedBy !== undefined) return due;
  const tunnel = context.tunnels.get(state.tunnel)?.tunnel;
  due.push([
    state.rekeyAt,
    () => rekeyOnce(state, { type: 'rekey-ike' }, () => (state.rekeyAt = Number.POSITIVE_INFINITY)),
  ]);
  for (const child of state.children) {
    if (!child.used) continue;
    due.push([
      child.rekeyAt,
      () =>
        rekeyOnce(
          state,
          { type: 'rekey-child', spiIn: child.spiIn, child: child.name },
          () => (child.rekeyAt = Number.POSITIVE_INFINITY),
        ),
    ]);
  }
  if (tunnel && tunnel.liveness > 0 && !state.own && state.tasks.length === 0) {
    due.push([state.lastHeard + tunnel.liveness, () => state.tasks.push({ type: 'liveness' })]);
  }
  if (tunnel && sa.nat.local)
    due.push([state.lastSent + tunnel.keepalive, () => send(context, sa, Uint8Array.of(0xff))]);
  return due;
}

function rekeyOnce(state: Established, task: Task, done: () => void): void {
  state.tasks.push(task);
  done();
}

function retransmitOrEnd(context: Context, sa: IkeSa): void {
  if (retransmit(context, sa)) return;
  const sends = sa.window.sent!.sends;
  const remote = sa.remote.address;
  if (sa.state.name === 'established') {
    const { tunnel } = sa.state;
    report(context, 'PEER_VANISHED', tunnel, { remote, sends });
    return deleteIke(context, sa, 'us');
  }
  const state = context.tunnels.get(sa.candidates[0]!)!;
  giveUp(context, sa, 'PEER_UNREACHABLE', { remote, sends, seconds: Math.round(retryDelay(state) / 1000) });
}

function timeout(context: Context): void {
  for (const sa of [...context.sas.values()]) {
    for (const [at, act] of timers(context, sa)) if (at <= context.now && context.sas.has(sa.spi)) act();
  }
  for (const state of context.tunnels.values()) {
    if (state.retryAt !== undefined && state.retryAt <= context.now) connect(context, state);
  }
  const due = context.removals.filter(({ at }) => at <= context.now);
  context.removals = context.removals.filter(({ at }) => at > context.now);
  applyChanges(
    context,
    due.map(({ change }) => change),
  );
}

function nextTimeout(context: Context): Instant | undefined {
  let next = Number.POSITIVE_INFINITY;
  for (const sa of context.sas.values()) for (const [at] of timers(context, sa)) next = Math.min(next, at);
  for (const { retryAt } of context.tunnels.values()) next = Math.min(next, retryAt ?? next);
  for (const { at } of context.removals) next = Math.min(next, at);
  return next === Number.POSITIVE_INFINITY ? undefined : next;
}

/** One own exchange at a time for each IKE SA: our window is one. */
function runTasks(context: Context): void {
  for (const sa of [...context.sas.values()]) {
    if (sa.state.name !== 'established') continue;
    startNext(context, sa, sa.state);
  }
}

function startNext(context: Context, sa: IkeSa, state: Established): void {
  while (!state.own && !sa.window.sent) {
    const index = state.tasks.findIndex(
      ({ notBefore }) => notBefore === undefined || notBefore <= context.now,
    );
    if (index === -1) return;
    const [task] = state.tasks.splice(index, 1);
    if (!begin(context, sa, state, task!)) commandDone(context, task!.command, 'OK');
  }
}

function begin(context: Context, sa: IkeSa, state: Established, task: Task): boolean {
  switch (task.type) {
    case 'create':
    case 'rekey-child':
    case 'rekey-ike':
      return beginCreate(context, sa, state, task);
    case 'delete-child':
    case 'delete-ike':
    case 'liveness':
      return beginInformational(context, sa, state, task);
  }
}

// Views

function viewOf(context: Context, state: TunnelState): TunnelView {
  const sas = state.sas.toReversed().flatMap((spi) => context.sas.get(spi) ?? []);
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
      local: sa.local,
      remote: sa.remote,
      since: established.since,
      ...(sa.initiator && state.startedAt !== undefined
        ? { establishedIn: established.since - state.startedAt }
        : {}),
      rekeyAt: established.rekeyAt,
      nat: sa.nat.local || sa.nat.remote,
    },
    children: established.children.map(childView),
  };
}

function childView(child: ChildSa): ChildView {
  const { name, spiIn, spiOut, suite, since, rekeyAt, selectors } = child;
  const [local, remote] = [selectors.local.map(selectorText), selectors.remote.map(selectorText)];
  return { name, spiIn, spiOut, algorithms: suiteText(suite), since, rekeyAt, local, remote };
}
