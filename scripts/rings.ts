// Files that import each other in a ring are read in no order. Types alone may: they are gone when it runs.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** By file, the files that it needs something of while it runs. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** One complaint a ring. */
export function checkRings(): string[] {
  return ringsIn(importsOf(globSync('src/**/*.ts'))).map(
    (ring) => `${ring.join(' → ')} → ${ring[0]} is a ring: move what they share`,
  );
}

/** The first ring that each file closes, in the order in which they are met. */
export function ringsIn(imports: Imports): string[][] {
  const [done, rings]: [Set<string>, string[][]] = [new Set(), []];
  const walk = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at !== -1) rings.push(path.slice(at));
    if (at !== -1 || done.has(file)) return;
    for (const target of imports.get(file) ?? []) walk(target, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) walk(file, []);
  return rings;
}

function importsOf(files: readonly string[]): Imports {
  return new Map(files.map((file) => [file, valuesOf(file)]));
}

const IMPORT = /^(?:import|export) (?!type )([^;]*?)from '(\.[^']+)'/gms;

function valuesOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)]
    .filter(([, names]) => names!.split(',').some((name) => /\w/.test(name) && !/^[\s{]*type /.test(name)))
    .map(([, , target]) => normalize(join(dirname(file), target!)));
}
