// Where something is wrong in a file, why, and what to do.

import type { Document, LineCounter } from 'yaml';
import { isMap, isScalar } from 'yaml';

export interface Complaint {
  file: string;
  /** From 1. */
  line: number;
  column: number;
  /** `error` refuses the file, `warning` only says so. */
  level: 'error' | 'warning';
  problem: string;
}

export type Path = readonly (string | number)[];

/** The text of one file with its positions. */
export interface Source {
  file: string;
  document: Document;
  lines: LineCounter;
}

export function complaintText({ file, line, column, level, problem }: Complaint): string {
  return `${file}:${line}:${column}: ${level === 'warning' ? 'warning: ' : ''}${problem}`;
}

/** A complaint at a path; where the path ends before, at its last part that is there. `key`: at a key of that map. */
export function complain(
  { file, document, lines }: Source,
  path: Path,
  problem: string,
  options: { key?: string; level?: 'error' | 'warning' } = {},
): Complaint {
  const { line, col } = lines.linePos(offsetOf(document, path, options.key));
  return {
    file,
    line: Math.max(line, 1),
    column: Math.max(col, 1),
    level: options.level ?? 'error',
    problem,
  };
}

function offsetOf(document: Document, path: Path, key: string | undefined): number {
  const node = document.getIn(path, true) as { range?: [number, number, number] | null } | undefined;
  const pair =
    key !== undefined && isMap(node)
      ? node.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
  const range = isScalar(pair?.key) ? pair.key.range : node?.range;
  if (range) return range[0];
  return path.length === 0 ? 0 : offsetOf(document, path.slice(0, -1), String(path.at(-1)));
}

/** The word of the list that was probably meant. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const scored = known.map((one) => ({ one, distance: distanceOf(word, one) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(2, word.length / 3) ? best.one : undefined;
}

/** Levenshtein's: insertions, deletions, replacements. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row.at(-1)!;
}
