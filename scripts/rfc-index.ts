// docs/rfc.tsv says what of each RFC is implemented, where, and by which test. This checks that it is true.

import { existsSync, readFileSync } from 'node:fs';

const STATUSES = ['implemented', 'partial', 'omitted'];

/** One complaint a line: a file that is not there, a section cited nowhere in it, a test title that does not exist. */
export function checkRfcIndex(): string[] {
  return readRows().flatMap((row, index) => checkRow(row).map((what) => `docs/rfc.tsv:${index + 2} ${what}`));
}

/** Titles in the index that are no part of any title that ran. */
export function testsNotRun(ran: ReadonlySet<string>): string[] {
  const titles = readRows().flatMap(([, , status, , , title]) =>
    status === 'omitted' || !title ? [] : title,
  );
  return titles.filter((title) => ![...ran].some((name) => name.includes(title)));
}

function readRows(): string[][] {
  const [, ...rows] = readFileSync('docs/rfc.tsv', 'utf8').trimEnd().split('\n');
  return rows.map((row) => row.split('\t'));
}

function checkRow([rfc, section, status, file, test, title]: string[]): string[] {
  if (!STATUSES.includes(status ?? ''))
    return [`status ${JSON.stringify(status)} is none of ${STATUSES.join(', ')}`];
  if (status === 'omitted') return [];
  return [...checkCitation(rfc!, section!, file!), ...checkTest(test!, title!)];
}

function checkCitation(rfc: string, section: string, file: string): string[] {
  if (!existsSync(file)) return [`names ${file}, which does not exist`];
  const text = readFileSync(file, 'utf8');
  // The end of the section's number, so that 2.1 is not found in 2.15.
  const cited =
    section === '' ? text.includes(rfc) : new RegExp(`${rfc}[^\\n]*§${section}(?![0-9]|\\.[0-9])`).test(text);
  return cited ? [] : [`${rfc} §${section} is cited nowhere in ${file}`];
}

function checkTest(file: string, title: string): string[] {
  if (!existsSync(file)) return [`names the test ${file}, which does not exist`];
  if (title.includes('${')) return [`names a title with a gap: "${title}"`];
  return readFileSync(file, 'utf8').includes(title) ? [] : [`no test "${title}" in ${file}`];
}
