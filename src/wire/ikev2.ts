// IKEv2 messages (RFC 7296 §3): header, generic payload header, one codec a payload. Decoders give a value or throw
// WireError; they know no keys and no states. Numbers nobody has seen survive a round trip.

import { addressBytes, formatAddress, type IpAddress } from './address.ts';
import {
  bytes,
  type Codec,
  encode,
  type Field,
  list,
  map,
  named,
  Reader,
  reserved,
  rest,
  struct,
  u8,
  u16,
  u32,
  WireError,
  Writer,
  within,
} from './codec.ts';
import { hex, unhex } from './hex.ts';
import {
  AUTH_METHOD,
  CERT_ENCODING,
  CFG_ATTRIBUTE,
  CFG_TYPE,
  EXCHANGE,
  ID_TYPE,
  IP_PROTOCOL,
  KE_METHOD,
  NOTIFY,
  nameOf,
  PAYLOAD,
  PROTOCOL,
  TRANSFORM,
  TRANSFORM_ATTRIBUTE,
  TRANSFORM_IDS,
  TS_TYPE,
} from './numbers.ts';

/** RFC 7296 §3.1. SPIs are 16 hex digits; all zero where not yet known. */
export interface Header {
  initiatorSpi: string;
  responderSpi: string;
  nextPayload: number;
  major: number;
  minor: number;
  exchange: number;
  /** `initiator`: sent by the original initiator; `version`: the sender speaks a higher major version. */
  flags: { initiator: boolean; response: boolean; version: boolean };
  messageId: number;
  /** Bytes of the whole message. */
  length: number;
}

/** What a writer must know of the header; the rest follows from the payloads. */
export type HeaderFields = Omit<Header, 'nextPayload' | 'length' | 'major' | 'minor'> &
  Partial<Pick<Header, 'major' | 'minor'>>;

/** RFC 7296 §3.3.5. A number in TV form, bytes in TLV form. */
export interface Attribute {
  type: number;
  value: number | Uint8Array;
}

/** RFC 7296 §3.3.2. `attributes` holds all but the first key length, and is absent where there are none. */
export interface Transform {
  type: number;
  id: number;
  keyBits?: number;
  attributes?: Attribute[];
}

/** RFC 7296 §3.3.1 */
export interface Proposal {
  number: number;
  protocol: number;
  spi: Uint8Array;
  transforms: Transform[];
}

/** RFC 7296 §3.13.1. `raw` is the body of a selector whose type is not an address range. */
export type TrafficSelector = IpTrafficSelector | RawTrafficSelector;
export interface IpTrafficSelector {
  /** 7 (IPv4) or 8 (IPv6). */
  tsType: number;
  protocol: number;
  startPort: number;
  endPort: number;
  start: IpAddress;
  end: IpAddress;
  raw?: undefined;
}
export interface RawTrafficSelector {
  tsType: number;
  protocol: number;
  raw: Uint8Array;
}

/** The body of each payload by type. */
interface Bodies {
  33: { proposals: Proposal[] };
  34: { group: number; data: Uint8Array };
  35: { idType: number; data: Uint8Array };
  36: { idType: number; data: Uint8Array };
  37: { encoding: number; data: Uint8Array };
  38: { encoding: number; data: Uint8Array };
  39: { method: number; data: Uint8Array };
  40: { data: Uint8Array };
  41: { protocol: number; spi: Uint8Array; notifyType: number; data: Uint8Array };
  42: { protocol: number; spis: Uint8Array[] };
  43: { data: Uint8Array };
  44: { selectors: TrafficSelector[] };
  45: { selectors: TrafficSelector[] };
  47: { cfgType: number; attributes: { type: number; value: Uint8Array }[] };
  48: { data: Uint8Array };
}

type Plain = { [T in keyof Bodies]: { type: T; critical: boolean } & Bodies[T] }[keyof Bodies];

/** RFC 7296 §3.14. `body` is IV, ciphertext and ICV; `offset` is where it begins in the message: the bytes before it are
 *  the associated data (RFC 5282 §5.1). Writers ignore `offset`. `nextPayload` is the type of the first payload inside. */
