// From our SA to the kernel's, and back as far as a comparison needs it.

import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { KernelWishes, Offload, SaParameters } from '../policy/sad.ts';
import { familyOf } from '../wire/address.ts';
import { FAMILY } from '../wire/netlink.ts';
import {
  espInUdp,
  IPSEC,
  MODE,
  OFFLOAD_FLAG,
  SA_EXTRA_FLAG,
  SA_FLAG,
  toXfrmAddress,
  UNLIMITED,
  type XfrmSa,
  type XfrmSaId,
  type XfrmSelector,
} from '../wire/xfrm.ts';
import { type Lookup, oneSelector } from './xfrm-policies.ts';

/** The kernel tells of a moved peer at most so often, seconds: else for each packet until the SA is changed. */
const MAPPING_INTERVAL = 1;
/** Outbound the window means nothing, but the kernel wants one beside extended sequence numbers. */
const OUTBOUND_WINDOW = 32;

/** What of an SA is the kernel's affair. */
export interface KernelSide {
  reqid: number;
  /** On what it sends, so that our own rules leave it alone. */
  mark: number;
  lookup: Lookup;
  /** Asked of the network interface that leads to the peer. */
  offload?: Exclude<Offload, 'off'>;
  wishes?: KernelWishes | undefined;
}

/** Throws RangeError where the kernel cannot do what the SA asks. */
export function kernelSa(sa: SaParameters, side: KernelSide): XfrmSa {
  const { reqid, lookup, offload } = side;
  const inbound = sa.direction === 'in';
  const selector = selectorOfSa(sa);
  if (!inbound) demandOuter(sa);
  const window = inbound ? kernelWindow(sa.replayWindow) : OUTBOUND_WINDOW;
  return {
    info: {
      selector: selector ?? NO_SELECTOR,
      id: {
        destination: toXfrmAddress(inbound ? sa.local : sa.remote),
        spi: sa.spi,
        protocol: IPSEC[sa.protocol],
      },
      source: toXfrmAddress(inbound ? sa.remote : sa.local),
      limits: limitsOf(sa),
      counters: { bytes: 0n, packets: 0n, added: 0n, used: 0n },
      faults: { outsideWindow: 0, replayed: 0, integrity: 0 },
      sequence: 0,
      reqid,
      family: FAMILY[familyOf(sa.local)],
      mode: MODE[sa.mode],
      replayWindow: 0,
      flags: flagsOf(sa, selector !== undefined),
    },
    attributes: {
      ...algorithmsOf(sa),
      ...encapsulationOf(sa),
      replay: {
        sent: 0,
        received: 0,
        sentHigh: 0,
        receivedHigh: 0,
        window,
        bitmap: new Uint8Array(window / 8),
      },
      ...(inbound ? {} : outboundOnly(sa)),
      ...markSet(inbound, side),
      ...lookupOfSa(sa.direction, lookup),
      ...(offload ? { offload: { link: 0, flags: offloadFlags(sa, offload) } } : {}),
    },
  };
}

/** Outer packets carry ours beside what was asked for; what comes out inbound is what the policy of that mark is for. */
function markSet(inbound: boolean, { mark, wishes }: KernelSide): Partial<XfrmSa['attributes']> {
  const asked = inbound ? wishes?.mark : wishes?.outputMark;
  const own = inbound ? 0 : mark;
  if (inbound && !asked) return {};
  const { value, mask } = asked ?? { value: 0, mask: 0 };
  return { outputMark: (own | value) >>> 0, outputMask: (own | mask) >>> 0 };
}

function offloadFlags({ direction, local }: SaParameters, offload: Offload): number {
  return (
    (familyOf(local) === 6 ? OFFLOAD_FLAG.IPV6 : 0) |
    (direction === 'in' ? OFFLOAD_FLAG.INBOUND : 0) |
    (offload === 'packet' ? OFFLOAD_FLAG.PACKET : 0)
  );
}

/** An inbound SA is found by its SPI, whatever mark the network's packet has; the policy behind it looks at the mark. */
function lookupOfSa(direction: SaParameters['direction'], { mark, ifId }: Lookup): Lookup {
  return { ...(mark && direction === 'out' ? { mark } : {}), ...(ifId === undefined ? {} : { ifId }) };
}

function flagsOf({ esn, protocol, mode, local, outer }: SaParameters, oneFamily: boolean): number {
  // RFC 4302 §3.3.3.2.1: the ICV is aligned to 32 bits in IPv4, to 64 in IPv6; without the flag the kernel takes 64 for both.
  const align4 = protocol === 'ah' && familyOf(local) === 4;
  return (
    (esn ? SA_FLAG.ESN : 0) |
    (oneFamily || mode === 'transport' ? 0 : SA_FLAG.AF_UNSPEC) |
    (align4 ? SA_FLAG.ALIGN4 : 0) |
    (outer.df === 'copy' ? 0 : SA_FLAG.NOPMTUDISC)
  );
}

