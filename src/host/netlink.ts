// Our link, routes and rules in the kernel, by netlink. Only what carries our protocol number is ever removed.

import { concat } from '../crypto/bytes.ts';
import type { Addon } from '../native.ts';
import type { LinkKind } from '../policy/sad.ts';
import { chunks } from '../wire/lists.ts';
import { NETLINK } from '../wire/netlink.ts';
import {
  type Answer,
  addRoute,
  addRule,
  decodeAnswer,
  deleteLink,
  deleteRoute,
  deleteRule,
  getAddresses,
  getLinks,
  getRoutes,
  getRules,
  type Link,
  type Route,
  type Rule,
  setLink,
} from '../wire/rtnetlink.ts';
import { HostError } from './host-error.ts';
import { createInterfaces, EEXIST, isOurs, type Step } from './interfaces.ts';
import { takenFrom, takenPlace } from './taken.ts';
import { OURS, type Wanted, type WantedRoute } from './wanted.ts';

const ERRNO: Record<number, string> = {
  1: 'not permitted: needs CAP_NET_ADMIN',
  // Linux answers EACCES to a route over a device whose IPv6 is off.
  13: 'the kernel refuses it; IPv6 is switched off here: sysctl -w net.ipv6.conf.all.disable_ipv6=0',
  16: 'busy',
  17: 'exists already',
  19: 'no such device',
  22: 'invalid argument',
  95: 'not supported by this kernel',
  97: 'address family not supported: is IPv6 off on this machine?',
  99: 'the address is not on this machine',
  101: 'network unreachable',
};

export interface Kernel {
  links(): Link[];
  addresses(): Answer['addresses'];
  /** Ours only. */
  routes(): Route[];
  rules(): Rule[];
  /** Whoever made them. */
  everyRule(): Rule[];
  /** A sentence where a table or a priority of rules that is wanted is somebody else's. */
  taken(wanted: Pick<Wanted, 'rules'>): string | undefined;
  apply(wanted: Wanted): void;
  /** What routing daemons and routes go by: interfaces of route-based tunnels, their addresses and all our routes. */
  steer(wanted: Pick<Wanted, 'device' | 'links' | 'routes'>): void;
  /** Of the kernel's IPsec, what links can be made of here. */
  linkKind(): LinkKind | undefined;
  /** Removes everything of ours. How many objects that were. */
  flush(): number;
}