export interface SkPayload {
  type: 46;
  critical: boolean;
  nextPayload: number;
  body: Uint8Array;
  offset: number;
}

/** RFC 7383 §2.5. As SK, with the number of this fragment (from 1) and of all. */
export interface SkfPayload {
  type: 53;
  critical: boolean;
  nextPayload: number;
  fragment: number;
  total: number;
  body: Uint8Array;
  offset: number;
}

/** A payload of a type we do not know. Its `type` is 0, so that the others stay told apart; `number` is the wire's. */
export interface UnknownPayload {
  type: 0;
  number: number;
  critical: boolean;
  body: Uint8Array;
}

export type Payload = Plain | SkPayload | SkfPayload | UnknownPayload;

export interface Message {
  header: Header;
  /** In an encrypted message the last is SK or SKF. */
  payloads: Payload[];
}

export const HEADER_BYTES = 28;
/** More payloads than any peer sends; bounds the work on a hostile message. */
export const MAX_PAYLOADS = 64;
export const NO_SPI = '0000000000000000';

/** The header alone, of any major version. Does not compare `length` with what was received. */
export function decodeHeader(message: Uint8Array, trace?: Field[]): Header {
  return new Reader(message, '', trace).field('header', header);
}

/** A whole datagram. Anything but IKEv2 with a true length is a WireError: look at `decodeHeader` first. */
export function decodeMessage(message: Uint8Array, trace?: Field[]): Message {
  const head = decodeHeader(message, trace);
  if (head.major !== 2) throw new WireError('header.major', `version ${head.major}, not 2`);
  if (head.length !== message.length)
    throw new WireError('header.length', `says ${head.length}, received ${message.length}`);
  const r = new Reader(message, '', trace, HEADER_BYTES);
  return { header: head, payloads: readPayloads(r, head.nextPayload, true) };
}

/** Messages that follow one another in `bytes`, each as long as its header says. */
export function datagramsOf(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { length } = decodeHeader(bytes.subarray(at));
    found.push(bytes.subarray(at, at + Math.max(length, HEADER_BYTES)));
    at += Math.max(length, HEADER_BYTES);
  }
  return found;
}

/** What was inside SK: a chain that begins with a payload of `firstType`. SK and SKF cannot stand inside. */
export function decodePayloads(firstType: number, plain: Uint8Array, trace?: Field[]): Payload[] {
  return readPayloads(new Reader(plain, '', trace), firstType, false);
}

/** The message with its length and chain filled in. An SK or SKF must be last. */
export function encodeMessage(fields: HeaderFields, payloads: readonly Payload[]): Uint8Array {
  const chain = encodePayloads(payloads);
  return encode(message, {
    header: {
      major: 2,
      minor: 0,
      ...fields,
      nextPayload: chain.first,
      length: HEADER_BYTES + chain.bytes.length,
    },
    rest: chain.bytes,
  });
}

/** A chain of payloads, and the type of the first (0 where there is none). */
export function encodePayloads(payloads: readonly Payload[]): { first: number; bytes: Uint8Array } {
  const w = new Writer();
  payloads.forEach((payload, i) => {
    writePayload(w, payload, payloads[i + 1]);
  });
  return { first: payloads[0] ? wireType(payloads[0]) : 0, bytes: w.finish() };
}

/** The first payload of a type. */
export function findPayload<T extends Payload['type']>(
  payloads: readonly Payload[],
  type: T,
): Extract<Payload, { type: T }> | undefined {
  return payloads.find((payload): payload is Extract<Payload, { type: T }> => payload.type === type);
}

/** The first notification of a type. */
export function findNotify(
  payloads: readonly Payload[],
  notifyType: number,
): Extract<Payload, { type: 41 }> | undefined {
  return payloads.find(
    (payload): payload is Extract<Payload, { type: 41 }> =>
      payload.type === PAYLOAD.N && payload.notifyType === notifyType,
  );
}

/** The number of a payload's type on the wire. */
export function wireType(payload: Payload): number {
  return payload.type === 0 ? payload.number : payload.type;
}

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                       IKE SA Initiator's SPI                  |
// |                                                               |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                       IKE SA Responder's SPI                  |
// |                                                               |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                          Message ID                           |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                            Length                             |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

