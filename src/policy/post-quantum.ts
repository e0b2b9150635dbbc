// What holds against a quantum computer: a key exchange that is a KEM of the kind, alone or beside another.

import { keyExchangeRow } from '../crypto/suites.ts';
import { type AdditionalMethod, additionalMethods } from './additional.ts';
import type { ChosenSuite, ProposalTemplate } from './proposal.ts';

function holds(method: AdditionalMethod | undefined): boolean {
  return method !== undefined && method !== 'none' && keyExchangeRow(method).kind === 'kem';
}

export function isPostQuantum(suite: ChosenSuite): boolean {
  return holds(suite.keyExchange) || additionalMethods(suite).some(holds);
}

/** A choice of the template can end with one. */
export function mayBePostQuantum({ keyExchange, additionalKeyExchange: lists }: ProposalTemplate): boolean {
  return keyExchange.some(holds) || lists.some((methods) => methods.some(holds));
}

/** A choice of the template can end without one. */
export function mayBeClassical({ keyExchange, additionalKeyExchange: lists }: ProposalTemplate): boolean {
  return !keyExchange.every(holds) && !lists.some((methods) => methods.length > 0 && methods.every(holds));
}
