// A data plane without sockets: the reference behind the DataPlane interface. For tests, and the first of three that must
// keep the contract of test/dataplane.suite.ts.

import type { Provider } from '../crypto/provider.ts';
import { AH_INTEGRITY, ESP_ENCRYPTION, ESP_INTEGRITY } from '../crypto/suites.ts';
import type {
  Capabilities,
  Change,
  DataPlaneEvent,
  InstalledSa,
  SaParameters,
  Snapshot,
} from '../policy/sad.ts';
import { type DataPlane, DataPlaneError } from './dataplane.ts';
import {
  type Inbound,
  newSa,
  newTables,
  protect,
  type ReferencePolicy,
  type ReferenceSa,
  type ReferenceTables,
  unprotect,
  unprotectPacket,
} from './reference.ts';
import { linkOfSa, SHARED_LINK, tablesOfLink } from './reference-links.ts';

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
  prefersUdp: false,
  firstInbound: true,
  holds: false,
  expects: false,
};

export interface MemoryPlane extends DataPlane {
  /** One IP packet towards the network: its ESP packet, or nothing. With AH and in transport mode a whole packet. */
  outbound(packet: Uint8Array, link?: number): Uint8Array | undefined;
  /** One ESP packet from the network: its IP packet, or nothing. */
  inbound(esp: Uint8Array, from?: { address: string; port: number }): Uint8Array | undefined;
  /** One whole packet from the network, with ESP or AH in it: its IP packet, or nothing. */
  inboundPacket(packet: Uint8Array): Uint8Array | undefined;
  /** The link of the last packet that arrived. */
  lastLink(): number;
}

export function createMemoryPlane(provider: Provider): MemoryPlane {
  const tables = newTables();
  const drops: Record<string, bigint> = {};
  const asked = new Set<string>();
  let lastLink = SHARED_LINK;
  let listener: (event: DataPlaneEvent) => void = () => {};

  let identification = 0;

  function dropped(direction: 'inbound' | 'outbound', drop: string): undefined {
    const name = `${direction}-${drop}`;
    drops[name] = (drops[name] ?? 0n) + 1n;
  }

  function delivered(outcome: Inbound, from?: { address: string; port: number }): Uint8Array | undefined {
    if (outcome.type === 'dropped') return dropped('inbound', outcome.drop);
    const { parameters, packets } = outcome.sa;
    if (packets === 1n) listener({ type: 'first-inbound', spi: parameters.spi });
    const moved = from?.port !== parameters.udp?.remotePort || from?.address !== parameters.remote;
    if (from && parameters.udp && moved)
      listener({ type: 'mapping', spi: parameters.spi, remote: from.address, remotePort: from.port });
    tellLimits(outcome.sa, listener);
    lastLink = linkOfSa(tables, outcome.sa);
    return outcome.packet;
  }

  return {
    name: 'memory',
    capabilities: CAPABILITIES,
    async apply(changes) {
      for (const change of changes) {
        applyChange(tables, change);
        if (change.type === 'use-outbound') asked.delete(change.policy);
      }
    },
    snapshot: async () => snapshotOf(tables, drops),
    onEvent(next) {
      listener = next;
    },
    async close() {
      tables.policies = [];
      tables.byId.clear();
      tables.inbound.clear();
      tables.outbound.clear();
    },
    outbound(packet, link = SHARED_LINK) {
      const outcome = protect(
        provider,
        tablesOfLink(tables, link),
        packet,
        () => provider.random(16),
        () => (identification = (identification % 65_535) + 1),
      );
      if (outcome.type === 'dropped') return dropped('outbound', outcome.drop);
      if (outcome.type === 'held') {
        if (!asked.has(outcome.policy.id))
          listener({ type: 'acquire', policy: outcome.policy.id, packet: headerOf(outcome.flow) });
        asked.add(outcome.policy.id);
        return dropped('outbound', 'no-sa');
      }
      tellLimits(outcome.sa, listener);
      return outcome.type === 'esp' ? outcome.esp : outcome.packet;
    },
    inbound: (esp, from) => delivered(unprotect(provider, tables, esp, 0), from),
    inboundPacket: (packet) => delivered(unprotectPacket(provider, tables, packet)),
    lastLink: () => lastLink,
  };
}

