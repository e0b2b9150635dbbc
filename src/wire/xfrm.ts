// XFRM netlink (Linux include/uapi/linux/xfrm.h): the kernel's SAD and SPD, and what it reports by itself.

import { addressBytes, formatAddress, type IpAddress } from './address.ts';
import { bytes, type Codec, decode, list, reserved, rest, struct, u8, u16, u32 } from './codec.ts';
import {
  attributes,
  errnoOf,
  FAMILY,
  FLAG,
  fixedText,
  host16,
  host32,
  host64,
  hostSigned32,
  message,
  messagesOf,
  type NetlinkMessage,
} from './netlink.ts';

export const TYPE = {
  NEWSA: 0x10,
  DELSA: 0x11,
  GETSA: 0x12,
  NEWPOLICY: 0x13,
  DELPOLICY: 0x14,
  GETPOLICY: 0x15,
  ACQUIRE: 0x17,
  EXPIRE: 0x18,
  UPDPOLICY: 0x19,
  UPDSA: 0x1a,
  NEWSPDINFO: 0x24,
  GETSPDINFO: 0x25,
  MAPPING: 0x26,
};
/** Bits of the groups ACQUIRE, EXPIRE and MAPPING. */
export const XFRM_GROUPS = (1 << 0) | (1 << 1) | (1 << 7);
export const MODE = { transport: 0, tunnel: 1 } as const;
/** IP protocol numbers. */
export const IPSEC = { esp: 50, ah: 51 } as const;
export const DIRECTION = { in: 0, out: 1, fwd: 2 } as const;
export const POLICY_ACTION = { allow: 0, block: 1 } as const;
export const SA_FLAG = { NOPMTUDISC: 4, AF_UNSPEC: 32, ALIGN4: 64, ESN: 128 };
/** XFRM_SA_XFLAG: more of them. */
export const SA_EXTRA_FLAG = { DONT_ENCAP_DSCP: 1 };
/** XFRM_OFFLOAD. */
export const OFFLOAD_FLAG = { IPV6: 1, INBOUND: 2, PACKET: 4 };
/** XFRM_INF. */
export const UNLIMITED = 2n ** 64n - 1n;
/** UDP_ENCAP_ESPINUDP. */
const ESP_IN_UDP = 2;

/** xfrm_address_t: 16 bytes, of which IPv4 uses the first four. */
const address = bytes(16);

/** struct xfrm_selector. Family 0: no restriction. A port counts where its mask has ones. */
const selector = struct({
  destination: address,
  source: address,
  destinationPort: u16,
  destinationPortMask: u16,
  sourcePort: u16,
  sourcePortMask: u16,
  family: host16,
  destinationLength: u8,
  sourceLength: u8,
  protocol: u8,
  _pad: reserved(3),
  link: hostSigned32,
  user: host32,
});

/** struct xfrm_id. */
const id = struct({ destination: address, spi: u32, protocol: u8, _pad: reserved(3) });

/** struct xfrm_lifetime_cfg. Bytes, packets, seconds. */
const limits = struct({
  softBytes: host64,
  hardBytes: host64,
  softPackets: host64,
  hardPackets: host64,
  softAdded: host64,
  hardAdded: host64,
  softUsed: host64,
  hardUsed: host64,
});

/** struct xfrm_lifetime_cur. Times in seconds of wall time. */
const counters = struct({ bytes: host64, packets: host64, added: host64, used: host64 });

/** struct xfrm_stats. */
const faults = struct({ outsideWindow: host32, replayed: host32, integrity: host32 });

/** struct xfrm_usersa_info. */
const info = struct({
  selector,
  id,
  source: address,
  limits,
  counters,
  faults,
  sequence: host32,
  reqid: host32,
  family: host16,
  mode: u8,
  replayWindow: u8,
  flags: u8,
  _pad: reserved(7),
});

/** struct xfrm_algo, xfrm_algo_auth and xfrm_algo_aead: the key's length stands in bits in front of it. */
const algorithm: Codec<{ name: string; key: Uint8Array }> = {
  read(r) {
    const name = r.field('name', fixedText(64));
    return { name, key: keyOf(r.field('keyBits', host32), rest.read(r), r) };
  },
  write(w, { name, key }) {
    fixedText(64).write(w, name);
    host32.write(w, key.length * 8);
    w.put(key);
  },
};

