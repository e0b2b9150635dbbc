// IKE SAs without a first child (RFC 6023): every child comes by CREATE_CHILD_SA, with a key exchange of its own.

import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { Context } from '../context.ts';
import type { IkeSa } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** RFC 6023 §3: the responder of IKE_SA_INIT says that it can. The identity decides later which tunnel it is. */
export function childlessSupported({ tunnels }: Context, { candidates }: IkeSa): Payload[] {
  const can = candidates.some((name) => tunnels.get(name)?.tunnel.childless !== 'never');
  return can ? [notifyPayload(NOTIFY.CHILDLESS_IKEV2_SUPPORTED)] : [];
}

export function noteChildless(sa: IkeSa, payloads: readonly Payload[]): void {
  if (findNotify(payloads, NOTIFY.CHILDLESS_IKEV2_SUPPORTED)) sa.childless = true;
  else delete sa.childless;
}

/** Whether we leave the child out of IKE_AUTH. */
export function leavesChildOut({ childless }: IkeSa, tunnel: Tunnel): boolean {
  return childless === true && (tunnel.childless === 'prefer' || tunnel.childless === 'require');
}

/** The peer left it out: none of SA, TSi, TSr (RFC 6023 §4). */
export function isChildless(payloads: readonly Payload[]): boolean {
  return [PAYLOAD.SA, PAYLOAD.TSi, PAYLOAD.TSr].every((type) => !findPayload(payloads, type));
}
