// One row per thing that can be reported: code, who is at fault, the sentence. Codes are never renamed or reused.

interface ReportRow {
  /** `info` is nobody's fault. */
  fault: 'info' | 'config' | 'peer' | 'host' | 'bug';
  /** `{name}` stands for a field of the report's detail. */
  sentence: string;
}

export const REPORTS = {
  TUNNEL_CONNECTING: { fault: 'info', sentence: 'connecting to {remote}' },
  OK: { fault: 'info', sentence: 'done' },
} as const satisfies Record<string, ReportRow>;

export type ReportCode = keyof typeof REPORTS;