const ikeSpi: Codec<string> = map(bytes(8), hex, (text) => {
  if (!/^[0-9a-f]{16}$/.test(text)) throw new RangeError('an IKE SPI is 16 hex digits');
  return unhex(text);
});

/** RFC 7296 §3.1: X X R V I X X X, most significant bit first; X is reserved. */
const flags: Codec<Header['flags']> = map(
  u8,
  (bits) => ({ initiator: !!(bits & 0x08), response: !!(bits & 0x20), version: !!(bits & 0x10) }),
  (on) => (on.initiator ? 0x08 : 0) | (on.response ? 0x20 : 0) | (on.version ? 0x10 : 0),
);

const headerFields = struct({
  initiatorSpi: ikeSpi,
  responderSpi: ikeSpi,
  nextPayload: named(u8, PAYLOAD),
  version: u8,
  exchange: named(u8, EXCHANGE),
  flags,
  messageId: u32,
  length: u32,
});

/** RFC 7296 §3.1 */
const header: Codec<Header> = map(
  headerFields,
  ({ version, ...fields }) => ({ ...fields, major: version >> 4, minor: version & 15 }),
  ({ major, minor, ...fields }) => ({ ...fields, version: (major << 4) | minor }),
);

const message = struct({ header, rest });

/** RFC 7296 §3.3.5: the top bit of the type tells TV (a 16-bit value) from TLV. */
const attribute: Codec<Attribute> = {
  read(r) {
    const word = r.field('type', attributeType);
    const type = word & 0x7fff;
    if (word & 0x8000) return { type, value: r.field('value', u16) };
    const length = r.field('length', u16);
    return { type, value: r.field('value', bytes(length)) };
  },
  write(w, { type, value }) {
    w.uint(2, typeof value === 'number' ? type | 0x8000 : type);
    if (typeof value === 'number') return w.uint(2, value);
    w.uint(2, value.length);
    w.put(value);
  },
};
const attributeType = named(u16, { KEY_LENGTH: 0x8000 | TRANSFORM_ATTRIBUTE.KEY_LENGTH });
const attributes = list(attribute, 16);

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Last Substruc |   RESERVED    |        Transform Length       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |Transform Type |   RESERVED    |          Transform ID         |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                      Transform Attributes                     ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.3.2 */
const transform: Codec<Transform> = {
  read(r) {
    const type = r.field('type', named(u8, TRANSFORM));
    r.field('reserved', reserved(1));
    const id = r.field('id', named(u16, TRANSFORM_IDS[type] ?? {}));
    return { type, id, ...splitKeyLength(r.field('attributes', attributes)) };
  },
  write(w, { type, id, keyBits, attributes: others = [] }) {
    w.uint(1, type);
    w.skip(1);
    w.uint(2, id);
    const keyLength = keyBits === undefined ? [] : [{ type: TRANSFORM_ATTRIBUTE.KEY_LENGTH, value: keyBits }];
    attributes.write(w, [...keyLength, ...others]);
  },
};

function splitKeyLength(all: Attribute[]): Pick<Transform, 'keyBits' | 'attributes'> {
  const keyLength = all.find(isKeyLength);
  const others = all.filter((one) => one !== keyLength);
  return {
    ...(keyLength && { keyBits: keyLength.value }),
    ...(others.length > 0 && { attributes: others }),
  };
}

function isKeyLength(one: Attribute): one is { type: number; value: number } {
  return one.type === TRANSFORM_ATTRIBUTE.KEY_LENGTH && typeof one.value === 'number';
}

