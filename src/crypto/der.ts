// DER (X.690 §10) as a tree of offsets: strict, bounded, and the only way to the bytes that a signature covers.

import { concat } from './bytes.ts';

/** Not DER. `at` is the offset in the bytes that were given. */
export class DerError extends Error {
  readonly at: number;
  constructor(what: string, at: number) {
    super(`${what} at byte ${at}`);
    this.name = 'DerError';
    this.at = at;
  }
}

/** One element: `raw` with its header, `value` without; `children` where it is constructed. */
export interface DerNode {
  tag: number;
  raw: Uint8Array;
  value: Uint8Array;
  children: readonly DerNode[];
}

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  TELETEX_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Elements and depth beyond which nothing honest goes; what is read costs no more than that. */
const MOST_ELEMENTS = 20_000;
const DEEPEST = 24;

/** The one element that the bytes are; throws DerError where they are not DER or not one element. */
export function readDer(bytes: Uint8Array): DerNode {
  const budget = { elements: MOST_ELEMENTS };
  const { node, end } = readNode(bytes, 0, bytes.length, DEEPEST, budget);
  if (end !== bytes.length) throw new DerError('something follows the element', end);
  return node;
}

/** Children of a SEQUENCE, SET or context tag; throws DerError where the tag is another. */
export function childrenOf(node: DerNode | undefined, tag: number, what: string): readonly DerNode[] {
  if (node?.tag !== tag) throw new DerError(`${what} is not there or has another tag`, 0);
  return node.children;
}

/** Elements one after the other, without what is in them: for lists too long for a tree. Throws DerError. */
export function* elementsOf(bytes: Uint8Array): Generator<Omit<DerNode, 'children'>> {
  for (let at = 0; at < bytes.length; ) {
    const { tag, start, end } = readHeader(bytes, at, bytes.length);
    yield { tag, raw: bytes.subarray(at, end), value: bytes.subarray(start, end) };
    at = end;
  }
}

/** The first elements, where there may be no more than so many. Throws DerError. */
export function fewElementsOf(bytes: Uint8Array, most: number): Omit<DerNode, 'children'>[] {
  const found: Omit<DerNode, 'children'>[] = [];
  for (const element of elementsOf(bytes)) {
    if (found.length === most) throw new DerError('more elements than there may be', 0);
    found.push(element);
  }
  return found;
}

/** Whole content as text of single bytes below 128. */
export function asciiOf(value: Uint8Array): string | undefined {
  return value.every((byte) => byte < 0x80) ? new TextDecoder().decode(value) : undefined;
}

/** An unsigned INTEGER that fits a number; undefined where it is negative or too large. */
export function smallIntegerOf(value: Uint8Array): number | undefined {
  if (value.length === 0 || value[0]! >= 0x80 || value.length > 6) return undefined;
  return value.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** Dotted text of an OBJECT IDENTIFIER's content. */
export function oidOf(value: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of value) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first = 0, ...rest] = arcs;
  const top = Math.min(Math.floor(first / 40), 2);
  return [top, first - top * 40, ...rest].join('.');
}

/** One element from the parts of its content. */
export function derOf(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = concat(parts);
  const size: number[] = [];
  for (let rest = value.length; rest > 0; rest = Math.floor(rest / 256)) size.unshift(rest % 256);
  const length = value.length < 0x80 ? [value.length] : [0x80 | size.length, ...size];
  return concat([Uint8Array.of(tag, ...length), value]);
}

/** An OBJECT IDENTIFIER from dotted text; the caller knows that it is one. */
export function encodeOid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift(0x80 | (left % 128));
    return digits;
  });
  return derOf(TAG.OID, Uint8Array.from(bytes));
}

interface Read {
  node: DerNode;
  end: number;
}

