// Messages in fragments (RFC 7383): how large they are, how a message is cut, and how the peer's are kept until all are there.

import { concat } from '../crypto/bytes.ts';
import { familyOf } from '../wire/address.ts';
import {
  datagramsOf,
  encodePayloads,
  findNotify,
  HEADER_BYTES,
  type HeaderFields,
  type Message,
  type Payload,
  type SkfPayload,
} from '../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../wire/numbers.ts';
import { type Context, drop, type TunnelState, tunnelOf } from './context.ts';
import {
  fragmentBytes,
  type Inner,
  openPiece,
  type Protection,
  plainOf,
  sealedBytes,
  sealInner,
} from './protect.ts';
import type { Assembly, IkeSa } from './sa.ts';
import { notifyPayload } from './v2/payloads.ts';

// Specification

/** What every path carries (RFC 7383 §2.5.1), by family of addresses; and before the UDP payload of port 4500. */
const SMALLEST = { 4: 576, 6: 1280 } as const;
const IP_BYTES = { 4: 20, 6: 40 } as const;
const UDP_BYTES = 8;
const MARKER_BYTES = 4;
/** RFC 7296 §2.23: only here no marker stands before a message. */
const IKE_PORT = 500;

// Ours

/** IP packets, bytes: what passes PPPoE and most tunnels, then what passes everywhere. */
const SIZES = { 4: [1280, SMALLEST[4]], 6: [SMALLEST[6]] } as const;
/**
 * A size that was not answered so often is too large. Where a third of all datagrams is lost, three fragments come through in
 * fewer tries than these in 99 of 100 cases; a smaller size, with more fragments, begins anew what was gathered.
 */
const TRIES = 5;
/** More than any chain of certificates needs: 30 kB in the smallest fragments. */
const MOST_FRAGMENTS = 64;
const MOST_BYTES = 65_536;
/** Of all IKE SAs together. */
const MOST_BYTES_HELD = 4_194_304;
/** A message is whole by then or not kept any longer: the first half of a retransmission schedule. */
export const ASSEMBLY_AGE = 60_000;

// Negotiation

/** N(IKEV2_FRAGMENTATION_SUPPORTED), where the tunnel wants it (RFC 7383 §2.3). */
export function fragmentationNotify({ tunnel }: TunnelState): Payload[] {
  return tunnel.fragmentation === undefined ? [] : [notifyPayload(NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED)];
}

/** Both sides have to say so in IKE_SA_INIT; `payloads` are the peer's. */
export function agreeOnFragments(context: Context, sa: IkeSa, payloads: readonly Payload[]): void {
  delete sa.fragmentSize;
  const state = tunnelOf(context, sa);
  if (state?.tunnel.fragmentation === undefined) return;
  if (!findNotify(payloads, NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED)) return;
  sa.fragmentSize = state.fragmentSize ?? sizesOf(state, sa)[0]!;
}

/** Largest first. */
function sizesOf({ tunnel: { fragmentation } }: TunnelState, { remote }: IkeSa): readonly number[] {
  const usual = SIZES[familyOf(remote.address)];
  return typeof fragmentation === 'number'
    ? [fragmentation, ...usual.filter((size) => size < fragmentation)]
    : usual;
}

/** IKE_SA_INIT is never cut (RFC 7383 §2.1): whether it arrives whole wherever the smallest packets do. */
export function fitsEveryPath({ remote }: IkeSa, payloads: readonly Payload[]): boolean {
  const family = familyOf(remote.address);
  const bytes = HEADER_BYTES + encodePayloads(payloads).bytes.length;
  return IP_BYTES[family] + UDP_BYTES + bytes <= SMALLEST[family];
}

/** What came through is what the tunnel begins with next time. */
export function rememberSize(context: Context, sa: IkeSa): void {
  const state = tunnelOf(context, sa);
  if (state && sa.fragmentSize !== undefined) state.fragmentSize = sa.fragmentSize;
}

// Sending

/** The message, in fragments only where it is larger than one of them (RFC 7383 §2.4), joined in their order. */
export function sealFitting(
  context: Context,
  sa: IkeSa,
  protection: Protection,
  fields: HeaderFields,
  inner: Inner,
): Uint8Array {
  return cut(context, protection, fields, inner, piecesAt(sa, sa.fragmentSize, protection, inner));
}

