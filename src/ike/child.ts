// Child SAs: from a chosen suite and keys to entries of the SAD, and how they end.

import { childKeys, type DirectionKeys } from '../crypto/keymat.ts';
import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import { type ChosenSuite, childProtocol, suiteText } from '../policy/proposal.ts';
import type { Change, Instant, SaParameters, SelectorSet } from '../policy/sad.ts';
import { contains, narrow, type Selector, selectorText } from '../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import type { Payload, TrafficSelector } from '../wire/ikev2.ts';
import { PAYLOAD, PROTOCOL, TS_TYPE } from '../wire/numbers.ts';
import { applyChanges, type Context, jittered, report, sasOf } from './context.ts';
import { type ChildSa, type Established, type IkeSa, inUdp, type Task } from './sa.ts';
import { isSilent } from './window.ts';

/** The SPD entry of a child. */
export function policyId(tunnel: string, child: string): string {
  return `${tunnel}/${child}`;
}

/** Of a lifetime: the middle of the moments to rekey. Enough is left for every retransmission of an hour's SA. */
const REKEY_AT = 0.85;
/** Two sides with one lifetime seldom meet. */
const REKEY_JITTER = 0.1;
/** An inbound SA still takes what is under way when it is deleted. */
export const DRAIN = 5000;

/** When to rekey, between 76 and 94 % of the lifetime, and when it ends. */
export function lifetimeFrom(context: Context, lifetime: number): { rekeyAt: Instant; endsAt: Instant } {
  const rekeyAt = context.now + jittered(context, lifetime * REKEY_AT, REKEY_JITTER);
  return { rekeyAt, endsAt: context.now + lifetime };
}

/** A failed rekey is tried again after so long, as often as the lifetime allows. */
const REKEY_RETRY = 10_000;

export function retryRekey(context: Context, established: Established, task: Task): void {
  if (task.type === 'rekey-child' && task.rehearsal) return;
  const at = context.now + jittered(context, REKEY_RETRY, 0.5);
  if (task.type === 'rekey-ike') established.rekeyAt = at;
  const child = task.type === 'rekey-child' && established.children.find(({ spiIn }) => spiIn === task.spiIn);
  if (child) child.rekeyAt = at;
}

/** A tunnel that should be up gets the child made (again) after about that time. */
export function createLater(context: Context, established: Established, name: string, after: number): void {
  const queued = established.tasks.some((task) => task.type === 'create' && task.child === name);
  if (queued || !context.tunnels.get(established.tunnel)?.wanted) return;
  established.tasks.push({
    type: 'create',
    child: name,
    notBefore: context.now + jittered(context, after, 0.2),
  });
}

export interface NewChild {
  template: ChildTemplate;
  suite: ChosenSuite;
  spiIn: number;
  spiOut: number;
  selectors: SelectorSet;
  original?: SaParameters['original'];
  /** Whether we began the exchange that makes it. */
  initiator: boolean;
  /** The peer takes no padding. */
  unpadded: boolean;
  ni: Uint8Array;
  nr: Uint8Array;
  secret?: Uint8Array;
  /** Of additional key exchanges. */
  further?: readonly Uint8Array[];
}

/** The child and the changes that install it: inbound first, for the peer may send at once. */
export function makeChild(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  ike: { suite: ChosenSuite; skD: Uint8Array },
  made: NewChild,
): { child: ChildSa; changes: Change[] } {
  const { suite, ni, nr, secret, further } = made;
  const keys = childKeys(context.provider, {
    prf: ike.suite.prf!,
    skD: ike.skD,
    encryption: suite.encryption,
    integrity: suite.integrity,
    ni,
    nr,
    ...(secret ? { secret } : {}),
    further,
  });
  const [keyIn, keyOut] = made.initiator
    ? [keys.responder, keys.initiator]
    : [keys.initiator, keys.responder];
  const child: ChildSa = {
    name: made.template.name,
    spiIn: made.spiIn,
    spiOut: made.spiOut,
    suite,
    selectors: made.selectors,
    since: context.now,
    ...(made.template.mode === 'transport' ? { transport: true } : {}),
    ...(made.unpadded && made.template.padTo !== undefined ? { unpadded: true } : {}),
    ...lifetimeFrom(context, made.template.lifetime.time),
    udp: inUdpToo(sa, tunnel, suite),
    used: false,
  };
  const inbound = entry(sa, tunnel, made, 'in', keyIn);
  const outbound = entry(sa, tunnel, made, 'out', keyOut);
  return {
    child,
    changes: [
      { type: 'add-inbound', sa: inbound },
      { type: 'add-outbound', sa: outbound },
    ],
  };
}

