// A tunnel as the core knows it: configuration with every default filled in, every name resolved to a row.

import type { IpAddress } from '../wire/address.ts';
import type { ProposalTemplate } from './proposal.ts';
import type { Quirk } from './quirks.ts';
import type { KernelWishes, Link, OuterHeader, SelectorSet } from './sad.ts';

/** One PAD entry (RFC 4301 §4.4.3) with the SPD entries it may negotiate. Durations in milliseconds. */
export interface Tunnel {
  name: string;
  /** `now`: bring it up and keep it up; `on-traffic`: at the first packet; `wait`: only answer. */
  start: 'now' | 'on-traffic' | 'wait';
  local: { address: IpAddress; identity: Identity };
  /** Candidate addresses in order of preference; empty means any address, then the identity decides. */
  /** `names`: DNS names instead, which become addresses before each attempt; until then there are none. */
  remote: { addresses: IpAddress[]; names?: string[]; identity: Identity };
  auth: Auth;
  encapsulation: 'auto' | 'udp' | 'esp';
  /**
   * IKE SAs without a first child (RFC 6023): never, as the peer likes, by us where the peer can, or no others.
   */
  childless: 'never' | 'allow' | 'prefer' | 'require';
  /**
   * A second IKE SA with the peer makes the first one go, is refused, or stays beside it. `never` also passes over
   * INITIAL_CONTACT (RFC 7296 §2.4).
   */
  unique: 'replace' | 'keep' | 'never';
  ike: {
    proposals: ProposalTemplate[];
    /** Rekey after this time, less jitter. */
    lifetime: number;
    /** Both sides prove again who they are after this time (RFC 7296 §2.8.3); missing: never. */
    reauthentication?: number;
  };
  /** A PPK by its id (RFC 8784); `secret` is a name. */
  ppk?: { id: string; secret: string; use: 'required' | 'preferred' };
  children: ChildTemplate[];
  retransmit: Retransmit;
  /** Idle time after which liveness is checked (RFC 7296 §2.4); 0 switches it off. */
  liveness: number;
  /** Whether the first rekey of a child is made at once, to see that it will succeed. */
  rehearsal: boolean;
  /** NAT keepalive interval (RFC 3948 §4). */
  keepalive: number;
  /** Only where the kernel protects packets. */
  kernel?: KernelWishes;
  /** Route-based: packets are chosen by routes to an interface of the tunnel's own. */
  link?: TunnelLink;
  /** Fragments of IKE messages (RFC 7383): sizes of our choice, or IP packets of so many bytes at most; absent: none. */
  fragmentation?: 'auto' | number;
  /** Where nothing inside shows it, how large a packet reaches the peer is found out by IKE. */
  findPathMtu?: true;
  /** Of the peer, where IKE has to meet them. */
  quirks?: readonly Quirk[];
}

/** The interface of a route-based tunnel, and what leads to it. */
export interface TunnelLink extends Link {
  /** Inside addresses of the interface itself, with their prefix lengths. */
  addresses: { address: IpAddress; length: number }[];
  /** Networks behind the peer, with routes to the interface. */
  routes: { address: IpAddress; length: number }[];
  /** Of the routes; the main table where nothing is said. */
  table?: number;
  /** Of the routes, in the kernel's sense: lower is better. */
  metric: number;
  /** Bytes; missing: what fits into an outer packet. */
  mtu?: number;
}

export interface ChildTemplate {
  /** Unique within the tunnel; the policy id is `tunnel/child`. */
  name: string;
  /** Place in the SPD: lower is asked first. */
  order: number;
  protocol: 'esp' | 'ah';
  mode: 'tunnel' | 'transport';
  selectors: SelectorSet;
  /** First the ones with key exchange methods when PFS is wanted. */
  proposals: ProposalTemplate[];
  lifetime: { time: number; bytes?: bigint; packets?: bigint };
  outer: OuterHeader;
  /** See SaParameters. */
  padTo?: number;
  /** Packets. */
  replayWindow: number;
  probe?: Probe;
}

/** Echo requests through a child, that prove both directions. */
export interface Probe {
  /** Inside, on the other side. */
  to: IpAddress;
  /** Inside, on this side; missing: the first address of this machine that belongs there. */
  from?: IpAddress;
  /** Milliseconds. */
  every: number;
  /** So many without an answer say that nothing passes. */
  lost: number;
}

/** `first` × `factor`ⁿ up to `cap`, at most `sends` transmissions, each interval ± `jitter` (0 to 1). */
export interface Retransmit {
  first: number;
  factor: number;
  cap: number;
  sends: number;
  jitter: number;
}

/**
 * RFC 7296 §3.5. `value` is text: an address, a name, `C=DE, O=Example, CN=gw`, or for key ids the text itself or `hex:`
 * and digits. Of an expected peer a name, a mailbox or an attribute may be `*`.
 */
export interface Identity {
  type: 'ipv4' | 'ipv6' | 'fqdn' | 'email' | 'dn' | 'key-id';
  value: string;
  /** Of a DN as it was spelled: there are many spellings of one name. */
  der?: Uint8Array;
}

/** How both sides prove who they are: by the same secret, or each in a way of its own. */
export type Auth = SharedKey | { method: 'each'; own: OwnProof; peer: PeerProof };

/** `secret` is a name; only jobs know what it stands for. */
export interface SharedKey {
  method: 'psk';
  secret: string;
}

export type OwnProof = SharedKey | { method: 'signature'; keys: OwnKey[] };

/** A private key by name, and what shows whose it is. */
export interface OwnKey {
  key: string;
  /** Rows of `crypto/signature-schemes.ts` that it can sign with, the best first. */
  schemes: string[];
  /** DER. X.509: its own first, then those of the CAs below the root. Raw: one SubjectPublicKeyInfo (RFC 7670). */
  certificates: Uint8Array[];
  raw: boolean;
  /** SHA-1 of the public key of each CA over it, as a CERTREQ names them (RFC 7296 §3.7). */
  authorities: Uint8Array[];
  /** An OCSP answer about it, DER, for peers that ask (RFC 4806). */
  ocsp?: Uint8Array;
}

/** What is taken as proof of the peer. `trust` names anchors, rules and known keys; only jobs know them. */
export type PeerProof =
  | SharedKey
  | {
      method: 'signature';
      trust: string;
      schemes: string[];
      /** SHA-1 of the public key of each trust anchor; empty where only known keys are taken. */
      authorities: Uint8Array[];
      /** Raw public keys are known (RFC 7670). */
      raw: boolean;
      /** The peer is asked for an OCSP answer about its certificate (RFC 4806). */
      ocsp?: true;
    };

export function ownProof(auth: Auth): OwnProof {
  return auth.method === 'psk' ? auth : auth.own;
}

export function peerProof(auth: Auth): PeerProof {
  return auth.method === 'psk' ? auth : auth.peer;
}
