// Who is there (RFC 7296 §2.15). The only place that can say that a peer is verified.

import { concat, hex, unhex } from '../crypto/bytes.ts';
import { authOctets, macedId } from '../crypto/keymat.ts';
import {
  matchesPattern,
  type NamePattern,
  nameKey,
  parseName,
  printName,
  sameName,
} from '../crypto/x509-names.ts';
import type { Identity } from '../policy/tunnel.ts';
import { addressBytes, formatAddress } from '../wire/address.ts';
import { encodeMessage, type HeaderFields } from '../wire/ikev2.ts';
import { ID_TYPE, PAYLOAD } from '../wire/numbers.ts';
import type { JobResult, PeerCredential } from './boundary.ts';
import type { Context } from './context.ts';
import type { IkeSa, IntAuth, Secrets } from './sa.ts';

declare const verified: unique symbol;

/** A peer that proved its identity. Only `verifiedPeer` makes one, so `established` cannot be built without it. */
export type VerifiedPeer = {
  readonly identity: Identity;
  /** What it signed with; missing with a pre-shared key. */
  readonly credential?: PeerCredential;
  readonly [verified]: true;
};

/** The verdict of `psk-verify` or `verify` on that identity is the proof. */
export function verifiedPeer(identity: Identity, verdict: JobResult): VerifiedPeer | undefined {
  switch (verdict.type) {
    case 'psk-verify':
      return verdict.valid ? ({ identity } as VerifiedPeer) : undefined;
    case 'verify': {
      // A verdict that says yes and gives reasons against it is none.
      if (!verdict.valid || verdict.reasons.length > 0) return undefined;
      const { credential } = verdict;
      return { identity, ...(credential ? { credential } : {}) } as VerifiedPeer;
    }
    default:
      return undefined;
  }
}

/** The octets that the initiator or the responder signs. */
export function signedOctets(
  context: Context,
  secrets: Secrets,
  byInitiator: boolean,
  idBody: Uint8Array,
): Uint8Array {
  const prf = secrets.suite.prf!;
  const skP = byInitiator ? secrets.keys.pi : secrets.keys.pr;
  const mac = macedId(context.provider, prf, skP, idBody);
  const octets = byInitiator
    ? authOctets(secrets.initiatorMessage, secrets.nr, mac)
    : authOctets(secrets.responderMessage, secrets.ni, mac);
  return secrets.intAuth ? concat([octets, intAuthOctets(secrets.intAuth)]) : octets;
}

/** IntAuth = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID, RFC 9242 §3.3.2; IKE_AUTH follows the last intermediate exchange. */
function intAuthOctets({ initiator, responder, exchanges }: IntAuth): Uint8Array {
  const messageId = new Uint8Array(4);
  new DataView(messageId.buffer).setUint32(0, exchanges + 1);
  return concat([initiator, responder, messageId]);
}

const NOTHING = new Uint8Array(0);

/**
 * IntAuth after an intermediate exchange (RFC 9242 §3.3.2): each message as its header, the header of its encrypted payload
 * and the payloads inside, both lengths as if nothing else was sent. `secrets` are those that protected the exchange.
 */
export function addIntAuth(
  context: Context,
  { suite, keys, intAuth }: Secrets,
  request: Plain,
  response: Plain,
): IntAuth {
  const chunk = (key: Uint8Array, before: Uint8Array, { header, first, bytes }: Plain) => {
    const sk = { type: PAYLOAD.SK, critical: false, nextPayload: first, body: bytes, offset: 0 } as const;
    return context.provider.prf(suite.prf!, key, concat([before, encodeMessage(header, [sk])]));
  };
  const { initiator = NOTHING, responder = NOTHING, exchanges = 0 } = intAuth ?? {};
  return {
    initiator: chunk(keys.pi, initiator, request),
    responder: chunk(keys.pr, responder, response),
    exchanges: exchanges + 1,
  };
}

/** A message of an intermediate exchange in the clear. */
interface Plain {
  header: HeaderFields;
  first: number;
  bytes: Uint8Array;
}

/** The ID payload without its generic header: type, three reserved bytes, data (RFC 7296 §3.5). */
export function idBody({ idType, data }: { idType: number; data: Uint8Array }): Uint8Array {
  return concat([Uint8Array.of(idType, 0, 0, 0), data]);
}