/** RFC 7296 §3.3.1, §3.3.2: substructures of which each says by `more` that another follows, and by 0 that none does. */
function substructures<T>(more: number, inner: Codec<T>): Codec<T[]> {
  const item: Codec<T> = {
    read(r) {
      const last = r.field('last', u8);
      r.field('reserved', reserved(1));
      const length = r.field('length', u16);
      if (length < 4) r.fail(`length ${length} is less than its own header`);
      const value = within(r, length - 4, inner);
      if (last !== (r.remaining > 0 ? more : 0))
        r.fail(`last is ${last}, with ${r.remaining} bytes to follow`);
      return value;
    },
    write: () => {},
  };
  return {
    read: list(item, 255).read,
    write(w, items) {
      items.forEach((one, i) => {
        const body = encode(inner, one);
        w.uint(1, i + 1 < items.length ? more : 0);
        w.skip(1);
        w.uint(2, body.length + 4);
        w.put(body);
      });
    },
  };
}
const transforms = substructures(3, transform);

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Last Substruc |   RESERVED    |         Proposal Length       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                        SPI (variable)                         ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                        <Transforms>                           ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.3.1 */
const proposal: Codec<Proposal> = {
  read(r) {
    const number = r.field('number', u8);
    const protocol = r.field('protocol', named(u8, PROTOCOL));
    const spiSize = r.field('spiSize', u8);
    const count = r.field('transformCount', u8);
    const spi = r.field('spi', bytes(spiSize));
    const found = r.field('transforms', transforms);
    if (found.length !== count) r.fail(`${found.length} transforms where ${count} were announced`);
    return { number, protocol, spi, transforms: found };
  },
  write(w, value) {
    w.uint(1, value.number);
    w.uint(1, value.protocol);
    w.uint(1, value.spi.length);
    w.uint(1, value.transforms.length);
    w.put(value.spi);
    transforms.write(w, value.transforms);
  },
};

/** RFC 7296 §3.3 */
const sa = struct({ proposals: substructures(2, proposal) });

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |   Diffie-Hellman Group Num    |           RESERVED            |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                       Key Exchange Data                       ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.4 */
const ke = struct({ group: named(u16, KE_METHOD), _reserved: reserved(2), data: rest });

//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |   ID Type     |                 RESERVED                      |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                   Identification Data                         ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.5 */
const id = struct({ idType: named(u8, ID_TYPE), _reserved: reserved(3), data: rest });

/** RFC 7296 §3.6, §3.7: one byte of encoding, then the certificate, or the hashes of accepted authorities. */
const cert = struct({ encoding: named(u8, CERT_ENCODING), data: rest });

//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Auth Method   |                RESERVED                       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                      Authentication Data                      ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.8 */
const auth = struct({ method: named(u8, AUTH_METHOD), _reserved: reserved(3), data: rest });

/** RFC 7296 §3.9 (Nonce), §3.12 (V), §3.16 (EAP) */
const data = struct({ data: rest });

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |  Protocol ID  |   SPI Size    |      Notify Message Type      |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                Security Parameter Index (SPI)                 ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                       Notification Data                       ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.10 */
const notify: Codec<Bodies[41]> = {
  read(r) {
    const protocol = r.field('protocol', named(u8, PROTOCOL));
    const spiSize = r.field('spiSize', u8);
    const notifyType = r.field('notifyType', named(u16, NOTIFY));
    const spi = r.field('spi', bytes(spiSize));
    return { protocol, spi, notifyType, data: r.field('data', rest) };
  },
  write(w, value) {
    w.uint(1, value.protocol);
    w.uint(1, value.spi.length);
    w.uint(2, value.notifyType);
    w.put(value.spi);
    w.put(value.data);
  },
};

//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Protocol ID   |   SPI Size    |          Num of SPIs          |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~               Security Parameter Index(es) (SPI)              ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.11. A DELETE of the IKE SA has no SPIs, and is written with SPI size 0. */
const remove: Codec<Bodies[42]> = {
  read(r) {
    const protocol = r.field('protocol', named(u8, PROTOCOL));
    const spiSize = r.field('spiSize', u8);
    const count = r.field('spiCount', u16);
    if (count * spiSize !== r.remaining) r.fail(`${count} SPIs of ${spiSize} bytes in ${r.remaining} bytes`);
    if (spiSize === 0 && count > 0) r.fail(`${count} SPIs of no length`);
    return { protocol, spis: r.field('spis', list(bytes(spiSize), 0xffff)) };
  },
  write(w, { protocol, spis }) {
    const spiSize = spis[0]?.length ?? 0;
    w.uint(1, protocol);
    w.uint(1, spiSize);
    w.uint(2, spis.length);
    list(bytes(spiSize)).write(w, spis);
  },
};

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |   TS Type     |IP Protocol ID*|       Selector Length         |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |           Start Port*         |           End Port*           |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                         Starting Address*                     ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                         Ending Address*                       ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

