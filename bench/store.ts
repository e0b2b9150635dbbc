// Results that are kept: docs/performance/SUBJECT.json, the source of the page and its pictures.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SUBJECTS } from './options.ts';
import type { Result } from './result.ts';

const FOLDER = fileURLToPath(new URL('../docs/performance/', import.meta.url));

export function keep(result: Result): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}${result.subject}.json`, `${JSON.stringify(result, null, 1)}\n`);
}

/** In the order of the subjects; those never kept are left out. */
export function kept(): Result[] {
  return SUBJECTS.map((subject) => `${FOLDER}${subject}.json`)
    .filter(existsSync)
    .map((file) => JSON.parse(readFileSync(file, 'utf8')));
}
