// The IKE SA as plain data: what it knows in each state. No functions, no key handles; structuredClone restores it.

import type { IkeKeys, PpkKeys } from '../crypto/keymat.ts';
import type { ChosenSuite } from '../policy/proposal.ts';
import type { Change, Instant, SaParameters, SelectorSet } from '../policy/sad.ts';
import type { Identity } from '../policy/tunnel.ts';
import type { HeaderFields, Payload } from '../wire/ikev2.ts';
import type { VerifiedPeer } from './authenticate.ts';
import type { CertificateBytes, Endpoint } from './boundary.ts';
import type { ReportCode } from './errors.ts';
import type { Protection } from './protect.ts';

export interface IkeSa {
  version: 1;
  /** Our own SPI, 16 hex digits: the key of the gateway's table. */
  spi: string;
  peerSpi: string;
  /** The original initiator (RFC 7296 §2.2): decides flags and keys, for the life of the SA. */
  initiator: boolean;
  /** The tunnels it may still become; each payload narrows the list. */
  candidates: string[];
  local: Endpoint;
  remote: Endpoint;
  /** A NAT was detected: who is behind one. */
  /** `forced`: UDP by our own wish, and the peer knows how. */
  nat: { local: boolean; remote: boolean; forced: boolean };
  /** When its first message was sent or came. */
  began: Instant;
  /** What the peer says it is, where we know the name. */
  vendor?: string;
  /** The peer can do without a child in IKE_AUTH (RFC 6023 §3). */
  childless?: true;
  /** Largest IP packet with a fragment of ours, bytes; absent where the two sides did not agree on fragments. */
  fragmentSize?: number;
  /** What it says about signatures, until it is verified. */
  heard?: Announced;
  /** The certificate or raw key that we showed, DER. */
  shown?: Uint8Array;
  /** Nobody wants it any more, but the peer may hold it already: it is deleted once it is established. */
  unwanted?: true;
  window: Window;
  state: State;
}

/** What the peer can verify, and which certificates it asks for. */
export interface Announced {
  /** SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4); missing where the peer does not know RFC 7427. */
  hashes?: number[];
  /** SUPPORTED_AUTH_METHODS (RFC 9593). */
  methods?: AnnouncedMethod[];
  /** CERTREQ: encodings, and SHA-1 hashes of the public keys of its CAs (RFC 7296 §3.7). */
  encodings: number[];
  authorities: Uint8Array[];
}

/** RFC 9593 §3.2; `algorithm` is DER of an AlgorithmIdentifier. */
export interface AnnouncedMethod {
  method: number;
  algorithm?: Uint8Array;
}

/** How we prove ourselves, while the job works on it. */
export type ChosenProof =
  | { method: 'psk' }
  | { method: 'signature'; scheme: string; certificates: CertificateBytes[] };

/**
 * Message ids (RFC 7296 §2.2, §2.3); our window is one in each direction. `bytes` are a message as it travels: one
 * datagram, or its fragments joined in their order (RFC 7383).
 */
export interface Window {
  nextRequest: number;
  /** `assembly`: of the answer. `lost`: somebody says that the peer does not know this SA. */
  sent?: {
    id: number;
    bytes: Uint8Array;
    sends: number;
    due: Instant;
    assembly?: Assembly;
    lost?: true;
    whole?: Whole;
  };
  nextReceived: number;
  /** Of the peer's next request. */
  assembly?: Assembly;
  /**
   * Kept to be sent again, byte for byte (RFC 7296 §2.1), as often as it was asked for. `protection`: what it is under, where
   * that is not what the next message is under.
   */
  answered?: { id: number; bytes: Uint8Array; repeats?: number; protection?: Protection };
}

/**
 * Of a request that was sent in one datagram which may not be fragmented: what came of that, and the other form in which it
 * is sent since then, in turn with the present one.
 */
export type Whole = { came: 'waiting' } | { came: 'lost' | 'refused' | 'cut-short'; other: Uint8Array };

/** Fragments of one message, kept as they came, by their number less one; `missing` is 0 once it was whole. */
export interface Assembly {
  total: number;
  parts: (Uint8Array | null)[];
  missing: number;
  /** Held in `parts`. */
  bytes: number;
  since: Instant;
}