/** `icvBits`: how much of the code is sent. */
const withIcv: Codec<{ name: string; key: Uint8Array; icvBits: number }> = {
  read(r) {
    const name = r.field('name', fixedText(64));
    const keyBits = r.field('keyBits', host32);
    const icvBits = r.field('icvBits', host32);
    return { name, icvBits, key: keyOf(keyBits, rest.read(r), r) };
  },
  write(w, { name, key, icvBits }) {
    fixedText(64).write(w, name);
    host32.write(w, key.length * 8);
    host32.write(w, icvBits);
    w.put(key);
  },
};

function keyOf(bits: number, found: Uint8Array, r: { fail(reason: string): never }): Uint8Array {
  return bits === found.length * 8
    ? found
    : r.fail(`${found.length} bytes where a key of ${bits} bits belongs`);
}

/** struct xfrm_encap_tmpl. */
const encapsulation = struct({
  type: host16,
  sourcePort: u16,
  destinationPort: u16,
  _pad: reserved(2),
  original: address,
});

const replayNumbers = struct({
  sent: host32,
  received: host32,
  sentHigh: host32,
  receivedHigh: host32,
  window: host32,
});

/** struct xfrm_replay_state_esn. The window is packets; the bitmap has a bit for each, in words of 32. */
const replay: Codec<Of<typeof replayNumbers> & { bitmap: Uint8Array }> = {
  read(r) {
    const words = r.field('words', host32);
    const fixed = replayNumbers.read(r);
    if (r.remaining !== words * 4) r.fail(`${r.remaining} bytes where a bitmap of ${words} words belongs`);
    return { ...fixed, bitmap: rest.read(r) };
  },
  write(w, value) {
    host32.write(w, value.bitmap.length / 4);
    replayNumbers.write(w, value);
    w.put(value.bitmap);
  },
};

/** struct xfrm_mark: of packets whose mark has that value under the mask. */
const mark = struct({ value: host32, mask: host32 });

/** struct xfrm_user_offload. Link 0: that of the route to the other end. */
const offload = struct({ link: hostSigned32, flags: u8, _pad: reserved(3) });

const saAttributes = attributes({
  encryption: [2, algorithm],
  encapsulation: [4, encapsulation],
  aead: [18, withIcv],
  integrity: [20, withIcv],
  replay: [23, replay],
  outputMark: [29, host32],
  outputMask: [30, host32],
  counters: [9, counters],
  mappingInterval: [32, host32],
  mark: [21, mark],
  padTo: [22, host32],
  extraFlags: [24, host32],
  ifId: [31, host32],
  offload: [28, offload],
});

const sa = struct({ info, attributes: saAttributes });

/** struct xfrm_usersa_id. */
const saId = struct({ destination: address, spi: u32, family: host16, protocol: u8, _pad: reserved(1) });
const saQuery = struct({ id: saId, attributes: attributes({ source: [13, address], mark: [21, mark] }) });

/** struct xfrm_userpolicy_info. `index` names the policy in the kernel; its last three bits are the direction. */
const policyInfo = struct({
  selector,
  limits,
  counters,
  priority: host32,
  index: host32,
  direction: u8,
  action: u8,
  flags: u8,
  share: u8,
  _pad: reserved(4),
});

/** struct xfrm_user_tmpl: the SA that a policy asks for. SPI and addresses of zeros fit any. */
const template = struct({
  id,
  family: host16,
  _pad: reserved(2),
  source: address,
  reqid: host32,
  mode: u8,
  share: u8,
  optional: u8,
  _pad2: reserved(1),
  integrityBits: host32,
  encryptionBits: host32,
  compressionBits: host32,
});

const policyAttributes = attributes({
  templates: [5, list(template, 6)],
  mark: [21, mark],
  ifId: [31, host32],
  offload: [28, offload],
});
const policy = struct({ info: policyInfo, attributes: policyAttributes });

