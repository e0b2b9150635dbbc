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
  type Status,
} from '../crypto/suites.ts';
import type { Proposal, Transform } from '../wire/ikev2.ts';
import { PROTOCOL, TRANSFORM } from '../wire/numbers.ts';
import type { Capabilities } from './sad.ts';

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

/** What a data plane can do of the templates, the very same where that is all; a template of which nothing is left is gone. */
export function capable(
  templates: ProposalTemplate[],
  { encryption, integrity, esn }: Capabilities,
): ProposalTemplate[] {
  const possible = templates.flatMap((template) => {
    const left = {
      ...template,
      encryption: template.encryption.filter(({ name }) => encryption.includes(name)),
      integrity: template.integrity.filter((name) => integrity.includes(name)),
      esn: template.esn.filter((wanted) => !wanted || esn),
    };
    const lost = template.integrity.length > 0 && left.integrity.length === 0;
    return lost || left.encryption.length === 0 || left.esn.length === 0 ? [] : [left];
  });
  const isAll =
    possible.length === templates.length &&
    possible.every((left, index) => alternatives(left) === alternatives(templates[index]!));
  return isAll ? templates : possible;
}

function alternatives({ encryption, integrity, esn }: ProposalTemplate): number {
  return encryption.length + integrity.length + esn.length;
}

/**
 * What may replace an IKE SA: while its PRF is still wanted, nothing with another. Where the PRF changes, RFC 7296 §2.18 makes
 * SKEYSEED with the old one and the keys with the new one; strongSwan (5.9.8) makes both with the old one.
 */
export function keepingPrf(templates: readonly ProposalTemplate[], prf: PrfName): ProposalTemplate[] {
  const kept = templates.filter((template) => template.prf.includes(prf));
  return kept.length > 0 ? kept.map((template) => ({ ...template, prf: [prf] })) : [...templates];
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
  const row = ENCRYPTION.find((one) => one.name === name);
  return row?.keyBits.length === 1 ? name : `${name}-${keyBits}`;
}

/** Which kinds of suite a text may name. */
export type SuiteKind = 'ike' | 'esp';

/** What a tunnel allows beyond the implemented rows. */
export interface Allowed {
  /** Rows that are too weak for anything but a peer that has nothing better. */
  legacy: boolean;
  /** Faults of the peer that we share. */
  quirks: readonly Quirk[];
}

const NOTHING_MORE: Allowed = { legacy: false, quirks: [] };

/** `hmac-sha2-256-96`: the peer's ESP cuts HMAC-SHA2-256 to 96 bits, as Linux before 2.6.33 and some boxes do. */
export const QUIRKS = ['hmac-sha2-256-96'] as const;
export type Quirk = (typeof QUIRKS)[number];

/** What a suite may leave unnamed, in order of preference. */
const unnamed = <Name>(rows: readonly { name: Name; status: string; onlyNamed?: true }[]): Name[] =>
  rows.filter((row) => row.status === 'implemented' && !row.onlyNamed).map(({ name }) => name);
const PREFERRED_PRF = unnamed<PrfName>(PRF);
const PREFERRED_KEY_EXCHANGE = unnamed<KeyExchangeName>(KEY_EXCHANGE);

/**
 * `aes-gcm-16-256 / prf-hmac-sha2-384 / x25519 | ecp-256`: the kinds in any order, alternatives of one kind by `|`.
 * An IKE suite without a PRF or a group takes the usual ones. A complaint where the text names what we cannot do or the
 * tunnel does not allow.
 */
export function parseTemplate(
  text: string,
  kind: SuiteKind,
  allowed: Allowed = NOTHING_MORE,
): ProposalTemplate | { complaint: string } {
  const template: ProposalTemplate = {
    encryption: [],
    integrity: [],
    prf: [],
    keyExchange: [],
    additionalKeyExchange: [],
    esn: kind === 'esp' ? [true, false] : [],
  };
  for (const token of text.split(/[/|]/).map((part) => part.trim())) {
    const complaint = addToken(template, token, kind, allowed);
    if (complaint) return { complaint };
  }
  if (kind === 'esp' && allowed.quirks.includes('hmac-sha2-256-96'))
    template.integrity = [...new Set(template.integrity.map(cutTo96))];
  return completed(template, kind, text);
}

