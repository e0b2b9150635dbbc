// How long a proof of who is there holds (RFC 7296 §2.8.3, RFC 4478).

import type { Tunnel } from '../policy/tunnel.ts';
import { lifetimeFrom } from './child.ts';
import type { Context } from './context.ts';
import type { Established } from './sa.ts';

/** Of the lifetime of a proof: the responder leaves it to the initiator (RFC 4478) until then. */
const RESPONDERS_TURN = 0.97;

/** How long the proof that has just been given holds. */
export function proofFrom(context: Context, { ike }: Tunnel, initiator: boolean): Established['proof'] {
  const { reauthentication: time } = ike;
  if (time === undefined) return { renewAt: Number.POSITIVE_INFINITY, endsAt: Number.POSITIVE_INFINITY };
  const { rekeyAt, endsAt } = lifetimeFrom(context, time);
  return { renewAt: initiator ? rekeyAt : context.now + RESPONDERS_TURN * time, endsAt };
}

/** The peer wants a new proof within so many seconds. */
export function shortenProof(context: Context, { proof }: Established, seconds: number): void {
  const { rekeyAt, endsAt } = lifetimeFrom(context, seconds * 1000);
  proof.renewAt = Math.min(proof.renewAt, rekeyAt);
  proof.endsAt = Math.min(proof.endsAt, endsAt);
}
