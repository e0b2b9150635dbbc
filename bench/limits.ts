// What no gateway on this machine can exceed, from what its parts were measured to cost. Each formula counts only work that
// cannot be left out and takes every part at its fastest, so that a limit is never too low for that reason; what beats it
// has left out work that the formula holds to be necessary, and the report says so.

import type { KeyCosts } from './public-keys.ts';

/** All measured in the same run. */
export interface Costs {
  cores: number;
  /** GB/s of one core in blocks of 64 KB. */
  copy: number;
  /** GB/s of AES-256-GCM on one core, by bytes a call. */
  aes64: number;
  aes1420: number;
  aes16384: number;
  /** Nanoseconds. */
  call: number;
  wake: number;
}

/** A super-packet of the TUN, and what one call sends or receives. */
const SUPER_PACKET = 65536;
const GATEWAYS = 2;

/**
 * Mbit/s of one stream. A byte costs what it costs without gateways' work (`plain`, CPU nanoseconds a byte, all processes),
 * and at each gateway a copy in, a copy out, one pass of AES-GCM, and its share of two calls a super-packet.
 */
export function throughputLimit(costs: Costs, plain: number): number {
  const gateway = 2 / costs.copy + 1 / costs.aes1420 + (2 * costs.call) / SUPER_PACKET;
  return (8000 * costs.cores) / (plain + GATEWAYS * gateway);
}

/**
 * Packets per second. A packet costs what it costs without gateways' work (`plain`, CPU nanoseconds a packet), at each
 * gateway one pass of AES-GCM, and its share of one call to read it from the TUN or to write it there: `together` is how many
 * the sender's kernel hands over as one. Calls on the outer side carry many.
 */
export function packetLimit(costs: Costs, plain: number, together: number): number {
  const gateway = 64 / costs.aes64 + costs.call / together;
  return (1e9 * costs.cores) / (plain + GATEWAYS * gateway);
}

/** Microseconds that a round trip becomes longer: two gateways are woken on the way there and two on the way back. */
export function latencyLimit(costs: Costs): number {
  return (2 * GATEWAYS * costs.wake) / 1000;
}

/**
 * Handshakes per CPU second of a responder: a key pair and a shared secret of X25519; with certificates a signature of its
 * own, the peer's, and that of the CA over the peer's certificate. Everything else is taken to cost nothing.
 */
export function handshakeLimit(keys: KeyCosts, certificates: boolean): number {
  const exchange = keys.x25519Generate + keys.x25519Derive;
  return 1e6 / (certificates ? exchange + keys.p256Sign + 2 * keys.p256Verify : exchange);
}

/** Million packets per second of one core that encrypts and does nothing else, at the library's own speed for that size. */
export function cryptoLimit(costs: Costs, bytes: number): number {
  const perByte = bytes < 1000 ? 1 / costs.aes64 : 1 / costs.aes1420;
  return 1000 / (bytes * perByte);
}