function entry(
  sa: IkeSa,
  tunnel: Tunnel,
  made: NewChild,
  direction: 'in' | 'out',
  keys: DirectionKeys,
): SaParameters {
  const { template, suite } = made;
  return {
    spi: direction === 'in' ? made.spiIn : made.spiOut,
    direction,
    protocol: template.protocol,
    mode: template.mode,
    policy: policyId(tunnel.name, template.name),
    local: sa.local.address,
    remote: sa.remote.address,
    ...(inUdpToo(sa, tunnel, suite) ? { udp: { localPort: sa.local.port, remotePort: sa.remote.port } } : {}),
    ...(suite.encryption ? { encryption: { ...suite.encryption, key: keys.encryption } } : {}),
    ...(suite.integrity ? { integrity: { name: suite.integrity, key: keys.integrity } } : {}),
    esn: suite.esn === true,
    outer: template.outer,
    ...(template.padTo === undefined || made.unpadded ? {} : { padTo: template.padTo }),
    replayWindow: template.replayWindow,
    selectors: made.selectors,
    ...(made.original && direction === 'in' ? { original: made.original } : {}),
    lifetime: limits(template, suite),
  };
}

/** ESP travels in UDP when a NAT was found (RFC 7296 §2.23), the data plane is faster so, or the configuration says so. */
function inUdpToo(sa: IkeSa, tunnel: Tunnel, suite: ChosenSuite): boolean {
  if (childProtocol(suite) === PROTOCOL.AH) return false;
  return tunnel.encapsulation === 'auto' ? inUdp(sa) : tunnel.encapsulation === 'udp';
}

/** The configured limits within what the algorithm and the sequence numbers allow; soft at nine tenths. */
function limits(template: ChildTemplate, suite: ChosenSuite): SaParameters['lifetime'] {
  const packetLimit = packetLimitOf(suite);
  // RFC 4303 §3.3.3: without ESN the number must not cycle.
  const wrap = suite.esn ? packetLimit : 2n ** 32n - 1n;
  const packets = [packetLimit, wrap, template.lifetime.packets ?? packetLimit].reduce((a, b) =>
    a < b ? a : b,
  );
  const { bytes } = template.lifetime;
  return {
    hardPackets: packets,
    softPackets: (packets * 9n) / 10n,
    ...(bytes === undefined ? {} : { hardBytes: bytes, softBytes: (bytes * 9n) / 10n }),
  };
}

/** No counter comes near the last. */
const UNBOUNDED = 2n ** 62n;

function packetLimitOf({ encryption, integrity }: ChosenSuite): bigint {
  if (encryption) return encryptionRow(encryption.name).packetLimit;
  return integrityRow(integrity!).packetLimit ?? UNBOUNDED;
}

/** Sends with this child from now on. */
export function useChild(context: Context, sa: IkeSa, established: Established, child: ChildSa): void {
  if (child.used) return;
  for (const other of generations(context, established, child)) other.used = false;
  child.used = true;
  delete child.useAt;
  applyChanges(context, [
    {
      type: 'use-outbound',
      policy: policyId(established.tunnel, child.name),
      spi: child.spiOut,
      remote: sa.remote.address,
    },
  ]);
}

/** Every SA of that child, on whichever IKE SA of the tunnel. */
export function generations(context: Context, { tunnel }: Established, { name }: ChildSa): ChildSa[] {
  return sasOf(context, tunnel).flatMap(({ state }) =>
    state.name === 'established' ? state.children.filter((child) => child.name === name) : [],
  );
}

/** After so long the peer has what it asked for, whether it sends anything or not. */
const TAKE_OVER = 5000;

/** The answer to a request has come by then, and the peer has made its half of what it asked for. */
const PEER_HAS_IT = 1000;

/** A new child of the peer's. Where another IKE SA carries it, the peer says by its packets when it is ready. */
export function useOrWait(context: Context, sa: IkeSa, established: Established, child: ChildSa): void {
  child.peerHasItAt = context.now + PEER_HAS_IT;
  const carried = sasOf(context, established.tunnel).some(
    (other) =>
      other !== sa &&
      other.state.name === 'established' &&
      !isSilent(other) &&
      other.state.children.some(({ name, used }) => name === child.name && used),
  );
  if (carried) child.useAt = context.now + TAKE_OVER;
  else useChild(context, sa, established, child);
}

/** Takes the child out: outbound at once, inbound after the drain. */
export function removeChild(context: Context, established: Established, child: ChildSa): void {
  established.children = established.children.filter((other) => other !== child);
  applyChanges(context, [{ type: 'remove', direction: 'out', spi: child.spiOut }]);
  context.removals.push({
    at: context.now + DRAIN,
    change: { type: 'remove', direction: 'in', spi: child.spiIn },
  });
}

export function childBySpi(established: Established, spiIn: number): ChildSa | undefined {
  return established.children.find((child) => child.spiIn === spiIn);
}

/** By what the peer calls it: SPIs of AH and of ESP are numbers of their own (RFC 4301 §4.1). */
export function childNamed(
  { children }: Established,
  protocol: number,
  spiOut: number | undefined,
): ChildSa | undefined {
  const isOther = ({ suite }: ChildSa) => protocol === OTHER_THAN[childProtocol(suite)];
  return children.find((child) => child.spiOut === spiOut && !isOther(child));
}

