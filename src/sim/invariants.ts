// What must hold in every run, whatever the network does. Each rule gives complaints; none means that it holds.

import { policyId } from '../ike/child.ts';
import type { IkeSa } from '../ike/sa.ts';
import type { Change } from '../policy/sad.ts';
import { decodeHeader, type Header } from '../wire/ikev2.ts';
import { EXCHANGE, PAYLOAD } from '../wire/numbers.ts';
import { copy } from './copy.ts';
import type { Observer, Pair, Side, SideName } from './pair.ts';
import { passage } from './plane.ts';

/** What has been seen on the wire and of the verdicts; plain data. */
export interface Witnessed {
  complaints: string[];
  /** By sender and initiator's SPI. */
  senders: Record<string, Sender>;
  /** AUTH payloads that were verified, and IKE SAs that were established, by side. */
  verified: Record<SideName, number>;
  established: Record<SideName, number>;
}

/** One side's messages of one IKE SA. */
interface Sender {
  initiator: boolean;
  requests: Record<number, Uint8Array>;
  responses: Record<number, Uint8Array>;
  next: number;
  /** Ids of the peer's requests and responses that have arrived. */
  asked: Record<number, true>;
  answered: Record<number, true>;
}

/** Looks on from the beginning of a pair, or goes on from what was seen of the one that it was forked from. */
export function witness(pair: Pair, past?: Witnessed): { observer: Observer; seen: Witnessed } {
  const seen: Witnessed = past ? copy(past) : nothing();
  const complain = (text: string) => void seen.complaints.push(`${pair.now()}: ${text}`);
  const observer: Observer = {
    sent(from, bytes) {
      const header = headerOf(bytes);
      if (!header) return;
      const sender = senderOf(seen, from.name, header);
      if (header.flags.initiator !== sender.initiator) complain(`${from.name} changes its initiator flag`);
      for (const text of header.flags.response
        ? unlawfulResponse(sender, header, bytes)
        : unlawfulRequest(sender, header, bytes))
        complain(`${from.name} ${text}`);
    },
    received(to, bytes) {
      const header = headerOf(bytes);
      if (!header) return;
      const known = seen.senders[`${to.name} ${header.initiatorSpi}`];
      const sender = known ?? senderOf(seen, to.name, header, !header.flags.initiator);
      (header.flags.response ? sender.answered : sender.asked)[header.messageId] = true;
    },
    judged(side, _job, result) {
      if ((result.type === 'psk-verify' || result.type === 'verify') && result.valid)
        seen.verified[side.name]++;
    },
    handled(side) {
      const { name } = side;
      seen.established[name] = side.reports.filter((code) => code === 'IKE_ESTABLISHED').length;
      if (seen.established[name] > seen.verified[name]) complain(`${name} established without verified AUTH`);
    },
  };
  return { observer, seen };
}

function nothing(): Witnessed {
  return { complaints: [], senders: {}, verified: { a: 0, b: 0 }, established: { a: 0, b: 0 } };
}

/** Undefined for what has no part in an IKE SA: keepalives, and that an SPI is unknown (RFC 7296 §1.5, §2.21.4). */
function headerOf(bytes: Uint8Array): Header | undefined {
  if (bytes.length < 28) return undefined;
  const header = decodeHeader(bytes);
  const isProtected = header.nextPayload === PAYLOAD.SK || header.nextPayload === PAYLOAD.SKF;
  return isProtected || header.exchange === EXCHANGE.IKE_SA_INIT ? header : undefined;
}

function senderOf(
  seen: Witnessed,
  name: SideName,
  { initiatorSpi, flags }: Header,
  initiator = flags.initiator,
): Sender {
  const key = `${name} ${initiatorSpi}`;
  seen.senders[key] ??= { initiator, requests: {}, responses: {}, next: 0, asked: {}, answered: {} };
  return seen.senders[key];
}

/** RFC 7296 §2.2, §2.3: ids count up, one request at a time, and the same again when it is repeated. */
function unlawfulRequest(sender: Sender, { messageId: id, exchange }: Header, bytes: Uint8Array): string[] {
  const before = sender.requests[id];
  sender.requests[id] = bytes;
  if (before) {
    // A cookie or another group makes a first request new (RFC 7296 §2.6, §1.2).
    const renewed = exchange === EXCHANGE.IKE_SA_INIT || same(before, bytes);
    return renewed ? [] : [`changes request ${id} when it repeats it`];
  }
  if (id !== sender.next) return [`sends request ${id} where ${sender.next} is next`];
  sender.next++;
  return id === 0 || sender.answered[id - 1] ? [] : [`sends request ${id} before ${id - 1} is answered`];
}

