// Bytes to objects and back. One description of a format gives its type, reader, writer, dump and error path.

/** The only thing a decoder throws. `path` names the field, as in `SA.proposals[0].transforms[2].id`. */
export class WireError extends Error {
  readonly path: string;
  readonly reason: string;
  constructor(path: string, reason: string) {
    super(`${path || 'message'}: ${reason}`);
    this.name = 'WireError';
    this.path = path;
    this.reason = reason;
  }
}

/** A format: how to read one value and how to write it. `names` is the registry that gives its numbers names. */
export interface Codec<T> {
  /** Throws WireError, nothing else. */
  read(r: Reader): T;
  /** Throws RangeError where the value does not fit its field. */
  write(w: Writer, value: T): void;
  readonly names?: Names;
}

/** A registry: name to number. */
export type Names = Readonly<Record<string, number>>;

/** One field as found in a message: what an annotated dump is made of. */
export interface Field {
  path: string;
  /** Offset of the first byte, and of the byte after the last. */
  start: number;
  end: number;
  value: unknown;
  names?: Names;
}

/** So many bytes are copied one by one sooner than by a call. */
const FEW = 32;

/** A window on bytes. A sub-reader is confined to its own window: an inner length cannot reach outside. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  /** Every leaf field read, where a dump asked for them. */
  readonly trace: Field[] | undefined;
  offset: number;
  readonly #around: string | Reader;
  /** Names of the fields being read, outermost first: only an error or a dump wants them joined. */
  readonly #names: string[] = [];

  constructor(
    bytes: Uint8Array,
    around: string | Reader = '',
    trace?: Field[],
    offset = 0,
    end = bytes.length,
  ) {
    this.bytes = bytes;
    this.#around = around;
    this.trace = trace;
    this.offset = offset;
    this.end = end;
  }

  get path(): string {
    const outer = typeof this.#around === 'string' ? this.#around : this.#around.path;
    return this.#names.reduce(
      (path, name) => (path === '' || name.startsWith('[') ? path + name : `${path}.${name}`),
      outer,
    );
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  fail(reason: string): never {
    throw new WireError(this.path, reason);
  }

  /** The offset of the next `length` bytes, which are then consumed. */
  skip(length: number): number {
    if (length > this.remaining) this.fail(`truncated: needs ${length} bytes, ${this.remaining} left`);
    const start = this.offset;
    this.offset += length;
    return start;
  }

  /** A big-endian unsigned number of 1 to 6 bytes. */
  uint(length: number): number {
    const start = this.skip(length);
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + this.bytes[start + i]!;
    return value;
  }

  /** A copy, so that nothing decoded changes when a receive buffer is used again. */
  take(length: number): Uint8Array {
    const start = this.skip(length);
    const copy = new Uint8Array(length);
    if (length > FEW) copy.set(this.bytes.subarray(start, start + length));
    else for (let at = 0; at < length; at++) copy[at] = this.bytes[start + at]!;
    return copy;
  }

  /** A reader of the next `length` bytes only. */
  sub(length: number): Reader {
    const start = this.skip(length);
    return new Reader(this.bytes, this, this.trace, start, start + length);
  }

  /** Reads one named part; the name is added to the path, and to the dump where nothing inside it was. */
  field<T>(name: string, codec: Codec<T>): T {
    const start = this.offset;
    const traced = this.trace?.length;
    this.#names.push(name);
    const value = codec.read(this);
    if (this.trace && this.trace.length === traced && this.offset > start)
      this.trace.push({ path: this.path, start, end: this.offset, value, names: codec.names });
    this.#names.pop();
    return value;
  }

  /** Refuses left-over bytes. */
  done(): void {
    if (this.remaining > 0) this.fail(`${this.remaining} bytes too many`);
  }
}