function readNode(
  bytes: Uint8Array,
  at: number,
  limit: number,
  depth: number,
  budget: { elements: number },
): Read {
  if (--budget.elements < 0) throw new DerError('more elements than any certificate has', at);
  if (depth === 0) throw new DerError('nested deeper than any certificate is', at);
  const { tag, start, end } = readHeader(bytes, at, limit);
  const value = bytes.subarray(start, end);
  const children = tag & 0x20 ? readChildren(bytes, start, end, depth - 1, budget) : [];
  if ((tag & 0x20) === 0) checkPrimitive(tag, value, at);
  return { node: { tag, raw: bytes.subarray(at, end), value, children }, end };
}

function readChildren(
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
  budget: { elements: number },
): DerNode[] {
  const children: DerNode[] = [];
  for (let at = start; at < end; ) {
    const read = readNode(bytes, at, end, depth, budget);
    children.push(read.node);
    at = read.end;
  }
  return children;
}

/** X.690 §8.1.3, §10.1: definite lengths only, in the fewest bytes; no tag numbers above 30, X.509 has none. */
function readHeader(bytes: Uint8Array, at: number, limit: number) {
  if (at + 2 > limit) throw new DerError('an element is cut off', at);
  const tag = bytes[at]!;
  if ((tag & 0x1f) === 0x1f || tag === 0) throw new DerError('a tag that X.509 does not have', at);
  const first = bytes[at + 1]!;
  if (first < 0x80) return bounded(tag, at + 2, first, limit);
  const size = first & 0x7f;
  if (size === 0 || size > 3) throw new DerError('a length that DER does not have', at);
  if (at + 2 + size > limit) throw new DerError('a length is cut off', at);
  let length = 0;
  for (let i = 0; i < size; i++) length = length * 256 + bytes[at + 2 + i]!;
  if (length < 0x80 || length < 256 ** (size - 1)) throw new DerError('a length longer than needed', at);
  return bounded(tag, at + 2 + size, length, limit);
}

function bounded(tag: number, start: number, length: number, limit: number) {
  if (start + length > limit) throw new DerError('an element reaches outside', start);
  return { tag, start, end: start + length };
}

/** X.690 §8.2, §8.3, §8.6, §8.8, §8.19, §11.1, §11.2. */
function checkPrimitive(tag: number, value: Uint8Array, at: number): void {
  const wrong = PRIMITIVE_RULES[tag]?.(value);
  if (wrong) throw new DerError(wrong, at);
  if (tag === TAG.SEQUENCE || tag === TAG.SET) throw new DerError('a primitive SEQUENCE', at);
}

const isInteger = (value: Uint8Array): string | false =>
  value.length === 0
    ? 'an INTEGER without content'
    : value.length > 1 &&
      ((value[0] === 0 && value[1]! < 0x80) || (value[0] === 0xff && value[1]! >= 0x80)) &&
      'an INTEGER longer than needed';

const PRIMITIVE_RULES: Partial<Record<number, (value: Uint8Array) => string | false>> = {
  [TAG.BOOLEAN]: (value) =>
    (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff)) && 'a BOOLEAN that is neither',
  [TAG.INTEGER]: isInteger,
  [TAG.ENUMERATED]: isInteger,
  [TAG.BIT_STRING]: (value) => {
    const unused = value[0] ?? 8;
    if (unused > 7 || (unused > 0 && value.length === 1))
      return 'a BIT STRING with a wrong count of unused bits';
    return (
      (value.at(-1)! & ((1 << unused) - 1)) !== 0 && value.length > 1 && 'a BIT STRING with unused bits set'
    );
  },
  [TAG.NULL]: (value) => value.length > 0 && 'a NULL with content',
  [TAG.OID]: (value) =>
    (value.length === 0 ||
      value.length > 64 ||
      value.at(-1)! >= 0x80 ||
      value.some((byte, i) => byte === 0x80 && (i === 0 || value[i - 1]! < 0x80))) &&
    'an OBJECT IDENTIFIER that is none',
};
