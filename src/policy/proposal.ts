// What may be negotiated (templates), what was proposed (proposals), and the choice between them.

import {
  ENCRYPTION,
  type EncryptionName,
  encryptionRow,
  INTEGRITY,
  type IntegrityName,
  integrityRow,
  KEY_EXCHANGE,
  type KeyExchangeName,
  keyExchangeRow,
  PRF,
  type PrfName,
  prfRow,
} from '../crypto/suites.ts';
import type { Proposal, Transform } from '../wire/ikev2.ts';
import { PROTOCOL, TRANSFORM } from '../wire/numbers.ts';

/** Alternatives of one proposal, each list in order of preference. */
export interface ProposalTemplate {
  encryption: { name: EncryptionName; keyBits: number }[];
  /** Empty with combined-mode encryption. */
  integrity: IntegrityName[];
  /** IKE only. */
  prf: PrfName[];
  /** For IKE at least one; for a child empty means no PFS. */
  keyExchange: KeyExchangeName[];
  /** Further key exchanges (RFC 9370), transform types 6 to 12 in order; empty lists are not offered. */
  additionalKeyExchange: KeyExchangeName[][];
  /** Child only, in order of preference: true is extended sequence numbers. */
  esn: boolean[];
}

/** One alternative of each kind. */
export interface ChosenSuite {
  encryption: { name: EncryptionName; keyBits: number };
  integrity?: IntegrityName;
  prf?: PrfName;
  keyExchange?: KeyExchangeName;
  esn?: boolean;
}

/** Templates as they go on the wire, numbered from 1 (RFC 7296 §3.3.1). */
export function toProposals(
  templates: readonly ProposalTemplate[],
  protocol: number,
  spi: Uint8Array,
  options: { keyExchange: boolean },
): Proposal[] {
  return templates.map((template, index) => ({
    number: index + 1,
    protocol,
    spi,
    transforms: [
      ...template.encryption.map(encryptionTransform),
      ...template.prf.map((name) => ({ type: TRANSFORM.PRF, id: prfRow(name).id })),
      ...template.integrity.map((name) => ({ type: TRANSFORM.INTEG, id: integrityRow(name).id })),
      ...(options.keyExchange ? template.keyExchange : []).map((name) => ({
        type: TRANSFORM.KE,
        id: keyExchangeRow(name).id,
      })),
      ...(protocol === PROTOCOL.IKE
        ? []
        : template.esn.map((esn) => ({ type: TRANSFORM.ESN, id: esn ? 1 : 0 }))),
    ],
  }));
}

/** The chosen proposal as the answer: exactly one transform of each type (RFC 7296 §3.3.6). */
export function toAnswer(suite: ChosenSuite, number: number, protocol: number, spi: Uint8Array): Proposal {
  const template: ProposalTemplate = {
    encryption: [suite.encryption],
    integrity: suite.integrity ? [suite.integrity] : [],
    prf: suite.prf ? [suite.prf] : [],
    keyExchange: suite.keyExchange ? [suite.keyExchange] : [],
    additionalKeyExchange: [],
    esn: suite.esn === undefined ? [] : [suite.esn],
  };
  return { ...toProposals([template], protocol, spi, { keyExchange: true })[0]!, number };
}

/** AES needs its key length named; ChaCha20 has one only and must not (RFC 7634 §4). */
function encryptionTransform({ name, keyBits }: { name: EncryptionName; keyBits: number }): Transform {
  const row = encryptionRow(name);
  return { type: TRANSFORM.ENCR, id: row.id, ...(row.keyBits.length > 1 ? { keyBits } : {}) };
}

/**
 * The first template that fits a proposal, in our order of preference, and which proposal that was.
 * `keyExchange: false` is the child of IKE_AUTH, which never has its own (RFC 7296 §1.2).
 */
export function choose(
  templates: readonly ProposalTemplate[],
  proposals: readonly Proposal[],
  protocol: number,
  options: { keyExchange: boolean },
): { suite: ChosenSuite; proposal: Proposal } | undefined {
  for (const template of templates) {
    for (const proposal of proposals) {
      const suite = proposal.protocol === protocol ? match(template, proposal, protocol, options) : undefined;
      if (suite) return { suite, proposal };
    }
  }
  return undefined;
}