/** What both sides know once IKE_SA_INIT is done. */
export interface Secrets {
  suite: ChosenSuite;
  keys: IkeKeys;
  /** RFC 7296 §2.15: the first messages and nonces, which AUTH covers. */
  initiatorMessage: Uint8Array;
  responderMessage: Uint8Array;
  ni: Uint8Array;
  nr: Uint8Array;
  /** Absent before the first intermediate exchange. */
  intAuth?: IntAuth;
  /** Both sides have a PPK (RFC 8784 §3). */
  usePpk?: true;
  /** It goes into the keys with the last intermediate exchange (RFC 9867). */
  ppkInt?: true;
  /** The PPK that is in the keys; those without it (RFC 8784); our proof without it. */
  ppk?: { id: string; without?: PpkKeys; noPpkAuth?: Uint8Array };
}

/** Our half of an additional key exchange. */
export interface OwnHalf {
  group: number;
  public: Uint8Array;
  handle: string;
}

/** What AUTH covers of the intermediate exchanges so far (RFC 9242 §3.3.2), and how many there were. */
export interface IntAuth {
  initiator: Uint8Array;
  responder: Uint8Array;
  exchanges: number;
}

/** Our half of a first exchange. */
export interface InitOffer {
  nonce: Uint8Array;
  group: number;
  handle: string;
  public: Uint8Array;
  cookie?: Uint8Array;
  retries: number;
  halfOpenUntil: Instant;
}

/** Our attempt until the peer has proven who it is: until then every answer may be anybody's (RFC 7296 §2.4). */
export interface Attempt {
  offer: InitOffer;
  /** Our IKE_SA_INIT. */
  message: Uint8Array;
  /** The first unprotected error that came back. */
  hint?: { code: ReportCode; detail: Record<string, unknown> };
  /** Answers besides the one in use, tried in turn when that one leads nowhere. */
  others: Uint8Array[];
}

export type State =
  | { name: 'offering'; job: number; group: number; retries: number }
  | { name: 'init-sent'; attempt: Attempt }
  | {
      name: 'init-finishing';
      job: number;
      attempt: Attempt;
      suite: ChosenSuite;
      answer: Uint8Array;
      nr: Uint8Array;
    }
  | { name: 'intermediate-offering'; job: number; attempt: Attempt; secrets: Secrets; group: number }
  | { name: 'ppk-confirming'; job: number; attempt: Attempt; secrets: Secrets; ke?: OwnHalf }
  | { name: 'intermediate-sent'; attempt: Attempt; secrets: Secrets; ke?: OwnHalf }
  /** `ppk`: the peer has it, too. */
  | {
      name: 'intermediate-finishing';
      job: number;
      attempt: Attempt;
      secrets: Secrets;
      ke: OwnHalf;
      ppk: boolean;
    }
  | { name: 'ppk-seeding'; job: number; attempt: Attempt; secrets: Secrets }
  | { name: 'ppk-mixing'; job: number; attempt: Attempt; secrets: Secrets }
  | { name: 'no-ppk-signing'; job: number; proof: ChosenProof; attempt: Attempt; secrets: Secrets }
  | { name: 'auth-signing'; job: number; proof: ChosenProof; attempt: Attempt; secrets: Secrets }
  /** `child` is missing where it was left out. */
  | { name: 'auth-sent'; attempt: Attempt; secrets: Secrets; child?: { name: string; spiIn: number } }
  | {
      name: 'auth-verifying';
      job: number;
      attempt: Attempt;
      secrets: Secrets;
      child?: { name: string; spiIn: number };
      response: Uint8Array;
      claimed: Identity;
    }
  | { name: 'init-answering'; job: number; suite: ChosenSuite; request: Uint8Array; until: Instant }
  /** Waits for an intermediate exchange, or for IKE_AUTH where all are done. */
  | { name: 'init-answered'; secrets: Secrets; until: Instant }
  | {
      name: 'ppk-weighing';
      job: number;
      /** Those of the exchange, and those that its key exchange makes. */
      secrets: Secrets;
      after: Secrets;
      request: Uint8Array;
      answer: Payload[];
      id: string;
      confirmation: Uint8Array;
      until: Instant;
    }
  | { name: 'ppk-answering'; job: number; secrets: Secrets; request: Uint8Array; until: Instant }
  | { name: 'intermediate-answering'; job: number; secrets: Secrets; request: Uint8Array; until: Instant }
  | {
      name: 'peer-verifying';
      job: number;
      /** What the peer calls itself; proven only by the outcome. */
      claimed: Identity;
      secrets: Secrets;
      request: Uint8Array;
      until: Instant;
    }
  | {
      name: 'answer-signing';
      job: number;
      proof: ChosenProof;
      secrets: Secrets;
      request: Uint8Array;
      peer: VerifiedPeer;
    }
  | ({ name: 'established' } & Established)
  | { name: 'deleted' };

