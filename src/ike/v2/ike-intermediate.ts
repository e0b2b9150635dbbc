// IKE_INTERMEDIATE as initiator (RFC 9242), for additional key exchanges (RFC 9370 §2.2.2), one exchange a method, and for a
// PPK (RFC 9867), with the last of them or in an exchange of its own.
//
//   HDR, SK {KEi(n), [N(PPK_IDENTITY_KEY)]}  -->
//                                            <--  HDR, SK {KEr(n), [N(PPK_IDENTITY)]}

import { skeyseedRekey } from '../../crypto/keymat.ts';
import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import { addIntAuth } from '../authenticate.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, startJob, tunnelOf } from '../context.ts';
import { exchangeFault, failureText, secretFailure } from '../failures.ts';
import { keysOf, plainOf } from '../protect.ts';
import type { Attempt, IkeSa, OwnHalf, Secrets, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { sendRequest } from '../window.ts';
import { beginAuth } from './ike-auth.ts';
import { attemptFailed } from './ike-sa-init.ts';
import { errorOf } from './payloads.ts';
import { ppkIdentityKey, ppkIntJob } from './ppk.ts';

/** What the exchange that comes next carries: a key exchange, a PPK with the last, or, once all are done, nothing. */
export function nextExchange({
  suite,
  intAuth,
  ppkInt,
}: Secrets): { group?: number; ppk: boolean } | undefined {
  const methods = additionalMethods(suite);
  const [done, total] = [intAuth?.exchanges ?? 0, Math.max(methods.length, ppkInt ? 1 : 0)];
  if (done >= total) return undefined;
  const method = methods[done];
  const ppk = ppkInt === true && done === total - 1;
  return method ? { group: keyExchangeRow(method).id, ppk } : { ppk };
}

/** After IKE_SA_INIT and after each intermediate exchange: the next one, or IKE_AUTH. */
export function afterExchange(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets): void {
  const next = nextExchange(secrets);
  if (!next) return beginAuth(context, sa, attempt, secrets);
  if (next.group === undefined) return confirmPpk(context, sa, attempt, secrets, undefined);
  const job = startJob(context, sa, { type: 'offer', group: next.group });
  sa.state = { name: 'intermediate-offering', job, attempt, secrets, group: next.group };
}

export function intermediateOffered(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, group }: State & { name: 'intermediate-offering' },
  result: JobResult,
): void {
  if (result.type !== 'offer') return giveUp(context, sa, 'BUG_JOB', { message: failureText(result) });
  const ke = { group, public: result.public, handle: result.handle };
  if (nextExchange(secrets)!.ppk) return confirmPpk(context, sa, attempt, secrets, ke);
  request(context, sa, attempt, secrets, ke, []);
}

/** RFC 9867: the PPK is named, and shown to be held. */
function confirmPpk(
  context: Context,
  sa: IkeSa,
  attempt: Attempt,
  secrets: Secrets,
  ke: OwnHalf | undefined,
): void {
  const { ppk } = tunnelOf(context, sa)!.tunnel;
  const job = startJob(context, sa, ppkIntJob(sa, secrets, ppk!.secret, secrets.keys.d));
  sa.state = { name: 'ppk-confirming', job, attempt, secrets, ...(ke ? { ke } : {}) };
}

export function ppkConfirmed(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, ke }: State & { name: 'ppk-confirming' },
  result: JobResult,
): void {
  if (result.type !== 'ppk-int') return giveUp(context, sa, ...secretFailure(result));
  const { id } = tunnelOf(context, sa)!.tunnel.ppk!;
  request(context, sa, attempt, secrets, ke, [ppkIdentityKey(id, result.confirmation)]);
}

function request(
  context: Context,
  sa: IkeSa,
  attempt: Attempt,
  secrets: Secrets,
  ke: OwnHalf | undefined,
  more: Payload[],
): void {
  const value: Payload[] = ke
    ? [{ type: PAYLOAD.KE, critical: false, group: ke.group, data: ke.public }]
    : [];
  sendRequest(context, sa, EXCHANGE.IKE_INTERMEDIATE, [...value, ...more], secrets);
  sa.state = { name: 'intermediate-sent', attempt, secrets, ...(ke ? { ke } : {}) };
}

export function intermediateAnswered(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, ke }: State & { name: 'intermediate-sent' },
  payloads: Payload[],
  response: Uint8Array,
): void {
  const asked = sa.window.sent!.bytes;
  delete sa.window.sent;
  const error = errorOf(payloads);
  const theirs = findPayload(payloads, PAYLOAD.KE);
  if (error !== undefined || theirs?.group !== ke?.group) {
    const notify = error === undefined ? 'another key exchange than was agreed on' : nameOf(NOTIFY, error);
    if (ke) startJob(context, sa, { type: 'forget', handle: ke.handle });
    const detail = { remote: sa.remote.address, exchange: 'IKE_INTERMEDIATE', notify };
    return attemptFailed(context, sa, 'PEER_ERROR', detail);
  }
  const ppk = nextExchange(secrets)!.ppk && findNotify(payloads, NOTIFY.PPK_IDENTITY) !== undefined;
  const covered = { ...secrets, intAuth: coveredBy(context, secrets, asked, response) };
  if (!ke || !theirs) return afterKeys(context, sa, attempt, covered, ppk);
  const { group, handle } = ke;
  const job = startJob(context, sa, { type: 'finish', group, handle, public: theirs.data });
  sa.state = { name: 'intermediate-finishing', job, attempt, secrets: covered, ke, ppk };
}

export function intermediateFinished(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, ke, ppk }: State & { name: 'intermediate-finishing' },
  result: JobResult,
): void {
  startJob(context, sa, { type: 'forget', handle: ke.handle });
  if (result.type !== 'finish') {
    const detail = { remote: sa.remote.address, message: failureText(result) };
    return attemptFailed(context, sa, exchangeFault(result), detail);
  }
  afterKeys(context, sa, attempt, updated(context, sa, secrets, result.secret), ppk);
}

/** `ppk`: it goes into the keys that the key exchange has made. */
function afterKeys(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets, ppk: boolean): void {
  if (!ppk) return afterExchange(context, sa, attempt, secrets);
  const { secret } = tunnelOf(context, sa)!.tunnel.ppk!;
  const job = startJob(context, sa, ppkIntJob(sa, secrets, secret, secrets.keys.d));
  sa.state = { name: 'ppk-seeding', job, attempt, secrets };
}

export function ppkSeeded(
  context: Context,
  sa: IkeSa,
  { attempt, secrets }: State & { name: 'ppk-seeding' },
  result: JobResult,
): void {
  if (result.type !== 'ppk-int') return giveUp(context, sa, ...secretFailure(result));
  const { id } = tunnelOf(context, sa)!.tunnel.ppk!;
  afterExchange(context, sa, attempt, seeded(context, sa, secrets, id, result.skeyseed));
}

/** {SK_d | …} = prf+(SKEYSEED', Ni | Nr | SPIi | SPIr), RFC 9867. */
export function seeded(
  context: Context,
  sa: IkeSa,
  secrets: Secrets,
  id: string,
  skeyseed: Uint8Array,
): Secrets {
  const { suite, ni, nr } = secrets;
  return { ...secrets, keys: keysOf(context.provider, suite, sa, { skeyseed, ni, nr }), ppk: { id } };
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
