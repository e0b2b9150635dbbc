// Packets that the kernel's XFRM dropped in this network namespace, by cause (Documentation/networking/xfrm_proc.rst).

import { readFileSync } from 'node:fs';

const FILE = '/proc/self/net/xfrm_stat';

/** Ours for the kernel's names; what is not here keeps the kernel's. */
const CAUSES: Record<string, string> = {
  XfrmInHdrError: 'inbound-malformed',
  XfrmInNoStates: 'inbound-unknown-spi',
  XfrmInStateProtoError: 'inbound-authentication',
  XfrmInStateSeqError: 'inbound-replay',
  XfrmInStateExpired: 'inbound-lifetime',
  XfrmInStateMismatch: 'inbound-selector',
  XfrmInTmplMismatch: 'inbound-no-sa',
  XfrmInNoPols: 'inbound-no-policy',
  XfrmInPolBlock: 'inbound-discard-policy',
  XfrmOutNoStates: 'outbound-no-sa',
  XfrmOutStateSeqError: 'outbound-sequence',
  XfrmOutStateExpired: 'outbound-lifetime',
  XfrmOutPolBlock: 'outbound-discard-policy',
};

/** Causes that never happened are left out. Without statistics in the kernel there is nothing. */
export function kernelDrops(): Record<string, bigint> {
  let text: string;
  try {
    text = readFileSync(FILE, 'utf8');
  } catch {
    return {};
  }
  const rows = text.split('\n').flatMap((line): [string, bigint][] => {
    const [, name, count] = /^(\w+)\s+(\d+)$/.exec(line.trim()) ?? [];
    return name === undefined ? [] : [[CAUSES[name] ?? name, BigInt(count!)]];
  });
  return Object.fromEntries(rows.filter(([, count]) => count > 0n));
}

/** What came since `before`. */
export function dropsSince(before: Record<string, bigint>): Record<string, bigint> {
  const rows = Object.entries(kernelDrops()).map(
    ([name, count]) => [name, count - (before[name] ?? 0n)] as const,
  );
  return Object.fromEntries(rows.filter(([, count]) => count > 0n));
}
