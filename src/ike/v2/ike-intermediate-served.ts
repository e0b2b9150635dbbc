// IKE_INTERMEDIATE as responder (RFC 9242, RFC 9370 §2.2.2, RFC 9867); the diagram stands in ike-intermediate.ts.

import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, reportFailure, startJob } from '../context.ts';
import { exchangeFault, failureText, secretReport } from '../failures.ts';
import { reopen } from '../protect.ts';
import type { IkeSa, Secrets, State } from '../sa.ts';
import { sendResponse } from '../window.ts';
import { coveredBy, nextExchange, seeded, updated } from './ike-intermediate.ts';
import { notifyPayload } from './payloads.ts';
import { offeredPpks, ppkIdentity, ppkIntJob } from './ppk.ts';

/** What is agreed on to come next. Anything else under these keys ends the negotiation. */
export function intermediateRequested(
  context: Context,
  sa: IkeSa,
  { secrets, until }: State & { name: 'init-answered' },
  payloads: Payload[],
  request: Uint8Array,
): void {
  const next = nextExchange(secrets);
  const ke = findPayload(payloads, PAYLOAD.KE);
  if (!next || ke?.group !== next.group) return refuseExchange(context, sa, secrets);
  if (!ke) return weighPpk(context, sa, { secrets, after: secrets, request, answer: [], until }, payloads);
  const job = startJob(context, sa, { type: 'answer', group: ke.group, public: ke.data });
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
  const { group, ppk } = nextExchange(secrets)!;
  const answer: Payload[] = [{ type: PAYLOAD.KE, critical: false, group: group!, data: result.public }];
  const after = updated(context, sa, secrets, result.secret);
  const exchange = { secrets, after, request, answer, until };
  if (!ppk) return respond(context, sa, exchange);
  weighPpk(context, sa, exchange, reopen(context, secrets, request));
}

type Exchange = Pick<State & { name: 'ppk-weighing' }, 'secrets' | 'after' | 'request' | 'answer' | 'until'>;

/** The first PPK that a tunnel which may be meant has, too (RFC 9867); without one the exchange goes on. */
function weighPpk(context: Context, sa: IkeSa, exchange: Exchange, payloads: Payload[]): void {
  const tunnels = sa.candidates.flatMap((name) => context.tunnels.get(name)?.tunnel ?? []);
  const found = offeredPpks(payloads).flatMap((offered) => {
    const ppk = tunnels.find((tunnel) => tunnel.ppk?.id === offered.id)?.ppk;
    return ppk ? [{ ...offered, secret: ppk.secret }] : [];
  })[0];
  if (!found) return respond(context, sa, exchange);
  const { id, confirmation, secret } = found;
  const { secrets, after } = exchange;
  const job = startJob(context, sa, ppkIntJob(sa, secrets, secret, after.keys.d));
  sa.state = { name: 'ppk-weighing', job, ...exchange, id, confirmation };
}

export function ppkWeighed(
  context: Context,
  sa: IkeSa,
  state: State & { name: 'ppk-weighing' },
  result: JobResult,
): void {
  if (result.type !== 'ppk-int') {
    reportFailure(context, ...secretReport(sa.candidates[0] ?? '', result));
    return refuseExchange(context, sa, state.secrets);
  }
  const { id, confirmation, after, answer } = state;
  if (!context.provider.equal(confirmation, result.confirmation)) return respond(context, sa, state);
  // Whoever is meant has this PPK.
  sa.candidates = sa.candidates.filter((name) => context.tunnels.get(name)?.tunnel.ppk?.id === id);
  const named = notifyPayload(NOTIFY.PPK_IDENTITY, ppkIdentity(id));
  const keyed = seeded(context, sa, after, id, result.skeyseed);
  respond(context, sa, { ...state, after: keyed, answer: [...answer, named] });
}

/** Under the keys of the exchange; `after` are those of the next. */
function respond(context: Context, sa: IkeSa, { secrets, after, request, answer, until }: Exchange): void {
  const { nextReceived } = sa.window;
  const response = sendResponse(context, sa, EXCHANGE.IKE_INTERMEDIATE, nextReceived, answer, secrets);
  sa.window.answered!.protection = { suite: secrets.suite, keys: secrets.keys };
  const intAuth = coveredBy(context, secrets, request, response);
  sa.state = { name: 'init-answered', secrets: { ...after, intAuth: intAuth! }, until };
}

function refuseExchange(context: Context, sa: IkeSa, secrets: Secrets): void {
  const { nextReceived } = sa.window;
  const refusal = [notifyPayload(NOTIFY.INVALID_SYNTAX)];
  sendResponse(context, sa, EXCHANGE.IKE_INTERMEDIATE, nextReceived, refusal, secrets);
  context.sas.delete(sa.spi);
}
