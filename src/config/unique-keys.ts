// A key that stands twice in one map: what the YAML library finds too, but by comparing each key with each.

import { type Document, isScalar, type Node, visit } from 'yaml';

/** Where a key stands again: offsets into the text. */
export function repeatedKeys(document: Document.Parsed): number[] {
  const found: number[] = [];
  visit(document as Document, {
    Map(_key, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const value = isScalar(key) ? key.value : key;
        if (seen.has(value)) found.push((key as Node).range![0]);
        seen.add(value);
      }
    },
  });
  return found;
}
