// Whether a certificate of a good path was withdrawn: what lists and answers say, and where more could be had.

import { type Certificate, nameOf } from './x509-certificate.ts';
import type { Link } from './x509-checks.ts';
import { askList, readList } from './x509-crl.ts';
import { askResponse, readResponse } from './x509-ocsp.ts';
import { PATH_BUDGET, type PathRules, type Reason } from './x509-rules.ts';

/** Where an answer about revocation could be had, for a certificate whose path to an anchor was verified. */
export interface Wanted {
  type: 'crl' | 'ocsp';
  url: string;
  /** DER. */
  certificate: Uint8Array;
  issuer: Uint8Array;
}

interface Revoked {
  status: 'revoked';
  /** Undefined where no day is said. */
  since: number | undefined;
  reason?: number;
}

export type Answer = { status: 'good' } | Revoked | { problem: string };

/** Signatures that may still be checked. */
export interface Budget {
  signatures: number;
}

export interface Inquiry {
  certificate: Certificate;
  issuer: Link;
  at: number;
  rules: PathRules;
}

export interface Evidence {
  crls: readonly Uint8Array[];
  ocsp: readonly Uint8Array[];
  at: number;
  rules: PathRules;
}

/** The anchor is not asked about: whoever trusts it removes it. */
export async function checkRevocation(
  path: readonly Link[],
  evidence: Evidence,
): Promise<{ reasons: Reason[]; wanted: Wanted[] }> {
  const all = { reasons: [] as Reason[], wanted: [] as Wanted[] };
  if (evidence.rules.revocation === 'off') return all;
  const budget = { signatures: PATH_BUDGET.revocationSignatures };
  for (const [index, { certificate }] of path.slice(0, -1).entries()) {
    const inquiry = { certificate, issuer: path[index + 1]!, at: evidence.at, rules: evidence.rules };
    const found = await ask(inquiry, evidence, budget);
    all.reasons.push(...found.reasons);
    all.wanted.push(...found.wanted);
  }
  // Who sends so much that what matters stays unread is not let by for it, however soft the rule.
  if (budget.signatures < 0) all.reasons.push(tooMuch(path[0]!.certificate));
  return all;
}

async function ask(inquiry: Inquiry, { crls, ocsp }: Evidence, budget: Budget) {
  const { certificate, issuer, rules } = inquiry;
  const problems: string[] = [];
  let good = false;
  const asked = [
    ...ocsp.map((der) => () => askResponse(der, inquiry, budget)),
    ...crls.map((der) => () => askList(der, inquiry, budget)),
  ];
  for (const one of asked) {
    const answer = await one();
    if ('problem' in answer) problems.push(answer.problem);
    else if (answer.status === 'revoked') return { reasons: [revoked(certificate, answer)], wanted: [] };
    else good = true;
  }
  if (good) return { reasons: [], wanted: [] };
  const wanted = placesOf(certificate, issuer.certificate);
  return {
    reasons: rules.revocation === 'hard' ? [unknown(certificate, problems, wanted.length)] : [],
    wanted,
  };
}

/** OCSP first: it is smaller. */
function placesOf(
  { der: certificate, ocspUrls = [], crlUrls = [] }: Certificate,
  { der: issuer }: Certificate,
): Wanted[] {
  const rows = [
    ...ocspUrls.map((url) => ['ocsp', url] as const),
    ...crlUrls.map((url) => ['crl', url] as const),
  ];
  return rows.slice(0, MOST_PLACES).map(([type, url]) => ({ type, url, certificate, issuer }));
}

const MOST_PLACES = 4;

/** RFC 5280 §5.3.1. */
const REASON_NAMES = [
  'no reason given',
  'key compromised',
  'CA compromised',
  'affiliation changed',
  'superseded',
  'no longer in use',
  'on hold',
  '',
  'removed',
  'privilege withdrawn',
  'attributes compromised',
];

function revoked(certificate: Certificate, { since, reason = 0 }: Revoked): Reason {
  const day = since === undefined ? 'a day it does not say' : new Date(since).toISOString().slice(0, 10);
  return {
    code: 'REVOKED',
    certificate: nameOf(certificate),
    text: `its issuer withdrew it on ${day} (${REASON_NAMES[reason] || 'unknown reason'}): it needs a new certificate and a new key`,
  };
}

function tooMuch(certificate: Certificate): Reason {
  const text = 'more lists and answers came with it than are looked at: send those of its own path only';
  return { code: 'TOO_BIG', certificate: nameOf(certificate), text };
}

function unknown(certificate: Certificate, problems: string[], places: number): Reason {
  const told = [...new Set(problems)].slice(0, 3).join('; ') || 'no list and no answer is there';
  const advice = places > 0 ? 'ask its CA' : 'it names no place to ask: give us a list of its CA';
  return {
    code: 'REVOCATION_UNKNOWN',
    certificate: nameOf(certificate),
    text: `whether it was withdrawn is not known, and the configuration demands to know: ${told}; ${advice}, or set revocation to soft`,
  };
}

/** Until when a list or an answer is good, wall time in milliseconds; undefined where it cannot be read. Unverified. */
export function freshUntil(type: Wanted['type'], der: Uint8Array): number | undefined {
  try {
    if (type === 'crl') return readList(der).nextUpdate;
    const ends = readResponse(der).answers.map(({ nextUpdate, thisUpdate }) => nextUpdate ?? thisUpdate);
    return ends.length > 0 ? Math.min(...ends) : undefined;
  } catch {
    return undefined;
  }
}
