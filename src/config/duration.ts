// Durations as they stand in the file.

const UNIT: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `10m`, `4h`, `1d`; undefined where it is something else. */
export function milliseconds(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,6})(ms|[smhd])$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * UNIT[unit!]!;
}
