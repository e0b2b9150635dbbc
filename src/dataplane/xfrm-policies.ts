// From one of our policies to the kernel's: all that it needs there, so that a change is the difference of two such lists.
//
// The kernel takes the matching policy of the least priority number, and of that the SA that its template describes: SPI,
// addresses, reqid. A template with the SPI of one SA fits that SA and no other (xfrm_state_find), so the policy alone says
// which SA sends. Policies that stand in the kernel are guards as well: what matches one without an SA is dropped, in both
// directions, whether or not a process of ours lives.

import type { Policy, SelectorSet } from '../policy/sad.ts';
import { contains, prefixesOf, type Selector, selectorOf } from '../policy/selector.ts';
import { familyOf, type IpAddress } from '../wire/address.ts';
import { FAMILY } from '../wire/netlink.ts';
import {
  DIRECTION,
  MODE,
  POLICY_ACTION,
  toXfrmAddress,
  UNLIMITED,
  type XfrmPolicy,
  type XfrmSelector,
  type XfrmTemplate,
} from '../wire/xfrm.ts';

/** What the kernel's policies of one of our policies depend on. */
export interface Spd {
  policy: Policy;
  /** Of all SAs of this policy. */
  reqid: number;
  /** Of no SA: a template with it finds none and asks for one. */
  acquireReqid: number;
  /** The outbound SA in use, as long as it may send. */
  outbound?: { spi: number; local: IpAddress; remote: IpAddress; selectors: SelectorSet };
  /** An SA that reached its hard limit is in use: nothing is sent, nothing is asked for. */
  stopped: boolean;
  /** What inbound SAs may carry. */
  inbound: SelectorSet[];
}

export type Direction = keyof typeof DIRECTION;

/** Room for orders below zero; others' daemons give larger numbers than ours. */
const FIRST_PRIORITY = 10_000;
/** Places within one order: local traffic, what SAs carry, what the policy claims. */
const LEVELS = { bypass: 0, carried: 1, claimed: 2 };
/** Each way of splitting networks and ports is bounded; a configuration has some tens. */
const MOST_PAIRS = 4096;

/** Of one link only, whatever a selector says (RFC 4291 §2.5.6 and §2.7, RFC 5771 §4): never for a tunnel. */
const LINK_SCOPE = ['fe80::/10', 'ff02::/16', '224.0.0.0/24', '255.255.255.255/32'].map(
  (text) => selectorOf(text)!,
);

/** Whether both do the same; counters and the kernel's own numbers do not matter. */
export function samePolicy(a: XfrmPolicy, b: XfrmPolicy): boolean {
  return effectOf(a) === effectOf(b);
}

function effectOf({ info: { priority, action }, attributes: { templates = [] } }: XfrmPolicy): string {
  const parts = templates.map(({ id, family, source, reqid, mode, optional }) => {
    const addresses = [id.destination, source].map((address) => Buffer.from(address).toString('hex'));
    return [...addresses, id.spi, id.protocol, family, reqid, mode, optional];
  });
  return JSON.stringify([priority, action, parts]);
}

/** What the kernel tells policies apart by. */
export function policyKey({ info: { selector: s, direction } }: XfrmPolicy): string {
  const prefix = (address: Uint8Array, length: number) => `${Buffer.from(address).toString('hex')}/${length}`;
  return [
    direction,
    s.family,
    prefix(s.source, s.sourceLength),
    prefix(s.destination, s.destinationLength),
    s.protocol,
    `${s.sourcePort}/${s.sourcePortMask}`,
    `${s.destinationPort}/${s.destinationPortMask}`,
  ].join(' ');
}

