// Additional key exchanges in proposals (RFC 9370 §2.2.1): transform types 6 to 12 in the order in which they are carried out.

import { type KeyExchangeName, keyExchangeRow } from '../crypto/suites.ts';
import type { Transform } from '../wire/ikev2.ts';
import { TRANSFORM } from '../wire/numbers.ts';

/** `none` among alternatives: this exchange may be left out. */
export type AdditionalMethod = KeyExchangeName | 'none';

/** What was chosen for one transform type. */
export interface AdditionalChoice {
  type: number;
  method: AdditionalMethod;
}

export const MOST_ADDITIONAL = 7;

export function isAdditional(type: number): boolean {
  return type >= TRANSFORM.ADDKE1 && type < TRANSFORM.ADDKE1 + MOST_ADDITIONAL;
}

export function additionalTransform({ type, method }: AdditionalChoice): Transform {
  return { type, id: methodId(method) };
}

export function additionalTransforms(lists: readonly AdditionalMethod[][]): Transform[] {
  return lists.flatMap((methods, index) =>
    methods.map((method) => additionalTransform({ type: TRANSFORM.ADDKE1 + index, method })),
  );
}

/**
 * One method for each type, the first in our order that leaves one for every later type: none may be chosen twice
 * (RFC 9370 §2.2.1). Undefined where there is no such choice.
 */
export function chooseAdditional(
  lists: readonly AdditionalMethod[][],
  transforms: readonly Transform[],
  type: number = TRANSFORM.ADDKE1,
  taken: readonly AdditionalChoice[] = [],
): AdditionalChoice[] | undefined {
  if (!isAdditional(type)) return [...taken];
  const offered = transforms.filter((transform) => transform.type === type).map(({ id }) => id);
  const wanted = lists[type - TRANSFORM.ADDKE1] ?? [];
  const may = wanted.length === 0 ? (['none'] as const) : wanted;
  for (const method of may) {
    // A type that is not offered is as good as NONE alone, and is not answered.
    if (offered.length === 0 ? method !== 'none' : !offered.includes(methodId(method))) continue;
    if (method !== 'none' && taken.some((choice) => choice.method === method)) continue;
    const next = offered.length === 0 ? taken : [...taken, { type, method }];
    const whole = chooseAdditional(lists, transforms, type + 1, next);
    if (whole) return whole;
  }
  return undefined;
}

/** The exchanges to carry out, in order (RFC 9370 §2.2.1). */
export function additionalMethods({
  additionalKeyExchange = [],
}: {
  additionalKeyExchange?: readonly AdditionalChoice[];
}): KeyExchangeName[] {
  return additionalKeyExchange.flatMap(({ method }) => (method === 'none' ? [] : method));
}

function methodId(method: AdditionalMethod): number {
  return method === 'none' ? 0 : keyExchangeRow(method).id;
}
