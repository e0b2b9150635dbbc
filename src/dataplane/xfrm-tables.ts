// What this process has put into the kernel's SAD and SPD, and how the kernel follows when that changes.

import { randomInt } from 'node:crypto';
import type { LinkKind, Policy, SaParameters } from '../policy/sad.ts';
import { addPolicy, deletePolicy, setPolicy, type XfrmPolicy, type XfrmSa } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { type Claims, claim, newClaims, winnerOf } from './xfrm-claims.ts';
import { type Journal, OUR_REQIDS } from './xfrm-journal.ts';
import { ERRNO, type Kernel } from './xfrm-kernel.ts';
import { type Lookup, lookupOf, policyKey, type Spd, samePolicy } from './xfrm-policies.ts';

/** An SA of ours: what is needed to find it again, no keys. */
export type Known = Omit<SaParameters, 'encryption' | 'integrity'> & {
  lookup: Lookup;
  softTold: boolean;
  /** The kernel removed it at its hard limit. */
  stopped: boolean;
};

export interface Tables {
  kernel: Kernel;
  journal: Journal;
  policies: Map<string, Policy>;
  /** By `keyOf`. */
  sas: Map<string, Known>;
  /** Policy to the SPI of the outbound SA in use. */
  uses: Map<string, number>;
  /** Policy to the reqid of its SAs, also when there is no such policy any more. */
  reqids: Map<string, number>;
  /** Policy to the reqid that asks for an SA. */
  acquireReqids: Map<string, number>;
  nextReqid: number;
  claims: Claims;
  /** What stands in the kernel, by key. */
  standing: Map<string, XfrmPolicy>;
  /** Of those, what an earlier process left: guards until it is clear which of them are wanted. */
  leftovers: Set<string>;
  /** What links are made of; undefined where there is nothing for them. */
  links: LinkKind | undefined;
}

export function newTables(
  kernel: Kernel,
  journal: Journal,
  left: readonly XfrmPolicy[],
  links: LinkKind | undefined,
): Tables {
  const standing = new Map(left.map((policy) => [policyKey(policy), policy]));
  return {
    kernel,
    journal,
    policies: new Map(),
    sas: new Map(),
    uses: new Map(),
    reqids: new Map(),
    acquireReqids: new Map(),
    // Not where the last process began: what the kernel keeps of its questions must not silence ours.
    nextReqid: randomInt(OUR_REQIDS.first, OUR_REQIDS.last),
    claims: newClaims(),
    standing,
    leftovers: new Set(standing.keys()),
    links,
  };
}

export function keyOf(direction: 'in' | 'out', spi: number): string {
  return `${direction} ${spi}`;
}

/** What the kernel finds an SA by. */
export function placeOf({
  destination,
  spi,
  protocol,
}: Pick<XfrmSa['info']['id'], 'destination' | 'spi' | 'protocol'>): string {
  return `${Buffer.from(destination).toString('hex')} ${spi} ${protocol}`;
}

/** Throws DataPlaneError where the policy has a link and there is nothing for it. */
export function lookupIn({ links }: Tables, policy: Policy | undefined): Lookup {
  try {
    return policy ? lookupOf(policy, links) : {};
  } catch (error) {
    throw error instanceof RangeError ? new DataPlaneError('refused', error.message) : error;
  }
}

export function reqidOf(tables: Tables, policy: string): number {
  return memo(tables, tables.reqids, policy);
}

function memo(tables: Tables, reqids: Map<string, number>, policy: string): number {
  const known = reqids.get(policy);
  if (known !== undefined) return known;
  const reqid = tables.nextReqid;
  tables.nextReqid = reqid === OUR_REQIDS.last ? OUR_REQIDS.first : reqid + 1;
  tables.journal.reqid(reqid);
  reqids.set(policy, reqid);
  return reqid;
}

/** The next question of that policy has a reqid of its own: what the kernel keeps of an earlier one does not silence it. */
export function stopUsing(tables: Tables, policy: string): void {
  if (tables.uses.delete(policy)) tables.acquireReqids.delete(policy);
}

/** The policies that send with that SA. */
export function usersOf(tables: Tables, spi: number): string[] {
  return [...tables.uses].flatMap(([policy, used]) => (used === spi ? [policy] : []));
}

function spdOf(tables: Tables, policy: Policy): Spd {
  const spi = tables.uses.get(policy.id);
  const outbound = spi === undefined ? undefined : tables.sas.get(keyOf('out', spi));
  const serving = [...tables.sas.values()].filter((sa) => sa.direction === 'in' && sa.policy === policy.id);
  return {
    policy,
    lookup: lookupIn(tables, policy),
    reqid: reqidOf(tables, policy.id),
    acquireReqid: policy.acquire ? memo(tables, tables.acquireReqids, policy.id) : 0,
    ...(outbound && !outbound.stopped ? { outbound } : {}),
    stopped: outbound?.stopped === true,
    inbound: serving,
  };
}

/**
 * The kernel follows what has changed about these policies of ours: first what is there in addition or otherwise, then what
 * is there no more. Throws DataPlaneError.
 */
export function restate(tables: Tables, ...policies: readonly string[]): void {
  const touched = new Set(policies.flatMap((id) => [...claimed(tables, id)]));
  for (const key of touched) {
    const winner = winnerOf(tables.claims, key);
    if (!winner) continue;
    const old = tables.standing.get(key);
    if (!old || !samePolicy(old, winner.policy)) putPolicy(tables, key, winner.policy, old !== undefined);
    tables.leftovers.delete(key);
  }
  for (const key of touched) if (!winnerOf(tables.claims, key)) dropPolicy(tables, key);
}

function claimed(tables: Tables, id: string): Set<string> {
  const policy = tables.policies.get(id);
  try {
    return claim(tables.claims, id, policy && spdOf(tables, policy));
  } catch (error) {
    throw error instanceof RangeError ? new DataPlaneError('refused', error.message) : error;
  }
}

/** What an earlier process left and nobody wants by now. */
export function dropLeftovers(tables: Tables): void {
  const unwanted = [...tables.leftovers];
  tables.leftovers.clear();
  for (const key of unwanted) if (!winnerOf(tables.claims, key)) dropPolicy(tables, key);
  tables.journal.keep([...tables.reqids.values(), ...tables.acquireReqids.values()], tables.standing.keys());
}

function dropPolicy(tables: Tables, key: string): void {
  const standing = tables.standing.get(key);
  if (!standing || tables.leftovers.has(key)) return;
  tables.kernel.demand(deletePolicy(standing), 'policy', ERRNO.ENOENT);
  tables.standing.delete(key);
}

/** A policy that is not ours is never replaced, nor remembered as ours. */
function putPolicy(tables: Tables, key: string, policy: XfrmPolicy, ours: boolean): void {
  const { kernel, journal, standing } = tables;
  journal.policy(key);
  const errno = kernel.demand(ours ? setPolicy(policy) : addPolicy(policy), 'policy', ERRNO.EEXIST);
  if (errno === 0) return void standing.set(key, policy);
  const others = [...journal.policies].filter((one) => one !== key);
  journal.keep(journal.reqids, others);
  throw new DataPlaneError('refused', 'another program has a policy with these selectors: ip xfrm policy');
}
