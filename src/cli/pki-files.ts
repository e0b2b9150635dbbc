// Files of `isthmus pki`: read with a sentence where they cannot be used, written once and never over another.

import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { UsageError } from './exit.ts';

/** Never over something: a key that is gone is gone. */
export function save(file: string, text: string, mode: number): string {
  try {
    writeFileSync(file, text, { mode, flag: 'wx' });
    chmodSync(file, mode);
    return file;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      code === 'EEXIST' ? `${file} is there already` : `${file} cannot be written: ${code}`,
    );
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
