// The guards: one nftables table that drops cleartext of protected pairs, replaced in one atomic batch.

import type { Addon } from '../native.ts';
import type { SelectorSet } from '../policy/sad.ts';
import { prefixesOf, type Selector, selectorOf } from '../policy/selector.ts';
import { familyOf } from '../wire/address.ts';
import type { Prefix } from '../wire/rtnetlink.ts';
import { HostError } from './host-error.ts';
import type { WantedLink } from './links.ts';
import { OURS, type ProtectedPair, type Wanted } from './wanted.ts';

const TABLE = { family: 'inet', table: OURS.nftables };
/** Before connection tracking and address translation change anything (NF_IP_PRI_RAW). */
const FIRST = -300;
/** NF_IP_PRI_MANGLE. */
const MANGLE = -150;

type Expression = Record<string, unknown>;

/** `mtu`: of the device that tunnels without an interface share, bytes. */
export function applyGuards(
  addon: Addon,
  { guards: pairs, mtu, links, mark }: Pick<Wanted, 'guards' | 'mtu' | 'links' | 'mark'>,
): void {
  const devices = [{ name: OURS.device, mtu }, ...links];
  const names = devices.map(({ name }) => name);
  nft(addon, [
    ...replaceTable(),
    ...counters(),
    ...chains(),
    ...outward(pairs, names, mark),
    ...inward(pairs, names),
    ...['forward', 'output'].flatMap((chain) =>
      links.flatMap((link) => dropRouted(chain, link, 'daddr', 'out')),
    ),
    ...links.flatMap((link) => dropRouted('input', link, 'saddr', 'in')),
    ...devices.flatMap(clampSegments),
    ...pairs.flatMap(clampPair),
  ]);
}

/** How many tables were removed: 0 or 1. */
export function flushGuards(addon: Addon): number {
  if (!standing(addon)) return 0;
  nft(addon, [{ delete: { table: { family: 'inet', name: OURS.nftables } } }]);
  return 1;
}

export function guardCounters(addon: Addon): { out: bigint; in: bigint } {
  const entries = run(addon, `list counters table inet ${OURS.nftables}`)?.nftables ?? [];
  const packets = (name: string) =>
    BigInt(entries.find(({ counter }) => counter?.name === name)?.counter?.packets ?? 0);
  return { out: packets('out'), in: packets('in') };
}

/** Added first so that deleting cannot fail; all in one transaction. */
function replaceTable(): Expression[] {
  const table = { family: 'inet', name: OURS.nftables };
  return [{ add: { table } }, { delete: { table } }, { add: { table } }];
}

function counters(): Expression[] {
  return ['out', 'in'].map((name) => ({ add: { counter: { ...TABLE, name } } }));
}

/** `forward` and `output` for what leaves, before any translation can give it another source; `prerouting` for what comes. */
function chains(): Expression[] {
  const hooks = [
    ['forward', 'forward'],
    ['output', 'output'],
    ['input', 'prerouting'],
  ] as const;
  const chain = (name: string, hook: string, prio: number): Expression => ({
    add: { chain: { ...TABLE, name, type: 'filter', hook, prio, policy: 'accept' } },
  });
  return [...hooks.map(([name, hook]) => chain(name, hook, FIRST)), chain('clamp', 'forward', MANGLE)];
}

/** TCP is told the size that fits both ways, whether or not "too big" messages get through (RFC 4459 §3.2). */
function clampSegments({ name, mtu }: { name: string; mtu: number }): Expression[] {
  return ([4, 6] as const).flatMap((family) =>
    ['oifname', 'iifname'].map((key) =>
      rule('clamp', [
        meta(key, name),
        meta('nfproto', family === 4 ? 'ipv4' : 'ipv6'),
        ...clampTo(mtu, family),
      ]),
    ),
  );
}

/** The same of one pair, where its path is narrower than the device. */
function clampPair({ local, remote, pathMtu }: ProtectedPair): Expression[] {
  if (pathMtu === undefined) return [];
  return local.flatMap((here) => {
    const family = familyOf(here.start);
    const there = remote.filter(({ start }) => familyOf(start) === family);
    return there.flatMap((other) => [
      rule('clamp', [...between('oifname', here, other), ...clampTo(pathMtu, family)]),
      rule('clamp', [...between('iifname', other, here), ...clampTo(pathMtu, family)]),
    ]);
  });
}

function between(key: 'oifname' | 'iifname', from: Selector, to: Selector): Expression[] {
  return [meta(key, OURS.device), inRange('saddr', from), inRange('daddr', to)];
}

function clampTo(mtu: number, family: 4 | 6): Expression[] {
  const size = { 'tcp option': { name: 'maxseg', field: 'size' } };
  const most = mtu - (family === 4 ? 40 : 60);
  return [
    { match: { op: 'in', left: { payload: { protocol: 'tcp', field: 'flags' } }, right: 'syn' } },
    { match: { op: '>', left: size, right: most } },
    { mangle: { key: size, value: most } },
  ];
}

