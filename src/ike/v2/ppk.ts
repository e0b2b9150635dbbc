// Post-quantum preshared keys (RFC 8784): a secret that both sides hold goes into the keys behind the key exchange, so that
// nobody who breaks that has the keys of the children.
//
//   HDR, SAi1, KEi, Ni, N(USE_PPK)                                   -->
//                                                                    <--  HDR, SAr1, KEr, Nr, N(USE_PPK)
//   HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(PPK_IDENTITY), [N(NO_PPK_AUTH)]}  -->
//                                                                    <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr, N(PPK_IDENTITY)}
//
// Where both sides can, with the last intermediate exchange instead (RFC 9867): then it is in the keys of IKE_AUTH as well.

import { concat, unhex } from '../../crypto/bytes.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { Job, JobResult } from '../boundary.ts';
import { type Context, startJob, tunnelOf } from '../context.ts';
import { type Attempt, type IkeSa, type Secrets, spisOf } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** Of our IKE_SA_INIT request: either way of using it. */
export function usePpk({ ppk }: Tunnel): Payload[] {
  return ppk ? [notifyPayload(NOTIFY.USE_PPK), notifyPayload(NOTIFY.USE_PPK_INT)] : [];
}

/** One of the two ways, where any of the tunnels that may be meant has a PPK: RFC 9867 where both can. */
export function agreedPpk(
  tunnels: readonly Tunnel[],
  payloads: readonly Payload[],
): Pick<Secrets, 'usePpk' | 'ppkInt'> {
  if (!tunnels.some(({ ppk }) => ppk)) return {};
  const intermediate = findNotify(payloads, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED);
  if (intermediate && findNotify(payloads, NOTIFY.USE_PPK_INT)) return { ppkInt: true };
  return findNotify(payloads, NOTIFY.USE_PPK) ? { usePpk: true } : {};
}

/** Of our IKE_SA_INIT answer. */
export function ppkAgreement({ usePpk: plain, ppkInt }: Pick<Secrets, 'usePpk' | 'ppkInt'>): Payload[] {
  if (ppkInt) return [notifyPayload(NOTIFY.USE_PPK_INT)];
  return plain ? [notifyPayload(NOTIFY.USE_PPK)] : [];
}

/** RFC 8784 §5.1: an identifier without structure. The type stands in front. */
const PPK_ID_FIXED = 2;

export function ppkIdentity(id: string): Uint8Array {
  return concat([Uint8Array.of(PPK_ID_FIXED), new TextEncoder().encode(id)]);
}

const CONFIRMATION_BYTES = 8;

/** RFC 9867: which PPK, and that it is held. */
export function ppkIdentityKey(id: string, confirmation: Uint8Array): Payload {
  return notifyPayload(NOTIFY.PPK_IDENTITY_KEY, concat([ppkIdentity(id), confirmation]));
}

export function offeredPpks(payloads: readonly Payload[]): { id: string; confirmation: Uint8Array }[] {
  return payloads.flatMap((payload) => {
    if (payload.type !== PAYLOAD.N || payload.notifyType !== NOTIFY.PPK_IDENTITY_KEY) return [];
    const { data } = payload;
    if (data[0] !== PPK_ID_FIXED || data.length <= 1 + CONFIRMATION_BYTES) return [];
    const id = new TextDecoder().decode(data.subarray(1, -CONFIRMATION_BYTES));
    return [{ id, confirmation: data.subarray(-CONFIRMATION_BYTES) }];
  });
}

export function ppkIntJob(sa: IkeSa, { suite, ni, nr }: Secrets, secret: string, skD: Uint8Array): Job {
  const { initiatorSpi, responderSpi } = spisOf(sa);
  const seed = concat([ni, nr, unhex(initiatorSpi), unhex(responderSpi)]);
  return { type: 'ppk-int', secret, prf: suite.prf!, seed, skD };
}

