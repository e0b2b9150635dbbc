// What the operator wants: configuration and commands.

import { capable, type ProposalTemplate, templateText } from '../policy/proposal.ts';
import type { Capabilities } from '../policy/sad.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import { connect } from './attempts.ts';
import type { ConfigChange, Event } from './boundary.ts';
import { policyId } from './child.ts';
import {
  applyChanges,
  type Context,
  commandDone,
  onlyDelete,
  reportFailure,
  sasOf,
  type TunnelState,
} from './context.ts';
import type { ReportCode } from './errors.ts';
import { difference, wantedChildren } from './intent.ts';
import { rehearseAnew } from './rehearsal.ts';
import type { Established, State, Task } from './sa.ts';
import { askedAgain, giveAway } from './tunnels.ts';

export function configure(context: Context, change: ConfigChange): void {
  if (change.type === 'remove-tunnel') return removeTunnel(context, change.tunnel);
  const tunnel = offerable(context, change.tunnel);
  if (!tunnel) return;
  const existing = context.tunnels.get(tunnel.name);
  const state: TunnelState = existing ?? {
    tunnel,
    wanted: false,
    attempt: 0,
    waiting: [],
    sas: restored(context, tunnel.name),
  };
  state.tunnel = tunnel;
  delete state.fragmentSize;
  delete state.completedBy;
  delete state.measurableAt;
  delete state.removed;
  context.tunnels.set(tunnel.name, state);
  // Their timers are the tunnel's.
  for (const spi of state.sas) context.sas.touch(spi);
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
        ...(tunnel.link ? { link: { name: tunnel.link.name, id: tunnel.link.id } } : {}),
        ...(tunnel.kernel ? { kernel: tunnel.kernel } : {}),
      },
    })),
  );
  const established = establishedOf(context, state);
  if (existing && established) rehearseAnew(context, state, established);
  if (tunnel.start === 'now') {
    state.wanted = true;
    if (!established) connect(context, state);
  }
}

/** IKE SAs that an earlier gateway handed over. */
function restored(context: Context, tunnel: string): string[] {
  const spis = context.restored.get(tunnel) ?? [];
  context.restored.delete(tunnel);
  return spis.filter((spi) => context.sas.has(spi));
}

/** The tunnel with what the data plane can do; nothing when a child would have no algorithms left. */
function offerable(context: Context, tunnel: Tunnel): Tunnel | undefined {
  const { capabilities } = context;
  if (!capabilities) return tunnel;
  const children = tunnel.children.map((child) => {
    const proposals = possible(context, capabilities, child.proposals);
    return proposals === child.proposals ? child : { ...child, proposals };
  });
  const without = children.findIndex((child) => beyond(child, capabilities) !== undefined);
  if (without === -1)
    return children.every((child, index) => child === tunnel.children[index])
      ? tunnel
      : { ...tunnel, children };
  const { name, protocol, proposals } = tunnel.children[without]!;
  reportFailure(context, beyond(children[without]!, capabilities)!, tunnel.name, {
    child: name,
    protocol: protocol.toUpperCase(),
    configured: proposals.map(templateText).join(' or '),
  });
  return undefined;
}

/** Why the data plane cannot carry such a child, or nothing. `proposals` are those that are left. */
function beyond(
  { protocol, mode, proposals }: ChildTemplate,
  { authentication, modes }: Capabilities,
): ReportCode | undefined {
  if (protocol === 'ah' && authentication.length === 0) return 'CONFIG_NO_AH';
  if (!modes.includes(mode)) return 'CONFIG_NO_TRANSPORT';
  return proposals.length === 0 ? 'CONFIG_NOT_CAPABLE' : undefined;
}

/** The same for the same: thousands of tunnels may share them. */
function possible(
  { capable: known }: Context,
  capabilities: Capabilities,
  proposals: ProposalTemplate[],
): ProposalTemplate[] {
  const left = known.get(proposals) ?? capable(proposals, capabilities);
  known.set(proposals, left);
  return left;
}

/** Addresses of this machine came or went: a tunnel that waited for its own is tried at once, one that is up asks its peer. */
export function addressesChanged(context: Context, local: readonly string[]): void {
  for (const state of context.tunnels.values()) {
    const ready = state.wanted && local.includes(state.tunnel.local.address);
    if (!ready) continue;
    if (state.sas.length === 0) state.retryAt = context.now;
    else askPeer(context, state.tunnel.name);
  }
}

/** Liveness (RFC 7296 §2.4), unless an exchange is under way that asks the same. */
export function askPeer(context: Context, tunnel: string): void {
  const state = context.tunnels.get(tunnel);
  const established = state && establishedOf(context, state);
  if (!established || established.own || established.tasks.some(({ type }) => type === 'liveness')) return;
  established.tasks.push({ type: 'liveness' });
}

function removeTunnel(context: Context, name: string): void {
  const state = context.tunnels.get(name);
  if (!state) return;
  takeDown(context, state, undefined);
  for (const spi of [...context.sas.halfOpen()]) noCandidate(context, spi, name);
  applyChanges(
    context,
    state.tunnel.children.map((child) => ({ type: 'remove-policy', policy: policyId(name, child.name) })),
  );
  if (state.sas.length === 0) context.tunnels.delete(name);
  else state.removed = true;
}