function match(
  template: ProposalTemplate,
  { transforms }: Proposal,
  protocol: number,
  options: { keyExchange: boolean },
): ChosenSuite | undefined {
  const ids = (type: number) => transforms.filter((transform) => transform.type === type).map(({ id }) => id);
  const known: number[] = [TRANSFORM.ENCR, TRANSFORM.PRF, TRANSFORM.INTEG, TRANSFORM.KE, TRANSFORM.ESN];
  // RFC 7296 §3.3.6: a transform type nobody knows makes the whole proposal unacceptable.
  if (transforms.some(({ type }) => !known.includes(type))) return undefined;
  const encryption = template.encryption.find((wanted) =>
    transforms.some((offered) => isSame(wanted, offered)),
  );
  if (!encryption) return undefined;
  const combined = encryptionRow(encryption.name).tagBytes > 0;
  const integrity = combined
    ? undefined
    : template.integrity.find((name) => ids(TRANSFORM.INTEG).includes(integrityRow(name).id));
  if (!combined && !integrity) return undefined;
  const suite: ChosenSuite = { encryption, ...(integrity ? { integrity } : {}) };
  if (options.keyExchange) {
    const offered = ids(TRANSFORM.KE);
    const keyExchange = template.keyExchange.find((name) => offered.includes(keyExchangeRow(name).id));
    if (keyExchange) suite.keyExchange = keyExchange;
    else if (template.keyExchange.length > 0 || (offered.length > 0 && !offered.includes(0)))
      return undefined;
  }
  if (protocol === PROTOCOL.IKE) {
    const prf = template.prf.find((name) => ids(TRANSFORM.PRF).includes(prfRow(name).id));
    return prf && suite.keyExchange ? { ...suite, prf } : undefined;
  }
  // RFC 7296 §3.3.3: ESN is mandatory for ESP and AH; a proposal without it means no extended numbers.
  const offered = ids(TRANSFORM.ESN).length === 0 ? [0] : ids(TRANSFORM.ESN);
  const esn = template.esn.find((wanted) => offered.includes(wanted ? 1 : 0));
  return esn === undefined ? undefined : { ...suite, esn };
}

function isSame(wanted: { name: EncryptionName; keyBits: number }, offered: Transform): boolean {
  const row = encryptionRow(wanted.name);
  if (offered.type !== TRANSFORM.ENCR || offered.id !== row.id) return false;
  return row.keyBits.length > 1
    ? offered.keyBits === wanted.keyBits
    : offered.keyBits === undefined || offered.keyBits === wanted.keyBits;
}

/** `aes-gcm-16-256 / x25519`: what a person compares on both sides. */
export function suiteText(suite: ChosenSuite): string {
  const parts = [
    sized(suite.encryption.name, suite.encryption.keyBits),
    suite.integrity,
    suite.prf && `prf-${suite.prf}`,
    suite.keyExchange,
    suite.esn ? 'esn' : undefined,
  ];
  return parts.filter((part) => part).join(' / ');
}

export function templateText(template: ProposalTemplate): string {
  const lists = [
    template.encryption.map(({ name, keyBits }) => sized(name, keyBits)),
    template.integrity,
    template.prf.map((name) => `prf-${name}`),
    template.keyExchange,
  ];
  return lists
    .filter((list) => list.length > 0)
    .map((list) => list.join('|'))
    .join(' / ');
}

export function proposalText({ transforms }: Proposal): string {
  const named = (type: number) =>
    transforms.filter((transform) => transform.type === type).map(transformText);
  const types = [TRANSFORM.ENCR, TRANSFORM.INTEG, TRANSFORM.PRF, TRANSFORM.KE];
  return types
    .map(named)
    .filter((list) => list.length > 0)
    .map((list) => list.join('|'))
    .join(' / ');
}

const TABLES: Readonly<Record<number, readonly { id: number; name: string }[]>> = {
  [TRANSFORM.ENCR]: ENCRYPTION,
  [TRANSFORM.PRF]: PRF,
  [TRANSFORM.INTEG]: INTEGRITY,
  [TRANSFORM.KE]: KEY_EXCHANGE,
};

function transformText({ type, id, keyBits }: Transform): string {
  const name = TABLES[type]?.find((row) => row.id === id)?.name ?? `unknown-${id}`;
  const prefixed = type === TRANSFORM.PRF ? `prf-${name}` : name;
  return keyBits === undefined ? prefixed : sized(prefixed, keyBits);
}

function sized(name: string, keyBits: number): string {
  return name === 'chacha20-poly1305' ? name : `${name}-${keyBits}`;
}