function outboundOnly({ outer, padTo, protocol, mode }: SaParameters): Partial<XfrmSa['attributes']> {
  return {
    ...(padTo !== undefined && protocol === 'esp' && mode === 'tunnel' ? { padTo } : {}),
    ...(outer.dscp === 0 ? { extraFlags: SA_EXTRA_FLAG.DONT_ENCAP_DSCP } : {}),
  };
}

/** In transport mode there is one header only, and nothing to be said about another. */
function demandOuter({ mode, outer: { df, dscp } }: SaParameters): void {
  if (mode === 'transport') return;
  if (df === 'set') throw new RangeError('the kernel copies DF or clears it, and cannot set it always');
  if (dscp !== 'copy' && dscp !== 0)
    throw new RangeError(`the kernel copies DSCP or leaves it 0, and cannot set it to ${dscp}`);
}

/**
 * The kernel finds the bit of a number by its remainder, and begins one before zero: unless the window is a power of two, the
 * first packet can be repeated, and another one is taken for it.
 */
function kernelWindow(window: number): number {
  return 2 ** Math.ceil(Math.log2(window));
}

/** An SA whose selectors are one pair carries it, and the kernel holds every packet against it (RFC 4301 §5.2 step 4). */
function selectorOfSa({ direction, selectors: { local, remote } }: SaParameters): XfrmSelector | undefined {
  return direction === 'in' ? oneSelector(remote, local) : oneSelector(local, remote);
}

function algorithmsOf({ encryption, integrity }: SaParameters): Partial<XfrmSa['attributes']> {
  const authentication = integrity ? { integrity: truncated(integrity) } : {};
  if (!encryption) return authentication;
  const { kernel: name, tagBytes } = encryptionRow(encryption.name);
  const { key } = encryption;
  if (tagBytes > 0) return { aead: { name, key, icvBits: tagBytes * 8 } };
  return { encryption: { name, key }, ...authentication };
}

function truncated({ name, key }: NonNullable<SaParameters['integrity']>): XfrmSa['attributes']['integrity'] {
  const { kernel, icvBytes } = integrityRow(name);
  return { name: kernel, key, icvBits: icvBytes * 8 };
}

function encapsulationOf({
  direction,
  udp,
}: Pick<SaParameters, 'direction' | 'udp'>): Partial<XfrmSa['attributes']> {
  if (!udp) return {};
  return direction === 'in'
    ? { encapsulation: espInUdp(udp.remotePort, udp.localPort), mappingInterval: MAPPING_INTERVAL }
    : { encapsulation: espInUdp(udp.localPort, udp.remotePort) };
}

function limitsOf({ lifetime }: SaParameters): XfrmSa['info']['limits'] {
  return {
    softBytes: lifetime.softBytes ?? UNLIMITED,
    hardBytes: lifetime.hardBytes ?? UNLIMITED,
    softPackets: lifetime.softPackets ?? UNLIMITED,
    hardPackets: lifetime.hardPackets ?? UNLIMITED,
    softAdded: 0n,
    hardAdded: 0n,
    softUsed: 0n,
    hardUsed: 0n,
  };
}

export function saId({
  direction,
  local,
  remote,
  spi,
  protocol,
  lookup = {},
}: Pick<SaParameters, 'direction' | 'local' | 'remote' | 'spi' | 'protocol'> & {
  lookup?: Lookup;
}): XfrmSaId {
  const { mark } = lookupOfSa(direction, lookup);
  const destination = direction === 'in' ? local : remote;
  return {
    destination: toXfrmAddress(destination),
    spi,
    family: FAMILY[familyOf(destination)],
    protocol: IPSEC[protocol],
    ...(mark ? { mark } : {}),
  };
}

/** The same SA with the UDP ports that are known of it. */
export function withPorts(standing: XfrmSa, sa: Pick<SaParameters, 'direction' | 'udp'>): XfrmSa {
  return { ...standing, attributes: { ...standing.attributes, ...encapsulationOf(sa) } };
}

/** Whether both are the same SA: ends, algorithms, keys. */
export function sameSa(a: XfrmSa, b: XfrmSa): boolean {
  return identity(a) === identity(b);
}

function identity({
  info: { id, source, reqid },
  attributes: { aead, encryption, integrity },
}: XfrmSa): string {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const parts = [aead, encryption, integrity].map((one) =>
    one ? [one.name, hex(one.key), 'icvBits' in one ? one.icvBits : 0] : [],
  );
  return JSON.stringify([hex(id.destination), id.spi, hex(source), reqid, parts]);
}

const NO_SELECTOR: XfrmSelector = {
  destination: new Uint8Array(16),
  source: new Uint8Array(16),
  destinationPort: 0,
  destinationPortMask: 0,
  sourcePort: 0,
  sourcePortMask: 0,
  family: 0,
  destinationLength: 0,
  sourceLength: 0,
  protocol: 0,
  link: 0,
  user: 0,
};
