// Cryptography and framing alone: the two functions that the engine calls for each packet, on one core, no sockets.

import {
  type EncryptionName,
  type EncryptionRow,
  ESP_ENCRYPTION,
  encryptionRow,
  INTEGRITY,
  type IntegrityName,
  type IntegrityRow,
  integrityRow,
} from '../src/crypto/suites.ts';
import { judge } from './goals.ts';
import { cryptoLimit } from './limits.ts';
import type { Options } from './options.ts';
import { loadParts, measureCosts } from './parts.ts';
import { frame, limited, type Result, type Table } from './result.ts';
import { tell } from './rig.ts';
import { median, ratios, rounded, type Spread, spread } from './statistics.ts';

interface Suite {
  name: string;
  encryption: EncryptionRow;
  keyBits: number;
  /** Undefined where the encryption has its own. */
  integrity: IntegrityRow | undefined;
}

const MAIN = 'aes-gcm-16-256';
/** Of inner packets. */
const SIZES = [64, 1408];
const MILLISECONDS = 100; // of a measurement

/** Every encryption with its longest key and, where it has none of its own, every integrity; AES-128 of the first. */
const SUITES: readonly Suite[] = [
  suite('aes-gcm-16', 128, undefined),
  ...ESP_ENCRYPTION.map(encryptionRow).flatMap((row) => {
    const keyBits = Math.max(...row.keyBits);
    return row.tagBytes > 0
      ? [suite(row.name, keyBits, undefined)]
      : integritiesOf(row).map((name) => suite(row.name, keyBits, name));
  }),
];

function suite(name: EncryptionName, keyBits: number, integrity: IntegrityName | undefined): Suite {
  const encryption = encryptionRow(name);
  const full = encryption.keyBits.length > 1 ? `${name}-${keyBits}` : name;
  return {
    name: integrity === undefined ? full : `${full} / ${integrity}`,
    encryption,
    keyBits,
    integrity: integrity && integrityRow(integrity),
  };
}

/** With AES-CBC each that there is; elsewhere the usual one, since the sum is what is measured. */
function integritiesOf({ name }: EncryptionRow): IntegrityName[] {
  const all = INTEGRITY.filter(({ status }) => status === 'implemented').map((row) => row.name);
  return name === 'aes-cbc' ? all : all.slice(0, 1);
}

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
  const of = (suite: string, size: number) =>
    slower(rows.find((row) => row.suite === suite && row.size === size)!);
  const [small, large] = SIZES.map((size) => of(MAIN, size));
  return {
    ...frame(options, 'crypto', costs, MILLISECONDS / 1000),
    ratios: {
      aes_chacha_64: ratios(of(MAIN, 64), of('chacha20-poly1305', 64)),
      aes_chacha_1408: ratios(of(MAIN, 1408), of('chacha20-poly1305', 1408)),
    },
    fields: { esp_64_mpps: rounded(median(small!)), esp_1408_mpps: rounded(median(large!)) },
    goals: judge('crypto', { esp_64: median(small!) }, { esp_64: cryptoLimit(costs, 64) }),
    limits: SIZES.map((size) =>
      limited(
        `${MAIN}, ${size} bytes, the slower direction`,
        'Mpps',
        median(of(MAIN, size)),
        cryptoLimit(costs, size),
      ),
    ),
    tables: SIZES.map((size) => tableOf(size, rows)),
  };
}

/** The direction that limits, round by round. */
function slower({ seal, open }: Row): number[] {
  return seal.map((value, round) => Math.min(value, open[round]!));
}

function measureInto(row: Row): void {
  const { encryption, keyBits, integrity } = SUITES.find(({ name }) => name === row.suite)!;
  const keyBytes = keyBits / 8 + encryption.saltBytes;
  const code = [integrity?.id ?? 0, integrity?.icvBytes ?? 0, integrity?.keyBytes ?? 0] as const;
  const [seal, open] = loadParts().esp(encryption.id, keyBytes, ...code, row.size, MILLISECONDS);
  if (seal === 0 || open === 0) throw new Error(`${row.suite} is refused by native/core`);
  row.seal.push(1000 / seal);
  row.open.push(1000 / open);
}

function tableOf(size: number, rows: readonly Row[]): Table {
  return {
    title: `Cryptography and framing alone, packets of ${size} bytes, one core`,
    columns: ['', 'Mpps sealed', 'Mpps opened', 'ns sealed', 'ns opened', 'slower: least', 'most'],
    rows: rows.filter((row) => row.size === size).map((row) => cells(row, spread(slower(row)))),
    picture: { column: 1, unit: 'Mpps sealed' },
  };
}

function cells({ suite, seal, open }: Row, { min, max }: Spread): (string | number)[] {
  const [sealed, opened] = [median(seal), median(open)];
  return [suite, sealed, opened, 1000 / sealed, 1000 / opened, min, max].map((cell) =>
    typeof cell === 'number' ? rounded(cell) : cell,
  );
}
