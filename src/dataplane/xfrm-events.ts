// What the kernel tells by itself, and what of it stands in a dump where messages were lost.

import type { DataPlaneEvent, PacketHeader } from '../policy/sad.ts';
import {
  decodeXfrm,
  fromXfrmAddress,
  getSas,
  type XfrmMessage,
  type XfrmSa,
  type XfrmSelector,
} from '../wire/xfrm.ts';
import { singly } from './turns.ts';
import { isForPacket, isOurReqid } from './xfrm-kernel.ts';
import { saId } from './xfrm-sa.ts';
import { type Known, keyOf, placeOf, type Tables, usersOf } from './xfrm-tables.ts';
import { eachPiece } from './xfrm-work.ts';

/** What follows from what is heard. */
export interface Hearing {
  tell(event: DataPlaneEvent): void;
  /** These policies of ours are stated again, as soon as what was asked for earlier is done. */
  follow(policies: readonly string[]): void;
}

/** Protocols with ports (TCP, UDP, DCCP, SCTP, UDP-Lite). */
const WITH_PORTS = new Set([6, 17, 33, 132, 136]);

export function heard(tables: Tables, message: XfrmMessage, hearing: Hearing): void {
  switch (message.type) {
    case 'expire': {
      const sa = tables.places.get(placeOf(message.info.id));
      return sa && expired(tables, sa, message.hard, hearing);
    }
    case 'acquire': {
      const { attributes, selector } = message.acquire;
      return acquired(tables, attributes.templates?.[0]?.reqid ?? 0, selector, hearing);
    }
    case 'mapping':
      return mapped(tables, message.mapping, hearing);
    case 'result':
    case 'sa':
    case 'policy':
    case 'count':
  }
}

/** To be called when messages were lost: what they told is looked up. */
export function createRecovery(tables: Tables, hearing: Hearing): () => void {
  // A kernel that does not answer is told of by the next snapshot.
  return singly(() => recover(tables, hearing).catch(() => {}));
}

/** A moved peer is told of again by itself, with its next packet. */
async function recover(tables: Tables, hearing: Hearing): Promise<void> {
  const before = [...tables.sas.values()];
  const places = new Map<string, XfrmSa['info']>();
  const questions: XfrmSa['info'][] = [];
  await eachPiece(tables.kernel, getSas(), (piece) => {
    for (const one of decodeXfrm(piece)) {
      if (one.type !== 'sa') continue;
      const { info } = one.sa;
      // What an unanswered acquire left for the packet that asked: without an SPI, or under that of an SA of ours that is gone.
      if (info.id.spi === 0) questions.push(info);
      else if (!isForPacket(info.limits)) places.set(placeOf(info.id), info);
    }
  });
  for (const sa of before) {
    const found = places.get(placeOf(saId(sa)));
    // What was removed or moved meanwhile is no loss.
    if (tables.sas.get(keyOf(sa.direction, sa.spi)) !== sa) continue;
    if (!found) expired(tables, sa, true, hearing);
    else if (isAtSoftLimit(found)) expired(tables, sa, false, hearing);
  }
  for (const { reqid, selector } of questions) acquired(tables, reqid, selector, hearing);
}

function isAtSoftLimit({ counters, limits }: XfrmSa['info']): boolean {
  return counters.packets >= limits.softPackets || counters.bytes >= limits.softBytes;
}

/** Each limit once. The kernel removes an SA at its hard limit; what would be sent with it is then dropped. */
function expired(tables: Tables, sa: Known, hard: boolean, hearing: Hearing): void {
  if (sa.stopped || (!hard && sa.softTold)) return;
  sa.softTold = true;
  sa.stopped = hard;
  if (hard) hearing.follow(usersOf(tables, sa));
  hearing.tell({ type: 'expire', direction: sa.direction, spi: sa.spi, hard });
}

function acquired(tables: Tables, reqid: number, packet: XfrmSelector, hearing: Hearing): void {
  const policy = tables.asking.get(reqid);
  if (policy === undefined || !tables.policies.has(policy) || tables.uses.has(policy)) return;
  hearing.tell({ type: 'acquire', policy, packet: headerOf(packet) });
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
  hearing: Hearing,
): void {
  const { id, reqid, source, sourcePort } = mapping;
  const sa = tables.sas.get(keyOf('in', id.spi));
  const remote = fromXfrmAddress(source, id.family);
  if (!sa || !isOurReqid(reqid) || (remote === sa.remote && sourcePort === sa.udp?.remotePort)) return;
  hearing.tell({ type: 'mapping', spi: id.spi, remote, remotePort: sourcePort });
}
