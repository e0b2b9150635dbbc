// A data plane that only keeps its tables: the SAD as it would be installed, and which SA each policy sends with.

import { sameBytes } from '../crypto/bytes.ts';
import type { Change, SaParameters } from '../policy/sad.ts';

export interface Plane {
  inbound: Map<number, SaParameters>;
  outbound: Map<number, SaParameters>;
  /** Which outbound SPI each policy sends with. */
  inUse: Map<string, number>;
  /** SPIs whose packets wait for their SA. */
  expected: Set<number>;
}

export function applyChange(plane: Plane, change: Change): void {
  switch (change.type) {
    case 'add-inbound':
      plane.expected.delete(change.sa.spi);
      return void plane.inbound.set(change.sa.spi, change.sa);
    case 'add-outbound':
      return void plane.outbound.set(change.sa.spi, change.sa);
    case 'use-outbound':
      return void plane.inUse.set(change.policy, change.spi);
    case 'remove':
      return void (change.direction === 'in' ? plane.inbound : plane.outbound).delete(change.spi);
    case 'move': {
      const table = change.direction === 'in' ? plane.inbound : plane.outbound;
      const sa = table.get(change.spi);
      const udp = sa?.udp && { ...sa.udp, remotePort: change.remotePort };
      return void (udp && table.set(change.spi, { ...sa, udp }));
    }
    case 'expect-inbound':
      return void plane.expected.add(change.spi);
    case 'forget-inbound':
      return void plane.expected.delete(change.spi);
    case 'add-policy':
    case 'remove-policy':
      return;
  }
}

/** What becomes of one packet through a policy, from one data plane to the other. */
export type Passage = 'received' | 'waits' | 'no-sa' | 'unknown-spi' | 'wrong-key';

export function passage(from: Plane, to: Plane, policy: string): { outcome: Passage; spi?: number } {
  const spi = from.inUse.get(policy);
  const outbound = spi === undefined ? undefined : from.outbound.get(spi);
  if (!outbound) return { outcome: 'no-sa' };
  const inbound = to.inbound.get(outbound.spi);
  if (!inbound)
    return { outcome: to.expected.has(outbound.spi) ? 'waits' : 'unknown-spi', spi: outbound.spi };
  return { outcome: sameKeys(outbound, inbound) ? 'received' : 'wrong-key', spi: outbound.spi };
}

function sameKeys(a: SaParameters, b: SaParameters): boolean {
  return sameKey(a.encryption?.key, b.encryption?.key) && sameKey(a.integrity?.key, b.integrity?.key);
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a && b ? sameBytes(a, b) : a === b;
}