const ADDRESS_RANGES = {
  [TS_TYPE.TS_IPV4_ADDR_RANGE]: addressRange(4),
  [TS_TYPE.TS_IPV6_ADDR_RANGE]: addressRange(16),
} as Readonly<Record<number, ReturnType<typeof addressRange>>>;

function addressRange(length: 4 | 16) {
  const address: Codec<IpAddress> = map(bytes(length), (raw) => formatAddress(raw), addressBytes);
  return struct({ startPort: u16, endPort: u16, start: address, end: address });
}

/** RFC 7296 §3.13.1 */
const selector: Codec<TrafficSelector> = {
  read(r) {
    const tsType = r.field('tsType', named(u8, TS_TYPE));
    const protocol = r.field('protocol', named(u8, IP_PROTOCOL));
    const length = r.field('length', u16);
    if (length < 4) r.fail(`length ${length} is less than its own header`);
    const range = ADDRESS_RANGES[tsType];
    if (range) return { tsType, protocol, ...within(r, length - 4, range) };
    return { tsType, protocol, raw: r.field('raw', bytes(length - 4)) };
  },
  write(w, value) {
    const body = value.raw ?? encode(rangeOf(value.tsType), value as IpTrafficSelector);
    w.uint(1, value.tsType);
    w.uint(1, value.protocol);
    w.uint(2, body.length + 4);
    w.put(body);
  },
};

function rangeOf(tsType: number): ReturnType<typeof addressRange> {
  const range = ADDRESS_RANGES[tsType];
  if (!range) throw new RangeError(`traffic selector type ${tsType} has no addresses`);
  return range;
}

/** RFC 7296 §3.13: a count, three reserved bytes, the selectors. */
const ts: Codec<Bodies[44]> = {
  read(r) {
    const count = r.field('count', u8);
    r.field('reserved', reserved(3));
    const selectors = r.field('selectors', list(selector, 255));
    if (selectors.length !== count) r.fail(`${selectors.length} selectors where ${count} were announced`);
    return { selectors };
  },
  write(w, { selectors }) {
    w.uint(1, selectors.length);
    w.skip(3);
    list(selector).write(w, selectors);
  },
};

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |R|         Attribute Type      |            Length             |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ~                             Value                             ~
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.15.1. The top bit of the type is reserved. */
const cfgAttribute: Codec<{ type: number; value: Uint8Array }> = {
  read(r) {
    const type = r.field('type', named(u16, CFG_ATTRIBUTE)) & 0x7fff;
    const length = r.field('length', u16);
    return { type, value: r.field('value', bytes(length)) };
  },
  write(w, { type, value }) {
    w.uint(2, type);
    w.uint(2, value.length);
    w.put(value);
  },
};

/** RFC 7296 §3.15 */
const cp = struct({
  cfgType: named(u8, CFG_TYPE),
  _reserved: reserved(3),
  attributes: list(cfgAttribute, 256),
});

/** One row a payload: where it is defined, and its body. */
const PAYLOADS: { readonly [T in keyof Bodies]: { rfc: string; codec: Codec<Bodies[T]> } } = {
  33: { rfc: 'RFC 7296 §3.3', codec: sa },
  34: { rfc: 'RFC 7296 §3.4', codec: ke },
  35: { rfc: 'RFC 7296 §3.5', codec: id },
  36: { rfc: 'RFC 7296 §3.5', codec: id },
  37: { rfc: 'RFC 7296 §3.6', codec: cert },
  38: { rfc: 'RFC 7296 §3.7', codec: cert },
  39: { rfc: 'RFC 7296 §3.8', codec: auth },
  40: { rfc: 'RFC 7296 §3.9', codec: data },
  41: { rfc: 'RFC 7296 §3.10', codec: notify },
  42: { rfc: 'RFC 7296 §3.11', codec: remove },
  43: { rfc: 'RFC 7296 §3.12', codec: data },
  44: { rfc: 'RFC 7296 §3.13', codec: ts },
  45: { rfc: 'RFC 7296 §3.13', codec: ts },
  47: { rfc: 'RFC 7296 §3.15', codec: cp },
  48: { rfc: 'RFC 7296 §3.16', codec: data },
};

