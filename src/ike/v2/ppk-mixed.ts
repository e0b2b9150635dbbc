// What follows once the PPK is in the keys (RFC 8784 §3): as initiator IKE_AUTH begins, as responder its request is read again.

import { findPayload } from '../../wire/ikev2.ts';
import { PAYLOAD } from '../../wire/numbers.ts';
import { encodeIdentity, idBody, signedOctets } from '../authenticate.ts';
import type { JobResult } from '../boundary.ts';
import { type Context, reportFailure, startJob, tunnelOf } from '../context.ts';
import { secretFailure, secretReport } from '../failures.ts';
import { chooseProof, proofPayloads } from '../own-proof.ts';
import { reopen } from '../protect.ts';
import type { IkeSa, State } from '../sa.ts';
import { giveUp } from '../tunnels.ts';
import { beginAuth } from './ike-auth.ts';
import { authRequested, refuseAuth } from './ike-auth-served.ts';
import { mixed } from './ppk.ts';

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