function outward(pairs: readonly SelectorSet[], devices: readonly string[], mark: number): Expression[] {
  const leaves = [...devices, 'lo'].map((device) => meta('oifname', device));
  return ['forward', 'output'].flatMap((chain) => [
    ...leaves.map((match) => rule(chain, [match, accept()])),
    rule(chain, [ourOwn(mark), accept()]),
    ...pairs.flatMap((pair) => dropPair(chain, pair, 'saddr', 'daddr', 'out')),
  ]);
}

function inward(pairs: readonly SelectorSet[], devices: readonly string[]): Expression[] {
  return [
    ...[...devices, 'lo'].map((device) => rule('input', [meta('iifname', device), accept()])),
    // Ours: outer packets, when the gateway's own address is protected too.
    rule('input', [payload('udp', 'dport', { set: [500, 4500] }), accept()]),
    rule('input', [
      { match: { op: '==', left: { meta: { key: 'l4proto' } }, right: { set: ['esp', 'ah'] } } },
      accept(),
    ]),
    ...pairs.flatMap((pair) => dropPair('input', pair, 'daddr', 'saddr', 'in')),
  ];
}

/** Packets within the local network are nobody's business, also where the remote one is everything. */
function dropPair(
  chain: string,
  { local, remote }: SelectorSet,
  near: string,
  far: string,
  counter: string,
): Expression[] {
  return local.flatMap((here) => {
    const within = local.filter((other) => familyOf(other.start) === familyOf(here.start));
    const there = remote.filter((other) => familyOf(other.start) === familyOf(here.start));
    return [
      ...within.map((other) => rule(chain, [inRange(near, here), inRange(far, other), accept()])),
      ...there.map((other) =>
        rule(chain, [
          inRange(near, here),
          inRange(far, other),
          ...protocolOf(here, other),
          { counter },
          { drop: null },
        ]),
      ),
    ];
  });
}

/** What an interface leads to comes and goes by it only, but for networks that this machine is in itself. */
function dropRouted(
  chain: string,
  { guarded, near }: WantedLink,
  far: string,
  counter: string,
): Expression[] {
  const selectors = (prefixes: readonly Prefix[]) =>
    prefixes.map(({ address, length }) => selectorOf(`${address}/${length}`)!);
  return [
    ...selectors(near).map((one) => rule(chain, [inRange(far, one), accept()])),
    ...selectors(guarded).map((one) => rule(chain, [inRange(far, one), { counter }, { drop: null }])),
  ];
}

/** Ports are left out on purpose: a fragment carries none, so the whole pair of that protocol is guarded. */
function protocolOf(a: Selector, b: Selector): Expression[] {
  const protocol = a.protocol || b.protocol;
  return protocol === 0 ? [] : [{ match: { op: '==', left: { meta: { key: 'l4proto' } }, right: protocol } }];
}

function rule(chain: string, expr: Expression[]): Expression {
  return { add: { rule: { ...TABLE, chain, expr } } };
}

function inRange(field: string, selector: Selector): Expression {
  const protocol = familyOf(selector.start) === 4 ? 'ip' : 'ip6';
  const prefixes = prefixesOf(selector).map(({ address, length }) =>
    length === 0 ? undefined : { prefix: { addr: address, len: length } },
  );
  // Everything: a comparison that is always true, so that only this family is meant.
  if (prefixes.includes(undefined)) {
    const family = protocol === 'ip' ? 'ipv4' : 'ipv6';
    return { match: { op: '==', left: { meta: { key: 'nfproto' } }, right: family } };
  }
  return payload(protocol, field, { set: prefixes });
}

function payload(protocol: string, field: string, right: unknown): Expression {
  return { match: { op: '==', left: { payload: { protocol, field } }, right } };
}

function meta(key: string, right: string): Expression {
  return { match: { op: '==', left: { meta: { key } }, right } };
}

/** Outer packets of our sockets. */
function ourOwn(mark: number): Expression {
  const marked = { '&': [{ meta: { key: 'mark' } }, mark] };
  return { match: { op: '==', left: marked, right: mark } };
}

function accept(): Expression {
  return { accept: null };
}

function standing(addon: Addon): boolean {
  return run(addon, `list table inet ${OURS.nftables}`) !== undefined;
}

function nft(addon: Addon, commands: Expression[]): void {
  const [done, answer] = addon.nftables(new TextEncoder().encode(JSON.stringify({ nftables: commands })));
  if (done) return;
  const first = answer.trim().split('\n')[0]!;
  const why = /not permitted|must be root/.test(first)
    ? `${first}: run as root, or give CAP_NET_ADMIN`
    : first;
  throw new HostError('HOST_GUARDS', `the guards cannot be set, so nothing is started: ${why}`);
}

/** The JSON answer, or undefined where there is no such thing. */
function run(addon: Addon, command: string): NftAnswer | undefined {
  const [done, answer] = addon.nftables(new TextEncoder().encode(command));
  return done ? (answer === '' ? { nftables: [] } : JSON.parse(answer)) : undefined;
}

interface NftAnswer {
  nftables: { counter?: { name: string; packets: number } }[];
}
