// docs/interop.md out of the results of `npm run interop -- --all`. Pure.

import type { Result } from './checks.ts';
import { type KnownRed, knownRed } from './known-reds.ts';

export interface Occasion {
  /** Year, month and day. */
  date: string;
  /** Name and version, one a line. */
  versions: readonly string[];
  minutes: number;
}

/** A column for each peer and data plane of ours, a row for each feature; a sentence for each red cell. */
export function interopReport(results: readonly Result[], occasion: Occasion): string {
  const columns = unique(results.map(columnOf));
  const features = unique(results.map(({ feature }) => feature));
  const reds: Red[] = [];
  const rows = features.map((feature) => {
    const cells = columns.map((column) =>
      cellOf(
        results.filter((one) => one.feature === feature && columnOf(one) === column),
        reds,
      ),
    );
    return `| ${[feature, ...cells].join(' | ')} |`;
  });
  return `# Against others

Written by \`npm run interop -- --all\` on ${occasion.date}, in ${occasion.minutes} minutes; do not edit. A cell says how many
checks passed of those that ran; a check is one role of one suite that was established, carried traffic, was rekeyed under
traffic without a lost packet, or was deleted on both sides.

${occasion.versions.map((version) => `- ${version}`).join('\n')}

| | ${columns.join(' | ')} |
|---${'|---:'.repeat(columns.length)}|
${rows.join('\n')}

${passed(results)} of ${results.length} checks pass.
${redsText(reds)}`;
}

interface Red {
  result: Result;
  known?: KnownRed;
}

const columnOf = ({ peer, dataplane }: Result): string => `${peer}; our ${dataplane}`;

function cellOf(results: readonly Result[], reds: Red[]): string {
  if (results.length === 0) return '';
  const failed = results.filter(({ result }) => result === 'fail');
  const notes = failed.map((result) => {
    const known = knownRed(result);
    reds.push({ result, ...(known ? { known } : {}) });
    return `[${reds.length}]`;
  });
  return [`${passed(results)} of ${results.length}`, ...notes].join(' ');
}

function redsText(reds: readonly Red[]): string {
  if (reds.length === 0) return '';
  const lines = reds.map(({ result, known }, index) => {
    const { suite, role, check, detail } = result;
    const cause = known ? `Of ${known.whose}: ${known.why}` : `Not explained yet: ${firstLine(detail)}`;
    return `${index + 1}. ${suite}, we as ${role}, ${check}. ${cause}`;
  });
  return `\n## What fails\n\n${lines.join('\n')}\n`;
}

const firstLine = (text: string) => text.split('\n')[0]!.slice(0, 200);
const passed = (results: readonly Result[]) => results.filter(({ result }) => result === 'pass').length;
const unique = (values: readonly string[]) => [...new Set(values)];
