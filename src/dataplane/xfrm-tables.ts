// What this process has put into the kernel's SAD and SPD, and how the kernel follows when that changes.

import { randomInt } from 'node:crypto';
import type { Instant, LinkKind, Policy, SaParameters } from '../policy/sad.ts';
import { addPolicy, deletePolicy, setPolicy, type XfrmPolicy, type XfrmSa } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { type Claims, claim, newClaims, winnerOf } from './xfrm-claims.ts';
import { type Journal, OUR_REQIDS } from './xfrm-journal.ts';
import { ERRNO, type Kernel, refusalOf } from './xfrm-kernel.ts';
import {
  type Lookup,
  lookupOf,
  type OffloadVerdict,
  policyKey,
  type Spd,
  samePolicy,
} from './xfrm-policies.ts';
import { saId } from './xfrm-sa.ts';
import type { Work } from './xfrm-work.ts';

/** Policies removed, and reqids written down, at a time. */
const PORTION = 64;
const FOREIGN = 'another program has a policy with these selectors: ip xfrm policy';

/** An SA of ours: what is needed to find it again, no keys. */
export type Known = Omit<SaParameters, 'encryption' | 'integrity'> & {
  lookup: Lookup;
  /** Where it was asked for. */
  offload?: OffloadVerdict;
  /** The kernel does not say when an SA passed its last packet: when a look last found more than before. */
  activity?: { packets: bigint; last: Instant };
  softTold: boolean;
  /** The kernel removed it at its hard limit. */
  stopped: boolean;
};

export interface Tables {
  kernel: Kernel;
  journal: Journal;
  policies: Map<string, Policy>;
  /** By `keyOf`; changed by `remember` and `forget`. */
  sas: Map<string, Known>;
  /** The same by `placeOf`. */
  places: Map<string, Known>;
  /** Policy to its inbound SAs. */
  serving: Map<string, Map<string, Known>>;
  /** Policy to the SPI of the outbound SA in use; changed by `startUsing` and `stopUsing`. */
  uses: Map<string, number>;
  /** SPI of an outbound SA in use to the policies that send with it. */
  users: Map<number, Set<string>>;
  /** Policy to the reqid of its SAs, also when there is no such policy any more. */
  reqids: Map<string, number>;
  /** Policy to the reqid that asks for an SA. */
  acquireReqids: Map<string, number>;
  /** The other way round. */
  asking: Map<number, string>;
  nextReqid: number;
  /** In the journal, and given to nobody. */
  reserved: number[];
  claims: Claims;
  /** What stands in the kernel, by key. */
  standing: Map<string, XfrmPolicy>;
  /** Of those, what an earlier process left: guards until it is clear which of them are wanted. */
  leftovers: Set<string>;
  /** Keys that the kernel has been asked about and has not answered. */
  busy: Set<string>;
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
    places: new Map(),
    serving: new Map(),
    uses: new Map(),
    users: new Map(),
    reqids: new Map(),
    acquireReqids: new Map(),
    asking: new Map(),
    // Not where the last process began: what the kernel keeps of its questions must not silence ours.
    nextReqid: randomInt(OUR_REQIDS.first, OUR_REQIDS.last),
    reserved: [],
    claims: newClaims(),
    standing,
    leftovers: new Set(standing.keys()),
    busy: new Set(),
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
  if (tables.reserved.length === 0) reserve(tables);
  const reqid = tables.reserved.pop()!;
  reqids.set(policy, reqid);
  return reqid;
}

/** Written down many at a time: each line of the journal costs as much as a request to the kernel. */
function reserve(tables: Tables): void {
  for (let count = 0; count < PORTION; count++) {
    tables.reserved.push(tables.nextReqid);
    tables.nextReqid = tables.nextReqid === OUR_REQIDS.last ? OUR_REQIDS.first : tables.nextReqid + 1;
  }
  tables.journal.reqid(...tables.reserved);
}

function acquireReqidOf(tables: Tables, policy: string): number {
  const reqid = memo(tables, tables.acquireReqids, policy);
  tables.asking.set(reqid, policy);
  return reqid;
}

export function remember(tables: Tables, sa: Known): void {
  const key = keyOf(sa.direction, sa.spi);
  tables.sas.set(key, sa);
  tables.places.set(placeOf(saId(sa)), sa);
  if (sa.direction === 'out') return;
  const serving = tables.serving.get(sa.policy) ?? new Map<string, Known>();
  tables.serving.set(sa.policy, serving.set(key, sa));
}

export function forget(tables: Tables, sa: Known): void {
  const key = keyOf(sa.direction, sa.spi);
  tables.sas.delete(key);
  tables.places.delete(placeOf(saId(sa)));
  const serving = tables.serving.get(sa.policy);
  if (sa.direction === 'in' && serving?.delete(key) && serving.size === 0) tables.serving.delete(sa.policy);
}

export function startUsing(tables: Tables, policy: string, spi: number): void {
  leaveUsers(tables, policy);
  tables.uses.set(policy, spi);
  tables.users.set(spi, (tables.users.get(spi) ?? new Set()).add(policy));
}

