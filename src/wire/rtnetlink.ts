// Routing netlink (Linux include/uapi/linux/{rtnetlink,fib_rules,if_link}.h): links, addresses, routes, rules.

import { addressBytes, familyOf, formatAddress, type IpAddress } from './address.ts';
import { type Codec, decode, encode, map, reserved, rest, struct, u8, u32 } from './codec.ts';
import {
  attributes,
  errnoOf,
  FAMILY,
  FLAG,
  host32,
  hostSigned32,
  message,
  messagesOf,
  type NetlinkMessage,
  text,
} from './netlink.ts';

const TYPE = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
};
const IFF_UP = 1;
const ROUTE_TYPE = { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8, throw: 9 } as const;
/** IFLA_LINKMODE: what has a carrier waits until it is said to be up. */
const MODE_DORMANT = 1;
/** RFC 2863's ifOperStatus; what was never said counts as up. */
const OPERATION = { unknown: 0, dormant: 5, up: 6 };

/** 4 or 16 bytes. */
const address: Codec<IpAddress> = map(
  rest,
  (bytes, r) => (bytes.length === 4 || bytes.length === 16 ? formatAddress(bytes) : r.fail('is no address')),
  addressBytes,
);

/** struct ifinfomsg. `change`: which of the flags. */
const link = struct({
  _family: reserved(4),
  index: hostSigned32,
  flags: host32,
  change: host32,
  attributes: attributes({
    name: [3, text],
    mtu: [4, host32],
    operation: [16, u8],
    mode: [17, u8],
    info: [18, attributes({ kind: [1, text], data: [2, rest] })],
    alias: [20, text],
  }),
});

/** IFLA_XFRM_*. */
const xfrmLink = attributes({ id: [2, host32] });

/** IFLA_VTI_*; `vti6` has longer addresses. Keys are in network byte order. */
const vtiLink = attributes({ input: [2, u32], output: [3, u32], local: [4, address], remote: [5, address] });

/** struct ifaddrmsg. */
const linkAddress = struct({
  family: u8,
  length: u8,
  _flags: reserved(2),
  link: host32,
  attributes: attributes({ address: [1, address], local: [2, address], protocol: [11, u8] }),
});

/** struct rtmsg. */
const route = struct({
  family: u8,
  destinationLength: u8,
  _source: reserved(2),
  table: u8,
  protocol: u8,
  _scope: reserved(1),
  type: u8,
  _flags: reserved(4),
  attributes: attributes({
    table: [15, host32],
    destination: [1, address],
    metric: [6, host32],
    link: [4, host32],
    source: [7, address],
    metrics: [8, attributes({ lock: [1, host32], mtu: [2, host32] })],
  }),
});
/** RTAX_MTU, as a bit of RTAX_LOCK: what is said holds, whatever the path is found to be later. */
const LOCKED_MTU = 1 << 2;

/** struct fib_rule_hdr. */
const rule = struct({
  family: u8,
  _destination: reserved(1),
  sourceLength: u8,
  _tos: reserved(1),
  table: u8,
  _reserved: reserved(2),
  action: u8,
  _flags: reserved(4),
  attributes: attributes({
    priority: [6, host32],
    table: [15, host32],
    mark: [10, host32],
    mask: [16, host32],
    protocol: [21, u8],
    ipProtocol: [22, u8],
    source: [2, address],
    inLink: [3, text],
  }),
});

export interface Prefix {
  address: IpAddress;
  length: number;
}

export interface Link {
  index: number;
  name: string;
  mtu: number;
  up: boolean;
  /** What routing daemons go by: it is neither without a carrier nor waits for something. */
  running: boolean;
  /** Somebody said that it is up; a carrier that comes later does not change it. */
  saidUp: boolean;
  alias?: string;
  /** Where it is one for the kernel's IPsec. */
  ipsec?: IpsecLink;
}

/** What the kernel's IPsec tells packets of one tunnel by: an `if_id`, or keys and outer addresses. */
export type IpsecLink =
  | { kind: 'xfrm'; id: number }
  | { kind: 'vti' | 'vti6'; key: number; local: IpAddress; remote: IpAddress };

export interface LinkAddress {
  link: number;
  address: IpAddress;
  length: number;
  /** Who added it, as with routes; Linux 5.18 and later. */
  protocol?: number;
}

/** `protocol` marks who made it (rtnetlink's RTPROT_*). */
export interface Route {
  family: 4 | 6;
  type: keyof typeof ROUTE_TYPE;
  table: number;
  protocol: number;
  destination: Prefix;
  link?: number;
  source?: IpAddress;
  metric: number;
  /** Bytes of the largest packet; missing: that of the device. */
  mtu?: number;
}

