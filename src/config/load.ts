// Reads a configuration file and what it includes. Every complaint at once; a file with an error is refused whole.

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type Complaint, complain, nearest, type Source } from './complaint.ts';
import { type Config, type Entry, resolveConfig } from './config.ts';
import { type File, includedSchema, schema } from './schema.ts';
import { repeatedKeys } from './unique-keys.ts';

export interface Loaded {
  /** Missing when there is an error among the complaints. */
  config?: Config;
  complaints: Complaint[];
}

/** `now` is wall time in milliseconds: certificates end. */
export function loadConfig(file: string, now: number = Date.now()): Loaded {
  const complaints: Complaint[] = [];
  const main = readFile(file, schema, complaints);
  if (!main) return { complaints };
  const { value, source } = main;
  const entries = [...entriesOf(value, source), ...included(value, source, complaints)];
  const config = resolveConfig(value, entries, source, complaints, now);
  const refused = complaints.some(({ level }) => level === 'error');
  return refused ? { complaints } : { config, complaints };
}

function included(main: File, source: Source, complaints: Complaint[]): Entry[] {
  const names = new Set(Object.keys(main.tunnels));
  return (main.include ?? []).flatMap((path) => {
    const read = readFile(resolve(dirname(source.file), path), includedSchema, complaints);
    const entries = read ? entriesOf(read.value, read.source) : [];
    for (const { name, source: from } of entries) {
      if (names.has(name))
        complaints.push(complain(from, ['tunnels', name], `there is a tunnel ${name} already`));
      names.add(name);
    }
    return entries;
  });
}

function entriesOf({ tunnels }: Pick<File, 'tunnels'>, source: Source): Entry[] {
  return Object.entries(tunnels).map(([name, entry]) => ({ name, entry, source }));
}

function readFile<S extends z.ZodType>(
  file: string,
  shape: S,
  complaints: Complaint[],
): { value: z.infer<S>; source: Source } | undefined {
  const lines = new LineCounter();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(error);
    complaints.push({ file, line: 1, column: 1, level: 'error', problem: `cannot be read: ${why}` });
    return undefined;
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const source: Source = { file, document, lines };
  const errors = [
    ...document.errors.map(({ pos, message }) => ({ at: pos[0], problem: message })),
    ...repeatedKeys(document).map((at) => ({ at, problem: 'Map keys must be unique' })),
  ];
  for (const { at, problem } of errors) {
    const { line, col } = lines.linePos(at);
    complaints.push({ file, line, column: col, level: 'error', problem });
  }
  if (errors.length > 0) return undefined;
  const parsed = shape.safeParse(document.toJS({ maxAliasCount: 100 }) ?? {});
  if (parsed.success) return { value: parsed.data, source };
  complaints.push(...parsed.error.issues.flatMap((issue) => issueComplaints(issue, source)));
  return undefined;
}

function issueComplaints(issue: z.core.$ZodIssue, source: Source): Complaint[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  if (issue.code !== 'unrecognized_keys') {
    const name = path.at(-1) ?? 'the file';
    const missing = issue.code === 'invalid_type' && source.document.getIn(path) === undefined;
    return [complain(source, path, missing ? `${name} is missing` : `${name}: ${issue.message}`)];
  }
  return issue.keys.map((key) => {
    const meant = nearest(key, knownKeys(path));
    const suggestion = meant ? `; did you mean ${meant}?` : '';
    return complain(source, path, `unknown key ${key}${suggestion}`, { key });
  });
}

/** The keys that may stand at a path. */
function knownKeys(path: readonly (string | number)[]): string[] {
  let at: unknown = schema;
  for (const part of path) {
    at = unwrapped(at);
    const { shape, valueType } = at as { shape?: Record<string, unknown>; valueType?: unknown };
    at = shape ? shape[String(part)] : valueType;
    if (at === undefined) return [];
  }
  return Object.keys((unwrapped(at) as { shape?: object }).shape ?? {});
}

function unwrapped(type: unknown): unknown {
  const { unwrap } = (type ?? {}) as { unwrap?: () => unknown };
  return typeof unwrap === 'function' ? unwrapped(unwrap.call(type)) : type;
}
