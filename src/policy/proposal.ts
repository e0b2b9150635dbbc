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
import {
  type AdditionalChoice,
  type AdditionalMethod,
  additionalMethods,
  additionalTransform,
  additionalTransforms,
  chooseAdditional,
  isAdditional,
  MOST_ADDITIONAL,
} from './additional.ts';
import type { Quirk } from './quirks.ts';
import type { Capabilities } from './sad.ts';

/** Alternatives of one proposal, each list in order of preference. */
export interface ProposalTemplate {
  /** Empty for AH. */
  encryption: { name: EncryptionName; keyBits: number }[];
  /** Empty with combined-mode encryption. */
  integrity: IntegrityName[];
  /** IKE only. */
  prf: PrfName[];
  /** For IKE at least one; for a child empty means no PFS. */
  keyExchange: KeyExchangeName[];
  /** Further key exchanges (RFC 9370), transform types 6 to 12 in order; empty lists are not offered. */
  additionalKeyExchange: AdditionalMethod[][];
  /** Child only, in order of preference: true is extended sequence numbers. */
  esn: boolean[];
}

/** One alternative of each kind. */
export interface ChosenSuite {
  /** Absent for AH only. */
  encryption?: { name: EncryptionName; keyBits: number };
  integrity?: IntegrityName;
  prf?: PrfName;
  keyExchange?: KeyExchangeName;
  /** In the order of their types; absent where nothing of the kind was negotiated. */
  additionalKeyExchange?: AdditionalChoice[];
  esn?: boolean;
}

/** The protocol of a child's SA as it stands on the wire (RFC 7296 §3.3.1). */
export function wireProtocol(protocol: 'esp' | 'ah'): number {
  return protocol === 'ah' ? PROTOCOL.AH : PROTOCOL.ESP;
}

/** What a child was negotiated for: only AH does without encryption. */
export function childProtocol({ encryption }: ChosenSuite): number {
  return encryption ? PROTOCOL.ESP : PROTOCOL.AH;
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
      ...(options.keyExchange ? additionalTransforms(template.additionalKeyExchange) : []),
      ...(protocol === PROTOCOL.IKE
        ? []
        : template.esn.map((esn) => ({ type: TRANSFORM.ESN, id: esn ? 1 : 0 }))),
    ],
  }));
}

