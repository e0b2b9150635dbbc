// Certificate policies (RFC 5280 §6.1), as a set a level in place of the tree that grows without bound (RFC 9618).

import { type Certificate, nameOf } from './x509-certificate.ts';
import { isSelfIssued, type Judged } from './x509-checks.ts';
import type { Reason } from './x509-rules.ts';

const ANY_POLICY = '2.5.29.32.0';

/** Policies and mappings that one certificate may name. */
const MOST_POLICIES = 128;

/**
 * Which policies the next certificate may claim, and from which policies of the anchor's domain each comes (RFC 9618).
 * Undefined once none is left.
 */
type Policies = ReadonlyMap<string, ReadonlySet<string>> | undefined;

interface State {
  policies: Policies;
  explicitPolicy: number;
  policyMapping: number;
  inhibitAny: number;
}

export function checkPolicies({ path, anchored, rules }: Judged): Reason[] {
  if (!anchored) return [];
  const below = path.slice(0, -1).map(({ certificate }) => certificate);
  const tooMany = below.find(namesTooMany);
  if (tooMany) return [reason(tooMany, 'it names more policies than any certificate has', 'TOO_BIG')];
  const accepted = rules.acceptedPolicies ?? [];
  let state: State = {
    policies: new Map([[ANY_POLICY, new Set([ANY_POLICY])]]),
    explicitPolicy: accepted.length > 0 ? 0 : below.length + 1,
    policyMapping: below.length + 1,
    inhibitAny: below.length + 1,
  };
  for (const [index, certificate] of [...below.entries()].reverse()) {
    state = enter(state, certificate, index === 0);
    if (!state.policies && state.explicitPolicy === 0 && index > 0) return [noPolicy(certificate)];
    if (mapsAny(certificate)) return [reason(certificate, 'it maps to or from any policy, which none may')];
    state = index === 0 ? leave(state, certificate) : next(state, certificate);
  }
  const leaf = below[0];
  if (!leaf || state.explicitPolicy > 0) return [];
  return isAccepted(state.policies, accepted) ? [] : [noPolicy(leaf)];
}

function isAccepted(policies: Policies, accepted: readonly string[]): boolean {
  if (!policies) return false;
  const roots = new Set([...policies.values()].flatMap((some) => [...some]));
  return accepted.length === 0 || roots.has(ANY_POLICY) || accepted.some((policy) => roots.has(policy));
}

function namesTooMany({ policies = [], policyMappings = [] }: Certificate): boolean {
  return policies.length > MOST_POLICIES || policyMappings.length > MOST_POLICIES;
}

/** RFC 5280 §6.1.4 (a). */
function mapsAny({ policyMappings = [] }: Certificate): boolean {
  return policyMappings.some(({ issuer, subject }) => issuer === ANY_POLICY || subject === ANY_POLICY);
}

/** RFC 5280 §6.1.3 (d), (e). */
function enter(state: State, certificate: Certificate, isLeaf: boolean): State {
  const { policies: claimed } = certificate;
  if (!state.policies || !claimed) return { ...state, policies: undefined };
  const expected = state.policies;
  const any = expected.get(ANY_POLICY);
  const kept = new Map<string, ReadonlySet<string>>();
  for (const policy of claimed) {
    const roots =
      expected.get(policy) ?? (any && new Set([...any].map((root) => (root === ANY_POLICY ? policy : root))));
    if (policy !== ANY_POLICY && roots) kept.set(policy, roots);
  }
  const anyCounts = state.inhibitAny > 0 || (!isLeaf && isSelfIssued(certificate));
  if (claimed.includes(ANY_POLICY) && anyCounts)
    for (const [policy, roots] of expected) if (!kept.has(policy)) kept.set(policy, roots);
  return { ...state, policies: kept.size > 0 ? kept : undefined };
}

/** RFC 5280 §6.1.4 (b), (h), (i), (j). */
function next(state: State, certificate: Certificate): State {
  const step = isSelfIssued(certificate) ? 0 : 1;
  const { requireExplicit, inhibitMapping } = certificate.policyConstraints ?? {};
  return {
    policies: mapped(state, certificate.policyMappings ?? []),
    explicitPolicy: lowered(state.explicitPolicy, step, requireExplicit),
    policyMapping: lowered(state.policyMapping, step, inhibitMapping),
    inhibitAny: lowered(state.inhibitAny, step, certificate.inhibitAnyPolicy),
  };
}

function lowered(count: number, step: number, limit = Number.POSITIVE_INFINITY): number {
  return Math.min(Math.max(count - step, 0), limit);
}

/** RFC 5280 §6.1.4 (b): what is mapped is known by its other names from here on, or not at all. */
function mapped(
  { policies, policyMapping }: State,
  mappings: NonNullable<Certificate['policyMappings']>,
): Policies {
  if (!policies || mappings.length === 0) return policies;
  const any = policies.get(ANY_POLICY);
  const after = new Map(policies);
  for (const { issuer } of mappings) after.delete(issuer);
  if (policyMapping > 0)
    for (const { issuer, subject } of mappings) {
      const roots = policies.get(issuer) ?? (any && new Set([issuer]));
      if (roots) after.set(subject, new Set([...(after.get(subject) ?? []), ...roots]));
    }
  return after.size > 0 ? after : undefined;
}

/** RFC 5280 §6.1.5 (a), (b). */
function leave(state: State, { policyConstraints }: Certificate): State {
  const explicitPolicy = policyConstraints?.requireExplicit === 0 ? 0 : Math.max(state.explicitPolicy - 1, 0);
  return { ...state, explicitPolicy };
}

function noPolicy(certificate: Certificate): Reason {
  return reason(
    certificate,
    'no certificate policy that is demanded holds for all of its path: have it issued under one',
  );
}

function reason(certificate: Certificate, text: string, code: Reason['code'] = 'POLICY'): Reason {
  return { code, certificate: nameOf(certificate), text };
}
