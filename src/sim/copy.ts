// Copies of plain data: maps, sets, arrays, records. Bytes are never written to, so copies share them.

export function copy<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(copy) as T;
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, copy(item)])) as T;
  if (value instanceof Set) return new Set(value) as T;
  const made: Record<string, unknown> = {};
  for (const key in value) made[key] = copy(value[key]);
  return made as T;
}