export function createKernel(addon: Addon): Kernel {
  /** Several requests in one go; each that fails says what it was. */
  const askAll = (requests: readonly Step[]): Answer[] =>
    chunks(requests, MOST_AT_ONCE).map((some) => {
      const what = some[0]!.what;
      const answer = addon.netlink(NETLINK.ROUTE, concat(some.map(({ bytes }) => bytes)), some.length);
      if (typeof answer === 'string') throw new HostError('HOST_NETLINK', `${what}: ${answer}`);
      const decoded = decodeAnswer(answer);
      const at = decoded.results.findIndex((errno) => errno !== 0);
      if (at !== -1) throw refusal(some[at] ?? some[0]!, decoded.results[at]!);
      return decoded;
    });
  const ask = (bytes: Uint8Array, what: string): Answer => askAll([{ bytes, what }])[0]!;
  const links = () => ask(getLinks(), 'listing links').links;
  const addresses = () => ask(getAddresses(), 'listing addresses').addresses;
  const everyRoute = () => ask(getRoutes(), 'listing routes').routes;
  const routes = () => everyRoute().filter(({ protocol }) => protocol === OURS.protocol);
  const everyRule = () => ask(getRules(), 'listing rules').rules;
  const rules = () => everyRule().filter(({ protocol }) => protocol === OURS.protocol);

  function applyRoutes(wanted: WantedRoute[], devices: readonly Link[]): void {
    const target = wanted.map(({ through, ...route }) =>
      through === undefined ? route : { ...route, link: indexOf(devices, through) },
    );
    const standing = everyRoute();
    const taken = takenPlace(target, standing);
    if (taken !== undefined) throw new HostError('HOST_TAKEN', taken);
    const ours = standing.filter(({ protocol }) => protocol === OURS.protocol);
    askAll(
      missing(target, ours).map((route) => ({ bytes: addRoute(route), what: `route ${routeText(route)}` })),
    );
    // A route with another source but the same place has taken the place of the old one.
    const old = missing(routes(), target);
    askAll(old.map((route) => ({ bytes: deleteRoute(route), what: `old route ${routeText(route)}` })));
  }

  function applyRules(wanted: Wanted): void {
    const standing = rules();
    for (const rule of missing(wanted.rules, standing)) ask(addRule(rule), `rule ${ruleText(rule)}`);
    for (const rule of missing(standing, wanted.rules)) ask(deleteRule(rule), `old rule ${ruleText(rule)}`);
  }

  const interfaces = createInterfaces({ askAll, links, addresses });

  function steer({
    device,
    links: wantedInterfaces,
    routes: wantedRoutes,
  }: Parameters<Kernel['steer']>[0]): void {
    interfaces.apply(wantedInterfaces, device);
    applyRoutes(wantedRoutes, links());
    interfaces.operate(wantedInterfaces);
  }

  return {
    links,
    addresses,
    routes,
    rules,
    steer,
    everyRule,
    taken: (wanted) => takenFrom(wanted, { routes: everyRoute(), rules: everyRule() }),
    linkKind: interfaces.kind,
    apply(wanted) {
      const link = links().find(({ name }) => name === wanted.device);
      if (!link) throw new HostError('HOST_NETLINK', `the device ${wanted.device} is missing`);
      ask(setLink(link.index, wanted.mtu, OURS.alias), `device ${wanted.device}`);
      steer(wanted);
      applyRules(wanted);
    },
    flush() {
      const [oldRules, oldRoutes] = [rules(), routes()];
      for (const rule of oldRules) ask(deleteRule(rule), `rule ${ruleText(rule)}`);
      for (const route of oldRoutes) ask(deleteRoute(route), `route ${routeText(route)}`);
      const ours = links().filter(isOurs);
      for (const link of ours) ask(deleteLink(link.index), `device ${link.name}`);
      return oldRules.length + oldRoutes.length + ours.length;
    },
  };
}

/** So many answers fit the socket's memory. */
const MOST_AT_ONCE = 100;

function refusal({ what, taken }: Step, errno: number): HostError {
  return errno === EEXIST && taken !== undefined
    ? new HostError('HOST_TAKEN', taken)
    : new HostError('HOST_NETLINK', `${what}: ${ERRNO[errno] ?? `error ${errno}`}`);
}

function indexOf(devices: readonly Link[], name: string): number {
  const found = devices.find((device) => device.name === name);
  if (!found) throw new HostError('HOST_NETLINK', `the interface ${name} is missing`);
  return found.index;
}

/** What stands in `all` and not in `others`. */
function missing<T extends object>(all: readonly T[], others: readonly T[]): T[] {
  const known = new Set(others.map(keyOf));
  return all.filter((one) => !known.has(keyOf(one)));
}

function keyOf(value: object): string {
  const { destination, from, ...rest } = value as Partial<Route & Rule>;
  const flat = { ...rest, d: prefixKey(destination), f: prefixKey(from) };
  return JSON.stringify(Object.entries(flat).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function prefixKey(prefix: { address: string; length: number } | undefined): string {
  return prefix ? `${prefix.address}/${prefix.length}` : '';
}

function routeText({ destination, table, type }: Route): string {
  return `${destination.address}/${destination.length} (${type}, table ${table})`;
}

function ruleText({ from, table }: Rule): string {
  return `${from ? `from ${from.address}/${from.length} ` : ''}table ${table}`;
}
