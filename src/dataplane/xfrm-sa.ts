// From our SA to the kernel's, and back as far as a comparison needs it.

import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import type { SaParameters } from '../policy/sad.ts';
import { familyOf } from '../wire/address.ts';
import { FAMILY } from '../wire/netlink.ts';
import {
  espInUdp,
  MODE,
  SA_FLAG,
  toXfrmAddress,
  UNLIMITED,
  type XfrmSa,
  type XfrmSaId,
  type XfrmSelector,
} from '../wire/xfrm.ts';
import { oneSelector } from './xfrm-policies.ts';

const ESP = 50;
/** The kernel tells of a moved peer at most so often, seconds: else for each packet until the SA is changed. */
const MAPPING_INTERVAL = 1;
/** Outbound the window means nothing, but the kernel wants one beside extended sequence numbers. */
const OUTBOUND_WINDOW = 32;

/** `mark`: on what it sends, so that our own rules leave it alone. */
export function kernelSa(sa: SaParameters, reqid: number, mark: number): XfrmSa {
  const inbound = sa.direction === 'in';
  const selector = selectorOfSa(sa);
  const window = inbound ? sa.replayWindow : OUTBOUND_WINDOW;
  return {
    info: {
      selector: selector ?? NO_SELECTOR,
      id: { destination: toXfrmAddress(inbound ? sa.local : sa.remote), spi: sa.spi, protocol: ESP },
      source: toXfrmAddress(inbound ? sa.remote : sa.local),
      limits: limitsOf(sa),
      counters: { bytes: 0n, packets: 0n, added: 0n, used: 0n },
      faults: { outsideWindow: 0, replayed: 0, integrity: 0 },
      sequence: 0,
      reqid,
      family: FAMILY[familyOf(sa.local)],
      mode: MODE.TUNNEL,
      replayWindow: 0,
      flags:
        (sa.esn ? SA_FLAG.ESN : 0) |
        (selector ? 0 : SA_FLAG.AF_UNSPEC) |
        (sa.outer.df === 'copy' ? 0 : SA_FLAG.NOPMTUDISC),
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
      ...(inbound ? {} : { outputMark: mark, outputMask: mark }),
    },
  };
}

/** An SA whose selectors are one pair carries it, and the kernel holds every packet against it (RFC 4301 §5.2 step 4). */
function selectorOfSa({ direction, selectors: { local, remote } }: SaParameters): XfrmSelector | undefined {
  return direction === 'in' ? oneSelector(remote, local) : oneSelector(local, remote);
}

function algorithmsOf({ encryption, integrity }: SaParameters): Partial<XfrmSa['attributes']> {
  if (!encryption) return {};
  const { kernel: name, tagBytes } = encryptionRow(encryption.name);
  const { key } = encryption;
  if (tagBytes > 0) return { aead: { name, key, icvBits: tagBytes * 8 } };
  if (!integrity) return { encryption: { name, key } };
  const row = integrityRow(integrity.name);
  return {
    encryption: { name, key },
    integrity: { name: row.kernel, key: integrity.key, icvBits: row.icvBytes * 8 },
  };
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
}: Pick<SaParameters, 'direction' | 'local' | 'remote' | 'spi'>): XfrmSaId {
  const destination = direction === 'in' ? local : remote;
  return {
    destination: toXfrmAddress(destination),
    spi,
    family: FAMILY[familyOf(destination)],
    protocol: ESP,
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