export function encodeIdentity(identity: Identity): { idType: number; data: Uint8Array } {
  const text = new TextEncoder().encode(identity.value);
  switch (identity.type) {
    case 'ipv4':
      return { idType: ID_TYPE.ID_IPV4_ADDR, data: addressBytes(identity.value) };
    case 'ipv6':
      return { idType: ID_TYPE.ID_IPV6_ADDR, data: addressBytes(identity.value) };
    case 'fqdn':
      return { idType: ID_TYPE.ID_FQDN, data: text };
    case 'email':
      return { idType: ID_TYPE.ID_RFC822_ADDR, data: text };
    case 'dn':
      return { idType: ID_TYPE.ID_DER_ASN1_DN, data: identity.der ?? parseName(identity.value)! };
    case 'key-id':
      return { idType: ID_TYPE.ID_KEY_ID, data: keyIdBytes(identity.value) };
  }
}

/** `hex:` and digits are bytes, anything else is text. */
function keyIdBytes(value: string): Uint8Array {
  return HEX_KEY_ID.test(value) ? unhex(value.slice(4)) : new TextEncoder().encode(value);
}

const HEX_KEY_ID = /^hex:([0-9a-f]{2})+$/i;

/** Undefined for types we do not authenticate and for bytes that are not of their type. */
export function decodeIdentity({ idType, data }: { idType: number; data: Uint8Array }): Identity | undefined {
  const text = () => utf8(data) ?? `hex:${hex(data)}`;
  switch (idType) {
    case ID_TYPE.ID_IPV4_ADDR:
      return data.length === 4 ? { type: 'ipv4', value: formatAddress(data) } : undefined;
    case ID_TYPE.ID_IPV6_ADDR:
      return data.length === 16 ? { type: 'ipv6', value: formatAddress(data) } : undefined;
    case ID_TYPE.ID_FQDN:
      return { type: 'fqdn', value: text() };
    case ID_TYPE.ID_RFC822_ADDR:
      return { type: 'email', value: text() };
    case ID_TYPE.ID_DER_ASN1_DN:
      return nameKey(data) === undefined ? undefined : { type: 'dn', value: printName(data), der: data };
    case ID_TYPE.ID_KEY_ID:
      return { type: 'key-id', value: text() };
    default:
      return undefined;
  }
}

function utf8(data: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return undefined;
  }
}

/** `*` in our own configuration is one whole label, mailbox or attribute. */
function patternOf({ type, value }: Identity): NamePattern | undefined {
  if (!value.includes('*')) return undefined;
  switch (type) {
    case 'fqdn':
    case 'email':
    case 'dn':
      return { type, value };
    default:
      return undefined;
  }
}

export function isPattern(identity: Identity): boolean {
  return patternOf(identity) !== undefined;
}

/** Whether the peer that we expect may call itself so. */
export function expects(expected: Identity, given: Identity): boolean {
  const pattern = patternOf(expected);
  return pattern ? matchesPattern(pattern, encodeIdentity(given)) : sameIdentity(expected, given);
}

/** Type-strict; names without regard to case (RFC 7296 §3.5 leaves it open; DNS names have none), DNs by RFC 5280 §7.1. */
export function sameIdentity(a: Identity, b: Identity): boolean {
  if (a.type !== b.type) return false;
  if (a.type === 'dn') return sameName(encodeIdentity(a).data, encodeIdentity(b).data);
  return a.type === 'fqdn' || a.type === 'email'
    ? a.value.toLowerCase() === b.value.toLowerCase()
    : a.value === b.value;
}

/**
 * The candidates that expect this identity; the second stage of the choice of a tunnel. Those for this address stand
 * before those for any, and a whole name before a pattern.
 */
export function expecting(context: Context, sa: IkeSa, identity: Identity): string[] {
  const remotes = new Map(sa.candidates.map((name) => [name, context.tunnels.get(name)?.tunnel.remote]));
  const fitting = sa.candidates.filter((name) => {
    const remote = remotes.get(name);
    return remote !== undefined && expects(remote.identity, identity);
  });
  const vagueness = (name: string) => {
    const { addresses, identity: expected } = remotes.get(name)!;
    return (addresses.length === 0 ? 2 : 0) + (isPattern(expected) ? 1 : 0);
  };
  return fitting.toSorted((a, b) => vagueness(a) - vagueness(b));
}
