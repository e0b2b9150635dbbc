// Routing netlink (Linux include/uapi/linux/{netlink,rtnetlink,fib_rules,if_link}.h): links, addresses, routes, rules.
// Numbers are in the machine's byte order, which is little-endian wherever Node runs.

import { addressBytes, formatAddress, type IpAddress } from './address.ts';
import { WireError } from './codec.ts';

const TYPE = {
  ERROR: 2,
  DONE: 3,
  NEWLINK: 16,
  GETLINK: 18,
  NEWADDR: 20,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  DELLINK: 17,
};
const FLAG = { REQUEST: 1, ACK: 4, DUMP: 0x300, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400 };
const IFLA = { IFNAME: 3, MTU: 4, IFALIAS: 20 };
const IFA = { ADDRESS: 1, LOCAL: 2 };
const RTA = { DST: 1, OIF: 4, PRIORITY: 6, PREFSRC: 7, TABLE: 15 };
const FRA = { SRC: 2, IIFNAME: 3, PRIORITY: 6, FWMARK: 10, TABLE: 15, FWMASK: 16, PROTOCOL: 21 };
const IFF_UP = 1;
const FAMILY: Record<4 | 6, number> = { 4: 2, 6: 10 };
const ROUTE_TYPE = { unicast: 1, unreachable: 7, throw: 9 } as const;

export interface Prefix {
  address: IpAddress;
  length: number;
}

export interface Link {
  index: number;
  name: string;
  mtu: number;
  up: boolean;
  alias?: string;
}

export interface LinkAddress {
  link: number;
  address: IpAddress;
  length: number;
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
}

/** Asked in the order of `priority`. Matches packets without the mark. */
export interface Rule {
  family: 4 | 6;
  table: number;
  protocol: number;
  priority: number;
  notMark: number;
  from?: Prefix;
  /** `lo`: what the machine itself sends. */
  inLink?: string;
}

// Requests

export function getLinks(): Uint8Array {
  return message(TYPE.GETLINK, FLAG.DUMP, linkHeader(0, 0), []);
}

export function setLink(index: number, mtu: number, alias: string): Uint8Array {
  const attributes = [u32(IFLA.MTU, mtu), text(IFLA.IFALIAS, alias)];
  return message(TYPE.NEWLINK, FLAG.ACK, linkHeader(index, IFF_UP), attributes);
}

export function deleteLink(index: number): Uint8Array {
  return message(TYPE.DELLINK, FLAG.ACK, linkHeader(index, 0), []);
}

export function getAddresses(): Uint8Array {
  return message(TYPE.GETADDR, FLAG.DUMP, new Uint8Array(8), []);
}

export function getRoutes(): Uint8Array {
  return message(TYPE.GETROUTE, FLAG.DUMP, new Uint8Array(12), []);
}

export function addRoute(route: Route): Uint8Array {
  return routeMessage(TYPE.NEWROUTE, FLAG.ACK | FLAG.CREATE | FLAG.REPLACE, route);
}

export function deleteRoute(route: Route): Uint8Array {
  return routeMessage(TYPE.DELROUTE, FLAG.ACK, route);
}

export function getRules(): Uint8Array {
  return message(TYPE.GETRULE, FLAG.DUMP, new Uint8Array(12), []);
}

export function addRule(rule: Rule): Uint8Array {
  return ruleMessage(TYPE.NEWRULE, FLAG.ACK | FLAG.CREATE | FLAG.EXCL, rule);
}

export function deleteRule(rule: Rule): Uint8Array {
  return ruleMessage(TYPE.DELRULE, FLAG.ACK, rule);
}

function routeMessage(type: number, flags: number, route: Route): Uint8Array {
  const header = Uint8Array.of(
    FAMILY[route.family],
    route.destination.length,
    0,
    0,
    0,
    route.protocol,
    0, // the whole world
    ROUTE_TYPE[route.type],
    0,
    0,
    0,
    0,
  );
  const attributes = [
    u32(RTA.TABLE, route.table),
    attribute(RTA.DST, addressBytes(route.destination.address)),
    u32(RTA.PRIORITY, route.metric),
    ...(route.link === undefined ? [] : [u32(RTA.OIF, route.link)]),
    ...(route.source === undefined ? [] : [attribute(RTA.PREFSRC, addressBytes(route.source))]),
  ];
  return message(type, flags, header, attributes);
}

function ruleMessage(type: number, flags: number, rule: Rule): Uint8Array {
  const ACTION_TO_TABLE = 1;
  const header = new Uint8Array(12);
  header.set([FAMILY[rule.family], 0, rule.from?.length ?? 0]);
  header[7] = ACTION_TO_TABLE;
  const attributes = [
    u32(FRA.PRIORITY, rule.priority),
    u32(FRA.TABLE, rule.table),
    // Without the mark: all of its bits are 0.
    u32(FRA.FWMARK, 0),
    u32(FRA.FWMASK, rule.notMark),
    attribute(FRA.PROTOCOL, Uint8Array.of(rule.protocol)),
    ...(rule.from === undefined ? [] : [attribute(FRA.SRC, addressBytes(rule.from.address))]),
    ...(rule.inLink === undefined ? [] : [text(FRA.IIFNAME, rule.inLink)]),
  ];
  return message(type, flags, header, attributes);
}

function linkHeader(index: number, flags: number): Uint8Array {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, flags, true); // which flags change
  return header;
}

