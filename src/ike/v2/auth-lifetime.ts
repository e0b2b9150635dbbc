// How long an authentication holds, as the original responder tells it (RFC 4478).

import type { Tunnel } from '../../policy/tunnel.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY } from '../../wire/numbers.ts';
import type { Context } from '../context.ts';
import { shortenProof } from '../proof-lifetime.ts';
import type { Established, IkeSa } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** RFC 4478 §1: the responder names the seconds; the initiator is to prove itself again before they are over. */
export function authLifetime({ ike }: Tunnel): Payload[] {
  if (ike.reauthentication === undefined) return [];
  const seconds = new Uint8Array(4);
  new DataView(seconds.buffer).setUint32(0, Math.round(ike.reauthentication / 1000));
  return [notifyPayload(NOTIFY.AUTH_LIFETIME, seconds)];
}

/** In IKE_AUTH, or later in an INFORMATIONAL exchange. */
export function noteAuthLifetime(
  context: Context,
  { initiator }: IkeSa,
  established: Established,
  payloads: readonly Payload[],
): void {
  const data = findNotify(payloads, NOTIFY.AUTH_LIFETIME)?.data;
  if (!initiator || data?.length !== 4) return;
  const seconds = new DataView(data.buffer, data.byteOffset).getUint32(0);
  if (seconds > 0) shortenProof(context, established, seconds);
}
