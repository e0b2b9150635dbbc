// From one of our policies to the kernel's: all that it needs there, so that a change is the difference of two such lists.
//
// The kernel takes the matching policy of the least priority number, and of that the SA that its template describes: SPI,
// addresses, reqid. A template with the SPI of one SA fits that SA and no other (xfrm_state_find), so the policy alone says
// which SA sends. Policies that stand in the kernel are guards as well: what matches one without an SA is dropped, in both
// directions, whether or not a process of ours lives.

import {
  type LinkKind,
  type Offload,
  type Policy,
  type SaParameters,
  type SelectorSet,
  vtiKey,
} from '../policy/sad.ts';
import { contains, prefixesOf, type Selector, selectorOf } from '../policy/selector.ts';
import { familyOf, type IpAddress } from '../wire/address.ts';
import { FAMILY } from '../wire/netlink.ts';
import {
  DIRECTION,
  IPSEC,
  MODE,
  OFFLOAD_FLAG,
  POLICY_ACTION,
  toXfrmAddress,
  UNLIMITED,
  type XfrmMark,
  type XfrmPolicy,
  type XfrmSelector,
  type XfrmTemplate,
} from '../wire/xfrm.ts';

/** What the kernel's policies of one of our policies depend on. */
export interface Spd {
  policy: Policy;
  lookup: Lookup;
  /** Of all SAs of this policy. */
  reqid: number;
  /** Of no SA: a template with it finds none and asks for one. */
  acquireReqid: number;
  /** The outbound SA in use, as long as it may send. */
  outbound?: Carrier & { spi: number; local: IpAddress; remote: IpAddress; offload?: OffloadVerdict };
  /** An SA that reached its hard limit is in use: nothing is sent, nothing is asked for. */
  stopped: boolean;
  /** What inbound SAs may carry. */
  inbound: Carrier[];
}

/** What the network interface does for an SA; which one that is. */
export interface OffloadVerdict {
  by: Offload;
  link?: number;
  /** Why it does not do more. */
  reason?: string;
}

type Carrier = Pick<SaParameters, 'protocol' | 'mode' | 'selectors'>;

/** What tells policies apart besides their selectors, and the SAs that they send with. */
export interface Lookup {
  mark?: XfrmMark;
  ifId?: number;
}

/** `links`: what they are made of; throws RangeError where the policy has one and there is nothing for it. */
export function lookupOf({ link, kernel }: Policy, links: LinkKind | undefined): Lookup {
  if (!link) return kernel?.mark ? { mark: kernel.mark } : {};
  switch (links) {
    case 'xfrm':
      return { ifId: link.id };
    case 'vti':
      return { mark: { value: vtiKey(link), mask: WHOLE_MARK } };
    case undefined:
      throw new RangeError('the kernel has neither XFRM interfaces nor VTI');
  }
}

export type Direction = keyof typeof DIRECTION;

/** Room for orders below zero; others' daemons give larger numbers than ours. */
const FIRST_PRIORITY = 10_000;
/** Policies of a link meet no packets but its own, and those before all others. */
const LINK_PRIORITY = 2_000;
const WHOLE_MARK = 0xffffffff;
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

function effectOf({
  info: { priority, action },
  attributes: { templates = [], offload },
}: XfrmPolicy): string {
  const parts = templates.map(({ id, family, source, reqid, mode, optional }) => {
    const addresses = [id.destination, source].map((address) => Buffer.from(address).toString('hex'));
    return [...addresses, id.spi, id.protocol, family, reqid, mode, optional];
  });
  return JSON.stringify([priority, action, parts, offload?.link ?? 0]);
}

/** What the kernel tells policies apart by. */
export function policyKey({
  info: { selector: s, direction },
  attributes: { mark, ifId },
}: XfrmPolicy): string {
  const prefix = (address: Uint8Array, length: number) => `${Buffer.from(address).toString('hex')}/${length}`;
  return [
    direction,
    s.family,
    prefix(s.source, s.sourceLength),
    prefix(s.destination, s.destinationLength),
    s.protocol,
    `${s.sourcePort}/${s.sourcePortMask}`,
    `${s.destinationPort}/${s.destinationPortMask}`,
    ...(mark ? [`mark ${mark.value}/${mark.mask}`] : []),
    ...(ifId ? [`if_id ${ifId}`] : []),
  ].join(' ');
}

/** In the order of precedence, which their priorities say to the kernel. Throws RangeError where it cannot say it. */
export function policiesOf(entry: Spd): XfrmPolicy[] {
  const { lookup } = entry;
  return plainPolicies(entry).map(({ info, attributes }) => ({
    info,
    attributes: { ...attributes, ...lookup },
  }));
}