function cut(
  { provider }: Context,
  protection: Protection,
  fields: HeaderFields,
  inner: Inner,
  { total, bytes }: { total: number; bytes: number },
): Uint8Array {
  if (total === 1) return sealInner(provider, protection, fields, inner);
  const pieces = Array.from({ length: total }, (_, index) => {
    const piece = {
      first: index === 0 ? inner.first : PAYLOAD.NONE,
      bytes: inner.bytes.subarray(index * bytes, (index + 1) * bytes),
    };
    return sealInner(provider, protection, fields, piece, { fragment: index + 1, total });
  });
  return concat(pieces);
}

/** How many fragments of that size a chain needs, and how many of its bytes each of them takes. */
function piecesAt(
  { remote }: IkeSa,
  size: number | undefined,
  { suite }: Protection,
  { bytes: { length } }: Inner,
): { total: number; bytes: number } {
  const whole = { total: 1, bytes: length };
  if (size === undefined) return whole;
  const room = size - IP_BYTES[familyOf(remote.address)] - UDP_BYTES - MARKER_BYTES;
  if (sealedBytes(suite, length) <= room) return whole;
  const bytes = Math.max(fragmentBytes(suite, room), Math.ceil(length / MOST_FRAGMENTS));
  return { total: Math.ceil(length / bytes), bytes };
}

/**
 * A message of ours that was sent `times` without effect: cut smaller where that makes more fragments of it, which tells
 * the peer the sets apart (RFC 7383 §2.5.2); else as it was.
 */
export function narrowed(
  context: Context,
  sa: IkeSa,
  protection: Protection | undefined,
  bytes: Uint8Array,
  times: number,
): Uint8Array {
  const [state, { fragmentSize }] = [tunnelOf(context, sa), sa];
  if (!protection || !state || fragmentSize === undefined || times % TRIES !== 0) return bytes;
  const plain = plainOf(context.provider, protection, bytes);
  if (!plain) return bytes;
  const count = datagramsOf(bytes).length;
  const smaller = sizesOf(state, sa).find(
    (size) => size < fragmentSize && piecesAt(sa, size, protection, plain).total > count,
  );
  if (smaller === undefined) return bytes;
  sa.fragmentSize = smaller;
  return sealFitting(context, sa, protection, plain.header, plain);
}

/** A message of ours in as many fragments as the smallest size makes of it; as it was where that is one. */
export function cutSmallest(
  context: Context,
  sa: IkeSa,
  protection: Protection | undefined,
  bytes: Uint8Array,
): Uint8Array {
  const state = tunnelOf(context, sa);
  const plain = protection && state && plainOf(context.provider, protection, bytes);
  if (!plain || sa.fragmentSize === undefined) return bytes;
  const pieces = piecesAt(sa, sizesOf(state, sa).at(-1), protection, plain);
  return pieces.total === 1 ? bytes : cut(context, protection, plain.header, plain, pieces);
}

/** Bytes of a message in one datagram that makes an IP packet of so many. */
export function messageRoom({ local, remote }: IkeSa, packet: number): number {
  const marker = local.port === IKE_PORT ? 0 : MARKER_BYTES;
  return packet - IP_BYTES[familyOf(remote.address)] - UDP_BYTES - marker;
}

// Receiving

/** Where the fragments of a message are kept: a request's with the window, an answer's with the request of ours. */
interface Holder {
  assembly?: Assembly;
}

/**
 * The message: the datagram itself, or with its last fragment all of them joined in their order. Undefined while some are
 * missing. Only what is authentic is kept, and what is kept stays over retransmissions (RFC 7383 §2.6).
 */
export function gather(
  context: Context,
  sa: IkeSa,
  holder: Holder,
  protection: Protection,
  message: Message,
  bytes: Uint8Array,
): Uint8Array | undefined {
  const skf = message.payloads.at(-1);
  if (skf?.type !== PAYLOAD.SKF) return bytes;
  const cause = refusal(sa, holder, skf, bytes);
  if (cause) return drop(context, cause);
  if (!openPiece(context.provider, protection, message, bytes)) return drop(context, 'ike-forged');
  const assembly = keep(context, holder, skf, bytes);
  account(context, sa);
  if (assembly.missing > 0) return undefined;
  adoptSize(context, sa, assembly.parts as Uint8Array[]);
  const whole = concat(assembly.parts as Uint8Array[]);
  // That it was there stays known, so that late fragments do not begin it again.
  Object.assign(assembly, { parts: [], bytes: 0 });
  account(context, sa);
  return whole;
}