/** The next question of that policy has a reqid of its own: what the kernel keeps of an earlier one does not silence it. */
export function stopUsing(tables: Tables, policy: string): void {
  leaveUsers(tables, policy);
  if (!tables.uses.delete(policy)) return;
  const asked = tables.acquireReqids.get(policy);
  if (asked !== undefined) tables.asking.delete(asked);
  tables.acquireReqids.delete(policy);
}

function leaveUsers({ uses, users }: Tables, policy: string): void {
  const spi = uses.get(policy);
  if (spi === undefined) return;
  users.get(spi)?.delete(policy);
  if (users.get(spi)?.size === 0) users.delete(spi);
}

/** The policies that send with that SA. */
export function usersOf({ users }: Tables, { direction, spi }: Pick<Known, 'direction' | 'spi'>): string[] {
  return direction === 'out' ? [...(users.get(spi) ?? [])] : [];
}

function spdOf(tables: Tables, policy: Policy): Spd {
  const spi = tables.uses.get(policy.id);
  const outbound = spi === undefined ? undefined : tables.sas.get(keyOf('out', spi));
  return {
    policy,
    lookup: lookupIn(tables, policy),
    reqid: reqidOf(tables, policy.id),
    acquireReqid: policy.acquire ? acquireReqidOf(tables, policy.id) : 0,
    ...(outbound && !outbound.stopped ? { outbound } : {}),
    stopped: outbound?.stopped === true,
    inbound: [...(tables.serving.get(policy.id)?.values() ?? [])],
  };
}

/**
 * The kernel follows what has changed about these policies of ours: first what is there in addition or otherwise, then what
 * is there no more. Throws DataPlaneError.
 */
export function* restate(tables: Tables, ...policies: readonly string[]): Work {
  const touched = new Set(policies.flatMap((id) => [...claimed(tables, id)]));
  yield* untilAnswered(tables, touched);
  yield* putPolicies(tables, touched);
  yield* untilAnswered(tables, touched);
  yield* dropPolicies(tables, touched);
}

/** Other work has asked the kernel about some of these. */
function* untilAnswered({ busy }: Tables, keys: ReadonlySet<string>): Work {
  while ([...keys].some((key) => busy.has(key))) yield [];
}

/** Asks about keys, which nobody else does meanwhile. */
function* askAbout(
  { busy }: Tables,
  keys: readonly string[],
  requests: readonly Uint8Array[],
): Work<number[]> {
  for (const key of keys) busy.add(key);
  try {
    const answers = yield requests;
    return answers.map(({ errno }) => errno);
  } finally {
    for (const key of keys) busy.delete(key);
  }
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
export function* dropLeftovers(tables: Tables): Work {
  const unwanted = [...tables.leftovers];
  tables.leftovers.clear();
  for (let at = 0; at < unwanted.length; at += PORTION)
    yield* dropPolicies(tables, unwanted.slice(at, at + PORTION));
  const reqids = [...tables.reqids.values(), ...tables.acquireReqids.values(), ...tables.reserved];
  yield* tables.journal.keep(reqids, tables.standing.keys());
}

/** Where nobody claims them. */
function* dropPolicies(tables: Tables, keys: Iterable<string>): Work {
  const gone = [...keys].filter(
    (key) => !winnerOf(tables.claims, key) && !tables.leftovers.has(key) && tables.standing.has(key),
  );
  if (gone.length === 0) return;
  const requests = gone.map((key) => deletePolicy(tables.standing.get(key)!));
  const answers = yield* askAbout(tables, gone, requests);
  const failures = gone.flatMap((key, index) => {
    const failure = refusalOf(answers[index]!, 'policy', ERRNO.ENOENT);
    if (!failure) tables.standing.delete(key);
    return failure ?? [];
  });
  if (failures[0]) throw failures[0];
}

/** Where they are claimed and stand otherwise. A policy that is not ours is never replaced, nor remembered as ours. */
function* putPolicies(tables: Tables, touched: Iterable<string>): Work {
  const wanted = [...touched].flatMap((key) => {
    const winner = winnerOf(tables.claims, key);
    if (!winner) return [];
    const old = tables.standing.get(key);
    if (!old || !samePolicy(old, winner.policy))
      return { key, policy: winner.policy, ours: old !== undefined };
    tables.leftovers.delete(key);
    return [];
  });
  if (wanted.length === 0) return;
  const keys = wanted.map(({ key }) => key);
  tables.journal.policy(...keys);
  const requests = wanted.map(({ policy, ours }) => (ours ? setPolicy(policy) : addPolicy(policy)));
  const answers = yield* askAbout(tables, keys, requests);
  for (const [index, { key, policy }] of wanted.entries()) {
    if (answers[index] !== 0) continue;
    tables.standing.set(key, policy);
    tables.leftovers.delete(key);
  }
  yield* refused(tables, keys, answers);
}

/** Throws the first failure of these. */
function* refused({ journal }: Tables, keys: readonly string[], answers: readonly number[]): Work {
  const foreign = new Set(keys.filter((_, index) => answers[index] === ERRNO.EEXIST));
  if (foreign.size > 0) {
    const others = [...journal.policies].filter((one) => !foreign.has(one));
    yield* journal.keep(journal.reqids, others);
  }
  for (const errno of answers) {
    if (errno === ERRNO.EEXIST) throw new DataPlaneError('refused', FOREIGN);
    const failure = refusalOf(errno, 'policy');
    if (failure) throw failure;
  }
}
