// What the network interface does for an SA. The kernel takes an SA that asks for encryption by an interface which cannot
// encrypt, and encrypts itself without a word: what an SA got is known only from the SA.

import type { KernelWishes } from '../policy/sad.ts';
import { deleteSa, OFFLOAD_FLAG, type XfrmSa } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { demand, ERRNO, standingSa } from './xfrm-kernel.ts';
import type { OffloadVerdict } from './xfrm-policies.ts';
import { type KernelSide, saId } from './xfrm-sa.ts';
import type { Known } from './xfrm-tables.ts';
import type { Work } from './xfrm-work.ts';

type Asked = NonNullable<KernelSide['offload']>;

/**
 * `place` adds the SA, and says whether it was there before. Throws DataPlaneError where the interface does not do what was
 * asked for, and then the SA is not there; `auto` goes on without.
 */
export function* withOffload(
  sa: Known,
  wish: KernelWishes['offload'],
  place: (asked?: Asked) => Work<boolean>,
): Work<OffloadVerdict | 'before' | undefined> {
  if (wish === 'off') return (yield* place()) ? 'before' : undefined;
  const asked = wish === 'auto' ? 'crypto' : wish;
  const attempt = yield* tried(sa, () => place(asked));
  if (attempt === 'before') return attempt;
  if (attempt === 'there') {
    const verdict = verdictOf(yield* standingSa(saId(sa)));
    if (verdict.by === asked) return verdict;
    if (wish === 'auto') return { by: 'off', reason: SOFTWARE };
    yield* demand(deleteSa(saId(sa)), 'SA', ERRNO.ESRCH);
  }
  const reason = attempt === 'there' ? SOFTWARE : attempt.refused;
  if (wish !== 'auto') throw new DataPlaneError('refused', `offload: ${wish}: ${reason}`);
  return (yield* place()) ? 'before' : { by: 'off', reason };
}

const MODULES = 'esp4_offload and esp6_offload';
const ESN = ' (not every one does ESN: no-esn in the suite)';
const SOFTWARE = 'the interface that leads to the peer does not encrypt';

type Attempt = 'before' | 'there' | { refused: string };

function* tried(
  sa: Pick<Known, 'protocol' | 'udp' | 'padTo' | 'esn'>,
  place: () => Work<boolean>,
): Work<Attempt> {
  if (sa.protocol === 'ah') return { refused: 'interfaces do ESP only' };
  if (sa.udp) return { refused: 'the kernel has none for ESP in UDP; write encapsulation: esp' };
  if (sa.padTo !== undefined) return { refused: 'the kernel has none where packets are padded' };
  try {
    return (yield* place()) ? 'before' : 'there';
  } catch (error) {
    if (error instanceof DataPlaneError && error.reason === 'refused')
      return {
        refused: `${error.message}, by the interface${sa.esn ? ESN : ''}, or for want of the modules ${MODULES}`,
      };
    throw error;
  }
}

function verdictOf(standing: XfrmSa | undefined): OffloadVerdict {
  const found = standing?.attributes.offload;
  if (!found) return { by: 'off' };
  return { by: (found.flags & OFFLOAD_FLAG.PACKET) === 0 ? 'crypto' : 'packet', link: found.link };
}
