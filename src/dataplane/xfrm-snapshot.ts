// What of ours stands in the kernel, looked at every second: SAs in a dump that is read piece by piece, policies only where
// their number says that somebody else has changed something, and from time to time in any case.

import type { InstalledSa, Instant, Policy } from '../policy/sad.ts';
import {
  countPolicies,
  decodeXfrm,
  getPolicies,
  getSas,
  glanceAtSas,
  type SaGlance,
  type XfrmPolicy,
} from '../wire/xfrm.ts';
import { newBreath } from './turns.ts';
import { isForPacket, isOurReqid } from './xfrm-kernel.ts';
import { type OffloadVerdict, policyKey, samePolicy } from './xfrm-policies.ts';
import { placeOf, type Tables } from './xfrm-tables.ts';
import { eachPiece } from './xfrm-work.ts';

/** Policies are looked at again after so many milliseconds though their number is as it should be. */
const LOOK_AGAIN = 60_000;

export interface Looks {
  /** When all policies were read last, and how many there were besides ours. */
  policies?: { at: Instant; others: number };
}

/** What others removed or changed is not there any more: the next change puts it back. */
export async function readStanding(tables: Tables, looks: Looks, now: Instant): Promise<void> {
  if (looks.policies && now - looks.policies.at < LOOK_AGAIN && othersIn(tables) === looks.policies.others)
    return;
  const before = new Map(tables.standing);
  const found = new Map<string, XfrmPolicy>();
  await eachPiece(tables.kernel, getPolicies(), (piece) => {
    for (const one of decodeXfrm(piece))
      if (one.type === 'policy') found.set(policyKey(one.policy), one.policy);
  });
  const breath = newBreath();
  for (const [key, known] of before) {
    // What was changed meanwhile was not yet there when the kernel came to its place.
    if (tables.standing.get(key) !== known) continue;
    const policy = found.get(key);
    if (!policy) tables.standing.delete(key);
    else if (!samePolicy(policy, known)) tables.standing.set(key, policy);
    await breath();
  }
  looks.policies = { at: now, others: othersIn(tables) };
}

/** Policies in the kernel that are not in our table; NaN, which is like nothing, where it does not say. */
function othersIn({ kernel, standing }: Tables): number {
  const [answer] = kernel.exchange([countPolicies()]);
  const [count] = answer!.found.flatMap((one) => (one.type === 'count' ? one.policies : []));
  return (count ?? Number.NaN) - standing.size;
}

/** Those that stand in the kernel with all that they need there. */
export async function wholePolicies({ policies, claims, standing }: Tables): Promise<Policy[]> {
  const broken = new Set<string>();
  const breath = newBreath();
  for (const [key, [winner]] of claims.byKey) {
    const stands = standing.get(key);
    if (!winner || stands === winner.policy) continue;
    if (!stands || !samePolicy(stands, winner.policy)) broken.add(winner.owner);
    await breath();
  }
  return [...policies.values()].filter(({ id }) => !broken.has(id));
}

export async function installedSas(tables: Tables, now: Instant): Promise<InstalledSa[]> {
  const rows: InstalledSa[] = [];
  await eachPiece(tables.kernel, getSas(), (piece) => {
    for (const one of glanceAtSas(piece))
      if (isOurReqid(one.reqid) && !isForPacket(one)) rows.push(installedSa(tables, one, now));
  });
  return rows;
}

/** An SA that is not known here has an unknown policy: somebody else's, or of an address that was left. */
function installedSa({ uses, places }: Tables, { id, packets, bytes }: SaGlance, now: Instant): InstalledSa {
  const known = places.get(placeOf(id));
  if (known && packets > (known.activity?.packets ?? 0n)) known.activity = { packets, last: now };
  const direction = known?.direction ?? 'in';
  return {
    spi: id.spi,
    direction,
    policy: known?.policy ?? '?',
    ...(known?.offload ? { offload: offloadOf(known.offload) } : {}),
    inUse: direction === 'in' || uses.get(known!.policy) === id.spi,
    packets,
    bytes,
    ...(known?.activity ? { last: known.activity.last } : {}),
  };
}

function offloadOf({ by, reason }: OffloadVerdict): NonNullable<InstalledSa['offload']> {
  return { by, ...(reason === undefined ? {} : { reason }) };
}
