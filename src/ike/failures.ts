// What a failed job means, in the words of a report.

import type { JobResult } from './boundary.ts';

export function secretFailure(result: JobResult): ['CONFIG_NO_SECRET' | 'BUG_JOB', Record<string, unknown>] {
  const message = result.type === 'failed' ? result.message : `unexpected ${result.type}`;
  return [
    result.type === 'failed' && result.fault === 'secret' ? 'CONFIG_NO_SECRET' : 'BUG_JOB',
    { message },
  ];
}

export function secretReport(
  tunnel: string,
  result: JobResult,
): ['CONFIG_NO_SECRET' | 'BUG_JOB', string, Record<string, unknown>] {
  const [code, detail] = secretFailure(result);
  return [code, tunnel, detail];
}

/** Whose fault a failed key exchange is. */
export function exchangeFault(result: JobResult): 'PEER_BAD_PUBLIC_VALUE' | 'BUG_JOB' {
  return result.type === 'failed' && result.fault === 'peer' ? 'PEER_BAD_PUBLIC_VALUE' : 'BUG_JOB';
}

export function failureText(result: JobResult): string {
  return result.type === 'failed' ? result.message : `unexpected ${result.type}`;
}
