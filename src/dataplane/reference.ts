// ESP (RFC 4303) and AH (RFC 4302) in tunnel and transport mode with the lookups of RFC 4301, one packet at a time, written to
// be read. The engine of native/ is tested against it packet by packet; the memory data plane runs on it.

import { concat } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import type { Policy, SaParameters } from '../policy/sad.ts';
import { compareAddresses, type Selector } from '../policy/selector.ts';
import { familyOf } from '../wire/address.ts';
import { announcing, type Front, frontOf, transportFront } from '../wire/headers.ts';
import { type Flow, readFlow, viewOf } from '../wire/ip.ts';
import { AH, ahBytes, readAh, sealAh, verifyAh } from './reference-ah.ts';
import {
  ESP,
  flowPadding,
  isEspOf,
  NEXT_IPV4,
  NEXT_IPV6,
  openEsp,
  sealEsp,
  withoutTrailer,
} from './reference-esp.ts';
import { bitsInUdp, hasPlainHeader, madeFromUdp, repairChecksum } from './reference-in-udp.ts';
import { ecnOf, type OuterBits, outerBits, outerHeader, withCongestion } from './reference-outer.ts';
import { fullNumber, isFresh, receive } from './reference-window.ts';

/** Why a packet went no further, as the engine's counters are called. */
export type Drop =
  | 'malformed'
  | 'no-policy'
  | 'discard-policy'
  | 'no-sa'
  | 'unknown-spi'
  | 'replay'
  | 'authentication'
  | 'padding'
  | 'selector'
  | 'sequence'
  | 'lifetime'
  | 'dummy'
  /** Transport mode is for whole packets, and what arrives is put together first (RFC 4302 §3.3.4, RFC 4303 §3.4.1). */
  | 'fragment';

export interface ReferenceSa {
  parameters: SaParameters;
  /** The last one sent, or the highest one received. */
  sequence: bigint;
  /** Inbound: the numbers received that could still be repeated. */
  seen?: Set<bigint>;
  packets: bigint;
  bytes: bigint;
}

export interface ReferencePolicy {
  policy: Policy;
  use?: ReferenceSa;
}

export interface ReferenceTables {
  /** In order. */
  policies: ReferencePolicy[];
  byId: Map<string, ReferencePolicy>;
  inbound: Map<number, ReferenceSa>;
  outbound: Map<number, ReferenceSa>;
}

export type Outbound =
  /** ESP in tunnel mode, or in UDP: `outer` and the SA say all there is to its outer header, which is the sender's. */
  | { type: 'esp'; esp: Uint8Array; outer: OuterBits; sa: ReferenceSa }
  /** A whole packet: AH covers the header in front of it, and in transport mode alone that is the packet's own. */
  | { type: 'packet'; packet: Uint8Array; sa: ReferenceSa }
  | { type: 'held'; policy: Policy; flow: Flow }
  | Dropped;

export type Inbound = { type: 'inner'; packet: Uint8Array; flow: Flow; sa: ReferenceSa } | Dropped;

interface Dropped {
  type: 'dropped';
  drop: Drop;
}

const NEXT_NONE = 59;
const MOST_BYTES = 65_535;

export function newTables(): ReferenceTables {
  return { policies: [], byId: new Map(), inbound: new Map(), outbound: new Map() };
}

export function newSa(parameters: SaParameters): ReferenceSa {
  return { parameters, sequence: 0n, packets: 0n, bytes: 0n };
}

/**
 * One IP packet towards the network. `iv` gives the IV where it must be unpredictable (RFC 3602 §3), `identification` that of
 * an outer IPv4 header which AH covers.
 */
export function protect(
  provider: Provider,
  tables: ReferenceTables,
  bytes: Uint8Array,
  iv: () => Uint8Array,
  identification: () => number = () => 0,
): Outbound {
  const flow = readFlow(bytes);
  if (!flow) return dropped('malformed');
  const found = tables.policies.find(({ policy }) => inSelectors(policy.selectors, flow, 'out'));
  if (!found || found.policy.action === 'bypass') return dropped('no-policy');
  if (found.policy.action === 'discard') return dropped('discard-policy');
  const { policy, use: sa } = found;
  if (!sa) return policy.acquire ? { type: 'held', policy, flow } : dropped('no-sa');
  if (!inSelectors(sa.parameters.selectors, flow, 'out')) return dropped('selector');
  if (overHard(sa, flow.length)) return dropped('lifetime');
  // RFC 4303 §3.3.3, RFC 4302 §3.3.2: the number must not cycle.
  if (sa.sequence === (sa.parameters.esn ? 2n ** 64n : 2n ** 32n) - 1n) return dropped('sequence');
  const packet = bytes.subarray(0, flow.length);
  const sealed =
    sa.parameters.mode === 'transport'
      ? inTransport(provider, sa, packet, flow, iv, identification)
      : inTunnel(provider, sa, packet, iv, identification);
  if (sealed.type === 'dropped') return sealed;
  sa.sequence++;
  count(sa, flow.length);
  return sealed;
}