/** What a data plane can do of the templates, the very same where that is all; a template of which nothing is left is gone. */
export function capable(
  templates: ProposalTemplate[],
  { encryption, integrity, authentication, esn }: Capabilities,
): ProposalTemplate[] {
  const possible = templates.flatMap((template) => {
    const codes = template.encryption.length === 0 ? authentication : integrity;
    const left = {
      ...template,
      encryption: template.encryption.filter(({ name }) => encryption.includes(name)),
      integrity: template.integrity.filter((name) => codes.includes(name)),
      esn: template.esn.filter((wanted) => !wanted || esn),
    };
    const isLost = (kind: 'encryption' | 'integrity') => template[kind].length > 0 && left[kind].length === 0;
    return isLost('integrity') || isLost('encryption') || left.esn.length === 0 ? [] : [left];
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
    encryption: suite.encryption ? [suite.encryption] : [],
    integrity: suite.integrity ? [suite.integrity] : [],
    prf: suite.prf ? [suite.prf] : [],
    keyExchange: suite.keyExchange ? [suite.keyExchange] : [],
    additionalKeyExchange: [],
    esn: suite.esn === undefined ? [] : [suite.esn],
  };
  const [answer] = toProposals([template], protocol, spi, { keyExchange: true });
  const additional = (suite.additionalKeyExchange ?? []).map(additionalTransform);
  return { ...answer!, number, transforms: [...answer!.transforms, ...additional] };
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

const KNOWN: readonly number[] = [
  TRANSFORM.ENCR,
  TRANSFORM.PRF,
  TRANSFORM.INTEG,
  TRANSFORM.KE,
  TRANSFORM.ESN,
];

function match(
  template: ProposalTemplate,
  { transforms }: Proposal,
  protocol: number,
  options: { keyExchange: boolean },
): ChosenSuite | undefined {
  const ids = (type: number) => transforms.filter((transform) => transform.type === type).map(({ id }) => id);
  // RFC 7296 §3.3.6: a transform type nobody knows makes the whole proposal unacceptable.
  if (transforms.some(({ type }) => !KNOWN.includes(type) && !isAdditional(type))) return undefined;
  const ciphers = matchCiphers(template, transforms, protocol);
  const exchanges = options.keyExchange ? matchExchanges(template, transforms) : {};
  if (!ciphers || !exchanges) return undefined;
  const suite: ChosenSuite = { ...ciphers, ...exchanges };
  if (protocol === PROTOCOL.IKE) {
    const prf = template.prf.find((name) => ids(TRANSFORM.PRF).includes(prfRow(name).id));
    return prf && suite.keyExchange ? { ...suite, prf } : undefined;
  }
  // RFC 7296 §3.3.3: ESN is mandatory for ESP and AH; a proposal without it means no extended numbers.
  const offered = ids(TRANSFORM.ESN).length === 0 ? [0] : ids(TRANSFORM.ESN);
  const esn = template.esn.find((wanted) => offered.includes(wanted ? 1 : 0));
  return esn === undefined ? undefined : { ...suite, esn };
}

/** Encryption and integrity, as many as belong together. RFC 7296 §3.3.3: AH has no encryption. */
function matchCiphers(
  template: ProposalTemplate,
  transforms: readonly Transform[],
  protocol: number,
): Pick<ChosenSuite, 'encryption' | 'integrity'> | undefined {
  const offersEncryption = transforms.some(({ type }) => type === TRANSFORM.ENCR);
  if (protocol === PROTOCOL.AH && (offersEncryption || template.encryption.length > 0)) return undefined;
  const encryption = template.encryption.find((wanted) =>
    transforms.some((offered) => isSame(wanted, offered)),
  );
  if (!encryption && protocol !== PROTOCOL.AH) return undefined;
  if (encryption && encryptionRow(encryption.name).tagBytes > 0) return { encryption };
  const integrity = template.integrity.find((name) =>
    transforms.some(({ type, id }) => type === TRANSFORM.INTEG && id === integrityRow(name).id),
  );
  return integrity && { ...(encryption ? { encryption } : {}), integrity };
}

/** The key exchange and the additional ones; additional ones need a first (RFC 9370 §2.2.4). */
function matchExchanges(
  template: ProposalTemplate,
  transforms: readonly Transform[],
): Pick<ChosenSuite, 'keyExchange' | 'additionalKeyExchange'> | undefined {
  const offered = transforms.filter(({ type }) => type === TRANSFORM.KE).map(({ id }) => id);
  const keyExchange = template.keyExchange.find((name) => offered.includes(keyExchangeRow(name).id));
  const without = template.keyExchange.length === 0 && (offered.length === 0 || offered.includes(0));
  const additional = chooseAdditional(template.additionalKeyExchange, transforms);
  if (!additional || (!keyExchange && (!without || additional.some(({ method }) => method !== 'none'))))
    return undefined;
  return {
    ...(keyExchange ? { keyExchange } : {}),
    ...(additional.length > 0 ? { additionalKeyExchange: additional } : {}),
  };
}

/** What is left for a peer that knows no additional key exchanges: templates that can do without. */
export function withoutAdditional(templates: readonly ProposalTemplate[]): ProposalTemplate[] {
  return templates
    .filter(({ additionalKeyExchange: lists }) =>
      lists.every((methods) => methods.length === 0 || methods.includes('none')),
    )
    .map((template) => ({ ...template, additionalKeyExchange: [] }));
}

function isSame(wanted: { name: EncryptionName; keyBits: number }, offered: Transform): boolean {
  const row = encryptionRow(wanted.name);
  if (offered.type !== TRANSFORM.ENCR || offered.id !== row.id) return false;
  return row.keyBits.length > 1
    ? offered.keyBits === wanted.keyBits
    : offered.keyBits === undefined || offered.keyBits === wanted.keyBits;
}

/** `aes-gcm-16-256 / x25519`, `ah hmac-sha2-256-128`: what a person compares on both sides. */
export function suiteText(suite: ChosenSuite): string {
  const parts = [
    suite.encryption ? sized(suite.encryption.name, suite.encryption.keyBits) : `ah ${suite.integrity}`,
    suite.encryption && suite.integrity,
    suite.prf && `prf-${suite.prf}`,
    [suite.keyExchange, ...additionalMethods(suite)].filter((name) => name).join(' + '),
    suite.esn ? 'esn' : undefined,
  ];
  return parts.filter((part) => part).join(' / ');
}

export function templateText(template: ProposalTemplate): string {
  const lists = [
    template.encryption.map(({ name, keyBits }) => sized(name, keyBits)),
    template.integrity,
    template.prf.map((name) => `prf-${name}`),
    exchangeLists([template.keyExchange, ...template.additionalKeyExchange]),
  ];
  const text = lists
    .filter((list) => list.length > 0)
    .map((list) => list.join('|'))
    .join(' / ');
  return template.encryption.length === 0 ? `ah ${text}` : text;
}

export function proposalText({ protocol, transforms }: Proposal): string {
  const named = (type: number) =>
    transforms.filter((transform) => transform.type === type).map(transformText);
  const additional = Array.from({ length: MOST_ADDITIONAL }, (_, index) => named(TRANSFORM.ADDKE1 + index));
  const lists = [TRANSFORM.ENCR, TRANSFORM.INTEG, TRANSFORM.PRF].map(named);
  const text = [...lists, exchangeLists([named(TRANSFORM.KE), ...additional])]
    .filter((list) => list.length > 0)
    .map((list) => list.join('|'))
    .join(' / ');
  return protocol === PROTOCOL.AH ? `ah ${text}` : text;
}

/** `x25519|ecp-256 + ml-kem-768|none` as one item, or no item. */
function exchangeLists(lists: readonly (readonly string[])[]): string[] {
  const text = lists
    .filter((names) => names.length > 0)
    .map((names) => names.join('|'))
    .join(' + ');
  return text === '' ? [] : [text];
}

const TABLES: Readonly<Record<number, readonly { id: number; name: string }[]>> = {
  [TRANSFORM.ENCR]: ENCRYPTION,
  [TRANSFORM.PRF]: PRF,
  [TRANSFORM.INTEG]: INTEGRITY,
  [TRANSFORM.KE]: KEY_EXCHANGE,
};

const ADDITIONAL: readonly { id: number; name: string }[] = [{ id: 0, name: 'none' }, ...KEY_EXCHANGE];

function transformText({ type, id, keyBits }: Transform): string {
  const table = isAdditional(type) ? ADDITIONAL : (TABLES[type] ?? []);
  const name = table.find((row) => row.id === id)?.name ?? `unknown-${id}`;
  const prefixed = type === TRANSFORM.PRF ? `prf-${name}` : name;
  return keyBits === undefined ? prefixed : sized(prefixed, keyBits);
}

function sized(name: string, keyBits: number): string {
  const row = ENCRYPTION.find((one) => one.name === name);
  return row?.keyBits.length === 1 ? name : `${name}-${keyBits}`;
}

/** Which kinds of suite a text may name. */
export type SuiteKind = 'ike' | 'esp' | 'ah';

/** What a tunnel allows beyond the implemented rows. */
export interface Allowed {
  /** Rows that are too weak for anything but a peer that has nothing better. */
  legacy: boolean;
  /** Faults of the peer that we share. */
  quirks: readonly Quirk[];
}

const NOTHING_MORE: Allowed = { legacy: false, quirks: [] };

/** What a suite may leave unnamed, in order of preference. */
const unnamed = <Name>(rows: readonly { name: Name; status: string; onlyNamed?: true }[]): Name[] =>
  rows.filter((row) => row.status === 'implemented' && !row.onlyNamed).map(({ name }) => name);
const PREFERRED_PRF = unnamed<PrfName>(PRF);
const PREFERRED_KEY_EXCHANGE = unnamed<KeyExchangeName>(KEY_EXCHANGE);

/**
 * `aes-gcm-16-256 / prf-hmac-sha2-384 / x25519 | ecp-256 + ml-kem-768`: the kinds in any order, alternatives of one kind by
 * `|`, further key exchanges by `+` in their order, `none` among them where one may be left out (RFC 9370). An IKE suite without a PRF or a group takes the usual ones. A complaint where the text names what we cannot do or the
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
    esn: kind === 'ike' ? [] : [true, false],
  };
  for (const part of text.split('/')) {
    const complaint = addPart(template, part, kind, allowed);
    if (complaint) return { complaint };
  }
  if (kind !== 'ike' && allowed.quirks.includes('hmac-sha2-256-96'))
    template.integrity = [...new Set(template.integrity.map(cutTo96))];
  return completed(template, kind, text);
}

/** Alternatives of one kind; further key exchanges behind a `+`. */
function addPart(
  template: ProposalTemplate,
  part: string,
  kind: SuiteKind,
  allowed: Allowed,
): string | undefined {
  const [first, ...further] = part.split('+').map((text) => text.split('|').map((token) => token.trim()));
  const had = template.keyExchange.length;
  // `+ ml-kem-768` alone: beside the key exchanges that an unnamed kind takes.
  const usual = kind === 'ike' && further.length > 0 && first!.join('') === '';
  for (const token of usual ? [] : first!) {
    const complaint = addToken(template, token, kind, allowed);
    if (complaint) return complaint;
  }
  if (further.length === 0) return undefined;
  if (template.additionalKeyExchange.length > 0) return `"${part.trim()}": write one list with +`;
  if (template.keyExchange.length === had && !usual)
    return `"${part.trim()}": a key exchange stands before the first +`;
  if (further.length > MOST_ADDITIONAL)
    return `"${part.trim()}": at most ${MOST_ADDITIONAL} key exchanges more`;
  for (const tokens of further) {
    const methods = tokens.map((token) => additionalMethod(token, allowed));
    const complaint = methods.find((method) => typeof method === 'object');
    if (complaint) return complaint.complaint;
    template.additionalKeyExchange.push(methods as AdditionalMethod[]);
  }
  return undefined;
}

function additionalMethod(token: string, allowed: Allowed): AdditionalMethod | { complaint: string } {
  if (token === 'none') return 'none';
  const row = KEY_EXCHANGE.find(({ name }) => name === token);
  const complaint = row ? refusal(row, token, allowed) : `"${token}" behind a + is not a key exchange`;
  return complaint === undefined ? row!.name : { complaint };
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
  if (kind === 'ah')
    return template.integrity.length > 0
      ? template
      : { complaint: `"${text}" needs an integrity algorithm such as hmac-sha2-256-128` };
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
    if (kind === 'ike') return `${token} belongs to ESP and AH`;
    template.esn = [token === 'esn'];
    return undefined;
  }
  const prf = token.startsWith('prf-') ? PRF.find(({ name }) => name === token.slice(4)) : undefined;
  if (prf) {
    if (kind !== 'ike') return `${token} belongs to IKE`;
    template.prf.push(prf.name);
    return refusal(prf, token, allowed);
  }
  const integrity = INTEGRITY.find(({ name }) => name === token);
  if (integrity) {
    template.integrity.push(integrity.name);
    if (kind === 'ike' && integrity.status === 'quirk') return `${token} belongs to ESP and AH`;
    if (kind !== 'ah' && 'only' in integrity) return `${token} belongs to AH`;
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
  if (kind === 'ah') return `${token} is encryption, and AH has none: protocol: esp encrypts`;
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
    case 'refused':
      return `${token} is refused: ${reason}`;
  }
}