/** Bytes that grow. */
export class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Makes room for `length` zero bytes and gives their offset. */
  skip(length: number): number {
    const start = this.#length;
    const needed = start + length;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes.fill(0);
      this.#bytes = grown;
    }
    this.#length = needed;
    return start;
  }

  uint(length: number, value: number): void {
    this.set(this.skip(length), length, value);
  }

  put(bytes: Uint8Array): void {
    const at = this.skip(bytes.length); // first: it may replace what is written to
    this.#bytes.set(bytes, at);
  }

  /** Writes a number over bytes that `skip` made: lengths, counts and checksums are known last. */
  set(offset: number, length: number, value: number): void {
    if (!Number.isInteger(value) || value < 0 || value >= 256 ** length)
      throw new RangeError(`${value} does not fit ${length} bytes`);
    for (let i = length - 1, left = value; i >= 0; i--, left = Math.floor(left / 256))
      this.#bytes[offset + i] = left % 256;
  }

  /** What has been written so far, as a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** All of `bytes` as one value; left-over bytes are an error. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array, path = '', trace?: Field[]): T {
  const r = new Reader(bytes, path, trace);
  const value = codec.read(r);
  r.done();
  return value;
}

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const w = new Writer();
  codec.write(w, value);
  return w.finish();
}

export const u8 = unsigned(1);
export const u16 = unsigned(2);
export const u24 = unsigned(3);
export const u32 = unsigned(4);

export const u64: Codec<bigint> = {
  read: (r) => (BigInt(r.uint(4)) << 32n) | BigInt(r.uint(4)),
  write: (w, value) => {
    w.uint(4, Number(value >> 32n));
    w.uint(4, Number(value & 0xffffffffn));
  },
};

/** Exactly `length` bytes. */
export function bytes(length: number): Codec<Uint8Array> {
  return {
    read: (r) => r.take(length),
    write: (w, value) => {
      if (value.length !== length) throw new RangeError(`${value.length} bytes where ${length} belong`);
      w.put(value);
    },
  };
}

/** Everything up to the end of the window. */
export const rest: Codec<Uint8Array> = {
  read: (r) => r.take(r.remaining),
  write: (w, value) => w.put(value),
};

/** Zero when sent, ignored when received. */
export function reserved(length: number): Codec<undefined> {
  return { read: (r) => void r.skip(length), write: (w) => void w.skip(length) };
}

/** The same numbers, with a registry for the dump. */
export function named(codec: Codec<number>, names: Names): Codec<number> {
  return { ...codec, names };
}

export type Shape = Readonly<Record<string, Codec<unknown>>>;
type Pretty<T> = { [K in keyof T]: T[K] };
/** The object that a shape describes. Keys that begin with `_` hold no value. */
export type Shaped<S extends Shape> = Pretty<{
  -readonly [K in keyof S as K extends `_${string}` ? never : K]: S[K] extends Codec<infer T> ? T : never;
}>;

/** Named fields, in order. */
export function struct<const S extends Shape>(shape: S): Codec<Shaped<S>> {
  const fields = Object.entries(shape).map(([name, codec]) => {
    const isValue = !name.startsWith('_');
    return { name, codec, isValue, shown: isValue ? name : name.slice(1) };
  });
  return {
    read(r) {
      const value: Record<string, unknown> = {};
      for (const { name, codec, isValue, shown } of fields) {
        const read = r.field(shown, codec);
        if (isValue) value[name] = read;
      }
      return value as Shaped<S>;
    },
    write(w, value) {
      for (const { name, codec } of fields) codec.write(w, (value as Record<string, unknown>)[name]);
    },
  };
}

/** Items up to the end of the window, at most `limit`. Items must not be empty. */
export function list<T>(item: Codec<T>, limit = 1024): Codec<T[]> {
  return {
    read(r) {
      const items: T[] = [];
      while (r.remaining > 0) {
        if (items.length === limit) r.fail(`more than ${limit} items`);
        items.push(r.field(`[${items.length}]`, item));
      }
      return items;
    },
    write(w, items) {
      for (const item_ of items) item.write(w, item_);
    },
  };
}

/** Another form of the same bytes. */
export function map<A, B>(codec: Codec<A>, from: (a: A, r: Reader) => B, to: (b: B) => A): Codec<B> {
  return { read: (r) => from(codec.read(r), r), write: (w, value) => codec.write(w, to(value)) };
}

/** A value in a window whose length stands in front of it; `around` is what the length counts beside the window. */
export function sized<T>(length: Codec<number>, around: number, inner: Codec<T>): Codec<T> {
  return {
    read(r) {
      const size = r.field('length', length) - around;
      if (size < 0) r.fail('length is too small');
      return within(r, size, inner);
    },
    write(w, value) {
      const at = w.length;
      length.write(w, around);
      const start = w.length;
      inner.write(w, value);
      w.set(at, start - at, w.length - start + around);
    },
  };
}

/** Reads `inner` from the next `size` bytes, all of which it must use. */
export function within<T>(r: Reader, size: number, inner: Codec<T>): T {
  const window = r.sub(size);
  const value = inner.read(window);
  window.done();
  return value;
}

function unsigned(length: number): Codec<number> {
  return { read: (r) => r.uint(length), write: (w, value) => w.uint(length, value) };
}