/** struct xfrmu_spdinfo; the policies of sockets stand apart. */
const spdCounts = struct({
  incoming: host32,
  outgoing: host32,
  forwarded: host32,
  _sockets: reserved(12),
});
const spdInfo = struct({ flags: host32, attributes: attributes({ counts: [1, spdCounts] }) });
const NONE = { incoming: 0, outgoing: 0, forwarded: 0 };

/** struct xfrm_userpolicy_id. */
const policyId = struct({
  selector,
  index: host32,
  direction: u8,
  _pad: reserved(3),
  attributes: attributes({ mark: [21, mark], ifId: [31, host32] }),
});

/** struct xfrm_user_expire. */
const expire = struct({ info, hard: u8, _pad: reserved(7), attributes: attributes({}) });

/** struct xfrm_user_acquire. The selector is the packet's. */
const acquire = struct({
  id,
  source: address,
  selector,
  policy: policyInfo,
  integrityBits: host32,
  encryptionBits: host32,
  compressionBits: host32,
  sequence: host32,
  attributes: policyAttributes,
});

/** struct xfrm_user_mapping. */
const mapping = struct({
  id: saId,
  reqid: host32,
  oldSource: address,
  source: address,
  oldSourcePort: u16,
  sourcePort: u16,
  attributes: attributes({}),
});

type Of<C> = C extends Codec<infer T> ? T : never;
export type XfrmSelector = Of<typeof selector>;
export type XfrmSa = Of<typeof sa>;
export type XfrmMark = Of<typeof mark>;
/** An SA with a mark is found with that mark only. */
export type XfrmSaId = Of<typeof saId> & { mark?: XfrmMark };
export type XfrmPolicy = Of<typeof policy>;
export type XfrmTemplate = Of<typeof template>;

// Requests

/** Refused with EEXIST where the SPI is in use. */
export function addSa(wanted: XfrmSa): Uint8Array {
  return message(TYPE.NEWSA, FLAG.ACK | FLAG.CREATE | FLAG.EXCL, sa, wanted);
}

/** Changes encapsulation and limits of an SA that exists; keys and sequence numbers stay. */
export function updateSa(wanted: XfrmSa): Uint8Array {
  return message(TYPE.UPDSA, FLAG.ACK, sa, wanted);
}

export function deleteSa(wanted: XfrmSaId): Uint8Array {
  return message(TYPE.DELSA, FLAG.ACK, saQuery, queryOf(wanted));
}

export function getSa(wanted: XfrmSaId): Uint8Array {
  return message(TYPE.GETSA, FLAG.ACK, saQuery, queryOf(wanted));
}

function queryOf({ mark: marked, ...wanted }: XfrmSaId): Of<typeof saQuery> {
  return { id: wanted, attributes: marked ? { mark: marked } : {} };
}

export function getSas(): Uint8Array {
  return message(TYPE.GETSA, FLAG.DUMP, struct({}), {});
}

/** Refused with EEXIST where another policy has the same selector and direction. */
export function addPolicy(wanted: XfrmPolicy): Uint8Array {
  return message(TYPE.NEWPOLICY, FLAG.ACK, policy, wanted);
}

/** Puts the policy in the place of one with the same selector and direction, in one step. */
export function setPolicy(wanted: XfrmPolicy): Uint8Array {
  return message(TYPE.UPDPOLICY, FLAG.ACK, policy, wanted);
}

export function deletePolicy({
  info: { selector: of, index, direction },
  attributes,
}: XfrmPolicy): Uint8Array {
  return message(TYPE.DELPOLICY, FLAG.ACK, policyId, { selector: of, index, direction, attributes });
}

export function getPolicies(): Uint8Array {
  return message(TYPE.GETPOLICY, FLAG.DUMP, struct({}), {});
}

/** How many policies there are, whosever. */
export function countPolicies(): Uint8Array {
  return message(TYPE.GETSPDINFO, FLAG.ACK, host32, 0);
}

// Answers

