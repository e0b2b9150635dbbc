// docs/rfc.tsv says what of each RFC is implemented, where, and by which test. This checks that it is true.

import { existsSync, readFileSync } from 'node:fs';

const STATUSES = ['implemented', 'partial', 'omitted'];

/** One complaint a line: a file that is not there, a section cited nowhere in it, a test title that does not exist. */
export function checkRfcIndex(): string[] {
  const [, ...rows] = readFileSync('docs/rfc.tsv', 'utf8').trimEnd().split('\n');
  return rows.flatMap((row, index) =>
    checkRow(row.split('\t')).map((what) => `docs/rfc.tsv:${index + 2} ${what}`),
  );
}

function checkRow([rfc, section, status, file, test, title]: string[]): string[] {
  if (!STATUSES.includes(status ?? ''))
    return [`status ${JSON.stringify(status)} is none of ${STATUSES.join(', ')}`];
  if (status === 'omitted') return [];
  return [...checkCitation(rfc!, section!, file!), ...checkTest(test!, title!)];
}

function checkCitation(rfc: string, section: string, file: string): string[] {
  if (!existsSync(file)) return [`names ${file}, which does not exist`];
  const cited = readFileSync(file, 'utf8').includes(section === '' ? rfc : `${rfc} §${section}`);
  return cited ? [] : [`${rfc} §${section} is cited nowhere in ${file}`];
}

function checkTest(file: string, title: string): string[] {
  if (!existsSync(file)) return [`names the test ${file}, which does not exist`];
  return readFileSync(file, 'utf8').includes(title) ? [] : [`no test "${title}" in ${file}`];
}
