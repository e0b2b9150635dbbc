// What both roles of IKE_FOLLOWUP_KE (RFC 9370 §2.2.4) know: the link to the CREATE_CHILD_SA, and which exchange comes next.

import { keyExchangeRow } from '../../crypto/suites.ts';
import { additionalMethods } from '../../policy/additional.ts';
import { findNotify, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY } from '../../wire/numbers.ts';
import type { Followup } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

export function linkOf(payloads: readonly Payload[]): Uint8Array | undefined {
  return findNotify(payloads, NOTIFY.ADDITIONAL_KEY_EXCHANGE)?.data;
}

export function linkPayload(link: Uint8Array): Payload {
  return notifyPayload(NOTIFY.ADDITIONAL_KEY_EXCHANGE, link);
}

/** The group of the exchange that comes next, or with `ahead` so many later; nothing where all are done. */
export function nextFollowup(
  { suite, secrets }: Pick<Followup, 'suite' | 'secrets'>,
  ahead = 0,
): number | undefined {
  const method = additionalMethods(suite)[secrets.length - 1 + ahead];
  return method && keyExchangeRow(method).id;
}
