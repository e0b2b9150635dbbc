// Who has which place in the kernel's SPD. The kernel has one policy for a selector and direction; where several of ours
// claim it, the first in their order has it, and the next when that one goes.

import type { XfrmPolicy } from '../wire/xfrm.ts';
import { policiesOf, policyKey, type Spd } from './xfrm-policies.ts';

interface Claim {
  /** The id of our policy. */
  owner: string;
  order: number;
  policy: XfrmPolicy;
}

export interface Claims {
  byKey: Map<string, Claim[]>;
  byOwner: Map<string, string[]>;
}

export function newClaims(): Claims {
  return { byKey: new Map(), byOwner: new Map() };
}

/** What one of our policies wants from now on; nothing where it is gone. The keys that may have changed. Throws RangeError. */
export function claim(claims: Claims, owner: string, entry: Spd | undefined): Set<string> {
  const wanted = entry ? claimsOf(entry) : new Map<string, Claim>();
  const before = claims.byOwner.get(owner) ?? [];
  for (const key of before) giveUp(claims, key, owner);
  for (const [key, one] of wanted) {
    const others = claims.byKey.get(key) ?? [];
    claims.byKey.set(
      key,
      [...others, one].sort((a, b) => a.order - b.order),
    );
  }
  if (wanted.size > 0) claims.byOwner.set(owner, [...wanted.keys()]);
  else claims.byOwner.delete(owner);
  return new Set([...wanted.keys(), ...before]);
}

/** What should stand at that key. */
export function winnerOf(claims: Claims, key: string): Claim | undefined {
  return claims.byKey.get(key)?.[0];
}

function giveUp({ byKey }: Claims, key: string, owner: string): void {
  const others = byKey.get(key)?.filter((one) => one.owner !== owner) ?? [];
  if (others.length > 0) byKey.set(key, others);
  else byKey.delete(key);
}

/** Within one policy the first of its own wins: what SAs carry stands before what is claimed. */
function claimsOf(entry: Spd): Map<string, Claim> {
  const { id: owner, order } = entry.policy;
  const found = new Map<string, Claim>();
  for (const policy of policiesOf(entry)) {
    const key = policyKey(policy);
    if (!found.has(key)) found.set(key, { owner, order, policy });
  }
  return found;
}