export interface Established {
  peer: VerifiedPeer;
  tunnel: string;
  suite: ChosenSuite;
  keys: IkeKeys;
  /** The PPK that the keys come from. */
  ppk?: string;
  since: Instant;
  rekeyAt: Instant;
  /** The end of its lifetime: it is deleted and made anew. */
  endsAt: Instant;
  /** How long what the peer proved holds: when to ask for a new proof, and its end. Goes over to a rekeyed SA. */
  proof: { renewAt: Instant; endsAt: Instant };
  /** An IKE SA with a newer proof, to which the children go over. */
  renewedBy?: string;
  /** The SAs that this one renews. */
  renews?: string[];
  lastHeard: Instant;
  lastSent: Instant;
  children: ChildSa[];
  /** Own exchanges still to be started, in order. */
  tasks: Task[];
  /** The own exchange under way, if any. */
  own?: OwnExchange;
  /** The peer's request that waits for a job or for the data plane. */
  serving?: Serving;
  /** The peer's CREATE_CHILD_SA that is not complete. */
  pending?: Pending;
  /** Replaced by a rekeyed SA; only deletes are answered. */
  replacedBy?: string;
  /** Replaced, and deleted by the peer already: it only waits for our own exchange to be unmade. */
  ended?: true;
}

export interface ChildSa {
  name: string;
  spiIn: number;
  spiOut: number;
  suite: ChosenSuite;
  selectors: SelectorSet;
  transport?: true;
  /** It was to be padded, and the peer does not take that. */
  unpadded?: true;
  since: Instant;
  rekeyAt: Instant;
  /** The end of its lifetime: nothing is sent with it any more. */
  endsAt: Instant;
  /** ESP travels in UDP. */
  udp: boolean;
  /** The policy sends with it. */
  used: boolean;
  /** Another IKE SA carries the same child: this one is used once the peer does so, or from then on. */
  useAt?: Instant;
  /** We answered the request for it: the peer has it once it sends with it, or from then on. */
  peerHasItAt?: Instant;
  /** The peer has rekeyed it; it only waits for its DELETE. */
  replaced?: boolean;
}

/** Something we want to do, by its own exchange. `command` is the operator's, answered when it is done. */
export type Task =
  /** `first`: it comes with IKE_AUTH. */
  (
    | { type: 'create'; child: string; packet?: SelectorSet; first?: true }
    /** `rehearsal`: to see whether it succeeds; `ask`: what the peer would rather have. */
    | { type: 'rekey-child'; spiIn: number; child: string; rehearsal?: 'rekey' | 'ask' }
    | { type: 'rekey-ike' }
    /** `unmade`: the peer made its half of a child that we could not finish; which protocol that is for. */
    | { type: 'delete-child'; spiIn: number; unmade?: number }
    /** All children of that name. */
    | { type: 'take-down'; child: string }
    | { type: 'delete-ike' }
    | { type: 'liveness' }
    /** An IP packet of so many bytes, waited for so many milliseconds. */
    | { type: 'measure'; size: number; patience: number }
  ) & { command?: number; notBefore?: Instant };

/** Our half of a CREATE_CHILD_SA. */
export interface CreateOffer {
  nonce: Uint8Array;
  protocol: number;
  /** Our new SPI: a number for a child, 16 hex digits for an IKE SA. */
  spi: number | string;
  group?: number;
  handle?: string;
}