/** One of the fragments of a repeated request is enough to have its answer repeated (RFC 7383 §2.6.1). */
export function asksAgain({ payloads }: Message): boolean {
  const last = payloads.at(-1);
  return last?.type !== PAYLOAD.SKF || last.fragment === 1;
}

/** Why a fragment is of no use, as far as that is known before any work is done on it. */
function refusal(
  sa: IkeSa,
  { assembly }: Holder,
  { fragment, total }: SkfPayload,
  bytes: Uint8Array,
): string | undefined {
  if (sa.fragmentSize === undefined) return 'ike-fragment-unexpected';
  if (total > MOST_FRAGMENTS) return 'ike-fragment-too-many';
  if (!assembly || total > assembly.total) return undefined;
  if (total < assembly.total) return 'ike-fragment-of-smaller-set';
  if (assembly.missing === 0 || assembly.parts[fragment - 1]) return 'ike-fragment-repeated';
  return assembly.bytes + bytes.length > MOST_BYTES ? 'ike-fragment-too-large' : undefined;
}

/** A set of more fragments takes the place of one of fewer (RFC 7383 §2.6). */
function keep(
  context: Context,
  holder: Holder,
  { fragment, total }: SkfPayload,
  bytes: Uint8Array,
): Assembly {
  if (holder.assembly?.total !== total) {
    const parts = Array.from({ length: total }, () => null);
    holder.assembly = { total, parts, missing: total, bytes: 0, since: context.now };
  }
  const { assembly } = holder as Required<Holder>;
  assembly.parts[fragment - 1] = bytes.slice();
  assembly.missing--;
  assembly.bytes += bytes.length;
  return assembly;
}

/** The peer may know the path better: where its fragments are smaller, so are ours. */
function adoptSize(context: Context, sa: IkeSa, parts: readonly Uint8Array[]): void {
  const state = tunnelOf(context, sa);
  const largest = Math.max(...parts.map(({ length }) => length));
  const packet = largest + UDP_BYTES + MARKER_BYTES + IP_BYTES[familyOf(sa.remote.address)];
  const fitting = state && sizesOf(state, sa).findLast((size) => size >= packet);
  if (fitting !== undefined && fitting < sa.fragmentSize!) sa.fragmentSize = fitting;
}

/** What IKE SAs that an earlier gateway handed over hold. */
export function heldBy(sas: readonly IkeSa[]): Context['held'] {
  const holding = sas.flatMap((sa) => (bytesHeld(sa) > 0 ? [[sa.spi, bytesHeld(sa)] as const] : []));
  return { bytes: holding.reduce((sum, [, bytes]) => sum + bytes, 0), bySa: new Map(holding) };
}

function bytesHeld(sa: IkeSa): number {
  return assembliesOf(sa).reduce((sum, { assembly }) => sum + assembly!.bytes, 0);
}

/** How many bytes each IKE SA holds in fragments; over the limit the longest held go. */
function account(context: Context, sa: IkeSa): void {
  const { held } = context;
  const bytes = bytesHeld(sa);
  held.bytes += bytes - (held.bySa.get(sa.spi) ?? 0);
  if (bytes > 0) held.bySa.set(sa.spi, bytes);
  else held.bySa.delete(sa.spi);
  while (held.bytes > MOST_BYTES_HELD) evict(context);
}

function evict(context: Context): void {
  const { held, sas } = context;
  const [spi, bytes] = held.bySa.entries().next().value!;
  held.bytes -= bytes;
  held.bySa.delete(spi);
  const sa = sas.get(spi);
  if (!sa) return;
  for (const holder of assembliesOf(sa)) delete holder.assembly;
  drop(context, 'ike-fragments-crowded-out');
}

function assembliesOf({ window }: IkeSa): Holder[] {
  return [window, window.sent].filter((holder): holder is typeof window => holder?.assembly !== undefined);
}

/** The peer's request is whole and answered, or did not become whole in time. */
export function endAssembly(context: Context, sa: IkeSa): void {
  if (!sa.window.assembly) return;
  if (sa.window.assembly.missing > 0) drop(context, 'ike-fragments-late');
  delete sa.window.assembly;
  account(context, sa);
}