/** Before the identity of the peer is known. */
const UNDECIDED: State['name'][] = [
  'init-answering',
  'init-answered',
  'intermediate-answering',
  'ppk-weighing',
];

/** A negotiation that may still become this tunnel must become another, or ends. */
function noCandidate(context: Context, spi: string, name: string): void {
  const sa = context.sas.get(spi);
  if (!sa || sa.state.name === 'established' || !sa.candidates.includes(name)) return;
  sa.candidates = sa.candidates.filter((candidate) => candidate !== name);
  const chosen = !UNDECIDED.includes(sa.state.name);
  if (chosen || sa.candidates.length === 0) context.sas.delete(sa.spi);
}

export function command(context: Context, event: Event & { type: 'command' }): void {
  const state = context.tunnels.get(event.tunnel);
  if (!state || state.removed) return commandDone(context, event.id, 'CONFIG_UNKNOWN_TUNNEL');
  switch (event.command) {
    case 'up':
      return takeUp(context, state, event);
    case 'down':
      return event.child === undefined
        ? takeDown(context, state, event.id)
        : takeChildDown(context, state, event.id, event.child);
    case 'rekey':
      return rekey(context, state, event);
    case 'reauthenticate':
      return;
  }
}

function takeUp(context: Context, state: TunnelState, { id, child }: Event & { type: 'command' }): void {
  if (child !== undefined && !knows(state, child)) return commandDone(context, id, 'CONFIG_UNKNOWN_CHILD');
  state.wanted = true;
  if (child === undefined) delete state.down;
  else askedAgain(context, state.tunnel.name, child);
  const established = establishedOf(context, state);
  // One that is being deleted is none: when it has gone, a new one is made.
  if (!established || isEnding(established)) {
    state.waiting.push(id);
    for (const sa of sasOf(context, state.tunnel.name)) delete sa.unwanted;
    return connect(context, state);
  }
  const wanted = child === undefined ? wantedChildren(state) : [child];
  const { missing } = difference(wanted, established.children);
  if (missing.length === 0) return commandDone(context, id, 'OK');
  for (const [index, name] of missing.entries()) createNow(established, name, index === 0 ? id : undefined);
}

function knows({ tunnel }: TunnelState, child: string): boolean {
  return tunnel.children.some(({ name }) => name === child);
}

/** At once, also where it waits for its time. */
function createNow(established: Established, child: string, command: number | undefined): void {
  const waits = ({ notBefore }: Task) => notBefore !== undefined;
  established.tasks = established.tasks.filter(
    (task) => task.type !== 'create' || task.child !== child || !waits(task),
  );
  established.tasks.push({ type: 'create', child, ...(command === undefined ? {} : { command }) });
}

function rekey(context: Context, state: TunnelState, { id, child }: Event & { type: 'command' }): void {
  const established = establishedOf(context, state);
  if (!established) return commandDone(context, id, 'TUNNEL_DOWN');
  if (child === undefined) return void established.tasks.push({ type: 'rekey-ike', command: id });
  const found = established.children.find((existing) => existing.name === child && existing.used);
  if (!found) return commandDone(context, id, 'CONFIG_UNKNOWN_CHILD');
  established.tasks.push({ type: 'rekey-child', spiIn: found.spiIn, child, command: id });
}

/** The child only, until packets, the peer or the operator ask for it again. */
function takeChildDown(context: Context, state: TunnelState, id: number, name: string): void {
  if (!knows(state, name)) return commandDone(context, id, 'CONFIG_UNKNOWN_CHILD');
  const established = establishedOf(context, state);
  if (!established) return commandDone(context, id, 'TUNNEL_DOWN');
  state.down = [...new Set([...(state.down ?? []), name])];
  const [given, kept] = [true, false].map((isIt) =>
    established.tasks.filter((task) => isIt === (task.type === 'create' && task.child === name)),
  );
  established.tasks = [...kept!, { type: 'take-down', child: name, command: id }];
  for (const { command } of given!) commandDone(context, command, 'TUNNEL_DOWN');
}

export function takeDown(context: Context, state: TunnelState, id: number | undefined): void {
  state.wanted = false;
  delete state.retryAt;
  context.starts.cancel(state.tunnel.name);
  delete state.lookup;
  let pending = id;
  // The newest first: with the answer to its deletion the command is done, whatever a replaced one is still waiting for.
  for (const spi of state.sas.toReversed()) {
    const sa = context.sas.get(spi);
    if (!sa) continue;
    if (sa.state.name !== 'established') {
      giveAway(context, sa);
      continue;
    }
    // Whoever replaced it deletes it; a peer that still waits for our answer would take our DELETE for the tunnel's end.
    if (sa.state.replacedBy !== undefined) continue;
    onlyDelete(context, sa.state, pending);
    pending = undefined;
  }
  for (const waiting of state.waiting.splice(0)) commandDone(context, waiting, 'OK');
  commandDone(context, pending, 'OK');
}

function isEnding({ own, tasks }: Established): boolean {
  return own?.task.type === 'delete-ike' || tasks.some(({ type }) => type === 'delete-ike');
}

export function establishedOf(context: Context, state: TunnelState): Established | undefined {
  for (const spi of state.sas.toReversed()) {
    const sa = context.sas.get(spi);
    if (sa?.state.name === 'established' && sa.state.replacedBy === undefined) return sa.state;
  }
  return undefined;
}
