// IKE_INTERMEDIATE as initiator (RFC 9242), for additional key exchanges (RFC 9370 §2.2.2): one exchange a method.
//
//   HDR, SK {KEi(n)}  -->
//                     <--  HDR, SK {KEr(n)}

import { skeyseedRekey } from '../../crypto/keymat.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import { addIntAuth } from '../authenticate.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, startJob } from '../context.ts';
import { exchangeFault, failureText } from '../failures.ts';
import { keysOf, plainOf } from '../protect.ts';
import type { Attempt, IkeSa, Secrets, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { sendRequest } from '../window.ts';
import { beginAuth } from './ike-auth.ts';
import { attemptFailed } from './ike-sa-init.ts';
import { errorOf, notifyPayload } from './payloads.ts';

/** The group of the exchange that comes next, or nothing once all are done. */
export function nextGroup({ suite, intAuth }: Secrets): number | undefined {
  const method = additionalMethods(suite)[intAuth?.exchanges ?? 0];
  return method && keyExchangeRow(method).id;
}

/** What IKE_SA_INIT says where an intermediate exchange may follow (RFC 9242 §3.1). */
export function intermediateSupported(): Payload {
  return notifyPayload(NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED);
}

export function supportsIntermediate(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined;
}

/** After IKE_SA_INIT and after each intermediate exchange: the next one, or IKE_AUTH. */
export function afterExchange(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets): void {
  const group = nextGroup(secrets);
  if (group === undefined) return beginAuth(context, sa, attempt, secrets);
  const job = startJob(context, sa, { type: 'offer', group });
  sa.state = { name: 'intermediate-offering', job, attempt, secrets, group };
}

export function intermediateOffered(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, group }: State & { name: 'intermediate-offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer') return giveUp(context, sa, 'BUG_JOB', { message: failureText(result) });
  const ke: Payload = { type: PAYLOAD.KE, critical: false, group, data: result.public };
  sendRequest(context, sa, EXCHANGE.IKE_INTERMEDIATE, [ke], secrets);
  sa.state = { name: 'intermediate-sent', attempt, secrets, group, handle: result.handle };
}

export function intermediateAnswered(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'intermediate-sent' },
  payloads: Payload[],
  response: Uint8Array,
): void {
  const { attempt, secrets, group, handle } = state;
  const request = sa.window.sent!.bytes;
  delete sa.window.sent;
  const error = errorOf(payloads);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (error !== undefined || ke?.group !== group) {
    const notify = error === undefined ? 'another key exchange than was agreed on' : nameOf(NOTIFY, error);
    startJob(context, sa, { type: 'forget', handle });
    const detail = { remote: sa.remote.address, exchange: 'IKE_INTERMEDIATE', notify };
    return attemptFailed(context, sa, 'PEER_ERROR', detail);
  }
  const intAuth = coveredBy(context, secrets, request, response);
  const job = startJob(context, sa, { type: 'finish', group, handle, public: ke.data });
  sa.state = {
    name: 'intermediate-finishing',
    job,
    attempt,
    secrets: { ...secrets, intAuth },
    handle,
  };
}

export function intermediateFinished(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, handle }: State & { name: 'intermediate-finishing' },
  result: JobResult,
): void {
  startJob(context, sa, { type: 'forget', handle });
  if (result.type !== 'finish') {
    const detail = { remote: sa.remote.address, message: failureText(result) };
    return attemptFailed(context, sa, exchangeFault(result), detail);
  }
  afterExchange(context, sa, attempt, updated(context, sa, secrets, result.secret));
}

/** Both messages as they were sent; each was opened before. */
export function coveredBy(
  context: Context,
  secrets: Secrets,
  request: Uint8Array,
  response: Uint8Array,
): Secrets['intAuth'] {
  const plain = (bytes: Uint8Array) => plainOf(context.provider, secrets, bytes)!;
  return addIntAuth(context, secrets, plain(request), plain(response));
}

/** SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), RFC 9370 §2.2.2: all keys are made anew. */
export function updated(context: Context, sa: IkeSa, secrets: Secrets, secret: Uint8Array): Secrets {
  const { suite, keys, ni, nr } = secrets;
  const skeyseed = skeyseedRekey(context.provider, suite.prf!, keys.d, secret, ni, nr);
  return { ...secrets, keys: keysOf(context.provider, suite, sa, { skeyseed, ni, nr }) };
}