function headerOf(flow: {
  source: string;
  destination: string;
  protocol: number;
  sourcePort: number;
  destinationPort: number;
}) {
  const { source, destination, protocol, sourcePort, destinationPort } = flow;
  return { local: source, remote: destination, protocol, localPort: sourcePort, remotePort: destinationPort };
}

function tellLimits({ parameters, packets }: ReferenceSa, tell: (event: DataPlaneEvent) => void): void {
  const { softPackets, hardPackets } = parameters.lifetime;
  const { direction, spi } = parameters;
  if (packets === softPackets) tell({ type: 'expire', direction, spi, hard: false });
  if (packets === hardPackets) tell({ type: 'expire', direction, spi, hard: true });
}

export function applyChange(tables: ReferenceTables, change: Change): void {
  switch (change.type) {
    case 'add-policy': {
      const { policy } = change;
      const use = tables.byId.get(policy.id)?.use;
      removePolicy(tables, policy.id);
      return addPolicy(tables, { policy, ...(use ? { use } : {}) });
    }
    case 'remove-policy':
      return removePolicy(tables, change.policy);
    case 'add-inbound':
      return addSa(tables.inbound, change.sa);
    case 'add-outbound':
      return addSa(tables.outbound, change.sa);
    case 'use-outbound':
      return useOutbound(tables, change.policy, change.spi);
    case 'move': {
      const sa = (change.direction === 'in' ? tables.inbound : tables.outbound).get(change.spi);
      if (!sa) throw new DataPlaneError('refused', 'there is no such SA to move');
      sa.parameters = {
        ...sa.parameters,
        remote: change.remote,
        ...movedPort(sa.parameters, change.remotePort),
      };
      return;
    }
    case 'remove':
      return remove(tables, change);
    case 'expect-inbound':
    case 'forget-inbound':
      return;
  }
}

/** Behind those of the same order. */
function addPolicy({ policies, byId }: ReferenceTables, entry: ReferencePolicy): void {
  let [low, high] = [0, policies.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (policies[middle]!.policy.order <= entry.policy.order) low = middle + 1;
    else high = middle;
  }
  policies.splice(low, 0, entry);
  byId.set(entry.policy.id, entry);
}

function removePolicy({ policies, byId }: ReferenceTables, id: string): void {
  const entry = byId.get(id);
  if (!entry) return;
  byId.delete(id);
  policies.splice(policies.indexOf(entry), 1);
}

function movedPort({ udp }: SaParameters, remotePort: number): Pick<SaParameters, 'udp'> {
  return udp ? { udp: { ...udp, remotePort } } : {};
}

/** Adding what is there already does nothing; other keys under a used SPI would repeat nonces. */
function addSa(sas: Map<number, ReferenceSa>, parameters: SaParameters): void {
  const existing = sas.get(parameters.spi);
  if (!existing) return void sas.set(parameters.spi, newSa(parameters));
  const keys = ({ encryption, integrity }: SaParameters) => JSON.stringify([encryption, integrity]);
  if (keys(existing.parameters) !== keys(parameters))
    throw new DataPlaneError('exists', 'that SPI is in use with other keys');
}

function useOutbound(tables: ReferenceTables, policy: string, spi: number): void {
  const sa = tables.outbound.get(spi);
  const entry = tables.byId.get(policy);
  if (!sa || !entry) throw new DataPlaneError('refused', 'there is no such SA or no such policy');
  entry.use = sa;
}

function remove(tables: ReferenceTables, { direction, spi }: { direction: 'in' | 'out'; spi: number }): void {
  if (direction === 'in') return void tables.inbound.delete(spi);
  const sa = tables.outbound.get(spi);
  tables.outbound.delete(spi);
  const entry = sa && tables.byId.get(sa.parameters.policy);
  if (entry?.use === sa) delete entry?.use;
}

function snapshotOf(tables: ReferenceTables, drops: Record<string, bigint>): Snapshot {
  const inUse = new Set(tables.policies.map(({ use }) => use));
  const row = (sa: ReferenceSa): InstalledSa => ({
    spi: sa.parameters.spi,
    direction: sa.parameters.direction,
    policy: sa.parameters.policy,
    inUse: sa.parameters.direction === 'in' || inUse.has(sa),
    packets: sa.packets,
    bytes: sa.bytes,
  });
  return {
    policies: tables.policies.map(({ policy }) => policy),
    sas: [...tables.inbound.values(), ...tables.outbound.values()].map(row),
    drops: { ...drops },
  };
}
