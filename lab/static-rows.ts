// SAs with keys that both ends are given, for our data planes and for a bare kernel: every algorithm of ESP and AH at least once.

import { createHash } from 'node:crypto';
import {
  type EncryptionName,
  encryptionRow,
  type IntegrityName,
  integrityRow,
} from '../src/crypto/suites.ts';
import type { Change, SaParameters } from '../src/policy/sad.ts';
import type { Selector } from '../src/policy/selector.ts';
import { OUTER } from './two-sites.ts';
import { type Way, wayOf } from './ways.ts';

type Family = 4 | 6;

/** What a row is about; the families take turns. */
interface Choice {
  encryption?: readonly [EncryptionName, number];
  integrity?: IntegrityName;
  esn?: true;
  udp?: true;
  transport?: true;
}

export interface StaticRow {
  name: string;
  feature: string;
  way: Way;
  /** Ours: outbound, inbound. */
  sas: readonly [SaParameters, SaParameters];
}

// biome-ignore format: one SA a line
const ESP: readonly Choice[] = [
  { encryption: ['aes-gcm-16', 256], esn: true },
  { encryption: ['aes-gcm-16', 192] },
  { encryption: ['aes-gcm-16', 128] },
  { encryption: ['aes-gcm-12', 128], esn: true },
  { encryption: ['aes-gcm-8', 256] },
  { encryption: ['aes-ccm-16', 128], esn: true },
  { encryption: ['aes-ccm-12', 192] },
  { encryption: ['aes-ccm-8', 256] },
  { encryption: ['chacha20-poly1305', 256], esn: true },
  { encryption: ['aes-gmac', 128] },
  { encryption: ['aes-gmac', 256], esn: true },
  { encryption: ['aes-cbc', 256], integrity: 'hmac-sha2-512-256', esn: true },
  { encryption: ['aes-cbc', 192], integrity: 'hmac-sha2-384-192' },
  { encryption: ['aes-cbc', 128], integrity: 'hmac-sha2-256-128', esn: true },
  { encryption: ['aes-cbc', 128], integrity: 'hmac-sha1-96' },
  { encryption: ['aes-cbc', 256], integrity: 'aes-xcbc-96', esn: true },
  { encryption: ['aes-cbc', 256], integrity: 'aes-cmac-96' },
  { encryption: ['aes-ctr', 128], integrity: 'hmac-sha2-256-128' },
  { encryption: ['aes-ctr', 256], integrity: 'hmac-sha2-256-128', esn: true },
  { encryption: ['null', 0], integrity: 'hmac-sha2-256-128', esn: true },
  { encryption: ['aes-gcm-16', 256], udp: true },
];

/** AH, and transport mode of both between the gateways themselves. */
// biome-ignore format: one SA a line
const OTHERS: readonly Choice[] = [
  { integrity: 'hmac-sha2-256-128', esn: true },
  { integrity: 'hmac-sha2-384-192' },
  { integrity: 'hmac-sha2-512-256', esn: true },
  { integrity: 'hmac-sha1-96' },
  { integrity: 'aes-xcbc-96' },
  { integrity: 'aes-cmac-96', esn: true },
  { integrity: 'hmac-sha2-256-128' },
  { integrity: 'hmac-sha1-96', esn: true },
  { integrity: 'hmac-sha2-256-128', esn: true, transport: true },
  { integrity: 'hmac-sha2-512-256', transport: true },
  { encryption: ['aes-gcm-16', 256], esn: true, transport: true },
  { encryption: ['aes-cbc', 128], integrity: 'hmac-sha2-256-128', transport: true },
];

const FAMILIES: readonly (readonly [inner: Family, outer: Family])[] = [
  [4, 4],
  [6, 4],
  [4, 6],
  [6, 6],
];

const POLICY = 'static/net';
const range = (start: string, end: string): Selector => ({
  protocol: 0,
  startPort: 0,
  endPort: 65535,
  start,
  end,
});

const SELECTORS = {
  local: [range('10.1.0.0', '10.1.255.255'), range('fd01::', 'fd01::ffff:ffff:ffff:ffff')],
  remote: [range('10.2.0.0', '10.2.255.255'), range('fd02::', 'fd02::ffff:ffff:ffff:ffff')],
};

export const STATIC_ROWS: readonly StaticRow[] = [...ESP, ...OTHERS].map(rowOf);

function rowOf(choice: Choice, index: number): StaticRow {
  const [inner, outer] = FAMILIES[index % FAMILIES.length]!;
  const { encryption, integrity, esn, udp, transport } = choice;
  const protocol = encryption ? 'ESP' : 'AH';
  const cipher = encryption && [encryption[0], ...(encryption[1] > 0 ? [encryption[1]] : [])].join('-');
  const words = [encryption ? undefined : 'ah', cipher, integrity, esn && 'esn', udp && 'in UDP'];
  const families = transport ? `transport, v${outer}` : `v${inner} in v${outer}`;
  const mode = transport ? `transport mode, IPv${outer}` : `tunnel mode, IPv${inner} in IPv${outer}`;
  const sas = (['out', 'in'] as const).map((direction, place) =>
    saOf(choice, direction, outer, 0x1000 + 2 * index + place),
  );
  return {
    name: `${words.filter((word) => word !== undefined).join(' ')}, ${families}`,
    feature: `${protocol}, static SAs, ${mode}`,
    way: wayOf({ outer, inner, ...(transport ? { transport } : {}) }),
    sas: [sas[0]!, sas[1]!],
  };
}

function saOf(choice: Choice, direction: 'in' | 'out', outer: Family, spi: number): SaParameters {
  const { encryption, integrity, esn, udp, transport } = choice;
  const [local, remote] = OUTER[outer];
  return {
    spi,
    direction,
    protocol: encryption ? 'esp' : 'ah',
    mode: transport ? 'transport' : 'tunnel',
    policy: POLICY,
    local,
    remote,
    ...(udp ? { udp: { localPort: 4500, remotePort: 4500 } } : {}),
    ...(encryption ? { encryption: encryptionOf(encryption, spi) } : {}),
    ...(integrity
      ? { integrity: { name: integrity, key: keyOf(spi, integrityRow(integrity).keyBytes) } }
      : {}),
    esn: esn === true,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow: 64,
    selectors: transport ? { local: [range(local, local)], remote: [range(remote, remote)] } : SELECTORS,
    lifetime: {},
  };
}

function encryptionOf([name, keyBits]: readonly [EncryptionName, number], spi: number) {
  return { name, keyBits, key: keyOf(spi + 0x8000, keyBits / 8 + encryptionRow(name).saltBytes) };
}

/** Both ends make the same of an SPI. */
function keyOf(seed: number, length: number): Uint8Array {
  return new Uint8Array(
    createHash('shake256', { outputLength: Math.max(1, length) })
      .update(`${seed}`)
      .digest(),
  ).subarray(0, length);
}

/** What gives the SAs of a row to one of our data planes. */
export function changesOf({ sas: [outbound, inbound] }: StaticRow): Change[] {
  const { selectors } = outbound;
  const policy = { id: POLICY, action: 'protect' as const, order: 0, selectors, acquire: false };
  return [
    { type: 'add-policy', policy },
    { type: 'add-inbound', sa: inbound },
    { type: 'add-outbound', sa: outbound },
    { type: 'use-outbound', policy: POLICY, spi: outbound.spi, remote: outbound.remote },
  ];
}