/** Both have the same number on the wire: a tunnel can mean only one of them. */
function cutTo96(name: IntegrityName): IntegrityName {
  return name === 'hmac-sha2-256-128' ? 'hmac-sha2-256-96' : name;
}

function completed(
  template: ProposalTemplate,
  kind: SuiteKind,
  text: string,
): ProposalTemplate | { complaint: string } {
  if (template.encryption.length === 0) return { complaint: `"${text}" names no encryption` };
  const combined = template.encryption.filter(({ name }) => encryptionRow(name).tagBytes > 0).length;
  if (combined > 0 && combined < template.encryption.length)
    return { complaint: `"${text}" mixes encryption with and without its own integrity: write two suites` };
  if (combined > 0 && template.integrity.length > 0)
    return { complaint: `"${text}": ${template.encryption[0]!.name} has its own integrity` };
  if (combined === 0 && template.integrity.length === 0)
    return { complaint: `"${text}" needs an integrity algorithm such as hmac-sha2-256-128` };
  const large = kind === 'ike' && template.keyExchange.find((name) => name === 'ml-kem-1024');
  // draft-ietf-ipsecme-ikev2-mlkem: IKE_SA_INIT is never fragmented (RFC 7383 §2.1), and the key alone has 1568 bytes.
  if (large) return { complaint: `"${text}": the key of ${large} does not fit into IKE_SA_INIT` };
  if (kind === 'ike' && template.prf.length === 0) template.prf = [...PREFERRED_PRF];
  if (kind === 'ike' && template.keyExchange.length === 0) template.keyExchange = [...PREFERRED_KEY_EXCHANGE];
  return template;
}

function addToken(
  template: ProposalTemplate,
  token: string,
  kind: SuiteKind,
  allowed: Allowed,
): string | undefined {
  if (token === 'esn' || token === 'no-esn') {
    if (kind === 'ike') return `${token} belongs to ESP`;
    template.esn = [token === 'esn'];
    return undefined;
  }
  const prf = token.startsWith('prf-') ? PRF.find(({ name }) => name === token.slice(4)) : undefined;
  if (prf) {
    if (kind === 'esp') return `${token} belongs to IKE`;
    template.prf.push(prf.name);
    return refusal(prf, token, allowed);
  }
  const integrity = INTEGRITY.find(({ name }) => name === token);
  if (integrity) {
    template.integrity.push(integrity.name);
    if (kind === 'ike' && integrity.status === 'quirk') return `${token} belongs to ESP`;
    return refusal(integrity, token, allowed);
  }
  const keyExchange = KEY_EXCHANGE.find(({ name }) => name === token);
  if (keyExchange) {
    template.keyExchange.push(keyExchange.name);
    return refusal(keyExchange, token, allowed);
  }
  return addEncryption(template, token, kind);
}

function addEncryption(template: ProposalTemplate, token: string, kind: SuiteKind): string | undefined {
  const row = ENCRYPTION.find(({ name }) => token === name || token.startsWith(`${name}-`));
  const sizes: readonly number[] = row?.keyBits ?? [];
  const keyBits = token === row?.name ? sizes.at(-1)! : Number(token.slice((row?.name.length ?? 0) + 1));
  if (!row || !sizes.includes(keyBits)) return `unknown algorithm "${token}"`;
  if (kind === 'ike' && !row.ike) return `${token} belongs to ESP: an IKE SA is always encrypted`;
  template.encryption.push({ name: row.name, keyBits });
  return refusal(row, token, NOTHING_MORE);
}

function refusal(
  { status, reason }: { status: Status['status']; reason?: string },
  token: string,
  { legacy, quirks }: Allowed,
): string | undefined {
  switch (status) {
    case 'implemented':
      return undefined;
    case 'legacy':
      return legacy ? undefined : `${token} is weak: ${reason}; "legacy: true" in this tunnel allows it`;
    case 'quirk':
      return quirks.some((one) => one === token)
        ? undefined
        : `${token} is ${reason}; "quirks: [${token}]" in this tunnel allows it`;
    case 'planned':
      return `${token} is known but not implemented yet`;
    case 'refused':
      return `${token} is refused: ${reason}`;
  }
}
