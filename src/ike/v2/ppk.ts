// Post-quantum preshared keys (RFC 8784): a secret that both sides hold goes into the keys behind the key exchange, so that
// nobody who breaks that has the keys of the children.
//
//   HDR, SAi1, KEi, Ni, N(USE_PPK)                                   -->
//                                                                    <--  HDR, SAr1, KEr, Nr, N(USE_PPK)
//   HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(PPK_IDENTITY), [N(NO_PPK_AUTH)]}  -->
//                                                                    <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr, N(PPK_IDENTITY)}

import { concat } from '../../crypto/bytes.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import { encodeIdentity, idBody, signedOctets } from '../authenticate.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, reportFailure, startJob, tunnelOf } from '../context.ts';
import { secretFailure, secretReport } from '../failures.ts';
import { chooseProof, proofPayloads } from '../own-proof.ts';
import { reopen } from '../protect.ts';
import type { Attempt, IkeSa, Secrets, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { beginAuth } from './ike-auth.ts';
import { authRequested, refuseAuth } from './ike-auth-served.ts';
import { notifyPayload } from './payloads.ts';

/** For IKE_SA_INIT; of a responder all the tunnels that may be meant. */
export function usePpk(tunnels: readonly Tunnel[]): Payload[] {
  return tunnels.some(({ ppk }) => ppk) ? [notifyPayload(NOTIFY.USE_PPK)] : [];
}

export function wantsPpk(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NOTIFY.USE_PPK) !== undefined;
}

/** RFC 8784 §5.1: an identifier without structure. The type stands in front. */
const PPK_ID_FIXED = 2;

function ppkIdentity(id: string): Uint8Array {
  return concat([Uint8Array.of(PPK_ID_FIXED), new TextEncoder().encode(id)]);
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

function mixed(secrets: Secrets, id: string, keys: (JobResult & { type: 'ppk' })['keys']): Secrets {
  const { d, pi, pr } = secrets.keys;
  return { ...secrets, keys: { ...secrets.keys, ...keys }, ppk: { id, without: { d, pi, pr } } };
}

export function ppkMixed(
  context: Context,
  sa: IkeSa,
  { attempt, secrets }: State & { name: 'ppk-mixing' },
  result: JobResult,
): void {
  if (result.type !== 'ppk') return giveUp(context, sa, ...secretFailure(result));
  const { tunnel } = tunnelOf(context, sa)!;
  const ppk = tunnel.ppk!;
  const after = mixed(secrets, ppk.id, result.keys);
  if (ppk.use === 'required') return beginAuth(context, sa, attempt, after);
  const octets = signedOctets(context, secrets, true, idBody(encodeIdentity(tunnel.local.identity)));
  const chosen = chooseProof(tunnel, secrets, octets, sa.heard);
  if (!chosen) return beginAuth(context, sa, attempt, after);
  const { job, proof } = chosen;
  sa.state = { name: 'no-ppk-signing', job: startJob(context, sa, job), proof, attempt, secrets: after };
}

/** RFC 8784 §3: the proof without the PPK, for a responder that may do without. */
export function noPpkSigned(
  context: Context,
  sa: IkeSa,
  { attempt, secrets, proof }: State & { name: 'no-ppk-signing' },
  result: JobResult,
): void {
  const payloads = proofPayloads(proof, result);
  const auth = payloads && findPayload(payloads, PAYLOAD.AUTH);
  if (!auth) return giveUp(context, sa, ...secretFailure(result));
  beginAuth(context, sa, attempt, { ...secrets, ppk: { ...secrets.ppk!, noPpkAuth: auth.data } });
}

/** Of our IKE_AUTH request. */
export function ppkPayloads({ ppk }: Secrets): Payload[] {
  if (!ppk) return [];
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
  if (!secrets.ppk || findNotify(payloads, NOTIFY.PPK_IDENTITY)) return secrets;
  return ppk?.use === 'required' ? undefined : withoutPpk(secrets);
}

function withoutPpk({ ppk, ...secrets }: Secrets): Secrets {
  return ppk ? { ...secrets, keys: { ...secrets.keys, ...ppk.without } } : secrets;
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

export function ppkAnswerMixed(
  context: Context,
  sa: IkeSa,
  { secrets, request, until }: State & { name: 'ppk-answering' },
  result: JobResult,
): void {
  const { nextReceived } = sa.window;
  const { tunnel } = tunnelOf(context, sa)!;
  if (result.type !== 'ppk') {
    reportFailure(context, ...secretReport(tunnel.name, result));
    return refuseAuth(context, sa, secrets, nextReceived);
  }
  const after = mixed(secrets, tunnel.ppk!.id, result.keys);
  const state = { name: 'init-answered', secrets: after, until } as const;
  authRequested(context, sa, state, reopen(context, after, request), request, nextReceived);
}

/** Of our IKE_AUTH answer: we use it (RFC 8784 §3). */
export function ppkUsed({ ppk }: Secrets): Payload[] {
  return ppk ? [notifyPayload(NOTIFY.PPK_IDENTITY)] : [];
}
