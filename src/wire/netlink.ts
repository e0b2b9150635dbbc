// Netlink (Linux include/uapi/linux/netlink.h): messages and attributes, whatever the family.
// Numbers are in the machine's byte order, which is little-endian wherever Node runs.

import { type Codec, Reader, rest, struct, Writer, within } from './codec.ts';
import { viewOf } from './ip.ts';

export const FLAG = { REQUEST: 1, ACK: 4, DUMP: 0x300, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400 };
export const CONTROL = { ERROR: 2, DONE: 3 };
const HEADER_BYTES = 16;
const SEQUENCE_OFFSET = 8;
const ATTRIBUTE_HEADER_BYTES = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER stand in the type. */
const ATTRIBUTE_FLAGS = 0xc000;
/** The kernel's families: whom a socket talks to. */
export const NETLINK = { ROUTE: 0, XFRM: 6 } as const;
/** What the kernel's headers call AF_INET and AF_INET6. */
export const FAMILY: Record<4 | 6, number> = { 4: 2, 6: 10 };

export const host16 = unsigned(2);
export const host32 = unsigned(4);

export const hostSigned32: Codec<number> = {
  read: (r) => host32.read(r) | 0,
  write: (w, value) => host32.write(w, value >>> 0),
};

export const host64: Codec<bigint> = {
  read: (r) => BigInt(host32.read(r)) | (BigInt(host32.read(r)) << 32n),
  write: (w, value) => {
    host32.write(w, Number(value & 0xffffffffn));
    host32.write(w, Number(value >> 32n));
  },
};

/** Up to the first zero byte; written with one behind it. */
export const text: Codec<string> = {
  read: (r) => textOf(rest.read(r)),
  write: (w, value) => w.put(new TextEncoder().encode(`${value}\0`)),
};

/** A name in a field of fixed size, filled with zeros. */
export function fixedText(length: number): Codec<string> {
  return {
    read: (r) => textOf(r.take(length)),
    write: (w, value) => {
      const name = new TextEncoder().encode(value);
      if (name.length >= length) throw new RangeError(`${value} does not fit ${length} bytes`);
      const padded = new Uint8Array(length);
      padded.set(name);
      w.put(padded);
    },
  };
}

type Rows = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>;
type Attributes<R extends Rows> = {
  -readonly [K in keyof R]?: (R[K][1] extends Codec<infer T> ? T : never) | undefined;
};

/** Known attributes by name, each at most once; others are passed over. Written in the order of the rows. */
export function attributes<const R extends Rows>(rows: R): Codec<Attributes<R>> {
  const byType = new Map(Object.entries(rows).map(([name, [type, codec]]) => [type, { name, codec }]));
  return {
    read(r) {
      const found: Record<string, unknown> = {};
      while (r.remaining >= ATTRIBUTE_HEADER_BYTES) {
        const size = host16.read(r) - ATTRIBUTE_HEADER_BYTES;
        const row = byType.get(host16.read(r) & ~ATTRIBUTE_FLAGS);
        if (size < 0) r.fail('an attribute is shorter than its header');
        if (row) found[row.name] = r.field(row.name, confined(size, row.codec));
        else r.skip(size);
        r.skip(Math.min(paddingOf(size), r.remaining));
      }
      r.skip(r.remaining);
      return found as Attributes<R>;
    },
    write(w, value) {
      for (const [name, [type, codec]] of Object.entries(rows)) {
        const given = (value as Record<string, unknown>)[name];
        if (given === undefined) continue;
        const start = w.skip(ATTRIBUTE_HEADER_BYTES);
        codec.write(w, given);
        const length = w.length - start;
        setHost(w, start, 2, length);
        setHost(w, start + 2, 2, type);
        w.skip(paddingOf(length));
      }
    },
  };
}

function confined<T>(size: number, codec: Codec<T>): Codec<T> {
  return { ...codec, read: (r) => within(r, size, codec) };
}

const header = struct({ length: host32, type: host16, flags: host16, sequence: host32, port: host32 });

/** One request. */
export function message<T>(type: number, flags: number, codec: Codec<T>, value: T): Uint8Array {
  const w = new Writer();
  header.write(w, { length: 0, type, flags: flags | FLAG.REQUEST, sequence: 0, port: 0 });
  codec.write(w, value);
  const { length } = w;
  setHost(w, 0, 4, length);
  w.skip(paddingOf(length));
  return w.finish();
}

/** Gives the request that number, by which its answers are known. */
export function numbered(request: Uint8Array, sequence: number): Uint8Array {
  viewOf(request).setUint32(SEQUENCE_OFFSET, sequence, true);
  return request;
}

export interface NetlinkMessage {
  type: number;
  sequence: number;
  body: Uint8Array;
}

/** What the kernel sent in one piece. Throws WireError. */
export function messagesOf(bytes: Uint8Array): NetlinkMessage[] {
  const r = new Reader(bytes, 'netlink');
  const messages: NetlinkMessage[] = [];
  while (r.remaining >= HEADER_BYTES) {
    const { length, type, sequence } = header.read(r);
    if (length < HEADER_BYTES) r.fail('a message is shorter than its header');
    messages.push({ type, sequence, body: r.take(length - HEADER_BYTES) });
    r.skip(Math.min(paddingOf(length), r.remaining));
  }
  return messages;
}

/** The errno of an acknowledgement, 0 for success; undefined where the message is none. */
export function errnoOf({ type, body }: NetlinkMessage): number | undefined {
  if (type !== CONTROL.ERROR && type !== CONTROL.DONE) return undefined;
  if (type === CONTROL.DONE && body.length === 0) return 0;
  return -hostSigned32.read(new Reader(body, 'netlink.error'));
}

function paddingOf(length: number): number {
  return -length & 3;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(/\0.*$/s, '');
}

function unsigned(length: number): Codec<number> {
  return {
    read(r) {
      const start = r.skip(length);
      let value = 0;
      for (let i = length - 1; i >= 0; i--) value = value * 256 + r.bytes[start + i]!;
      return value;
    },
    write: (w, value) => setHost(w, w.skip(length), length, value),
  };
}

/** Writes a number over bytes that `skip` made. Throws RangeError where it does not fit them. */
function setHost(w: Writer, at: number, length: number, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= 256 ** length)
    throw new RangeError(`${value} does not fit ${length} bytes`);
  for (let i = 0, left = value; i < length; i++, left = Math.floor(left / 256)) w.set(at + i, 1, left % 256);
}