/** In the order of precedence, which their priorities say to the kernel. Throws RangeError where it cannot say it. */
export function policiesOf(entry: Spd): XfrmPolicy[] {
  const { policy, outbound, inbound, reqid } = entry;
  const at = (level: keyof typeof LEVELS) => FIRST_PRIORITY + policy.order * 4 + LEVELS[level];
  const claimed = pairsOf(policy.selectors);
  if (policy.action !== 'protect') {
    const action = policy.action === 'bypass' ? 'allow' : 'block';
    return everyWay(claimed, at('claimed'), action);
  }
  return [
    ...everyWay(localPairs(policy.selectors), at('bypass'), 'allow'),
    ...(outbound
      ? outward(pairsOf(outbound.selectors), at('carried'), 'allow', templateOf(outbound, reqid))
      : []),
    ...inbound.flatMap((carried) => inward(pairsOf(carried), at('carried'), 'allow', anySa(reqid))),
    ...claimedOutward(entry, claimed, at('claimed')),
    ...inward(claimed, at('claimed'), 'block'),
  ];
}

/** What finds no SA in use: asked for where the policy wants it and no SA is in use, dropped in any case. */
function claimedOutward(entry: Spd, claimed: Pair[], priority: number): XfrmPolicy[] {
  const asks = entry.policy.acquire && !entry.stopped && !entry.outbound;
  if (!asks) return outward(claimed, priority, 'block');
  return outward(claimed, priority, 'allow', nobody(entry.acquireReqid));
}

interface Pair {
  local: Selector;
  remote: Selector;
}

/** Each selector an address prefix and ports of one mask, as the kernel has them. */
function pairsOf({ local, remote }: SelectorSet): Pair[] {
  const [near, far] = [local.flatMap(simpler), remote.flatMap(simpler)];
  const pairs = near.flatMap((a) => far.filter((b) => fit(a, b)).map((b) => ({ local: a, remote: b })));
  if (pairs.length > MOST_PAIRS)
    throw new RangeError(`the selectors need ${pairs.length} policies of the kernel`);
  return pairs;
}

function fit(a: Selector, b: Selector): boolean {
  if (familyOf(a.start) !== familyOf(b.start)) return false;
  if ([a, b].some(({ protocol, startPort }) => WITH_TYPES.has(protocol) && startPort > 0))
    throw new RangeError('types of ICMP are not told apart here');
  return a.protocol === 0 || b.protocol === 0 || a.protocol === b.protocol;
}

function simpler(selector: Selector): Selector[] {
  return prefixesOf(selector).flatMap(({ address, length }) => {
    const range = selectorOf(`${address}/${length}`)!;
    return portBlocks(selector.startPort, selector.endPort).map(([startPort, endPort]) => ({
      ...selector,
      start: range.start,
      end: range.end,
      startPort,
      endPort,
    }));
  });
}

/** The fewest ranges of ports that a mask describes. */
export function portBlocks(start: number, end: number): [number, number][] {
  const blocks: [number, number][] = [];
  for (let at = start; at <= end; ) {
    let size = 1;
    while (size < 65536 && at % (size * 2) === 0 && at + size * 2 - 1 <= end) size *= 2;
    blocks.push([at, at + size - 1]);
    at += size;
  }
  return blocks;
}

/** Within the local network, and on the link: nobody's business, also where the remote network is everything. */
function localPairs({ local, remote }: SelectorSet): Pair[] {
  const anyPort = (selector: Selector) => ({ ...selector, protocol: 0, startPort: 0, endPort: 65535 });
  const [near, far] = [local.map(anyPort), remote.map(anyPort)];
  const inside = (other: Selector) => far.some((selector) => contains(selector, other));
  const others = [...near.filter(inside), ...LINK_SCOPE.filter(inside)];
  return near.flatMap((one) => others.flatMap((other) => pairsOf({ local: [one], remote: [other] })));
}

// The kernel's forms

function everyWay(pairs: Pair[], priority: number, action: keyof typeof POLICY_ACTION): XfrmPolicy[] {
  return [...outward(pairs, priority, action), ...inward(pairs, priority, action)];
}

function outward(
  pairs: Pair[],
  priority: number,
  action: keyof typeof POLICY_ACTION,
  template?: XfrmTemplate,
): XfrmPolicy[] {
  return pairs.map(({ local, remote }) =>
    kernelPolicy('out', kernelSelector(local, remote), priority, action, template),
  );
}

