// SPIs that somebody has already: one of ours that another program uses, one of the peer's that we send with to another peer.

import type { Change } from '../../policy/sad.ts';
import type { Payload, Proposal } from '../../wire/ikev2.ts';
import { PAYLOAD } from '../../wire/numbers.ts';
import { applyChanges, type Context, drawChildSpi, install } from '../context.ts';
import type { Established, IkeSa, Serving } from '../sa.ts';
import { spiBytes } from './payloads.ts';

type Installing = Serving & { step: 'installing' };

/** So often for one request: who finds every SPI taken has another fault. */
const MOST_DRAWS = 3;

/** The request is not answered yet, so that another SPI may stand in the answer. False where that was tried often enough. */
export function drawAgain(
  context: Context,
  sa: IkeSa,
  established: Established,
  serving: Installing,
): boolean {
  if (serving.draws === MOST_DRAWS) return false;
  const { child, changes, answer, draws } = serving;
  const { spiIn } = child;
  forgetInbound(context, spiIn);
  const drawn = drawChildSpi(context);
  if (established.own?.rival?.spi === spiIn) established.own.rival.spi = drawn;
  const anew = changes.map((change) => withInbound(change, drawn));
  established.serving = {
    ...serving,
    draws: draws + 1,
    child: { ...child, spiIn: drawn },
    changes: anew,
    answer: answer.map((payload) => naming(payload, drawn)),
    job: install(context, sa, anew),
  };
  return true;
}

/** Of what the data plane did not take as a whole: the other half may be somebody's who has that SPI. */
export function forgetInbound(context: Context, spi: number): void {
  applyChanges(context, [{ type: 'remove', direction: 'in', spi }]);
}

function withInbound(change: Change, spi: number): Change {
  return change.type === 'add-inbound' ? { ...change, sa: { ...change.sa, spi } } : change;
}

function naming(payload: Payload, spi: number): Payload {
  if (payload.type !== PAYLOAD.SA) return payload;
  const proposals = payload.proposals.map((one): Proposal => ({ ...one, spi: spiBytes(spi) }));
  return { ...payload, proposals };
}
