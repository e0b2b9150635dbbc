// Reading order is import order: a folder imports only itself and what stands before it.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const ORDER = [
  'native.ts',
  'wire',
  'crypto',
  'policy',
  'ike',
  'sim',
  'dataplane',
  'host',
  'config',
  'daemon',
  'control',
  'cli',
];

/** Folders that compute only: no node:*, no async, no clock, no randomness, no addon. */
const PURE = ['wire', 'policy', 'ike'];

/** Pairs that stand side by side in ORDER and still must not meet. */
const APART: readonly (readonly [string, string])[] = [
  ['dataplane', 'ike'],
  ['dataplane', 'sim'],
  ['host', 'ike'],
  ['host', 'dataplane'],
  ['ike', 'crypto/node-'],
];

const IMPURE = /from '(node:|[^.])|\basync\b|\bawait\b|Date\.now|Math\.random|performance\.now|native\.ts'/;

/** One complaint a line. */
export function checkLayers(): string[] {
  return globSync('src/**/*.ts').flatMap((file) => [...upwardImports(file), ...impurity(file)]);
}

function upwardImports(file: string): string[] {
  const own = rank(file);
  return importsOf(file)
    .filter((target) => rank(target) > own || isApart(file, target))
    .map((target) => `${file} imports ${target}`);
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) =>
    normalize(join(dirname(file), match[1]!)),
  );
}

function isApart(file: string, target: string): boolean {
  return APART.some(([from, to]) => file.startsWith(`src/${from}/`) && target.startsWith(`src/${to}`));
}

function impurity(file: string): string[] {
  if (!PURE.some((folder) => file.startsWith(`src/${folder}/`))) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line, index) =>
      IMPURE.test(line) && !/^\s*(\*|\/\/|\/\*)/.test(line)
        ? [`${file}:${index + 1} is not pure: ${line.trim()}`]
        : [],
    );
}

function rank(file: string): number {
  const part = file.split('/')[1]!;
  const index = ORDER.indexOf(part);
  return index === -1 ? ORDER.length : index;
}
