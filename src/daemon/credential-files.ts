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
  return paths
    .map((path) => {
      const found = statSync(path, { throwIfNoEntry: false, bigint: true });
      return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'gone';
    })
    .join('\n');
}