/** To this machine and through it. */
function inward(
  pairs: Pair[],
  priority: number,
  action: keyof typeof POLICY_ACTION,
  template?: XfrmTemplate,
): XfrmPolicy[] {
  return pairs.flatMap(({ local, remote }) =>
    (['in', 'fwd'] as const).map((direction) =>
      kernelPolicy(direction, kernelSelector(remote, local), priority, action, template),
    ),
  );
}

function kernelPolicy(
  direction: Direction,
  selector: XfrmSelector,
  priority: number,
  action: keyof typeof POLICY_ACTION,
  template: XfrmTemplate | undefined,
): XfrmPolicy {
  return {
    info: {
      selector,
      limits: NO_LIMITS,
      counters: { bytes: 0n, packets: 0n, added: 0n, used: 0n },
      priority,
      index: 0,
      direction: DIRECTION[direction],
      action: POLICY_ACTION[action],
      flags: 0,
      share: 0,
    },
    attributes: template ? { templates: [template] } : {},
  };
}

/** The selector of both, the way the packets go; undefined where the kernel needs several. */
export function oneSelector(
  source: readonly Selector[],
  destination: readonly Selector[],
): XfrmSelector | undefined {
  const pairs = pairsOf({ local: [...source], remote: [...destination] });
  const [pair, ...more] = pairs;
  return pair && more.length === 0 ? kernelSelector(pair.local, pair.remote) : undefined;
}

function kernelSelector(source: Selector, destination: Selector): XfrmSelector {
  const [from, to] = [prefixesOf(source)[0]!, prefixesOf(destination)[0]!];
  const [fromPorts, toPorts] = [portMask(source), portMask(destination)];
  return {
    destination: toXfrmAddress(to.address),
    source: toXfrmAddress(from.address),
    destinationPort: toPorts.port,
    destinationPortMask: toPorts.mask,
    sourcePort: fromPorts.port,
    sourcePortMask: fromPorts.mask,
    family: FAMILY[familyOf(source.start)],
    destinationLength: to.length,
    sourceLength: from.length,
    protocol: source.protocol || destination.protocol,
    link: 0,
    user: 0,
  };
}

function portMask({ startPort, endPort }: Selector): { port: number; mask: number } {
  const mask = ~(endPort - startPort) & 0xffff;
  return { port: startPort & mask, mask };
}

/** Exactly this SA. */
function templateOf({ spi, local, remote }: NonNullable<Spd['outbound']>, reqid: number): XfrmTemplate {
  return {
    ...anySa(reqid),
    id: { destination: toXfrmAddress(remote), spi, protocol: ESP },
    source: toXfrmAddress(local),
    family: FAMILY[familyOf(remote)],
  };
}

/** Every SA of the policy, wherever it comes from. */
function anySa(reqid: number): XfrmTemplate {
  return {
    id: { destination: new Uint8Array(16), spi: 0, protocol: ESP },
    family: FAMILY[4],
    source: new Uint8Array(16),
    reqid,
    mode: MODE.TUNNEL,
    share: 0,
    optional: 0,
    integrityBits: ANY_ALGORITHM,
    encryptionBits: ANY_ALGORITHM,
    compressionBits: ANY_ALGORITHM,
  };
}

/** No SA; the addresses say only that nothing has to be looked up. */
function nobody(acquireReqid: number): XfrmTemplate {
  const here = toXfrmAddress('127.0.0.1');
  return { ...anySa(acquireReqid), id: { destination: here, spi: 0, protocol: ESP }, source: here };
}

const ESP = 50;
/** ICMP and ICMPv6: what RFC 7296 §3.13.1 puts into the ports, the kernel has elsewhere. */
const WITH_TYPES = new Set([1, 58]);
const ANY_ALGORITHM = 0xffffffff;
const NO_LIMITS = {
  softBytes: UNLIMITED,
  hardBytes: UNLIMITED,
  softPackets: UNLIMITED,
  hardPackets: UNLIMITED,
  softAdded: 0n,
  hardAdded: 0n,
  softUsed: 0n,
  hardUsed: 0n,
};