/** Asked in the order of `priority`. */
export interface Rule {
  family: 4 | 6;
  table: number;
  protocol: number;
  priority: number;
  /** Of packets whose mark under the mask is the value. */
  mark?: { value: number; mask: number };
  from?: Prefix;
  /** Of the packets; any where it is missing. */
  ipProtocol?: number;
  /** `lo`: what the machine itself sends. */
  inLink?: string;
}

// Requests

export function getLinks(): Uint8Array {
  return message(TYPE.GETLINK, FLAG.DUMP, link, { index: 0, flags: 0, change: 0, attributes: {} });
}

export function setLink(index: number, mtu: number, alias: string): Uint8Array {
  const up = { index, flags: IFF_UP, change: IFF_UP, attributes: { mtu, alias } };
  return message(TYPE.NEWLINK, FLAG.ACK, link, up);
}

/** A device of that name comes into being, down; what has the name already is an error. */
export function addLink(name: string, ipsec: IpsecLink): Uint8Array {
  const info = { kind: ipsec.kind, data: dataOf(ipsec) };
  const wanted = { index: 0, flags: 0, change: 0, attributes: { name, info } };
  return message(TYPE.NEWLINK, FLAG.ACK | FLAG.CREATE | FLAG.EXCL, link, wanted);
}

function dataOf(ipsec: IpsecLink): Uint8Array {
  if (ipsec.kind === 'xfrm') return encode(xfrmLink, { id: ipsec.id });
  const { key, local, remote } = ipsec;
  return encode(vtiLink, { input: key, output: key, local, remote });
}

/** RFC 2863: `dormant` waits for something and is not up for routing daemons, though packets pass. */
export function setOperation(index: number, operation: 'up' | 'dormant'): Uint8Array {
  const attributes = { operation: OPERATION[operation] };
  return message(TYPE.NEWLINK, FLAG.ACK, link, { index, flags: 0, change: 0, attributes });
}

/** Neither now nor when it gets a carrier is it up, unless it is or somebody says so. */
export function setUpOnWord(index: number, isUp: boolean): Uint8Array {
  const attributes = { mode: MODE_DORMANT, operation: isUp ? undefined : OPERATION.dormant };
  return message(TYPE.NEWLINK, FLAG.ACK, link, { index, flags: 0, change: 0, attributes });
}

export function deleteLink(index: number): Uint8Array {
  return message(TYPE.DELLINK, FLAG.ACK, link, { index, flags: 0, change: 0, attributes: {} });
}

export function getAddresses(): Uint8Array {
  return message(TYPE.GETADDR, FLAG.DUMP, linkAddress, { family: 0, length: 0, link: 0, attributes: {} });
}

export function addAddress(wanted: LinkAddress): Uint8Array {
  return message(TYPE.NEWADDR, FLAG.ACK | FLAG.CREATE | FLAG.REPLACE, linkAddress, addressToWire(wanted));
}

export function deleteAddress(old: LinkAddress): Uint8Array {
  return message(TYPE.DELADDR, FLAG.ACK, linkAddress, addressToWire(old));
}

function addressToWire({ link: index, address: own, length, protocol }: LinkAddress) {
  const family = FAMILY[familyOf(own)];
  return { family, length, link: index, attributes: { address: own, local: own, protocol } };
}

export function getRoutes(): Uint8Array {
  const any = { family: 0, destinationLength: 0, table: 0, protocol: 0, type: 0, attributes: {} };
  return message(TYPE.GETROUTE, FLAG.DUMP, route, any);
}

export function addRoute(wanted: Route): Uint8Array {
  return message(TYPE.NEWROUTE, FLAG.ACK | FLAG.CREATE | FLAG.REPLACE, route, routeToWire(wanted));
}

export function deleteRoute(old: Route): Uint8Array {
  return message(TYPE.DELROUTE, FLAG.ACK, route, routeToWire(old));
}

export function getRules(): Uint8Array {
  const any = { family: 0, sourceLength: 0, table: 0, action: 0, attributes: {} };
  return message(TYPE.GETRULE, FLAG.DUMP, rule, any);
}

export function addRule(wanted: Rule): Uint8Array {
  return message(TYPE.NEWRULE, FLAG.ACK | FLAG.CREATE | FLAG.EXCL, rule, ruleToWire(wanted));
}

export function deleteRule(old: Rule): Uint8Array {
  return message(TYPE.DELRULE, FLAG.ACK, rule, ruleToWire(old));
}

function routeToWire({
  family,
  type,
  table,
  protocol,
  destination,
  link: index,
  source,
  metric,
  mtu,
}: Route) {
  const metrics = mtu === undefined ? undefined : { lock: LOCKED_MTU, mtu };
  return {
    family: FAMILY[family],
    destinationLength: destination.length,
    table: 0,
    protocol,
    type: ROUTE_TYPE[type],
    attributes: { table, destination: destination.address, metric, link: index, source, metrics },
  };
}