/**
 * `gone`: SPIs that the peer deleted meanwhile and we did not know; what we are making may be among them. `regrouped`: it was
 * begun again with the group that the peer asked for.
 */
export type OwnExchange = {
  task: Exclude<Task, { type: 'take-down' }>;
  rival?: Rival;
  gone?: number[];
  regrouped?: true;
} & (
  | { step: 'offering'; job: number; group: number }
  | { step: 'sent'; offer?: CreateOffer }
  | {
      step: 'finishing';
      job: number;
      offer: CreateOffer;
      suite: ChosenSuite;
      response: Uint8Array;
    }
  | { step: 'followup-offering'; job: number; offer: CreateOffer; rest: Followup; group: number }
  | { step: 'followup-sent'; offer: CreateOffer; rest: Followup; group: number; handle: string }
  | { step: 'followup-finishing'; job: number; offer: CreateOffer; rest: Followup; handle: string }
  | { step: 'installing'; job: number; child: ChildSa; nonce: Uint8Array }
);

/** What an answered CREATE_CHILD_SA waits for: its additional key exchanges (RFC 9370 §2.2.4). */
export interface Followup {
  suite: ChosenSuite;
  /** The answer to CREATE_CHILD_SA. */
  response: Uint8Array;
  /** SK(0) and those that are done, in order. */
  secrets: Uint8Array[];
  /** The peer's, for the next exchange. */
  link: Uint8Array;
}

/** A CREATE_CHILD_SA of the peer that was answered and waits for its additional key exchanges (RFC 9370 §2.2.4). */
export interface Pending {
  /** What the next exchange names it by. */
  link: Uint8Array;
  until: Instant;
  agreed: Agreed;
}

/** All that is needed to make what a CREATE_CHILD_SA of the peer asked for. */
export type Agreed = {
  suite: ChosenSuite;
  ni: Uint8Array;
  nr: Uint8Array;
  /** Of all key exchanges, in order; none without. */
  secrets: Uint8Array[];
} & (
  | { kind: 'ike'; spi: string; peerSpi: string }
  | {
      kind: 'child';
      name: string;
      spiIn: number;
      spiOut: number;
      selectors: SelectorSet;
      original?: SaParameters['original'];
      /** The peer takes no padding. */
      unpadded: boolean;
      /** The SPI of the child that it replaces. */
      replaces?: number;
    }
);

/** The peer's rekey of the same SA, made while ours was under way (RFC 7296 §2.8.1, §2.8.2). */
export interface Rival {
  /** Of the SA that the peer's exchange made. */
  spi: number | string;
  /** The lower of that exchange's two nonces. */
  nonce: Uint8Array;
}

export type Serving = { messageId: number; request: Uint8Array } /** `ike`: it replaces the IKE SA. */ & (
  | { step: 'answering'; job: number; ike: boolean }
  | { step: 'followup'; job: number }
  | {
      step: 'installing';
      job: number;
      child: ChildSa;
      /** The SPI of the child that this one replaces. */
      replaces?: number;
      /** Of the operator who wanted the same: answered when it is there. */
      command?: number;
      /** Sent once the data plane holds the new SA. */
      answer: Payload[];
      exchange: number;
      /** What the data plane was asked for, and how often it was asked for with another SPI. */
      changes: Change[];
      draws: number;
    }
);

/** Everything goes through the port for NAT: because there is one (RFC 7296 §2.23), or by our own wish. */
export function inUdp({ nat }: IkeSa): boolean {
  return nat.local || nat.remote || nat.forced;
}

/** Of both sides, as headers, keys and hashes name them (RFC 7296 §3.1). */
export type Spis = Pick<HeaderFields, 'initiatorSpi' | 'responderSpi'>;

export function spisOf({ initiator, spi, peerSpi }: Pick<IkeSa, 'initiator' | 'spi' | 'peerSpi'>): Spis {
  return initiator
    ? { initiatorSpi: spi, responderSpi: peerSpi }
    : { initiatorSpi: peerSpi, responderSpi: spi };
}