/** RFC 7296 §2.1: only what was asked is answered, and always with the same bytes. */
function unlawfulResponse(sender: Sender, { messageId: id, exchange }: Header, bytes: Uint8Array): string[] {
  const before = sender.responses[id];
  sender.responses[id] = bytes;
  if (!sender.asked[id]) return [`answers request ${id}, which never came`];
  // Refusals of a stranger's first message are stateless (RFC 7296 §2.6).
  const renewed = !before || exchange === EXCHANGE.IKE_SA_INIT || same(before, bytes);
  return renewed ? [] : [`changes response ${id} when it repeats it`];
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/**
 * A packet each way through each policy. `mayMiss`: there need be no SA, nor one that the other side has already: whoever
 * answers for a new child has nothing older to send with. That an SA is used which the other side has given up is a fault.
 */
export function unusable(pair: Pair, policies: readonly string[], mayMiss: boolean): string[] {
  const { a, b } = pair;
  return policies.flatMap((policy) =>
    [
      { from: a, to: b },
      { from: b, to: a },
    ].flatMap(({ from, to }) => {
      const { outcome, spi } = passage(from, to, policy);
      if (
        outcome === 'received' ||
        outcome === 'waits' ||
        (mayMiss && (outcome === 'no-sa' || !hasHeld(pair, to, spi)))
      )
        return [];
      return [`a packet of ${policy} from ${from.name} to ${to.name}: ${outcome}`];
    }),
  );
}

/** Asked for, and not still on its way to the data plane. */
function hasHeld(pair: Pair, { name, changes }: Side, spi: number | undefined): boolean {
  const adds = (change: Change) => change.type === 'add-inbound' && change.sa.spi === spi;
  const isComing = pair
    .pending()
    .some((one) => one.type === 'changes' && one.side === name && one.changes.some(adds));
  return changes.some(adds) && !isComing;
}

/** When all is quiet: both sides hold the same SAs and nothing else, and have nothing more to do. */
export function disagreements(pair: Pair): string[] {
  const { a, b } = pair;
  const unlike = (what: string, ofA: readonly string[], ofB: readonly string[]) =>
    ofA.toSorted().join() === ofB.toSorted().join() ? [] : [`${what}: a has ${ofA}, b has ${ofB}`];
  const [sasA, sasB] = [a, b].map(({ gateway }) => gateway.memory().sas) as [IkeSa[], IkeSa[]];
  return [
    ...unlike('IKE SAs', sasA.map(ikeName), sasB.map(ikeName)),
    ...unlike('children', sasA.flatMap(childNames), sasB.flatMap(mirroredNames)),
    ...[a, b].flatMap(leftovers),
    ...(pair.handles().length > 0 ? [`private halves left: ${pair.handles()}`] : []),
  ];
}

/** Names of the children that both sides hold, where they agree. */
export function childrenOf({ gateway }: Side): string[] {
  return gateway
    .memory()
    .sas.flatMap(({ state }) => (state.name === 'established' ? state.children : []))
    .map(({ name }) => name);
}

function ikeName({ spi, peerSpi, initiator, state }: IkeSa): string {
  const spis = initiator ? `${spi}-${peerSpi}` : `${peerSpi}-${spi}`;
  return `${state.name} ${spis}${state.name === 'established' && state.replacedBy ? ' replaced' : ''}`;
}

function childNames({ state }: IkeSa): string[] {
  if (state.name !== 'established') return [];
  return state.children.map(({ name, spiIn, spiOut }) => `${name} ${spiIn}/${spiOut}`);
}

function mirroredNames({ state }: IkeSa): string[] {
  if (state.name !== 'established') return [];
  return state.children.map(({ name, spiIn, spiOut }) => `${name} ${spiOut}/${spiIn}`);
}

/** What one side holds and should not. */
function leftovers({ name: side, gateway, inbound, outbound, inUse, expected }: Side): string[] {
  const { sas } = gateway.memory();
  const established = sas.flatMap(({ state }) => (state.name === 'established' ? [state] : []));
  const children = established.flatMap(({ tunnel, children }) =>
    children.map((child) => ({ ...child, policy: policyId(tunnel, child.name) })),
  );
  const sad = (what: string, table: ReadonlyMap<number, unknown>, wanted: number[]) =>
    [...table.keys()].sort().join() === wanted.sort().join()
      ? []
      : [`${side} ${what}: ${[...table.keys()]} where its children are ${wanted}`];
  const names = children.map(({ name }) => name);
  return [
    ...sad(
      'inbound',
      inbound,
      children.map(({ spiIn }) => spiIn),
    ),
    ...sad(
      'outbound',
      outbound,
      children.map(({ spiOut }) => spiOut),
    ),
    ...(expected.size > 0 ? [`${side} still expects ${[...expected]}`] : []),
    ...(new Set(names).size < names.length ? [`${side} holds two children of a name: ${names}`] : []),
    ...children
      .filter(({ policy, spiOut }) => inUse.get(policy) !== spiOut)
      .map(({ name }) => `${side} does not send with its ${name}`),
    ...established.flatMap(({ own, serving, tasks }) => [
      ...(own ? [`${side} is still at ${own.task.type}`] : []),
      ...(serving ? [`${side} still serves a request`] : []),
      ...tasks.map(({ type }) => `${side} still has to ${type}`),
    ]),
    ...sas.filter(({ window }) => window.sent).map(() => `${side} still waits for an answer`),
  ];
}