function inTunnel(
  provider: Provider,
  sa: ReferenceSa,
  packet: Uint8Array,
  iv: () => Uint8Array,
  identification: () => number,
): Outbound {
  const { parameters } = sa;
  const number = sa.sequence + 1n;
  const outer = outerBits(parameters, packet);
  if (parameters.protocol === 'esp') {
    const trailing = { bytes: flowPadding(parameters, packet) };
    return { type: 'esp', esp: sealEsp(provider, parameters, number, packet, iv, trailing), outer, sa };
  }
  const bytes = ahBytes(parameters, familyOf(parameters.local)) + packet.length;
  if (bytes + 20 > MOST_BYTES) return dropped('malformed');
  const front = outerHeader(parameters, outer, identification(), AH, bytes);
  const next = packet[0]! >> 4 === 6 ? NEXT_IPV6 : NEXT_IPV4;
  const sealed = sealAh(provider, parameters, number, front, next, packet);
  return sealed ? { type: 'packet', packet: sealed, sa } : dropped('malformed');
}

function inTransport(
  provider: Provider,
  sa: ReferenceSa,
  packet: Uint8Array,
  { source, destination }: Flow,
  iv: () => Uint8Array,
  identification: () => number,
): Outbound {
  const { parameters } = sa;
  const number = sa.sequence + 1n;
  // RFC 4301 §4.1: between the two hosts themselves.
  if (source !== parameters.local || destination !== parameters.remote) return dropped('selector');
  const front = transportFront(packet);
  if (!front) return dropped('malformed');
  if (front.isFragment) return dropped('fragment');
  const { headers, next, payload } = front;
  if (parameters.protocol === 'esp') {
    if (parameters.udp && !hasPlainHeader(front)) return dropped('malformed');
    const esp = sealEsp(provider, parameters, number, payload, iv, { next });
    if (parameters.udp) return { type: 'esp', esp, outer: bitsInUdp(parameters, packet), sa };
    const bytes = headers.length + esp.length;
    if (bytes > MOST_BYTES) return dropped('malformed');
    return { type: 'packet', packet: concat([announcing(front, ESP, bytes), esp]), sa };
  }
  const bytes = packet.length + ahBytes(parameters, front.family);
  if (bytes > MOST_BYTES) return dropped('malformed');
  const sealed = sealAh(
    provider,
    parameters,
    number,
    announcing(identified(front, identification), AH, bytes),
    next,
    payload,
  );
  return sealed ? { type: 'packet', packet: sealed, sa } : dropped('malformed');
}

/** The kernel numbers an IPv4 packet that has no number when it leaves, and AH covers the number. */
function identified(front: Front, identification: () => number): Front {
  if (front.family === 6 || viewOf(front.headers).getUint16(4) !== 0) return front;
  const headers = front.headers.slice();
  viewOf(headers).setUint16(4, identification());
  return { ...front, headers };
}

/** One whole packet from the network that carries ESP or AH. */
export function unprotectPacket(provider: Provider, tables: ReferenceTables, packet: Uint8Array): Inbound {
  const front = frontOf(packet);
  if (!front) return dropped('malformed');
  if (front.isFragment) return dropped('fragment');
  if (front.next === ESP) return unprotect(provider, tables, front.payload, ecnOf(packet), front);
  return front.next === AH ? unprotectAh(provider, tables, front) : dropped('malformed');
}

/** One ESP packet from the network; `ecn` is that of the outer header. Transport mode needs the headers in front of it. */
export function unprotect(
  provider: Provider,
  tables: ReferenceTables,
  esp: Uint8Array,
  ecn: number,
  front?: Front,
): Inbound {
  if (esp.length < 8) return dropped('malformed');
  const sa = saOf(tables, 'esp', viewOf(esp).getUint32(0));
  if (!sa) return dropped('unknown-spi');
  if (!isEspOf(sa.parameters, esp)) return dropped('malformed');
  const sequence = fullNumber(sa, BigInt(viewOf(esp).getUint32(4)));
  if (!isFresh(sa, sequence)) return dropped('replay');
  const text = openEsp(provider, sa.parameters, sequence, esp);
  if (!text) return dropped('authentication');
  receive(sa, sequence);
  const opened = withoutTrailer(text);
  if (!opened) return dropped('padding');
  // RFC 4303 §2.6: sent to be dropped.
  if (opened.next === NEXT_NONE) return dropped('dummy');
  if (overHard(sa, text.length)) return dropped('lifetime');
  return delivered(sa, opened.payload, opened.next, ecn, front);
}

