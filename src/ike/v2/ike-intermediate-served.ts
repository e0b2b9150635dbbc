// IKE_INTERMEDIATE as responder (RFC 9242, RFC 9370 §2.2.2); the diagram stands in ike-intermediate.ts.

import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, reportFailure, startJob } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import type { IkeSa, Secrets, State } from '../sa.ts';
import { sendResponse } from '../window.ts';
import { coveredBy, nextGroup, updated } from './ike-intermediate.ts';
import { notifyPayload } from './payloads.ts';

/** The next of the additional key exchanges. Anything else under these keys ends the negotiation. */
export function intermediateRequested(
  context: Context,
  sa: IkeSa,
  { secrets, until }: State & { name: 'init-answered' },
  payloads: Payload[],
  request: Uint8Array,
): void {
  const group = nextGroup(secrets);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (group === undefined || ke?.group !== group) return refuseExchange(context, sa, secrets);
  const job = startJob(context, sa, { type: 'answer', group, public: ke.data });
  sa.state = { name: 'intermediate-answering', job, secrets, request, until };
}

export function intermediateAnswerReady(
  context: Context,
  sa: IkeSa,
  { secrets, request, until }: State & { name: 'intermediate-answering' },
  result: JobResult,
): void {
  if (result.type !== 'answer') {
    reportFailure(context, exchangeFault(result), sa.candidates[0], {
      remote: sa.remote.address,
      message: failureText(result),
    });
    return refuseExchange(context, sa, secrets);
  }
  const ke: Payload = { type: PAYLOAD.KE, critical: false, group: nextGroup(secrets)!, data: result.public };
  const response = answer(context, sa, secrets, ke);
  sa.window.answered!.protection = { suite: secrets.suite, keys: secrets.keys };
  const covered = { ...secrets, intAuth: coveredBy(context, secrets, request, response) };
  sa.state = { name: 'init-answered', secrets: updated(context, sa, covered, result.secret), until };
}

function refuseExchange(context: Context, sa: IkeSa, secrets: Secrets): void {
  answer(context, sa, secrets, notifyPayload(NOTIFY.INVALID_SYNTAX));
  context.sas.delete(sa.spi);
}

/** The request in hand is the one that is received next. */
function answer(context: Context, sa: IkeSa, secrets: Secrets, payload: Payload): Uint8Array {
  const { nextReceived } = sa.window;
  return sendResponse(context, sa, EXCHANGE.IKE_INTERMEDIATE, nextReceived, [payload], secrets);
}
