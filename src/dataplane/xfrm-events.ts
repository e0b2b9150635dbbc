// What the kernel tells by itself, and what of it stands in a dump where messages were lost.

import type { DataPlaneEvent, PacketHeader } from '../policy/sad.ts';
import { fromXfrmAddress, type XfrmMessage, type XfrmSa, type XfrmSelector } from '../wire/xfrm.ts';
import { isOurReqid } from './xfrm-kernel.ts';
import { saId } from './xfrm-sa.ts';
import { type Known, keyOf, placeOf, restate, type Tables, usersOf } from './xfrm-tables.ts';

type Tell = (event: DataPlaneEvent) => void;

/** Protocols with ports (TCP, UDP, DCCP, SCTP, UDP-Lite). */
const WITH_PORTS = new Set([6, 17, 33, 132, 136]);

export function heard(tables: Tables, message: XfrmMessage, tell: Tell): void {
  switch (message.type) {
    case 'expire': {
      const place = placeOf(message.info.id);
      const sa = [...tables.sas.values()].find((one) => placeOf(saId(one)) === place);
      return sa && expired(tables, sa, message.hard, tell);
    }
    case 'acquire': {
      const { attributes, selector } = message.acquire;
      return acquired(tables, attributes.templates?.[0]?.reqid ?? 0, selector, tell);
    }
    case 'mapping':
      return mapped(tables, message.mapping, tell);
    case 'result':
    case 'sa':
    case 'policy':
  }
}

/** Messages were lost. A moved peer is told of again by itself, with its next packet. */
export function recover(tables: Tables, tell: Tell): void {
  const standing = tables.kernel.sas();
  const places = new Map(standing.map((one) => [placeOf(one.info.id), one]));
  for (const sa of tables.sas.values()) {
    const found = places.get(placeOf(saId(sa)));
    if (!found) expired(tables, sa, true, tell);
    else if (isAtSoftLimit(found.info)) expired(tables, sa, false, tell);
  }
  // What an unanswered acquire left: an SA without an SPI, for the packet that asked.
  for (const { info } of standing) if (info.id.spi === 0) acquired(tables, info.reqid, info.selector, tell);
}

function isAtSoftLimit({ counters, limits }: XfrmSa['info']): boolean {
  return counters.packets >= limits.softPackets || counters.bytes >= limits.softBytes;
}

/** Each limit once. The kernel removes an SA at its hard limit; what would be sent with it is then dropped. */
function expired(tables: Tables, sa: Known, hard: boolean, tell: Tell): void {
  if (sa.stopped || (!hard && sa.softTold)) return;
  sa.softTold = true;
  sa.stopped = hard;
  if (hard && sa.direction === 'out') restate(tables, ...usersOf(tables, sa.spi));
  tell({ type: 'expire', direction: sa.direction, spi: sa.spi, hard });
}

function acquired(tables: Tables, reqid: number, packet: XfrmSelector, tell: Tell): void {
  const [policy] = [...tables.acquireReqids].find(([, asked]) => asked === reqid) ?? [];
  if (policy === undefined || !tables.policies.has(policy) || tables.uses.has(policy)) return;
  tell({ type: 'acquire', policy, packet: headerOf(packet) });
}

function headerOf({
  source,
  destination,
  family,
  protocol,
  sourcePort,
  destinationPort,
}: XfrmSelector): PacketHeader {
  const ports = WITH_PORTS.has(protocol);
  return {
    local: fromXfrmAddress(source, family),
    remote: fromXfrmAddress(destination, family),
    protocol,
    localPort: ports ? sourcePort : 0,
    remotePort: ports ? destinationPort : 0,
  };
}

function mapped(
  tables: Tables,
  mapping: Extract<XfrmMessage, { type: 'mapping' }>['mapping'],
  tell: Tell,
): void {
  const { id, reqid, source, sourcePort } = mapping;
  const sa = tables.sas.get(keyOf('in', id.spi));
  const remote = fromXfrmAddress(source, id.family);
  if (!sa || !isOurReqid(reqid) || (remote === sa.remote && sourcePort === sa.udp?.remotePort)) return;
  tell({ type: 'mapping', spi: id.spi, remote, remotePort: sourcePort });
}
