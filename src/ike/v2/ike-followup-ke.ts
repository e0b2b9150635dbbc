// IKE_FOLLOWUP_KE as we ask for it (RFC 9370 §2.2.4): the additional key exchanges of a CREATE_CHILD_SA, one a method. The SA is
// made after the last; until then the peer keeps what it needs for some seconds.
//
//   HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)(link)}  -->
//                                                       <--  HDR, SK {KEr(n) [, N(ADDITIONAL_KEY_EXCHANGE)(link)]}

import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, jittered, startJob } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { reopen } from '../protect.ts';
import type { Established, Followup, IkeSa, OwnExchange } from '../sa.ts';
import { sendRequest } from '../window.ts';
import { finishCreate } from './create-child-sa-made.ts';
import { taskFailed, yieldToRival } from './create-child-sa-undone.ts';
import { carried, TRY_AGAIN } from './create-task.ts';
import { linkOf, linkPayload, nextFollowup } from './followups.ts';
import { compareNonces, lower } from './nonces.ts';
import { errorOf } from './payloads.ts';

/** CREATE_CHILD_SA is answered. Of two rekeys the one with the lowest nonce is given up: no SA of it exists yet. */
export function beginFollowup(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'finishing' },
  rest: Followup,
  payloads: Payload[],
): void {
  const { rival, offer } = own;
  const lowest = lower(offer.nonce, findPayload(payloads, PAYLOAD.Nonce)!.data);
  if (rival && compareNonces(lowest, rival.nonce) < 0) return yieldToRival(context, sa, established, own);
  // The peer gives up its own, and sends no more of it.
  if (rival) delete established.pending;
  offerNext(context, sa, established, own, rest);
}

function offerNext(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'finishing' | 'followup-finishing' },
  rest: Followup,
): void {
  const group = nextFollowup(rest)!;
  const job = startJob(context, sa, { type: 'offer', group });
  established.own = { ...carried(own), step: 'followup-offering', job, offer: own.offer, rest, group };
}

export function followupOffered(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'followup-offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer')
    return taskFailed(context, sa, established, 'BUG_JOB', { message: failureText(result) });
  const { offer, rest, group } = own;
  const ke: Payload = { type: PAYLOAD.KE, critical: false, group, data: result.public };
  sendRequest(context, sa, EXCHANGE.IKE_FOLLOWUP_KE, [ke, linkPayload(rest.link)], established);
  established.own = { ...carried(own), step: 'followup-sent', offer, rest, group, handle: result.handle };
}

export function followupAnswered(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'followup-sent' },
  payloads: Payload[],
): void {
  delete sa.window.sent;
  const { offer, rest, group, handle } = own;
  const error = errorOf(payloads);
  const [ke, link] = [findPayload(payloads, PAYLOAD.KE), linkOf(payloads)];
  if (error !== undefined || ke?.group !== group || (nextFollowup(rest, 1) !== undefined && !link)) {
    startJob(context, sa, { type: 'forget', handle });
    return error === undefined
      ? failed(context, sa, established, 'an answer that does not fit what was agreed on')
      : refused(context, sa, established, own, error);
  }
  const job = startJob(context, sa, { type: 'finish', group, handle, public: ke.data });
  const next = { ...rest, link: link ?? rest.link };
  established.own = { ...carried(own), step: 'followup-finishing', job, offer, rest: next, handle };
}

/** RFC 9370 §2.2.4: what the peer does not know any more, or cannot finish now, is begun anew. */
function refused(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange,
  error: number,
): void {
  if (error !== NOTIFY.STATE_NOT_FOUND && error !== NOTIFY.TEMPORARY_FAILURE)
    return failed(context, sa, established, nameOf(NOTIFY, error));
  if (own.rival) return yieldToRival(context, sa, established, own);
  delete established.own;
  const notBefore = context.now + jittered(context, TRY_AGAIN, 0.5);
  established.tasks.push({ ...own.task, notBefore });
}

function failed(context: Context, sa: IkeSa, established: Established, notify: string): void {
  const detail = { remote: sa.remote.address, exchange: 'IKE_FOLLOWUP_KE', notify };
  taskFailed(context, sa, established, 'PEER_ERROR', detail);
}

export function followupFinished(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'followup-finishing' },
  result: JobResult,
): void {
  startJob(context, sa, { type: 'forget', handle: own.handle });
  if (result.type !== 'finish') {
    const detail = { remote: sa.remote.address, message: failureText(result) };
    return taskFailed(context, sa, established, exchangeFault(result), detail);
  }
  const rest = { ...own.rest, secrets: [...own.rest.secrets, result.secret] };
  if (nextFollowup(rest) !== undefined) return offerNext(context, sa, established, own, rest);
  const payloads = reopen(context, established, rest.response);
  finishCreate(context, sa, established, own, rest.suite, rest.secrets, payloads);
}
