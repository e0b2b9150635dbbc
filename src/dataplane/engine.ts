// The userspace engine of native/ behind the DataPlane interface. Packets never come here.

import { setTimeout as sleep } from 'node:timers/promises';
import {
  AH_INTEGRITY,
  ESP_ENCRYPTION,
  ESP_INTEGRITY,
  encryptionRow,
  integrityRow,
} from '../crypto/suites.ts';
import type { Addon, Plane } from '../native.ts';
import type {
  Capabilities,
  Change,
  DataPlaneEvent,
  InstalledSa,
  Policy,
  SaParameters,
  Snapshot,
} from '../policy/sad.ts';
import type { Selector } from '../policy/selector.ts';
import { addressBytes, familyOf, formatAddress } from '../wire/address.ts';
import { chunks } from '../wire/lists.ts';
import { type DataPlane, DataPlaneError } from './dataplane.ts';
import { SHARED_LINK } from './reference-links.ts';

const CAPABILITIES: Capabilities = {
  encryption: ESP_ENCRYPTION,
  integrity: ESP_INTEGRITY,
  authentication: AH_INTEGRITY,
  modes: ['tunnel', 'transport'],
  links: true,
  esn: true,
  replayWindow: 4096,
  plainEsp: true,
  udpEncapsulation: true,
  prefersUdp: true,
  firstInbound: true,
  holds: true,
  expects: true,
};

/** Protocol and mode. */
const FORM = { esp: { tunnel: 0, transport: 1 }, ah: { tunnel: 2, transport: 3 } };
const DF = { clear: 0, set: 1, copy: 2 };
const COPY = -1;
const ACTION = { protect: 0, bypass: 1, discard: 2 };
/** What the addon answers to a change. */
const EXISTS = 1;
const REFUSED = 2;
const EVENT_FIELDS = 12;
const SA_FIELDS = 7;
/** What still fits into an outer packet, whatever is around it. */
const MOST_PADDED = 65_000;
/** Milliseconds; what a thread sends at once takes far less. */
const LONGEST_TURN = 200;
const NOTHING = new Uint8Array();

export interface Engine extends DataPlane {
  /** Hands on what the engine's threads have to tell. */
  deliver(): void;
}

/** `plane` is started and stopped by its owner. */
export function createEngine(addon: Addon, plane: Plane): Engine {
  const policies = new Map<string, Policy>();
  const handles = new Map<string, number>();
  const names = new Map<number, string>();
  let listener: (event: DataPlaneEvent) => void = () => {};
  let nextHandle = 1;

  function handleOf(policy: string): number {
    const known = handles.get(policy);
    if (known !== undefined) return known;
    const handle = nextHandle++;
    handles.set(policy, handle);
    names.set(handle, policy);
    return handle;
  }

  function applyOne(change: Change): void {
    switch (change.type) {
      case 'add-policy':
        return addPolicy(change.policy);
      case 'remove-policy':
        policies.delete(change.policy);
        return addon.removePolicy(plane, handleOf(change.policy));
      case 'add-inbound':
      case 'add-outbound':
        refuseUnknown(change.sa);
        return done(addSa(addon, plane, change.sa, handleOf(change.sa.policy)), change);
      case 'use-outbound':
        return done(addon.useOutbound(plane, handleOf(change.policy), change.spi), change);
      case 'move': {
        const { direction, spi, remote, remotePort } = change;
        return done(
          addon.move(plane, direction === 'in', spi, addressBytes(remote), remotePort) ? 0 : REFUSED,
          change,
        );
      }
      case 'remove':
        return addon.removeSa(plane, change.direction === 'in', change.spi);
      case 'expect-inbound':
        return addon.expectInbound(plane, change.spi);
      case 'forget-inbound':
        return addon.forgetInbound(plane, change.spi);
    }
  }

  /** The device of a link is there before the first packet can be for it, whoever comes first. */
  function openLinkOf({ link }: Policy): number {
    if (!link) return SHARED_LINK;
    const failed = addon.openLink(plane, link.name, link.id);
    if (failed !== '') throw new DataPlaneError('refused', failed);
    return link.id;
  }

  function addPolicy(policy: Policy): void {
    const link = openLinkOf(policy);
    policies.set(policy.id, policy);
    const { local, remote } = policy.selectors;
    addon.addPolicy(
      plane,
      handleOf(policy.id),
      ACTION[policy.action],
      policy.order,
      policy.acquire,
      link,
      packSelectors(local),
      packSelectors(remote),
    );
  }

  function snapshot(): Snapshot {
    const rows = chunks([...addon.sas(plane)], SA_FIELDS);
    return {
      policies: [...policies.values()],
      sas: rows.map((row) => installedSa(row, names)),
      drops: namedDrops(addon, plane),
    };
  }

  return {
    name: 'engine',
    capabilities: CAPABILITIES,
    async apply(changes) {
      try {
        for (const change of changes) applyOne(change);
      } finally {
        addon.publish(plane);
      }
      await turned(addon, plane);
    },
    snapshot: async () => snapshot(),
    onEvent(next) {
      listener = next;
    },
    deliver() {
      for (const fields of chunks(addon.takeEvents(plane), EVENT_FIELDS)) {
        const event = eventOf(fields as EventFields, names);
        if (event) listener(event);
      }
    },
    async close() {
      for (const { direction, spi } of snapshot().sas) addon.removeSa(plane, direction === 'in', spi);
      for (const policy of policies.keys()) addon.removePolicy(plane, handleOf(policy));
      addon.publish(plane);
    },
  };
}

