// The words that `ike` and `dataplane` share: what an SA is, what can be changed, what a data plane reports.

import type { EncryptionName, IntegrityName } from '../crypto/suites.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Selector } from './selector.ts';

/** Integer milliseconds of CLOCK_BOOTTIME. */
export type Instant = number;

/** One entry of the SAD (RFC 4301 §4.4.2.1). A direction each; the two of a child share nothing but the policy. */
export interface SaParameters {
  /** Chosen by the receiver, 256 to 2^32-1 (RFC 4303 §2.1). */
  spi: number;
  direction: 'in' | 'out';
  protocol: 'esp' | 'ah';
  /** Transport mode is for packets between the outer addresses themselves (RFC 4301 §4.1). */
  mode: 'tunnel' | 'transport';
  /** The SPD entry it serves. */
  policy: string;
  /** Outer addresses, seen from this gateway in both directions. */
  local: IpAddress;
  remote: IpAddress;
  /** Present when ESP travels in UDP (RFC 3948). */
  udp?: { localPort: number; remotePort: number };
  /**
   * Transport mode through a NAT: the addresses that the peer made the checksums inside for; they are repaired (RFC 3948 §3.1.2).
   * Ignored outbound.
   */
  original?: { local: IpAddress; remote: IpAddress };
  /** ESP only. `key` carries the salt behind the key where the algorithm has one (RFC 4106 §8.1). */
  encryption?: { name: EncryptionName; keyBits: number; key: Uint8Array };
  /** Absent for combined-mode algorithms; the only one of AH. */
  integrity?: { name: IntegrityName; key: Uint8Array };
  esn: boolean;
  /** What the outer header takes from the inner one (RFC 4301 §5.1.2). Ignored inbound. */
  outer: OuterHeader;
  /** Inner packets are followed by zeros up to so many bytes (RFC 4303 §2.7). ESP in tunnel mode; ignored inbound. */
  padTo?: number;
  /** Packets; a multiple of 32 from 32 to 4096. Ignored outbound. */
  replayWindow: number;
  /** What may travel in it (RFC 4301 §5.2 step 4), seen from this gateway in both directions. */
  selectors: SelectorSet;
  lifetime: Lifetime;
}

/** `dscp` is a number of six bits or the inner packet's. Congestion bits are always copied (RFC 6040). */
export interface OuterHeader {
  df: 'clear' | 'set' | 'copy';
  dscp: number | 'copy';
}

export interface SelectorSet {
  local: Selector[];
  remote: Selector[];
}

/** Soft limits raise `expire` once; at a hard limit the SA stops. Missing means unlimited. */
export interface Lifetime {
  softPackets?: bigint;
  hardPackets?: bigint;
  softBytes?: bigint;
  hardBytes?: bigint;
}

/** One entry of the SPD (RFC 4301 §4.4.1). Lower `order` is asked first. */
export interface Policy {
  id: string;
  action: 'protect' | 'bypass' | 'discard';
  order: number;
  selectors: SelectorSet;
  /** Whether a packet that finds no SA asks for one (`acquire`). */
  acquire: boolean;
  /** Only packets that are routed to this interface, and what comes in by its SAs leaves there. */
  link?: Link;
  kernel?: KernelWishes;
}

/** What only the kernel's IPsec knows of. */
export interface KernelWishes {
  /** Of the packets that are meant; what comes out of the SAs gets it. */
  mark?: Mark;
  /** What outer packets get. */
  outputMark?: Mark;
  /** What the network interface does: nothing, encryption, all of IPsec, or encryption where it can. */
  offload: Offload | 'auto';
}

/** A packet has it when its mark under the mask is the value. */
export interface Mark {
  value: number;
  mask: number;
}

export type Offload = 'off' | 'crypto' | 'packet';

/** The interface of a route-based tunnel. */
export interface Link {
  /** As the kernel knows it, at most 15 bytes. */
  name: string;
  /** Unique in the daemon, from 1 to 2^24-1: the `if_id` of an XFRM interface, what `vtiKey` is made of. */
  id: number;
}

