// ESP in tunnel mode (RFC 4303) and the lookups of RFC 4301, one packet at a time, written to be read. The engine of
// native/ is tested against it packet by packet; the memory data plane runs on it.

import type { Provider } from '../crypto/provider.ts';
import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { Policy, SaParameters } from '../policy/sad.ts';
import { compareAddresses, type Selector } from '../policy/selector.ts';
import { type Flow, readFlow, viewOf } from '../wire/ip.ts';

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
  | 'dummy';

export interface ReferenceSa {
  parameters: SaParameters;
  /** The last one sent, or the highest one received. */
  sequence: bigint;
  /** Inbound: the numbers received, from the first on. */
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
  | { type: 'esp'; esp: Uint8Array; outer: OuterBits; sa: ReferenceSa }
  | { type: 'held'; policy: Policy; flow: Flow }
  | { type: 'dropped'; drop: Drop };

/** What the outer IP header says besides addresses. */
export interface OuterBits {
  /** DSCP and ECN. */
  trafficClass: number;
  dontFragment: boolean;
}

export type Inbound =
  | { type: 'inner'; packet: Uint8Array; flow: Flow; sa: ReferenceSa }
  | { type: 'dropped'; drop: Drop };

const HEADER = 8;
const NEXT_IPV4 = 4;
const NEXT_IPV6 = 41;
const NEXT_NONE = 59;
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;
const DF = 0x40;

export function newTables(): ReferenceTables {
  return { policies: [], byId: new Map(), inbound: new Map(), outbound: new Map() };
}

export function newSa(parameters: SaParameters): ReferenceSa {
  return { parameters, sequence: 0n, packets: 0n, bytes: 0n };
}

/** One IP packet towards the network. `iv` gives the IV where it must be unpredictable (RFC 3602 §3). */
export function protect(
  provider: Provider,
  tables: ReferenceTables,
  bytes: Uint8Array,
  iv: () => Uint8Array,
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
  // RFC 4303 §3.3.3: the number must not cycle.
  if (sa.sequence === (sa.parameters.esn ? 2n ** 64n : 2n ** 32n) - 1n) return dropped('sequence');
  sa.sequence++;
  count(sa, flow.length);
  const packet = bytes.subarray(0, flow.length);
  return {
    type: 'esp',
    esp: sealEsp(provider, sa.parameters, sa.sequence, packet, iv),
    outer: outerBits(sa.parameters, packet),
    sa,
  };
}

/** An ESP packet around an inner packet (RFC 4303 §2). `trailing` follows it inside, as in RFC 4303 §2.7. */
export function sealEsp(
  provider: Provider,
  parameters: SaParameters,
  sequence: bigint,
  packet: Uint8Array,
  iv: () => Uint8Array,
  trailing: { bytes?: Uint8Array; next?: number } = {},
): Uint8Array {
  const { name, key } = parameters.encryption!;
  const row = encryptionRow(name);
  const next = trailing.next ?? (packet[0]! >> 4 === 6 ? NEXT_IPV6 : NEXT_IPV4);
  const header = new Uint8Array(HEADER);
  viewOf(header).setUint32(0, parameters.spi);
  viewOf(header).setUint32(4, Number(sequence & 0xffffffffn));
  const text = padded(joined(packet, trailing.bytes ?? new Uint8Array()), Math.max(row.blockBytes, 4), next);
  // RFC 4106 §3.1: a number that never repeats is a good IV of a counter mode.
  const vector = row.iv === 'counter' ? bigEndian(sequence).subarray(0, row.ivBytes) : iv();
  const aad = associatedData(header, sequence, parameters.esn);
  const sealed = joined(header, vector, provider.seal(name, key, vector, aad, text));
  if (!parameters.integrity) return sealed;
  return joined(
    sealed,
    provider.integrity(
      parameters.integrity.name,
      parameters.integrity.key,
      covered(sealed, sequence, parameters.esn),
    ),
  );
}

/** One ESP packet from the network; `ecn` is that of the outer header. */
export function unprotect(
  provider: Provider,
  tables: ReferenceTables,
  esp: Uint8Array,
  ecn: number,
): Inbound {
  if (esp.length < HEADER) return dropped('malformed');
  const sa = tables.inbound.get(viewOf(esp).getUint32(0));
  if (!sa) return dropped('unknown-spi');
  const row = encryptionRow(sa.parameters.encryption!.name);
  const icvBytes = row.tagBytes || icvOf(sa.parameters);
  if (esp.length < HEADER + row.ivBytes + icvBytes + 4 || esp.length % 4 !== 0) return dropped('malformed');
  const sequence = fullNumber(sa, BigInt(viewOf(esp).getUint32(4)));
  if (!isFresh(sa, sequence)) return dropped('replay');
  const text = openEsp(provider, sa.parameters, sequence, esp);
  if (!text) return dropped('authentication');
  // RFC 4303 §3.4.3: only what was authentic moves the window.
  sa.seen ??= new Set();
  sa.seen.add(sequence);
  if (sequence > sa.sequence) sa.sequence = sequence;
  return innerOf(sa, text, ecn);
}

function innerOf(sa: ReferenceSa, text: Uint8Array, ecn: number): Inbound {
  const pad = text[text.length - 2]!;
  const next = text[text.length - 1]!;
  const end = text.length - 2 - pad;
  if (end < 0 || !text.subarray(end, -2).every((byte, index) => byte === index + 1))
    return dropped('padding');
  if (next === NEXT_NONE) return dropped('dummy');
  if (overHard(sa, text.length)) return dropped('lifetime');
  const flow = readFlow(text.subarray(0, end));
  if (!flow || next !== (flow.family === 6 ? NEXT_IPV6 : NEXT_IPV4)) return dropped('malformed');
  // RFC 4301 §5.2 step 4: what came out must be what the SA is for.
  if (!inSelectors(sa.parameters.selectors, flow, 'in')) return dropped('selector');
  const packet = withCongestion(text.slice(0, flow.length), flow, ecn);
  if (!packet) return dropped('malformed');
  count(sa, flow.length);
  return { type: 'inner', packet, flow, sa };
}

function openEsp(
  provider: Provider,
  { encryption, integrity, esn }: SaParameters,
  sequence: bigint,
  esp: Uint8Array,
): Uint8Array | undefined {
  const { name, key } = encryption!;
  const row = encryptionRow(name);
  const body = integrity ? esp.subarray(0, esp.length - icvOf({ integrity })) : esp;
  const text = body.subarray(HEADER + row.ivBytes);
  if ((text.length - row.tagBytes) % row.blockBytes !== 0) return undefined;
  if (integrity) {
    const icv = provider.integrity(integrity.name, integrity.key, covered(body, sequence, esn));
    if (!provider.equal(icv, esp.subarray(body.length))) return undefined;
  }
  const aad = associatedData(esp, sequence, esn);
  return provider.open(name, key, esp.subarray(HEADER, HEADER + row.ivBytes), aad, text);
}

function icvOf({ integrity }: Pick<SaParameters, 'integrity'>): number {
  return integrity ? integrityRow(integrity.name).icvBytes : 0;
}

/** The only number with that low half in the 2³² numbers that begin with the window (RFC 4303 Appendix A2.2). */
function fullNumber({ parameters, sequence }: ReferenceSa, low: bigint): bigint {
  if (!parameters.esn) return low;
  const bottom = sequence - BigInt(parameters.replayWindow) + 1n;
  const first = bottom < 0n ? 0n : bottom;
  const number = (first & ~0xffffffffn) | low;
  return number < first ? number + 0x100000000n : number;
}

function isFresh({ parameters, sequence, seen }: ReferenceSa, number: bigint): boolean {
  if (number === 0n) return false;
  return number > sequence - BigInt(parameters.replayWindow) && !seen?.has(number);
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

/** RFC 6040 §4.2: congestion seen outside is told inside, or the packet is dropped where inside cannot be told. */
function withCongestion(packet: Uint8Array, flow: Flow, outer: number): Uint8Array | undefined {
  const inner = ecnOf(packet);
  if (inner === 0) return outer === CE ? undefined : packet;
  const ecn = outer === CE || (outer === ECT_1 && inner === ECT_0) ? outer : inner;
  if (flow.family === 6) {
    packet[1] = (packet[1]! & 0xcf) | (ecn << 4);
    return packet;
  }
  const view = viewOf(packet);
  const before = view.getUint16(0);
  packet[1] = (packet[1]! & 0xfc) | ecn;
  // RFC 1624 §3: HC' = ~(~HC + ~m + m'), so that a header that was broken stays broken.
  const sum = (~view.getUint16(10) & 0xffff) + (~before & 0xffff) + view.getUint16(0);
  const folded = (sum & 0xffff) + (sum >> 16);
  if (ecn !== inner) view.setUint16(10, ~((folded & 0xffff) + (folded >> 16)) & 0xffff);
  return packet;
}

/** DSCP and DF by policy, congestion as it is inside (RFC 4301 §5.1.2, RFC 6040 §4.1 normal mode). */
function outerBits({ outer }: SaParameters, packet: Uint8Array): OuterBits {
  const isV6 = packet[0]! >> 4 === 6;
  const inner = isV6 ? ((packet[0]! & 15) << 4) | (packet[1]! >> 4) : packet[1]!;
  const dscp = outer.dscp === 'copy' ? inner >> 2 : outer.dscp;
  const mayNotFragment = isV6 || (packet[6]! & DF) !== 0;
  return {
    trafficClass: (dscp << 2) | (inner & CE),
    dontFragment: outer.df === 'copy' ? mayNotFragment : outer.df === 'set',
  };
}

function ecnOf(packet: Uint8Array): number {
  return (packet[0]! >> 4 === 6 ? packet[1]! >> 4 : packet[1]!) & CE;
}

function overHard({ parameters: { lifetime }, packets, bytes }: ReferenceSa, more: number): boolean {
  const { hardPackets = 2n ** 64n, hardBytes = 2n ** 64n } = lifetime;
  return packets >= hardPackets || bytes + BigInt(more) > hardBytes;
}

function count(sa: ReferenceSa, bytes: number): void {
  sa.packets++;
  sa.bytes += BigInt(bytes);
}

/** 1, 2, 3 … behind the text, the length of that, the next header (RFC 4303 §2.4 to §2.6). */
function padded(text: Uint8Array, unit: number, next: number): Uint8Array {
  const pad = (unit - ((text.length + 2) % unit)) % unit;
  return joined(
    text,
    Uint8Array.from({ length: pad }, (_, index) => index + 1),
    Uint8Array.of(pad, next),
  );
}

/** SPI and sequence number, the whole one where it is extended (RFC 4106 §5). */
function associatedData(esp: Uint8Array, sequence: bigint, esn: boolean): Uint8Array {
  return esn ? joined(esp.subarray(0, 4), bigEndian(sequence)) : esp.subarray(0, HEADER);
}

/** The high half is covered by the ICV and not sent (RFC 4303 §2.2.1). */
function covered(body: Uint8Array, sequence: bigint, esn: boolean): Uint8Array {
  return esn ? joined(body, bigEndian(sequence).subarray(0, 4)) : body;
}

function bigEndian(number: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, number);
  return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function dropped(drop: Drop): { type: 'dropped'; drop: Drop } {
  return { type: 'dropped', drop };
}
