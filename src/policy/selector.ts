// Traffic selectors (RFC 7296 §3.13.1, RFC 4301 §4.4.1.1): which packets.

import { addressBytes, familyOf, formatAddress, type IpAddress, parseAddress } from '../wire/address.ts';

/** An inclusive range of addresses and ports of one protocol. `protocol` 0 is any; any port is 0 to 65535. */
export interface Selector {
  protocol: number;
  startPort: number;
  endPort: number;
  start: IpAddress;
  end: IpAddress;
}

/** What both ranges hold, or undefined. */
export function intersect(a: Selector, b: Selector): Selector | undefined {
  if (familyOf(a.start) !== familyOf(b.start)) return undefined;
  if (a.protocol !== 0 && b.protocol !== 0 && a.protocol !== b.protocol) return undefined;
  const start = compareAddresses(a.start, b.start) > 0 ? a.start : b.start;
  const end = compareAddresses(a.end, b.end) < 0 ? a.end : b.end;
  const startPort = Math.max(a.startPort, b.startPort);
  const endPort = Math.min(a.endPort, b.endPort);
  if (compareAddresses(start, end) > 0 || startPort > endPort) return undefined;
  return { protocol: a.protocol || b.protocol, startPort, endPort, start, end };
}

export function contains(outer: Selector, inner: Selector): boolean {
  const common = intersect(outer, inner);
  return common !== undefined && sameSelector(common, inner);
}

export function sameSelector(a: Selector, b: Selector): boolean {
  return (
    a.protocol === b.protocol &&
    a.startPort === b.startPort &&
    a.endPort === b.endPort &&
    a.start === b.start &&
    a.end === b.end
  );
}

/** Narrowing (RFC 7296 §2.9): what of `offered` is also in `allowed`, without repetition. Empty: nothing in common. */
export function narrow(offered: readonly Selector[], allowed: readonly Selector[]): Selector[] {
  const common = offered.flatMap((a) =>
    allowed.map((b) => intersect(a, b)).filter((both) => both !== undefined),
  );
  return common.filter(
    (selector, index) =>
      !common.some(
        (other, i) => i !== index && contains(other, selector) && (i < index || !contains(selector, other)),
      ),
  );
}

/** The selector of one address, for the packet that triggered a negotiation (RFC 7296 §2.9). */
export function exactly(address: IpAddress, protocol: number, port: number): Selector {
  const ports = port === 0 ? { startPort: 0, endPort: 65535 } : { startPort: port, endPort: port };
  return { protocol, ...ports, start: address, end: address };
}

/** Negative, zero or positive; both of one family. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a === b) return 0;
  const [left, right] = [addressBytes(a), addressBytes(b)];
  const at = left.findIndex((byte, index) => byte !== right[index]);
  return at === -1 ? 0 : left[at]! - right[at]!;
}

/** `10.1.0.0/16`, or `10.1.0.5-10.1.0.9 udp 53` where it is no prefix or not any packet. */
export function selectorText(selector: Selector): string {
  const range = prefixText(selector) ?? `${selector.start}-${selector.end}`;
  const protocol = selector.protocol === 0 ? '' : ` protocol ${selector.protocol}`;
  const anyPort = selector.startPort === 0 && selector.endPort === 65535;
  const port =
    selector.startPort === selector.endPort
      ? selector.startPort
      : `${selector.startPort}-${selector.endPort}`;
  return `${range}${protocol}${anyPort ? '' : ` port ${port}`}`;
}

function prefixText({ start, end }: Selector): string | undefined {
  const bits = prefixLength(start, end);
  return bits === undefined ? undefined : `${start}/${bits}`;
}

/** The prefix length when the range is one prefix. */
export function prefixLength(start: IpAddress, end: IpAddress): number | undefined {
  const [low, high] = [addressBytes(start), addressBytes(end)];
  const first = low.findIndex((byte, index) => byte !== high[index]);
  if (first === -1) return 8 * low.length;
  // Of the first byte that differs: zeros below, ones above.
  const host = low[first]! ^ high[first]!;
  const whole = (host & (host + 1)) === 0 && (low[first]! & host) === 0;
  const rest =
    low.subarray(first + 1).every((byte) => byte === 0) &&
    high.subarray(first + 1).every((byte) => byte === 0xff);
  return whole && rest ? 8 * first + Math.clz32(host) - 24 : undefined;
}

export interface Prefix {
  address: IpAddress;
  /** Its last address. */
  end: IpAddress;
  length: number;
}

/** The fewest prefixes that cover the range exactly. */
export function prefixesOf({ start, end }: Pick<Selector, 'start' | 'end'>): Prefix[] {
  const whole = prefixLength(start, end);
  return whole === undefined ? severalPrefixes(start, end) : [{ address: start, end, length: whole }];
}

function severalPrefixes(start: IpAddress, end: IpAddress): Prefix[] {
  const size = addressBytes(start).length;
  const bits = size * 8;
  const last = integerOf(end);
  const prefixes: Prefix[] = [];
  for (let at = integerOf(start); at <= last; ) {
    let free = 0;
    while (free < bits && (at & ((2n << BigInt(free)) - 1n)) === 0n && at + (2n << BigInt(free)) - 1n <= last)
      free++;
    const next = at + (1n << BigInt(free));
    prefixes.push({ address: addressOf(at, size), end: addressOf(next - 1n, size), length: bits - free });
    at = next;
  }
  return prefixes;
}

function integerOf(address: IpAddress): bigint {
  return addressBytes(address).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function addressOf(value: bigint, size: number): IpAddress {
  return formatAddress(
    Uint8Array.from({ length: size }, (_, index) =>
      Number((value >> BigInt(8 * (size - 1 - index))) & 0xffn),
    ),
  );
}

/** Every packet of a prefix, host bits cleared; undefined where the text is none. `10.1.0.0/16`, `fd01::/64`, `10.1.0.5`. */
export function selectorOf(text: string): Selector | undefined {
  const [left, right, more] = text.split('/');
  const bytes = more === undefined ? parseAddress(left!.trim()) : undefined;
  if (!bytes || (right !== undefined && !/^\d{1,3}$/.test(right))) return undefined;
  const length = right === undefined ? bytes.length * 8 : Number(right);
  if (length > bytes.length * 8) return undefined;
  const ends = [0, 0xff].map((fill) =>
    formatAddress(bytes.map((byte, index) => masked(byte, fill, length - 8 * index))),
  );
  return { protocol: 0, startPort: 0, endPort: 65535, start: ends[0]!, end: ends[1]! };
}

/** The byte with all but its first `kept` bits taken from `fill`. */
function masked(byte: number, fill: number, kept: number): number {
  const mask = kept >= 8 ? 0xff : kept <= 0 ? 0 : (0xff << (8 - kept)) & 0xff;
  return (byte & mask) | (fill & ~mask & 0xff);
}
