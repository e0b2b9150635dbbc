// A result for a terminal.

import type { Judged } from './goals.ts';
import type { Limited, Result, Table } from './result.ts';
import { rounded } from './statistics.ts';

export function toText(result: Result): string {
  const parts = [
    ratiosText(result),
    ...result.tables.map(tableText),
    result.limits.map(limitText).join('\n'),
    goalsText(result.goals),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function ratiosText({ ratios }: Result): string {
  const rows = Object.entries(ratios).map(([name, { median, min, max, count }]) => [
    name,
    rounded(median),
    `${rounded(min)} to ${rounded(max)}`,
    count,
  ]);
  return tableText({ title: 'Ratios', columns: ['ratio', 'median', 'spread', 'rounds'], rows });
}

function goalsText(goals: readonly Judged[]): string {
  return tableText({ title: 'Asked for', columns: GOAL_COLUMNS, rows: goals.map(goalCells) });
}

export const GOAL_COLUMNS = ['', 'measured', 'floor', 'aim', 'limit here', 'verdict'];

export function goalCells({ what, measured, floor, aim, limit, verdict }: Judged): (string | number)[] {
  const shown = (value: number | undefined) => (value === undefined ? '-' : rounded(value));
  return [what, shown(measured), rounded(floor), rounded(aim), shown(limit), verdict];
}

export function limitText({ what, unit, measured, limit, beaten }: Limited): string {
  const share = `${rounded(measured)} ${unit}; limit here ${rounded(limit)} ${unit}`;
  return beaten
    ? `${what}: ${share}: beyond the limit, so the formula counts work that this path does not do`
    : `${what}: ${share}`;
}

export function tableText({ title, columns, rows }: Table): string {
  if (rows.length === 0) return '';
  const all = [columns, ...rows.map((row) => row.map(String))];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => row[index]!.length)));
  const isNumber = columns.map((_, index) => rows.every((row) => typeof row[index] === 'number'));
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => (isNumber[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!)))
      .join('  ')
      .trimEnd();
  return [title, ...all.map(line)].join('\n');
}