/** What links are made of where the kernel protects packets. */
export type LinkKind = 'xfrm' | 'vti';

/** Both keys of a VTI, by which the kernel's policies know its packets: far from the marks that a host uses. */
export function vtiKey({ id }: Pick<Link, 'id'>): number {
  return 0x2d000000 + id;
}

/** One change of SAD or SPD. Applied in order; applying the same change again does nothing. */
export type Change =
  | { type: 'add-policy'; policy: Policy }
  | { type: 'remove-policy'; policy: string }
  /** An SA that exists with the same keys is left alone, with other keys it is an error (nonce reuse). */
  | { type: 'add-inbound'; sa: SaParameters }
  | { type: 'add-outbound'; sa: SaParameters }
  /** From now on `policy` sends with `spi`. */
  | { type: 'use-outbound'; policy: string; spi: number; remote: IpAddress }
  /** The peer's UDP endpoint moved (RFC 7296 §2.23), after an authenticated packet proved it. */
  | { type: 'move'; direction: 'in' | 'out'; spi: number; remote: IpAddress; remotePort: number }
  | { type: 'remove'; direction: 'in' | 'out'; spi: number }
  /**
   * The peer may send with that SPI before its SA can be added (RFC 7296 §2.8): its packets wait a little. Only where
   * `capabilities.expects`; `add-inbound` ends it.
   */
  | { type: 'expect-inbound'; spi: number }
  /** No SA of that SPI comes. Never touches one that is there. */
  | { type: 'forget-inbound'; spi: number };

/** What a data plane reports by itself. */
export type DataPlaneEvent =
  /** A packet matched a protect policy that has no SA in use. `packet` becomes the first selectors, RFC 7296 §2.9. */
  | { type: 'acquire'; policy: string; packet: PacketHeader }
  | { type: 'expire'; direction: 'in' | 'out'; spi: number; hard: boolean }
  /** The first authenticated packet of an inbound SA (only where `capabilities.firstInbound`). */
  | { type: 'first-inbound'; spi: number }
  /** An authenticated packet came from another UDP endpoint. */
  | { type: 'mapping'; spi: number; remote: IpAddress; remotePort: number }
  /** Counters since the SA was added; `last` is the time of the last packet. Regularly, for liveness and status. */
  | { type: 'usage'; direction: 'in' | 'out'; spi: number; packets: bigint; bytes: bigint; last: Instant };

/** The five values that choose a policy; ports are 0 where the protocol has none. Seen from this gateway. */
export interface PacketHeader {
  local: IpAddress;
  remote: IpAddress;
  protocol: number;
  localPort: number;
  remotePort: number;
}

/** What a data plane can do; negotiation never offers what is not listed. */
export interface Capabilities {
  modes: readonly ('tunnel' | 'transport')[];
  /** Whether policies may have a `link`. */
  links: boolean;
  encryption: readonly EncryptionName[];
  /** Of ESP. */
  integrity: readonly IntegrityName[];
  /** Of AH; empty where it is not done. */
  authentication: readonly IntegrityName[];
  esn: boolean;
  /** Largest replay window, packets. */
  replayWindow: number;
  plainEsp: boolean;
  udpEncapsulation: boolean;
  /** Whether ESP in UDP is faster here than ESP alone. */
  prefersUdp: boolean;
  firstInbound: boolean;
  /** Whether packets wait for an SA instead of being dropped. */
  holds: boolean;
  /** Whether packets that come before their SA wait for it, where the SPI was announced. */
  expects: boolean;
}

/** What is installed, with counters. */
export interface Snapshot {
  policies: Policy[];
  sas: InstalledSa[];
  /** Packets dropped by cause. */
  drops: Record<string, bigint>;
}

/** An SA as it stands in the data plane: no keys. */
export interface InstalledSa {
  spi: number;
  direction: 'in' | 'out';
  policy: string;
  inUse: boolean;
  /** Only where it was asked for: what the network interface does, and why not more. */
  offload?: { by: Offload; reason?: string };
  packets: bigint;
  bytes: bigint;
  /** Time of the last packet that passed, or undefined. */
  last?: Instant;
}