export type XfrmMessage =
  | { type: 'result'; errno: number }
  | { type: 'sa'; sa: XfrmSa }
  | { type: 'policy'; policy: XfrmPolicy }
  | { type: 'count'; policies: number }
  | { type: 'expire'; info: XfrmSa['info']; hard: boolean }
  | { type: 'acquire'; acquire: Of<typeof acquire> }
  | { type: 'mapping'; mapping: Of<typeof mapping> };

/** What the kernel sent; messages of other kinds are passed over. Throws WireError. */
export function decodeXfrm(received: Uint8Array): XfrmMessage[] {
  return decodeAnswers(received).map(({ message }) => message);
}

/** The same, each with the number of the request that it belongs to. */
export function decodeAnswers(received: Uint8Array): { sequence: number; message: XfrmMessage }[] {
  return messagesOf(received).flatMap((one) => {
    const message = xfrmMessage(one);
    return message ? { sequence: one.sequence, message } : [];
  });
}

function xfrmMessage(one: NetlinkMessage): XfrmMessage | undefined {
  const errno = errnoOf(one);
  if (errno !== undefined) return { type: 'result', errno };
  switch (one.type) {
    case TYPE.NEWSA:
      return { type: 'sa', sa: decode(sa, one.body, 'sa') };
    case TYPE.NEWPOLICY:
      return { type: 'policy', policy: decode(policy, one.body, 'policy') };
    case TYPE.NEWSPDINFO: {
      const { incoming, outgoing, forwarded } = decode(spdInfo, one.body, 'spd').attributes.counts ?? NONE;
      return { type: 'count', policies: incoming + outgoing + forwarded };
    }
    case TYPE.EXPIRE: {
      const { info: expired, hard } = decode(expire, one.body, 'expire');
      return { type: 'expire', info: expired, hard: hard !== 0 };
    }
    case TYPE.ACQUIRE:
      return { type: 'acquire', acquire: decode(acquire, one.body, 'acquire') };
    case TYPE.MAPPING:
      return { type: 'mapping', mapping: decode(mapping, one.body, 'mapping') };
  }
  return undefined;
}

/** What of an SA changes as packets pass, and what it is known by. */
export interface SaGlance {
  id: Pick<XfrmSa['info']['id'], 'destination' | 'spi' | 'protocol'>;
  reqid: number;
  packets: bigint;
  bytes: bigint;
  /** Ends by itself so many seconds after it was made: what the kernel keeps for a packet that found no SA; 0 for others. */
  hardAdded: bigint;
}

/** Where they stand in struct xfrm_usersa_info. */
const PLACE = {
  destination: 56,
  spi: 72,
  protocol: 76,
  hardAdded: 136,
  bytes: 160,
  packets: 168,
  reqid: 208,
  end: 224,
};

/** The SAs of a dump; of thousands every second there is no time to read everything. Throws WireError. */
export function glanceAtSas(received: Uint8Array): SaGlance[] {
  return messagesOf(received).flatMap(({ type, body }) => {
    if (type !== TYPE.NEWSA || body.length < PLACE.end) return [];
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    const id = {
      destination: body.subarray(PLACE.destination, PLACE.spi),
      spi: view.getUint32(PLACE.spi),
      protocol: view.getUint8(PLACE.protocol),
    };
    return {
      id,
      reqid: view.getUint32(PLACE.reqid, true),
      packets: view.getBigUint64(PLACE.packets, true),
      bytes: view.getBigUint64(PLACE.bytes, true),
      hardAdded: view.getBigUint64(PLACE.hardAdded, true),
    };
  });
}

// Addresses

export function toXfrmAddress(from: IpAddress): Uint8Array {
  const whole = new Uint8Array(16);
  whole.set(addressBytes(from));
  return whole;
}

/** `family`: what the kernel calls it. */
export function fromXfrmAddress(from: Uint8Array, family: number): IpAddress {
  return formatAddress(family === FAMILY[6] ? from : from.subarray(0, 4));
}

/** ESP in UDP between these ports, seen in the direction of the packets. */
export function espInUdp(sourcePort: number, destinationPort: number): Of<typeof encapsulation> {
  return { type: ESP_IN_UDP, sourcePort, destinationPort, original: new Uint8Array(16) };
}
