// Cryptography and framing alone: the two functions that the engine calls for each packet, on one core, no sockets.

import { judge } from './goals.ts';
import { cryptoLimit } from './limits.ts';
import type { Options } from './options.ts';
import { loadParts, measureCosts } from './parts.ts';
import { about, limited, type Result } from './result.ts';
import { tell } from './rig.ts';
import { median, ratios, rounded, spread } from './statistics.ts';

interface Suite {
  name: string;
  /** As native/core/cipher.h numbers it. */
  algorithm: number;
  /** With its salt. */
  keyBytes: number;
  /** Of SHA-2, 0 for an AEAD. */
  digestBits: number;
}

const SUITES: readonly Suite[] = [
  { name: 'aes-gcm-16-256', algorithm: 0, keyBytes: 36, digestBits: 0 },
  { name: 'aes-gcm-16-128', algorithm: 0, keyBytes: 20, digestBits: 0 },
  { name: 'chacha20-poly1305', algorithm: 1, keyBytes: 36, digestBits: 0 },
  { name: 'aes-cbc-256 / hmac-sha2-256-128', algorithm: 2, keyBytes: 32, digestBits: 256 },
  { name: 'aes-cbc-256 / hmac-sha2-512-256', algorithm: 2, keyBytes: 32, digestBits: 512 },
];
/** Of inner packets. */
const SIZES = [64, 1408];
const MILLISECONDS = 150; // of a measurement
const MAIN = 'aes-gcm-16-256';

interface Row {
  suite: string;
  size: number;
  /** Million packets per second. */
  seal: number[];
  open: number[];
}

export async function crypto(options: Options): Promise<Result> {
  const costs = measureCosts();
  const rows = SIZES.flatMap((size) =>
    SUITES.map(({ name }): Row => ({ suite: name, size, seal: [], open: [] })),
  );
  for (let round = 1; round <= options.rounds; round++) {
    tell(`crypto, round ${round} of ${options.rounds}`);
    for (const row of rows) measureInto(row);
  }
  const slower = (row: Row) => row.seal.map((value, round) => Math.min(value, row.open[round]!));
  const of = (suite: string, size: number) =>
    slower(rows.find((row) => row.suite === suite && row.size === size)!);
  const [small, large] = SIZES.map((size) => of(MAIN, size));
  return {
    subject: 'crypto',
    ratios: {
      aes_chacha_64: ratios(of(MAIN, 64), of('chacha20-poly1305', 64)),
      aes_chacha_1408: ratios(of(MAIN, 1408), of('chacha20-poly1305', 1408)),
    },
    fields: { esp_64_mpps: rounded(median(small!)), esp_1408_mpps: rounded(median(large!)) },
    goals: judge('crypto', { esp_64: median(small!) }),
    limits: SIZES.map((size) =>
      limited(
        `${MAIN}, ${size} bytes, the slower direction`,
        'Mpps',
        median(of(MAIN, size)),
        cryptoLimit(costs, size),
      ),
    ),
    costs,
    tables: SIZES.map((size) => ({
      title: `Cryptography and framing alone, packets of ${size} bytes, one core`,
      columns: ['', 'Mpps sealed', 'Mpps opened', 'ns sealed', 'ns opened', 'slower: least', 'most'],
      rows: rows.filter((row) => row.size === size).map((row) => cells(row, spread(slower(row)))),
      picture: { column: 1, unit: 'Mpps sealed' },
    })),
    rounds: options.rounds,
    seconds: MILLISECONDS / 1000,
    about: about(options, 'crypto'),
  };
}

function measureInto(row: Row): void {
  const { algorithm, keyBytes, digestBits } = SUITES.find(({ name }) => name === row.suite)!;
  const [seal, open] = loadParts().esp(algorithm, keyBytes, digestBits, row.size, MILLISECONDS);
  if (seal === 0 || open === 0) throw new Error(`${row.suite} is refused by native/core`);
  row.seal.push(1000 / seal);
  row.open.push(1000 / open);
}

function cells({ suite, seal, open }: Row, slower: { min: number; max: number }): (string | number)[] {
  const [sealed, opened] = [median(seal), median(open)];
  return [suite, sealed, opened, 1000 / sealed, 1000 / opened, slower.min, slower.max].map((cell) =>
    typeof cell === 'number' ? rounded(cell) : cell,
  );
}
