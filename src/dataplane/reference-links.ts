// Each link has an SPD of its own (RFC 4301 §4.4.1): what comes from its device is looked up among its policies alone.

import type { ReferenceSa, ReferenceTables } from './reference.ts';

/** The link of everything that names none. */
export const SHARED_LINK = 0;

/** The tables as packets see them that come from the device of a link. */
export function tablesOfLink(tables: ReferenceTables, link: number): ReferenceTables {
  const policies = tables.policies.filter(({ policy }) => (policy.link?.id ?? SHARED_LINK) === link);
  return { ...tables, policies };
}

/** Whose device gets what arrives by an SA: that of its policy. */
export function linkOfSa(tables: ReferenceTables, { parameters }: ReferenceSa): number {
  return tables.byId.get(parameters.policy)?.policy.link?.id ?? SHARED_LINK;
}
