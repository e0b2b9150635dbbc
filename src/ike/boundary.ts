// Everything that crosses between the IKE core and the world, in one file. Plain data that survives structuredClone.

import type { PpkKeys } from '../crypto/keymat.ts';
import type { PrfName } from '../crypto/suites.ts';
import type { Change, DataPlaneEvent, Instant } from '../policy/sad.ts';
import type { Identity, Tunnel } from '../policy/tunnel.ts';
import type { IpAddress } from '../wire/address.ts';
import type { ReportCode } from './errors.ts';

export type Endpoint = { transport: 'udp' | 'tcp'; address: IpAddress; port: number };

/** `reauthenticate`: both sides prove anew who they are, beside the IKE SA that is there (RFC 7296 §2.8.3). */
export type Command = 'up' | 'down' | 'rekey' | 'reauthenticate';

/** What the world tells the core. */
export type Event =
  | { type: 'datagram'; bytes: Uint8Array; local: Endpoint; remote: Endpoint }
  | { type: 'timeout' }
  /** `child` restricts `rekey` and `down` to one child; without it the IKE SA itself is meant. */
  | { type: 'command'; id: number; command: Command; tunnel: string; child?: string }
  | { type: 'configure'; changes: ConfigChange[] }
  | { type: 'addresses'; local: IpAddress[] }
  /** The outcome of a dataplane action. */
  | { type: 'applied'; id: number; failed?: Failure }
  | { type: 'dataplane'; event: DataPlaneEvent }
  /** Nothing comes back through the tunnel: its peer is asked at once whether it lives. */
  | { type: 'silence'; tunnel: string }
  /**
   * Whether an IP packet of so many bytes reaches the peer in one piece, which is waited for so many milliseconds. Answered by
   * `command-done`: OK, PATH_LOST, PATH_REFUSED, or anything else where it was not found out.
   */
  | { type: 'measure'; id: number; tunnel: string; size: number; patience: number }
  /** What was to go in one piece does not even leave this machine so. */
  | { type: 'unsent'; bytes: Uint8Array }
  | { type: 'job-done'; id: number; result: JobResult }
  /** What a name means; `failed`: why that is not known. */
  | { type: 'resolved'; tunnel: string; name: string; addresses: IpAddress[]; failed?: string }
  /** Goodbye to its peer. */
  | { type: 'shutdown'; tunnel: string };

/** What the core asks of the world, in order. A message behind changes leaves once they are made, or have failed. */
export type Action =
  /** `whole`: or not at all; no router may fragment it. */
  | { type: 'send'; bytes: Uint8Array; local: Endpoint; remote: Endpoint; whole?: true }
  | { type: 'dataplane'; id: number; changes: Change[] }
  /** Slow, remote, or with a long-term secret. */
  | { type: 'job'; id: number; job: Job }
  /** Answered by `resolved`, whatever comes of it. */
  | { type: 'resolve'; tunnel: string; name: string; family: 4 | 6 }
  | { type: 'command-done'; id: number; outcome: ReportCode }
  | { type: 'report'; code: ReportCode; tunnel?: string; detail?: Record<string, unknown> };

export interface Core {
  handle(event: Event, now: Instant): Action[];
  nextTimeout(): Instant | undefined;
  /** Of all tunnels. */
  names(): string[];
}

export type ConfigChange =
  | { type: 'set-tunnel'; tunnel: Tunnel }
  /** Takes the tunnel down first. */
  | { type: 'remove-tunnel'; tunnel: string };

export interface Failure {
  /** `exists` is EEXIST: the SPI is taken, draw again. */
  reason: 'exists' | 'refused';
  message: string;
}

/**
 * A key exchange is shaped as a KEM: `offer` makes a key pair and keeps the private half under a handle,
 * `answer` takes a peer's public value, `finish` uses the handle, as often as answers come;
 * `forget` ends it. `group` is the IANA number of transform type 4.
 * `ppk` mixes a PPK into keys (RFC 8784 §3), `ppk-int` gives what RFC 9867 makes of it.
 * PSK jobs compute prf(prf(secret, "Key Pad for IKEv2"), octets) (RFC 7296 §2.15); secrets are known by name only.
 * `sign` and `verify` name rows of `crypto/signature-schemes.ts`. `verify` says whether the peer is who it says: its
 * certificates lead to an anchor of `trust` (or its key is known there), prove the identity, and the signature is theirs.
 */
export type Job =
  | { type: 'offer'; group: number }
  | { type: 'answer'; group: number; public: Uint8Array }
  | { type: 'finish'; group: number; handle: string; public: Uint8Array }
  | { type: 'forget'; handle: string }
  | { type: 'ppk'; secret: string; prf: PrfName; keys: PpkKeys }
  | { type: 'ppk-int'; secret: string; prf: PrfName; seed: Uint8Array; skD: Uint8Array }
  | { type: 'psk-sign'; secret: string; prf: PrfName; octets: Uint8Array }
  | { type: 'psk-verify'; secret: string; prf: PrfName; octets: Uint8Array; auth: Uint8Array }
  | { type: 'sign'; key: string; scheme: string; octets: Uint8Array }
  | {
      type: 'verify';
      trust: string;
      identity: Identity;
      /** AUTH may mean any of these. */
      schemes: string[];
      octets: Uint8Array;
      signature: Uint8Array;
      /** As they came: the CERT payloads in their order. */
      certificates: CertificateBytes[];
    };

/** Body of a CERT payload (RFC 7296 §3.6). */
export interface CertificateBytes {
  encoding: number;
  data: Uint8Array;
}

/** Why a peer is not believed; `message` goes into the sentence of the code. */
export interface Refusal {
  code: ReportCode;
  message: string;
}

/** What a peer proved itself with, for the operator. */
export interface PeerCredential {
  subject: string;
  issuer?: string;
  /** Wall time, milliseconds. */
  notAfter?: number;
  /** SHA-256, hex. */
  fingerprint: string;
  scheme: string;
  /** What does not stop us and should be known: a revocation answer that could not be had. */
  warnings: string[];
}

export type JobResult =
  | { type: 'offer'; public: Uint8Array; handle: string }
  | { type: 'answer'; public: Uint8Array; secret: Uint8Array }
  | { type: 'finish'; secret: Uint8Array }
  | { type: 'forget' }
  | { type: 'ppk'; keys: PpkKeys }
  | { type: 'ppk-int'; confirmation: Uint8Array; skeyseed: Uint8Array }
  | { type: 'psk-sign'; auth: Uint8Array }
  | { type: 'psk-verify'; valid: boolean }
  | { type: 'sign'; signature: Uint8Array }
  | { type: 'verify'; valid: boolean; reasons: Refusal[]; credential?: PeerCredential }
  /** `peer`: the peer's public value is not valid (RFC 6989); `secret`: a key that is unknown or unreadable; `ours`: anything else. */
  | { type: 'failed'; fault: 'peer' | 'secret' | 'ours'; message: string };