function plainPolicies(entry: Spd): XfrmPolicy[] {
  const { policy, outbound, inbound, reqid } = entry;
  const first = policy.link ? LINK_PRIORITY : FIRST_PRIORITY + policy.order * 4;
  const at = (level: keyof typeof LEVELS) => first + LEVELS[level];
  const claimed = pairsOf(policy.selectors);
  if (policy.action !== 'protect') {
    const action = policy.action === 'bypass' ? 'allow' : 'block';
    return everyWay(claimed, at('claimed'), action);
  }
  return [
    // What is routed to a link is meant for it.
    ...(policy.link ? [] : everyWay(localPairs(policy.selectors), at('bypass'), 'allow')),
    ...(policy.link ? [] : outward(neighbours(claimed, 'local'), at('bypass'), 'allow')),
    ...(policy.link ? [] : inward(neighbours(claimed, 'remote'), at('bypass'), 'allow')),
    ...(outbound
      ? outward(pairsOf(outbound.selectors), at('carried'), 'allow', templateOf(outbound, reqid)).map((one) =>
          withLink(one, outbound.offload),
        )
      : []),
    ...inbound.flatMap((sa) => inward(pairsOf(sa.selectors), at('carried'), 'allow', anySa(reqid, sa))),
    ...claimedOutward(entry, claimed, at('claimed')),
    ...inward(claimed, at('claimed'), 'block'),
  ];
}

/** An SA that is all the interface's is found only by a policy that is so as well. */
function withLink(
  { info, attributes }: XfrmPolicy,
  { by, link }: OffloadVerdict = { by: 'off' },
): XfrmPolicy {
  if (by !== 'packet' || link === undefined) return { info, attributes };
  return { info, attributes: { ...attributes, offload: { link, flags: OFFLOAD_FLAG.PACKET } } };
}

/** What finds no SA in use: asked for where the policy wants it and no SA is in use, dropped in any case. */
function claimedOutward(entry: Spd, claimed: Pair[], priority: number): XfrmPolicy[] {
  const asks = entry.policy.acquire && !entry.stopped && !entry.outbound;
  if (!asks) return outward(claimed, priority, 'block');
  return outward(claimed, priority, 'allow', nobody(entry.acquireReqid));
}

/** A selector that is one prefix, of that length. */
interface Block extends Selector {
  length: number;
}

interface Pair {
  local: Block;
  remote: Block;
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

function simpler(selector: Selector): Block[] {
  const ports = portBlocks(selector.startPort, selector.endPort);
  return prefixesOf(selector).flatMap(({ address: start, end, length }) =>
    ports.map(([startPort, endPort]) => ({ ...selector, start, end, length, startPort, endPort })),
  );
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
  // A remote network that is the local one, such as everything to everything, leaves nothing local.
  const smaller = (other: Selector) => inside(other) && !far.some((selector) => contains(other, selector));
  const others = [...near.filter(smaller), ...LINK_SCOPE.filter(inside)];
  return near.flatMap((one) => others.flatMap((other) => pairsOf({ local: [one], remote: [other] })));
}

/**
 * Two hosts on one link have to find each other before they can speak IPsec (RFC 4861 §7.2). The kernel has the type where
 * the sender's port is.
 */
function neighbours(claimed: readonly Pair[], sender: keyof Pair): Pair[] {
  const pairs = claimed.filter(
    ({ local, remote }) =>
      familyOf(local.start) === 6 && [local, remote].every(({ start, end }) => start === end),
  );
  const any = { protocol: ICMPV6, startPort: 0, endPort: 65535 };
  return pairs.flatMap((pair) =>
    NEIGHBOUR_DISCOVERY.map((type) => ({
      local: { ...pair.local, ...any },
      remote: { ...pair.remote, ...any },
      [sender]: { ...pair[sender], ...any, startPort: type, endPort: type },
    })),
  );
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

function kernelSelector(source: Block, destination: Block): XfrmSelector {
  const [fromPorts, toPorts] = [portMask(source), portMask(destination)];
  return {
    destination: toXfrmAddress(destination.start),
    source: toXfrmAddress(source.start),
    destinationPort: toPorts.port,
    destinationPortMask: toPorts.mask,
    sourcePort: fromPorts.port,
    sourcePortMask: fromPorts.mask,
    family: FAMILY[familyOf(source.start)],
    destinationLength: destination.length,
    sourceLength: source.length,
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
function templateOf(outbound: NonNullable<Spd['outbound']>, reqid: number): XfrmTemplate {
  const { spi, local, remote } = outbound;
  const any = anySa(reqid, outbound);
  return {
    ...any,
    id: { ...any.id, destination: toXfrmAddress(remote), spi },
    source: toXfrmAddress(local),
    family: FAMILY[familyOf(remote)],
  };
}

/** Every SA of the policy like this one, wherever it comes from. The family counts in transport mode only. */
function anySa(reqid: number, { protocol, mode, selectors }: Carrier): XfrmTemplate {
  const [first] = mode === 'transport' ? selectors.local : [];
  return {
    id: { destination: new Uint8Array(16), spi: 0, protocol: IPSEC[protocol] },
    family: FAMILY[first ? familyOf(first.start) : 4],
    source: new Uint8Array(16),
    reqid,
    mode: MODE[mode],
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
  const any = anySa(acquireReqid, { protocol: 'esp', mode: 'tunnel', selectors: { local: [], remote: [] } });
  return { ...any, id: { ...any.id, destination: here }, source: here };
}

const ICMPV6 = 58;
/** Solicitation and advertisement (RFC 4861 §4.3 and §4.4). */
const NEIGHBOUR_DISCOVERY = [135, 136];
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
