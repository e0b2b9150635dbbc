// Our link, routes and rules in the kernel, by netlink. Only what carries our protocol number is ever removed.

import type { Addon } from '../native.ts';
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
import { HostError } from './host.ts';
import { OURS, type Wanted } from './wanted.ts';

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
  apply(wanted: Wanted): void;
  /** Removes everything of ours. How many objects that were. */
  flush(): number;
}

export function createKernel(addon: Addon): Kernel {
  const ask = (request: Uint8Array, what: string): Answer => {
    const answer = addon.netlink(NETLINK.ROUTE, request, 1);
    if (typeof answer === 'string') throw new HostError('HOST_NETLINK', `${what}: ${answer}`);
    const decoded = decodeAnswer(answer);
    const errno = Math.max(0, ...decoded.results);
    if (errno !== 0) throw new HostError('HOST_NETLINK', `${what}: ${ERRNO[errno] ?? `error ${errno}`}`);
    return decoded;
  };
  const links = () => ask(getLinks(), 'listing links').links;
  const routes = () =>
    ask(getRoutes(), 'listing routes').routes.filter(({ protocol }) => protocol === OURS.protocol);
  const rules = () =>
    ask(getRules(), 'listing rules').rules.filter(({ protocol }) => protocol === OURS.protocol);

  function applyRoutes(wanted: Wanted, link: number): void {
    const target = wanted.routes.map(({ throughTunnel, ...route }) =>
      throughTunnel ? { ...route, link } : route,
    );
    for (const route of missing(target, routes())) ask(addRoute(route), `route ${routeText(route)}`);
    // A route with another source but the same place has taken the place of the old one.
    for (const route of missing(routes(), target)) ask(deleteRoute(route), `old route ${routeText(route)}`);
  }

  function applyRules(wanted: Wanted): void {
    const standing = rules();
    for (const rule of missing(wanted.rules, standing)) ask(addRule(rule), `rule ${ruleText(rule)}`);
    for (const rule of missing(standing, wanted.rules)) ask(deleteRule(rule), `old rule ${ruleText(rule)}`);
  }

  return {
    links,
    addresses: () => ask(getAddresses(), 'listing addresses').addresses,
    routes,
    rules,
    apply(wanted) {
      const link = links().find(({ name }) => name === wanted.device);
      if (!link) throw new HostError('HOST_NETLINK', `the device ${wanted.device} is missing`);
      ask(setLink(link.index, wanted.mtu, OURS.alias), `device ${wanted.device}`);
      applyRoutes(wanted, link.index);
      applyRules(wanted);
    },
    flush() {
      const [oldRules, oldRoutes] = [rules(), routes()];
      for (const rule of oldRules) ask(deleteRule(rule), `rule ${ruleText(rule)}`);
      for (const route of oldRoutes) ask(deleteRoute(route), `route ${routeText(route)}`);
      const ours = links().filter(({ name, alias }) => name === OURS.device && alias === OURS.alias);
      for (const link of ours) ask(deleteLink(link.index), `device ${link.name}`);
      return oldRules.length + oldRoutes.length + ours.length;
    },
  };
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