function unprotectAh(provider: Provider, tables: ReferenceTables, front: Front): Inbound {
  if (front.payload.length < 8) return dropped('malformed');
  const sa = saOf(tables, 'ah', viewOf(front.payload).getUint32(4));
  if (!sa) return dropped('unknown-spi');
  const opened = readAh(sa.parameters, front.payload);
  if (!opened) return dropped('malformed');
  const sequence = fullNumber(sa, BigInt(opened.header.sequence));
  if (!isFresh(sa, sequence)) return dropped('replay');
  const authentic = verifyAh(provider, sa.parameters, sequence, front.headers, opened);
  if (authentic === undefined) return dropped('malformed');
  if (!authentic) return dropped('authentication');
  receive(sa, sequence);
  if (overHard(sa, opened.payload.length)) return dropped('lifetime');
  return delivered(sa, opened.payload, opened.header.next, ecnOf(front.headers), front);
}

function saOf({ inbound }: ReferenceTables, protocol: 'esp' | 'ah', spi: number): ReferenceSa | undefined {
  const sa = inbound.get(spi);
  return sa?.parameters.protocol === protocol ? sa : undefined;
}

/** What was authentic, held against what the SA is for. */
function delivered(
  sa: ReferenceSa,
  payload: Uint8Array,
  next: number,
  ecn: number,
  front: Front | undefined,
): Inbound {
  return sa.parameters.mode === 'transport'
    ? fromTransport(sa, payload, next, ecn, front)
    : fromTunnel(sa, payload, next, ecn);
}

function fromTunnel(sa: ReferenceSa, payload: Uint8Array, next: number, ecn: number): Inbound {
  const flow = readFlow(payload);
  if (!flow || next !== (flow.family === 6 ? NEXT_IPV6 : NEXT_IPV4)) return dropped('malformed');
  // RFC 4301 §5.2 step 4: what came out must be what the SA is for.
  if (!inSelectors(sa.parameters.selectors, flow, 'in')) return dropped('selector');
  const packet = withCongestion(payload.slice(0, flow.length), flow, ecn);
  if (!packet) return dropped('malformed');
  count(sa, flow.length);
  return { type: 'inner', packet, flow, sa };
}

function fromTransport(
  sa: ReferenceSa,
  payload: Uint8Array,
  next: number,
  ecn: number,
  front: Front | undefined,
): Inbound {
  if (!front && !sa.parameters.udp) return dropped('malformed');
  const packet = front
    ? concat([announcing(front, next, front.headers.length + payload.length), payload])
    : madeFromUdp(sa.parameters, payload, next, ecn);
  const flow = readFlow(packet);
  if (!flow) return dropped('malformed');
  const { local, remote, selectors } = sa.parameters;
  if (flow.source !== remote || flow.destination !== local) return dropped('selector');
  if (!inSelectors(selectors, flow, 'in')) return dropped('selector');
  if (!front) repairChecksum(sa.parameters, packet, flow);
  count(sa, flow.length);
  return { type: 'inner', packet, flow, sa };
}

function inSelectors(
  { local, remote }: { local: readonly Selector[]; remote: readonly Selector[] },
  flow: Flow,
  direction: 'in' | 'out',
): boolean {
  const [here, there] = direction === 'out' ? [local, remote] : [remote, local];
  return (
    here.some((selector) => holds(selector, flow, flow.source, flow.sourcePort)) &&
    there.some((selector) => holds(selector, flow, flow.destination, flow.destinationPort))
  );
}

function holds(selector: Selector, flow: Flow, address: string, port: number): boolean {
  if ((selector.start.includes(':') ? 6 : 4) !== flow.family) return false;
  if (selector.protocol !== 0 && selector.protocol !== flow.protocol) return false;
  if (compareAddresses(address, selector.start) < 0 || compareAddresses(address, selector.end) > 0)
    return false;
  if (selector.startPort === 0 && selector.endPort === 65535) return true;
  // RFC 4301 §7: a fragment without ports travels only where any port may.
  return !flow.opaque && port >= selector.startPort && port <= selector.endPort;
}

function overHard({ parameters: { lifetime }, packets, bytes }: ReferenceSa, more: number): boolean {
  const { hardPackets = 2n ** 64n, hardBytes = 2n ** 64n } = lifetime;
  return packets >= hardPackets || bytes + BigInt(more) > hardBytes;
}

function count(sa: ReferenceSa, bytes: number): void {
  sa.packets++;
  sa.bytes += BigInt(bytes);
}

function dropped(drop: Drop): Dropped {
  return { type: 'dropped', drop };
}
