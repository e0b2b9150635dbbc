// What children ask of the outer header, or of AH, that no kernel can do.

import { integrityRow } from '../crypto/suites.ts';
import type { ProposalTemplate } from '../policy/proposal.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { type Complaint, complain } from './complaint.ts';
import type { Entry } from './config.ts';

/** The kernel copies DSCP or leaves it 0, and copies or clears DF. */
export function beyondKernel(tunnels: readonly Tunnel[], entries: readonly Entry[]): Complaint[] {
  const byName = new Map(tunnels.map((tunnel) => [tunnel.name, tunnel]));
  return entries.flatMap(({ name, source }) => {
    const children = byName.get(name)?.children ?? [];
    const strange = children.find(
      ({ outer }) => outer.df === 'set' || (outer.dscp !== 'copy' && outer.dscp !== 0),
    );
    const nonced = children.find(
      ({ protocol, proposals }) => protocol === 'ah' && proposals.every(takesNonce),
    );
    return [
      ...(strange
        ? [
            complain(
              source,
              ['tunnels', name],
              `${strange.name}: with dataplane: xfrm, dscp can only be copy or 0, and df clear or copy; leave them out or use dataplane: engine`,
            ),
          ]
        : []),
      ...(nonced
        ? [
            complain(
              source,
              ['tunnels', name, 'ah-suites'],
              'the AH of the kernel has no AES-GMAC: name another algorithm, or use dataplane: engine',
            ),
          ]
        : []),
    ];
  });
}

function takesNonce({ integrity }: ProposalTemplate): boolean {
  return integrity.every((name) => integrityRow(name).ivBytes !== undefined);
}
