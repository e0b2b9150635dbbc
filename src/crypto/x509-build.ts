// Finds the way from a leaf to something we trust, among certificates that may be many, forged and in any order.

import { sameBytes } from './bytes.ts';
import { type Certificate, nameOf } from './x509-certificate.ts';
import type { Judged, Link } from './x509-checks.ts';
import { printName } from './x509-names.ts';
import { PATH_BUDGET, type PathRules, type Reason } from './x509-rules.ts';
import { isSignedBy, keyProblem, schemeOf } from './x509-signature.ts';

export interface Search {
  leaf: Link;
  others: readonly Link[];
  anchors: readonly Link[];
  rules: PathRules;
  at: number;
  /** Signatures that may still be checked. */
  budget: Budget;
  judge: (judged: Judged) => Reason[];
}

export interface Budget {
  signatures: number;
  steps: number;
}

export function newBudget(): Budget {
  const { signatures, steps } = PATH_BUDGET;
  return { signatures, steps };
}

export interface Found {
  path: readonly Link[];
  /** The last of `path` is an anchor, and each signature up to it was checked or is among the reasons. */
  anchored: boolean;
  reasons: Reason[];
}

/** The first path without a reason against it; else the one with the fewest, else the longest start of one. */
export async function findPath(search: Search): Promise<Found> {
  const state: State = { search, best: undefined, stub: [search.leaf], trouble: [], edges: new Map() };
  await extend(state, [search.leaf]);
  if (state.best?.reasons.length === 0) return state.best;
  const ended = search.budget.signatures <= 0 || search.budget.steps <= 0 ? [budgetReason(search.leaf)] : [];
  if (state.best) return { ...state.best, reasons: [...state.best.reasons, ...ended] };
  return { path: state.stub, anchored: false, reasons: [...unanchored(state), ...ended] };
}

interface State {
  search: Search;
  best: Found | undefined;
  /** The longest path that did not reach an anchor. */
  stub: readonly Link[];
  /** What kept paths from going on. */
  trouble: Reason[];
  /** By the issuer's key and the subject: whether the one signed the other. Many paths lead over the same pairs. */
  edges: Map<string, Map<Link, boolean>>;
}

/** Depth first, likeliest issuer first; true once a good path is found or the budget is spent. */
async function extend(state: State, path: readonly Link[]): Promise<boolean> {
  const { search } = state;
  const last = path.at(-1)!;
  if (search.anchors.some((anchor) => sameBytes(anchor.certificate.der, last.certificate.der)))
    return complete(state, path);
  if (path.length > state.stub.length) state.stub = path;
  for (const issuer of issuersOf(search, path)) {
    if (--search.budget.steps < 0) return true;
    if (path.length >= search.rules.longestPath) {
      state.trouble.push(tooLong(last.certificate, search.rules.longestPath));
      return false;
    }
    if ((await signs(state, issuer, last)) && (await extend(state, [...path, issuer]))) return true;
    if (search.budget.signatures <= 0) return true;
  }
  return false;
}

function complete(state: State, path: readonly Link[]): boolean {
  const { rules, at, judge } = state.search;
  const reasons = judge({ path, anchored: true, rules, at });
  if (!state.best || reasons.length < state.best.reasons.length)
    state.best = { path, anchored: true, reasons };
  return reasons.length === 0;
}

/** Whoever has the name, unless it is in the path already: by key and name, so that loops of cross certificates end. */
function issuersOf({ anchors, others }: Search, path: readonly Link[]): Link[] {
  const { certificate } = path.at(-1)!;
  const wanted = certificate.issuerKey;
  const inPath = (link: Link) =>
    path.some(
      (one) =>
        sameBytes(one.certificate.spki, link.certificate.spki) &&
        one.certificate.subjectKey === link.certificate.subjectKey,
    );
  const named = (link: Link) => link.certificate.subjectKey === wanted && !inPath(link);
  const likely = (a: Link, b: Link) => unlikeliness(a, certificate) - unlikeliness(b, certificate);
  return [...anchors.filter(named).sort(likely), ...others.filter(named).sort(likely)];
}

/** RFC 5280 §4.2.1.1: key identifiers help to find, and prove nothing. */
function unlikeliness({ certificate: issuer }: Link, { authorityKeyId }: Certificate): number {
  if (!authorityKeyId || !issuer.subjectKeyId) return 1;
  return sameBytes(authorityKeyId, issuer.subjectKeyId) ? 0 : 2;
}

/**
 * A signature that we refuse to check, for its algorithm or its key, joins as well: the path then shows the true reason,
 * and that reason keeps it from being accepted.
 */
async function signs(state: State, issuer: Link, subject: Link): Promise<boolean> {
  const key = Buffer.from(issuer.certificate.spki).toString('latin1');
  const known = state.edges.get(key) ?? new Map<Link, boolean>();
  state.edges.set(key, known);
  const good = known.get(subject) ?? (await verified(state, issuer, subject));
  known.set(subject, good);
  return good;
}

async function verified({ search, trouble }: State, issuer: Link, subject: Link): Promise<boolean> {
  const { certificate } = subject;
  const { signatureAlgorithm, tbs, signature } = certificate;
  const scheme = schemeOf(signatureAlgorithm);
  const allowed =
    scheme && (scheme.hash === 'identity' || search.rules.signatureHashes.includes(scheme.hash));
  if (!allowed || keyProblem(issuer.key, search.rules)) return true;
  if (--search.budget.signatures < 0) return false;
  const good =
    isKnown(issuer, subject) ||
    (await isSignedBy(issuer.key, signatureAlgorithm, { data: tbs, signature }, search.rules));
  if (good) remember(issuer, subject);
  if (!good) trouble.push(badSignature(certificate, issuer.certificate));
  return good;
}

/** By issuer the certificates whose signature was checked: what held once holds for ever. */
const signed = new WeakMap<Link, WeakSet<Link>>();

function isKnown(issuer: Link, subject: Link): boolean {
  return signed.get(issuer)?.has(subject) ?? false;
}

function remember(issuer: Link, subject: Link): void {
  const known = signed.get(issuer) ?? new WeakSet<Link>();
  signed.set(issuer, known.add(subject));
}

function tooLong(certificate: Certificate, most: number): Reason {
  const text = `the path has more than ${most} certificates: have the peer send a shorter one`;
  return { code: 'PATH_TOO_LONG', certificate: nameOf(certificate), text };
}

function badSignature(certificate: Certificate, issuer: Certificate): Reason {
  const text = `the key of ${nameOf(issuer)} did not make its signature: it is forged, or the CA has another key now`;
  return { code: 'BAD_SIGNATURE', certificate: nameOf(certificate), text };
}

function unanchored(state: State): Reason[] {
  const { stub: path, search, trouble } = state;
  const last = path.at(-1)!.certificate;
  const missing: Reason = {
    code: 'UNTRUSTED',
    certificate: nameOf(last),
    text: `it leads to no CA that we trust: its issuer is ${printName(last.issuer) || 'nameless'}; add that CA to ours, or have the peer send what is between`,
  };
  const checks = search.judge({ path, anchored: false, rules: search.rules, at: search.at });
  return [missing, ...trouble, ...checks];
}

function budgetReason({ certificate }: Link): Reason {
  return {
    code: 'TOO_BIG',
    certificate: nameOf(certificate),
    text: 'looking for a path was given up: the certificates that came allow too many; send only those of one path',
  };
}