function message(type: number, flags: number, header: Uint8Array, attributes: Uint8Array[]): Uint8Array {
  const length = 16 + header.length + attributes.reduce((sum, one) => sum + one.length, 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags | FLAG.REQUEST, true);
  bytes.set(header, 16);
  let at = 16 + header.length;
  for (const one of attributes) {
    bytes.set(one, at);
    at += one.length;
  }
  return bytes;
}

/** Padded to four bytes, as netlink aligns. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

function u32(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return attribute(type, bytes);
}

function text(type: number, value: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${value}\0`));
}

// Answers

export interface Answer {
  /** Negative errno of each message that was acknowledged; 0 is success. */
  results: number[];
  links: Link[];
  addresses: LinkAddress[];
  routes: Route[];
  rules: Rule[];
}

/** What the kernel sent; messages of other kinds are passed over. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const answer: Answer = { results: [], links: [], addresses: [], routes: [], rules: [] };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < 16 || at + length > bytes.length)
      throw new WireError('netlink', 'message longer than what came');
    decodeWhole(view.getUint16(at + 4, true), bytes.subarray(at + 16, at + length), answer);
    at += (length + 3) & ~3;
  }
  return answer;
}

/** A header that is cut off, or an attribute of the wrong size, is the message's fault. */
function decodeWhole(type: number, body: Uint8Array, answer: Answer): void {
  try {
    decodeOne(type, body, answer);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new WireError('netlink', `message of type ${type}: ${error.message}`);
  }
}

function decodeOne(type: number, body: Uint8Array, answer: Answer): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  switch (type) {
    case TYPE.ERROR:
      answer.results.push(view.getInt32(0, true));
      return;
    case TYPE.NEWLINK:
      answer.links.push(linkOf(body, view));
      return;
    case TYPE.NEWADDR:
      answer.addresses.push(...addressOf(body, view));
      return;
    case TYPE.NEWROUTE:
      answer.routes.push(...routeOf(body, view));
      return;
    case TYPE.NEWRULE:
      answer.rules.push(...ruleOf(body, view));
  }
}

function linkOf(body: Uint8Array, view: DataView): Link {
  const attributes = attributesOf(body, 16);
  const alias = attributes.get(IFLA.IFALIAS);
  return {
    index: view.getInt32(4, true),
    name: textOf(attributes.get(IFLA.IFNAME)),
    mtu: numberOf(attributes.get(IFLA.MTU)) ?? 0,
    up: (view.getUint32(8, true) & IFF_UP) !== 0,
    ...(alias === undefined ? {} : { alias: textOf(alias) }),
  };
}

function addressOf(body: Uint8Array, view: DataView): LinkAddress[] {
  const attributes = attributesOf(body, 8);
  const address = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  return address === undefined
    ? []
    : [{ link: view.getInt32(4, true), address: formatAddress(address), length: body[1]! }];
}

function routeOf(body: Uint8Array, _view: DataView): Route[] {
  const attributes = attributesOf(body, 12);
  const family = familyNumber(body[0]!);
  const type = (Object.keys(ROUTE_TYPE) as (keyof typeof ROUTE_TYPE)[]).find(
    (name) => ROUTE_TYPE[name] === body[7],
  );
  if (!family || !type) return [];
  const link = numberOf(attributes.get(RTA.OIF));
  const source = attributes.get(RTA.PREFSRC);
  return [
    {
      family,
      type,
      table: numberOf(attributes.get(RTA.TABLE)) ?? body[4]!,
      protocol: body[5]!,
      destination: {
        address: formatAddress(attributes.get(RTA.DST) ?? new Uint8Array(family === 4 ? 4 : 16)),
        length: body[1]!,
      },
      metric: numberOf(attributes.get(RTA.PRIORITY)) ?? 0,
      ...(link === undefined || type !== 'unicast' ? {} : { link }),
      ...(source === undefined ? {} : { source: formatAddress(source) }),
    },
  ];
}

function ruleOf(body: Uint8Array, _view: DataView): Rule[] {
  const attributes = attributesOf(body, 12);
  const family = familyNumber(body[0]!);
  if (!family) return [];
  const from = attributes.get(FRA.SRC);
  const inLink = attributes.get(FRA.IIFNAME);
  return [
    {
      family,
      table: numberOf(attributes.get(FRA.TABLE)) ?? body[4]!,
      protocol: attributes.get(FRA.PROTOCOL)?.[0] ?? 0,
      priority: numberOf(attributes.get(FRA.PRIORITY)) ?? 0,
      notMark: numberOf(attributes.get(FRA.FWMASK)) ?? 0,
      ...(from === undefined ? {} : { from: { address: formatAddress(from), length: body[2]! } }),
      ...(inLink === undefined ? {} : { inLink: textOf(inLink) }),
    },
  ];
}

function familyNumber(value: number): 4 | 6 | undefined {
  if (value === FAMILY[4]) return 4;
  return value === FAMILY[6] ? 6 : undefined;
}

function attributesOf(body: Uint8Array, from: number): Map<number, Uint8Array> {
  const NESTED_AND_ORDER = 0xc000;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = new Map<number, Uint8Array>();
  for (let at = from; at + 4 <= body.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > body.length) break;
    attributes.set(view.getUint16(at + 2, true) & ~NESTED_AND_ORDER, body.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

function numberOf(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.length < 4) return undefined;
  return new DataView(value.buffer, value.byteOffset, value.byteLength).getUint32(0, true);
}

function textOf(value: Uint8Array | undefined): string {
  return value === undefined ? '' : new TextDecoder().decode(value).replace(/\0.*$/s, '');
}
