// The algorithms that a tunnel names, or those that stand for no name.

import { HAS_ML_KEM } from '../crypto/node-key-exchange.ts';
import { mayBeClassical, mayBePostQuantum } from '../policy/post-quantum.ts';
import { type ProposalTemplate, parseTemplate, type SuiteKind } from '../policy/proposal.ts';
import { quirksOf } from '../policy/quirks.ts';
import type { Complain } from './auth.ts';
import { DEFAULTS, POST_QUANTUM_SUITES } from './defaults.ts';
import type { TunnelEntry } from './schema.ts';

/** What `post-quantum` makes of the suites: docs/decisions/0004-post-quantum.md. */
export function ikeSuitesOf(entry: TunnelEntry, at: Complain): ProposalTemplate[] | undefined {
  const { 'post-quantum': mode = DEFAULTS['post-quantum'], 'ike-suites': named } = entry;
  const suites = suitesOf(entry, 'ike-suites', named ?? IKE_SUITES[mode], 'ike', at);
  if (!named || !suites || mode === 'preferred') return suites;
  const wrong = suites.findIndex((suite) =>
    mode === 'required' ? mayBeClassical(suite) : mayBePostQuantum(suite),
  );
  if (wrong === -1) return suites;
  const what = mode === 'required' ? 'can end without ML-KEM: add + ml-kem-768 to it' : 'names ML-KEM';
  return at(['ike-suites', wrong], `"${named[wrong]}" ${what}; post-quantum is ${mode}`);
}

const IKE_SUITES = {
  required: POST_QUANTUM_SUITES,
  preferred: [...(HAS_ML_KEM ? POST_QUANTUM_SUITES : []), ...DEFAULTS['ike-suites']],
  off: DEFAULTS['ike-suites'],
} as const;

export function suitesOf(
  entry: TunnelEntry,
  key: 'ike-suites' | 'esp-suites' | 'ah-suites',
  texts: readonly string[],
  kind: SuiteKind,
  at: Complain,
): ProposalTemplate[] | undefined {
  const { legacy = DEFAULTS.legacy } = entry;
  const quirks = quirksOf(entry.vendor, entry.quirks);
  const parsed = texts.map((text) => parseTemplate(text, kind, { legacy, quirks }));
  for (const [index, one] of parsed.entries()) {
    if ('complaint' in one) return at([key, index], one.complaint);
    if (!HAS_ML_KEM && mayBePostQuantum(one))
      return at([key, index], `ML-KEM needs Node.js 24.7 or newer; this is ${process.version}`);
  }
  return parsed as ProposalTemplate[];
}
