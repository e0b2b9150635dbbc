// One structured thing that happened, as a line a human understands or as a JSON object.

import { REPORTS, type ReportCode } from '../ike/errors.ts';

export interface Report {
  code: ReportCode;
  tunnel?: string;
  detail?: Record<string, unknown>;
}

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** Wall time stands only here and in certificates. */
export interface LogOptions {
  json: boolean;
  level: Level;
  write: (line: string) => void;
  wallClock: () => Date;
}

export type Log = (report: Report) => void;

const RANK: Record<Level, number> = { error: 0, warn: 1, info: 2, debug: 3 };

/** At most this many lines a second for each code; the rest is counted and named with the next line (no log flood). */
const LINES_PER_SECOND = 20;

export function createLog(options: LogOptions): Log {
  const budget = createBudget(LINES_PER_SECOND);
  return (report) => {
    if (RANK[levelOf(report.code)] > RANK[options.level]) return;
    const time = options.wallClock();
    const suppressed = budget(report.code, time.getTime());
    if (suppressed === undefined) return;
    options.write(options.json ? asJson(report, time, suppressed) : asText(report, time, suppressed));
  };
}

/** The sentence of a report, every `{name}` replaced by the field of its detail. */
export function sentenceOf({ code, detail = {} }: Report): string {
  return REPORTS[code].sentence.replace(/\{(\w+)\}/g, (_, name: string) => printable(detail[name]));
}

function asText(report: Report, time: Date, suppressed: number): string {
  const tunnel = report.tunnel ? `${report.tunnel}: ` : '';
  const more = suppressed > 0 ? ` (and ${suppressed} more of this kind)` : '';
  return `${time.toISOString()} ${levelOf(report.code).padEnd(5)} ${tunnel}${sentenceOf(report)}${more} [${report.code}]`;
}

function asJson(report: Report, time: Date, suppressed: number): string {
  const { code, tunnel, detail } = report;
  const fields = {
    time: time.toISOString(),
    level: levelOf(code),
    code,
    tunnel,
    message: sentenceOf(report),
    ...detail,
  };
  return JSON.stringify(suppressed > 0 ? { ...fields, suppressed } : fields, plainValue);
}

function levelOf(code: ReportCode): Level {
  const { fault } = REPORTS[code];
  if (fault === 'info') return 'info';
  return fault === 'bug' ? 'error' : 'warn';
}

/** Quicker than the classes of Unicode, and nearly always enough. */
function isPlain(text: string): boolean {
  return /^[ -~]*$/.test(text);
}

/** A peer's text must not forge lines or drive a terminal: control characters are escaped, length is bounded. */
function printable(value: unknown): string {
  const text =
    typeof value === 'string' ? value : value === undefined ? '?' : JSON.stringify(value, plainValue);
  const escaped = isPlain(text)
    ? text
    : text.replace(
        /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
        (c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, '0')}`,
      );
  return escaped.length > 400 ? `${escaped.slice(0, 400)}…` : escaped;
}

function plainValue(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

/** Returns how many lines of the code were left out before this one, or undefined when this one is to be left out. */
function createBudget(perSecond: number): (code: string, time: number) => number | undefined {
  const windows = new Map<string, { start: number; lines: number; suppressed: number }>();
  return (code, time) => {
    const window = windows.get(code) ?? { start: time, lines: 0, suppressed: 0 };
    windows.set(code, window);
    if (time - window.start >= 1000) Object.assign(window, { start: time, lines: 0 });
    if (window.lines >= perSecond) {
      window.suppressed++;
      return undefined;
    }
    window.lines++;
    const { suppressed } = window;
    window.suppressed = 0;
    return suppressed;
  };
}

export function report(log: Log, code: ReportCode & keyof typeof REPORTS, detail: Report['detail']): void {
  log({ code, ...(detail ? { detail } : {}) });
}