function ruleToWire({ family, table, protocol, priority, mark, from, ipProtocol, inLink }: Rule) {
  const ACTION_TO_TABLE = 1;
  return {
    family: FAMILY[family],
    sourceLength: from?.length ?? 0,
    table: 0,
    action: ACTION_TO_TABLE,
    attributes: {
      ...{ priority, table, mark: mark?.value, mask: mark?.mask, protocol },
      ...{ source: from?.address, ipProtocol, inLink },
    },
  };
}

// Answers

export interface Answer {
  /** The errno of each message that was acknowledged; 0 is success. */
  results: number[];
  links: Link[];
  addresses: LinkAddress[];
  routes: Route[];
  rules: Rule[];
}

/** What the kernel sent; messages of other kinds are passed over. Throws WireError. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const answer: Answer = { results: [], links: [], addresses: [], routes: [], rules: [] };
  for (const one of messagesOf(bytes)) addTo(answer, one);
  return answer;
}

function addTo(answer: Answer, one: NetlinkMessage): void {
  const errno = errnoOf(one);
  if (errno !== undefined) answer.results.push(errno);
  switch (one.type) {
    case TYPE.NEWLINK:
      answer.links.push(linkOf(one.body));
      return;
    case TYPE.NEWADDR:
      answer.addresses.push(...addressOf(one.body));
      return;
    case TYPE.NEWROUTE:
      answer.routes.push(...routeOf(one.body));
      return;
    case TYPE.NEWRULE:
      answer.rules.push(...ruleOf(one.body));
  }
}

function linkOf(body: Uint8Array): Link {
  const { index, flags, attributes: has } = decode(link, body, 'link');
  const { name = '', mtu = 0, alias, operation = OPERATION.unknown, info } = has;
  const ipsec = info && ipsecOf(info);
  return {
    index,
    name,
    mtu,
    up: (flags & IFF_UP) !== 0,
    running: operation === OPERATION.up || operation === OPERATION.unknown,
    saidUp: operation === OPERATION.up,
    ...(alias === undefined ? {} : { alias }),
    ...(ipsec ? { ipsec } : {}),
  };
}

function ipsecOf({
  kind,
  data,
}: {
  kind?: string | undefined;
  data?: Uint8Array | undefined;
}): IpsecLink | undefined {
  if (!data) return undefined;
  switch (kind) {
    case 'xfrm':
      return { kind, id: decode(xfrmLink, data, 'link').id ?? 0 };
    case 'vti':
    case 'vti6': {
      const { input = 0, local, remote } = decode(vtiLink, data, 'link');
      const any = ANY_ADDRESS[kind];
      return { kind, key: input, local: local ?? any, remote: remote ?? any };
    }
  }
  return undefined;
}

export const ANY_ADDRESS = { vti: '0.0.0.0', vti6: '::' };

function addressOf(body: Uint8Array): LinkAddress[] {
  const { link: index, length, attributes: has } = decode(linkAddress, body, 'address');
  const own = has.local ?? has.address;
  const { protocol } = has;
  if (own === undefined) return [];
  return [{ link: index, address: own, length, ...(protocol === undefined ? {} : { protocol }) }];
}

function routeOf(body: Uint8Array): Route[] {
  const {
    family: number,
    type: kind,
    table,
    protocol,
    destinationLength,
    attributes: has,
  } = decode(route, body, 'route');
  const family = familyNumber(number);
  const type = (Object.keys(ROUTE_TYPE) as (keyof typeof ROUTE_TYPE)[]).find(
    (name) => ROUTE_TYPE[name] === kind,
  );
  if (!family || !type) return [];
  const { destination = family === 4 ? '0.0.0.0' : '::', metric = 0, link: index, source } = has;
  return [
    {
      family,
      type,
      table: has.table ?? table,
      protocol,
      destination: { address: destination, length: destinationLength },
      metric,
      ...(index === undefined || type !== 'unicast' ? {} : { link: index }),
      ...(source === undefined ? {} : { source }),
      ...(has.metrics?.mtu ? { mtu: has.metrics.mtu } : {}),
    },
  ];
}

function ruleOf(body: Uint8Array): Rule[] {
  const { family: number, sourceLength, table, attributes: has } = decode(rule, body, 'rule');
  const family = familyNumber(number);
  if (!family) return [];
  const { source, ipProtocol, inLink, protocol = 0, priority = 0, mark: value = 0, mask = 0 } = has;
  return [
    {
      family,
      table: has.table ?? table,
      protocol,
      priority,
      ...(mask === 0 ? {} : { mark: { value, mask } }),
      ...(source === undefined ? {} : { from: { address: source, length: sourceLength } }),
      ...(ipProtocol === undefined ? {} : { ipProtocol }),
      ...(inLink === undefined ? {} : { inLink }),
    },
  ];
}

function familyNumber(value: number): 4 | 6 | undefined {
  if (value === FAMILY[4]) return 4;
  return value === FAMILY[6] ? 6 : undefined;
}