/** For a report: what either side has; `payloads` of the peer's IKE_AUTH. */
export function noCommonPpk(
  { remote }: IkeSa,
  { ppk }: Tunnel,
  payloads: readonly Payload[],
): Record<string, unknown> {
  const named = findNotify(payloads, NOTIFY.PPK_IDENTITY)?.data.subarray(1);
  const theirs = named ? new TextDecoder().decode(named) : 'none';
  return { remote: remote.address, theirs, ours: ppk?.id ?? 'none' };
}

// As initiator

/** True where IKE_AUTH has to wait for the keys. */
export function mixesFirst(context: Context, sa: IkeSa, attempt: Attempt, secrets: Secrets): boolean {
  const { ppk } = tunnelOf(context, sa)!.tunnel;
  if (!ppk || !secrets.usePpk || secrets.ppk) return false;
  const job = mixing(context, sa, secrets, ppk.secret);
  sa.state = { name: 'ppk-mixing', job, attempt, secrets };
  return true;
}

function mixing(context: Context, sa: IkeSa, { suite, keys }: Secrets, secret: string): number {
  const { d, pi, pr } = keys;
  return startJob(context, sa, { type: 'ppk', secret, prf: suite.prf!, keys: { d, pi, pr } });
}

/** The keys with it, and those without. */
export function mixed(secrets: Secrets, id: string, keys: (JobResult & { type: 'ppk' })['keys']): Secrets {
  const { d, pi, pr } = secrets.keys;
  return { ...secrets, keys: { ...secrets.keys, ...keys }, ppk: { id, without: { d, pi, pr } } };
}

/** Of our IKE_AUTH request. */
export function ppkPayloads({ ppk }: Secrets): Payload[] {
  if (!ppk?.without) return [];
  return [
    notifyPayload(NOTIFY.PPK_IDENTITY, ppkIdentity(ppk.id)),
    ...(ppk.noPpkAuth ? [notifyPayload(NOTIFY.NO_PPK_AUTH, ppk.noPpkAuth)] : []),
  ];
}

/** With the PPK where the answer names it, without where it does not; nothing where that may not be. */
export function answeredWith(
  { ppk }: Tunnel,
  secrets: Secrets,
  payloads: readonly Payload[],
): Secrets | undefined {
  if (!secrets.ppk?.without || findNotify(payloads, NOTIFY.PPK_IDENTITY)) return secrets;
  return ppk?.use === 'required' ? undefined : withoutPpk(secrets);
}

function withoutPpk({ ppk, ...secrets }: Secrets): Secrets {
  return { ...secrets, keys: { ...secrets.keys, ...ppk?.without } };
}

// As responder

/**
 * What a request is to be verified with, by RFC 8784 §3: as it stands, its NO_PPK_AUTH in the place of AUTH, nothing because
 * the PPK is missing, or nothing yet because it is being mixed in.
 */
export function ppkOfRequest(
  context: Context,
  sa: IkeSa,
  { secrets, until }: { secrets: Secrets; until: number },
  payloads: Payload[],
  request: Uint8Array,
): Payload[] | 'refused' | 'waits' {
  const { ppk } = tunnelOf(context, sa)!.tunnel;
  if (secrets.ppk) return payloads;
  const named = findNotify(payloads, NOTIFY.PPK_IDENTITY);
  if (ppk && secrets.usePpk && named && context.provider.equal(named.data, ppkIdentity(ppk.id))) {
    const job = mixing(context, sa, secrets, ppk.secret);
    sa.state = { name: 'ppk-answering', job, secrets, request, until };
    return 'waits';
  }
  if (ppk?.use === 'required') return 'refused';
  if (!named) return payloads;
  const instead = findNotify(payloads, NOTIFY.NO_PPK_AUTH);
  if (!instead) return 'refused';
  return payloads.map((payload) =>
    payload.type === PAYLOAD.AUTH ? { ...payload, data: instead.data } : payload,
  );
}

/** Of our IKE_AUTH answer: we use it (RFC 8784 §3). */
export function ppkUsed({ ppk }: Secrets): Payload[] {
  return ppk?.without ? [notifyPayload(NOTIFY.PPK_IDENTITY)] : [];
}
