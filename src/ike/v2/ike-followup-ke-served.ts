// IKE_FOLLOWUP_KE as the peer asks for it (RFC 9370 §2.2.4); the diagram stands in ike-followup-ke.ts.

import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { createLater, retryRekey } from '../child.ts';
import { type Context, reportFailure, startJob } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import type { Established, IkeSa, Serving } from '../sa.ts';
import { isClosing, MISSED, proceed, refuseRequest, spiOfAgreed } from './create-child-sa-served.ts';
import { linkOf, nextFollowup } from './followups.ts';

/** The next of the additional key exchanges of what the peer asked for (RFC 9370 §2.2.4). */
export function followupRequested(
  context: Context,
  sa: IkeSa,
  established: Established,
  payloads: Payload[],
  request: Uint8Array,
  messageId: number,
): void {
  const refuse = (notify: number) => refuseFollowup(context, sa, established, messageId, notify);
  const { pending } = established;
  const [ke, link] = [findPayload(payloads, PAYLOAD.KE), linkOf(payloads)];
  if (!ke || !link) return refuse(NOTIFY.INVALID_SYNTAX);
  if (!pending || !context.provider.equal(pending.link, link)) return refuse(NOTIFY.STATE_NOT_FOUND);
  // RFC 7296 §2.25.2: nothing more is made of an IKE SA that is being deleted.
  if (isClosing(established)) {
    endPending(context, established);
    return refuse(NOTIFY.TEMPORARY_FAILURE);
  }
  const group = nextFollowup(pending.agreed)!;
  if (ke.group !== group) {
    endPending(context, established);
    return refuse(NOTIFY.INVALID_SYNTAX);
  }
  const job = startJob(context, sa, { type: 'answer', group, public: ke.data });
  established.serving = { messageId, request, step: 'followup', job };
}

export function followupAnswerReady(
  context: Context,
  sa: IkeSa,
  established: Established,
  { messageId, request }: Serving & { step: 'followup' },
  result: JobResult,
): void {
  delete established.serving;
  const { pending } = established;
  const refuse = (notify: number) => refuseFollowup(context, sa, established, messageId, notify);
  if (!pending) return refuse(NOTIFY.STATE_NOT_FOUND);
  if (result.type !== 'answer') {
    const detail = { remote: sa.remote.address, message: failureText(result) };
    reportFailure(context, exchangeFault(result), established.tunnel, detail);
    endPending(context, established);
    return refuse(NOTIFY.INVALID_SYNTAX);
  }
  if (established.replacedBy !== undefined) return refuse(NOTIFY.TEMPORARY_FAILURE);
  const { agreed } = pending;
  const ke: Payload = {
    type: PAYLOAD.KE,
    critical: false,
    group: nextFollowup(agreed)!,
    data: result.public,
  };
  const to = { exchange: EXCHANGE.IKE_FOLLOWUP_KE, messageId, request };
  proceed(context, sa, established, { ...agreed, secrets: [...agreed.secrets, result.secret] }, to, [ke]);
}

function refuseFollowup(
  context: Context,
  sa: IkeSa,
  established: Established,
  messageId: number,
  notify: number,
): void {
  refuseRequest(context, sa, established, messageId, notify, undefined, EXCHANGE.IKE_FOLLOWUP_KE);
}

/** The peer does not go on with what it asked for: an old SA goes on, and its rekey is ours again. */
export function endPending(context: Context, established: Established): void {
  const { pending, own } = established;
  delete established.pending;
  if (!pending) return;
  const { agreed } = pending;
  if (own?.rival?.spi === spiOfAgreed(agreed)) delete own.rival;
  if (agreed.kind === 'ike') return;
  const { name: child, replaces } = agreed;
  if (replaces === undefined) createLater(context, established, child, MISSED);
  else retryRekey(context, established, { type: 'rekey-child', spiIn: replaces, child });
}