function bodyCodec(type: number): Codec<object> | undefined {
  return (PAYLOADS as Readonly<Record<number, { codec: Codec<object> }>>)[type]?.codec;
}

//                      1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | Next Payload  |C|  RESERVED   |         Payload Length        |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

/** RFC 7296 §3.2 */
const genericHeader = struct({ nextPayload: named(u8, PAYLOAD), flags: u8, length: u16 });

function readPayloads(r: Reader, firstType: number, outermost: boolean): Payload[] {
  const payloads: Payload[] = [];
  let type = firstType;
  while (type !== PAYLOAD.NONE) {
    if (payloads.length === MAX_PAYLOADS) r.fail(`more than ${MAX_PAYLOADS} payloads`);
    const encrypted = type === PAYLOAD.SK || type === PAYLOAD.SKF;
    if (encrypted && !outermost) throw new WireError(nameOf(PAYLOAD, type), 'stands inside another');
    const found = r.field(nameOf(PAYLOAD, type), payloadCodec(type));
    payloads.push(found.payload);
    // What SK names as its next is inside it; nothing follows it (RFC 7296 §3.14).
    type = encrypted ? PAYLOAD.NONE : found.next;
  }
  r.done();
  return payloads;
}

function payloadCodec(type: number): Codec<{ next: number; payload: Payload }> {
  return {
    read(r) {
      const { nextPayload, flags: bits, length } = genericHeader.read(r);
      if (length < 4) r.fail(`length ${length} is less than its own header`);
      const critical = (bits & 0x80) !== 0;
      const payload = readBody(r.sub(length - 4), type, critical, nextPayload);
      return { next: nextPayload, payload };
    },
    write: () => {},
  };
}

function readBody(r: Reader, type: number, critical: boolean, nextPayload: number): Payload {
  if (type === PAYLOAD.SK || type === PAYLOAD.SKF) return readEncrypted(r, type, critical, nextPayload);
  const codec = bodyCodec(type);
  if (!codec) return { type: 0, number: type, critical, body: r.field('body', rest) };
  const body = codec.read(r);
  r.done();
  return { type, critical, ...body } as Plain;
}

/** RFC 7383 §2.5: SKF has the number of the fragment and of all fragments before its body, both at least 1. */
function readEncrypted(
  r: Reader,
  type: 46 | 53,
  critical: boolean,
  nextPayload: number,
): SkPayload | SkfPayload {
  if (type === PAYLOAD.SK) {
    const offset = r.offset;
    return { type, critical, nextPayload, body: r.field('body', rest), offset };
  }
  const fragment = r.field('fragment', u16);
  const total = r.field('total', u16);
  if (fragment === 0 || fragment > total) r.fail(`fragment ${fragment} of ${total}`);
  const offset = r.offset;
  return { type, critical, nextPayload, fragment, total, body: r.field('body', rest), offset };
}

function writePayload(w: Writer, payload: Payload, next: Payload | undefined): void {
  const encrypted = payload.type === PAYLOAD.SK || payload.type === PAYLOAD.SKF;
  if (encrypted && next) throw new RangeError('nothing can follow an encrypted payload');
  const body = bodyBytes(payload);
  genericHeader.write(w, {
    nextPayload: encrypted ? payload.nextPayload : next ? wireType(next) : PAYLOAD.NONE,
    flags: payload.critical ? 0x80 : 0,
    length: body.length + 4,
  });
  w.put(body);
}

function bodyBytes(payload: Payload): Uint8Array {
  if (payload.type === 0 || payload.type === PAYLOAD.SK) return payload.body;
  if (payload.type === PAYLOAD.SKF) return encode(skf, payload);
  return encode(bodyCodec(payload.type)!, payload);
}

const skf = struct({ fragment: u16, total: u16, body: rest });
