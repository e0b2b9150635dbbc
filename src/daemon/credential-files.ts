// Certificates, keys and lists on disk: whether one has changed since they were read.

import { statSync } from 'node:fs';

/** True once after a change; a file that is gone is a change. */
export function watchFiles(paths: readonly string[]): () => boolean {
  let last = stamp(paths);
  return () => {
    const next = stamp(paths);
    const changed = next !== last;
    last = next;
    return changed;
  };
}

function stamp(paths: readonly string[]): string {
  return paths.map(stampOf).join('\n');
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return 'gone';
  }
}