/** A thread may still be sending with the SA of before, whose DELETE follows: the peer must not see that first. */
async function turned(addon: Addon, plane: Plane): Promise<void> {
  for (let waited = 0; !addon.hasTurned(plane) && waited < LONGEST_TURN; waited++) await sleep(1);
}

/** What would not be what it is called. */
function refuseUnknown({ protocol, udp, encryption, integrity, padTo }: SaParameters): void {
  const refuse = (why: string) => {
    throw new DataPlaneError('refused', why);
  };
  if (protocol === 'ah' && udp) refuse('AH does not travel in UDP: a translator changes what it protects');
  if (protocol === 'ah' && (encryption || !integrity)) refuse('AH is integrity alone');
  if (protocol === 'esp' && !encryption) refuse('ESP without encryption is said by name: null');
  if (protocol === 'esp' && integrity && integrityRow(integrity.name).only === 'ah')
    refuse(`${integrity.name} is for AH: ESP has aes-gmac`);
  if (padTo !== undefined && !(Number.isInteger(padTo) && padTo >= 0 && padTo <= MOST_PADDED))
    refuse(`packets are padded to 0 to ${MOST_PADDED} bytes`);
}

function addSa(addon: Addon, plane: Plane, sa: SaParameters, policy: number): number {
  const { encryption, integrity, lifetime, selectors } = sa;
  const icv = integrity && integrityRow(integrity.name);
  return addon.addSa(
    plane,
    sa.direction === 'in',
    FORM[sa.protocol][sa.mode],
    sa.protocol === 'esp' && sa.mode === 'tunnel' ? (sa.padTo ?? 0) : 0,
    sa.spi,
    policy,
    addressBytes(sa.local),
    addressBytes(sa.remote),
    sa.udp !== undefined,
    sa.udp?.remotePort ?? 0,
    sa.esn,
    sa.replayWindow,
    DF[sa.outer.df],
    sa.outer.dscp === 'copy' ? COPY : sa.outer.dscp,
    lifetime.softPackets ?? 0n,
    lifetime.hardPackets ?? 0n,
    lifetime.softBytes ?? 0n,
    lifetime.hardBytes ?? 0n,
    packSelectors(selectors.local),
    packSelectors(selectors.remote),
    sa.original ? addressBytes(sa.original.local) : NOTHING,
    sa.original ? addressBytes(sa.original.remote) : NOTHING,
    encryption ? encryptionRow(encryption.name).id : 0,
    encryption?.key ?? NOTHING,
    icv?.id ?? 0,
    icv?.icvBytes ?? 0,
    integrity?.key ?? NOTHING,
  );
}

function done(outcome: number, change: Change): void {
  if (outcome === EXISTS) throw new DataPlaneError('exists', 'that SPI is in use with other keys');
  if (outcome === REFUSED) throw new DataPlaneError('refused', `the engine refuses ${change.type}`);
}

/** Forty bytes a selector: family, protocol, start port, end port, two of nothing, start, end. */
function packSelectors(selectors: readonly Selector[]): Uint8Array {
  const SIZE = 40;
  const packed = new Uint8Array(SIZE * selectors.length);
  const view = new DataView(packed.buffer);
  for (const [index, selector] of selectors.entries()) {
    const at = index * SIZE;
    view.setUint8(at, familyOf(selector.start));
    view.setUint8(at + 1, selector.protocol);
    view.setUint16(at + 2, selector.startPort);
    view.setUint16(at + 4, selector.endPort);
    packed.set(addressBytes(selector.start), at + 8);
    packed.set(addressBytes(selector.end), at + 24);
  }
  return packed;
}

type EventFields = [
  type: number,
  policy: number,
  spi: number,
  inbound: boolean,
  hard: boolean,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  sourcePort: number,
  destinationPort: number,
  remote: Uint8Array,
  remotePort: number,
];

function eventOf(fields: EventFields, names: Map<number, string>): DataPlaneEvent | undefined {
  const [type, policy, spi, inbound, hard, source, destination, protocol, localPort, remotePort] = fields;
  switch (type) {
    case 0: {
      const name = names.get(policy);
      const [local, remote] = [formatAddress(source), formatAddress(destination)];
      const packet = { local, remote, protocol, localPort, remotePort };
      return name === undefined ? undefined : { type: 'acquire', policy: name, packet };
    }
    case 1:
      return { type: 'expire', direction: inbound ? 'in' : 'out', spi, hard };
    case 2:
      return { type: 'first-inbound', spi };
    case 3:
      return { type: 'mapping', spi, remote: formatAddress(fields[10]), remotePort: fields[11] };
  }
  return undefined;
}

function installedSa(row: bigint[], names: Map<number, string>): InstalledSa {
  const [spi, policy, inbound, inUse, packets, bytes, last] = row;
  return {
    spi: Number(spi),
    direction: inbound === 1n ? 'in' : 'out',
    policy: names.get(Number(policy)) ?? '?',
    inUse: inUse === 1n,
    packets: packets!,
    bytes: bytes!,
    ...(last === 0n ? {} : { last: Number(last) }),
  };
}

/** `inbound-replay: 3n` and the like; causes that never happened are left out. */
function namedDrops(addon: Addon, plane: Plane): Record<string, bigint> {
  const names = addon.dropNames();
  const counters = addon.drops(plane);
  const named = [...counters].map((count, index) => {
    const direction = index < names.length ? 'outbound' : 'inbound';
    return [`${direction}-${names[index % names.length]!.replaceAll('_', '-')}`, count] as const;
  });
  return Object.fromEntries(named.filter(([, count]) => count > 0n));
}