/** Whoever names neither is understood. */
const OTHER_THAN: Readonly<Record<number, number>> = {
  [PROTOCOL.ESP]: PROTOCOL.AH,
  [PROTOCOL.AH]: PROTOCOL.ESP,
};

/** We delete it, or will. */
export function isLeaving({ own, tasks }: Established, { spiIn, name }: ChildSa): boolean {
  return [...tasks, ...(own ? [own.task] : [])].some(
    (task) =>
      (task.type === 'delete-child' && task.spiIn === spiIn) ||
      (task.type === 'take-down' && task.child === name),
  );
}

/** For SAs that were installed and are not wanted: no traffic can have used them. */
export function dropChild(context: Context, child: Pick<ChildSa, 'spiIn' | 'spiOut'>): void {
  applyChanges(context, [
    { type: 'remove', direction: 'out', spi: child.spiOut },
    { type: 'remove', direction: 'in', spi: child.spiIn },
  ]);
}

/** The child is there: that is reported, and the next failure to make it is a first one. */
export function reportChild(
  context: Context,
  code: 'CHILD_ESTABLISHED' | 'CHILD_REKEYED',
  tunnel: string,
  child: ChildSa,
): void {
  report(context, code, tunnel, {
    child: child.name,
    suite: suiteText(child.suite),
    local: child.selectors.local.map(selectorText).join(', '),
    remote: child.selectors.remote.map(selectorText).join(', '),
    spiIn: child.spiIn,
    spiOut: child.spiOut,
  });
  forgetUnmade(context, tunnel, child.name);
  const template = context.tunnels.peek(tunnel)?.tunnel.children.find(({ name }) => name === child.name);
  if (template && code === 'CHILD_ESTABLISHED') reportNarrowed(context, tunnel, child, template);
}

function forgetUnmade(context: Context, tunnel: string, child: string): void {
  if (context.tunnels.peek(tunnel)?.unmade?.[child] === undefined) return;
  delete context.tunnels.get(tunnel)!.unmade![child];
}

/** RFC 7296 §2.9: less than we want. The rest of the networks has no SA, and nobody would say so. */
function reportNarrowed(
  context: Context,
  tunnel: string,
  { name, selectors }: ChildSa,
  template: ChildTemplate,
): void {
  const whole = (wanted: readonly Selector[], got: readonly Selector[]) =>
    wanted.every((one) => got.some((other) => contains(other, one)));
  const { local, remote } = template.selectors;
  if (whole(local, selectors.local) && whole(remote, selectors.remote)) return;
  const [wanted, got] = [selectorsText(template.selectors), selectorsText(selectors)];
  report(context, 'CHILD_NARROWED', tunnel, { child: name, wanted, got });
}

/** TSi and TSr as we send them; the sender of the request is the initiator (RFC 7296 §2.9). */
export function selectorPayloads(selectors: SelectorSet, initiator: boolean): Payload[] {
  const [tsi, tsr] = initiator ? [selectors.local, selectors.remote] : [selectors.remote, selectors.local];
  return [
    { type: PAYLOAD.TSi, critical: false, selectors: tsi.map(toWire) },
    { type: PAYLOAD.TSr, critical: false, selectors: tsr.map(toWire) },
  ];
}

function toWire(selector: Selector): TrafficSelector {
  const tsType = familyOf(selector.start) === 4 ? TS_TYPE.TS_IPV4_ADDR_RANGE : TS_TYPE.TS_IPV6_ADDR_RANGE;
  return { tsType, ...selector };
}

/** Address ranges only; a type nobody knows cannot be matched (RFC 7296 §3.13.1). */
export function fromWire(selectors: readonly TrafficSelector[]): Selector[] {
  return selectors.flatMap(({ tsType: _, raw, ...range }) =>
    raw === undefined && 'start' in range ? [range as Selector] : [],
  );
}

/** What a request asks for, by the mode that a child has: through a NAT they differ (RFC 7296 §2.23.1). */
export type Offered = Record<ChildTemplate['mode'], SelectorSet>;

/** The child that the request means to the letter, or the first that has something in common with it, and what that is. */
export function narrowTo(
  templates: readonly ChildTemplate[],
  offered: Offered,
): { template: ChildTemplate; selectors: SelectorSet } | undefined {
  const fits = fitting(templates, offered);
  return (
    fits.find(
      ({ template: { mode, selectors } }) => selectorsText(selectors) === selectorsText(offered[mode]),
    ) ?? fits[0]
  );
}

/** All of them. */
export function fitting(
  templates: readonly ChildTemplate[],
  offered: Offered,
): { template: ChildTemplate; selectors: SelectorSet }[] {
  return templates.flatMap((template) => {
    const asked = offered[template.mode];
    const local = narrow(asked.local, template.selectors.local);
    const remote = narrow(asked.remote, template.selectors.remote);
    return local.length > 0 && remote.length > 0 ? [{ template, selectors: { local, remote } }] : [];
  });
}

export function selectorsText({ local, remote }: SelectorSet): string {
  return `${local.map(selectorText).join(', ')} to ${remote.map(selectorText).join(', ')}`;
}
