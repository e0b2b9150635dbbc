// Files of `isthmus pki`: read with a sentence where they cannot be used, written once and never over another.

import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { UsageError } from './exit.ts';

export interface NewFile {
  file: string;
  text: string;
  mode: number;
}

/** All or none, and never over something: a key that is gone is gone. */
export function save(files: readonly NewFile[]): string[] {
  const there = files.find(({ file }) => existsSync(file));
  if (there) throw new UsageError(`${there.file} is there already`);
  for (const { file, text, mode } of files) write(file, text, mode);
  return files.map(({ file }) => file);
}

function write(file: string, text: string, mode: number): void {
  try {
    writeFileSync(file, text, { mode, flag: 'wx' });
    chmodSync(file, mode);
  } catch (error) {
    throw new UsageError(`${file} cannot be written: ${(error as NodeJS.ErrnoException).code}`);
  }
}

export function readOrComplain(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

export function usable<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(`${file}: ${(error as Error).message}`);
  }
}
