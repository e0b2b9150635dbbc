// Loads the addon. Its functions take plain values; their callers in dataplane/, host/ and daemon/ check them.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** One daemon's sockets and engine. */
export type Plane = { readonly __brand: 'isthmus plane' };

/** An answer that comes in pieces. */
export type Dump = { readonly __brand: 'isthmus dump' };

/** Addresses are 4 or 16 bytes; texts that may be empty say what failed. */
export interface Addon {
  /** Milliseconds of CLOCK_BOOTTIME. */
  bootTime(): number;
  /** The answer of a family of the kernel to netlink messages, of which `answers` end one, or why there is none. */
  netlink(family: number, request: Uint8Array, answers: number): Uint8Array | string;
  /** The same for one dump, whose answer is taken in pieces; or why there is none. */
  dump(family: number, request: Uint8Array): Dump | string;
  /** Whole messages, not many more than so many bytes; none after the last. Or why there are none. */
  dumped(dump: Dump, bytes: number): Uint8Array | string;
  /** From `start` on, groups of a netlink family are heard, a bit each. `room`: bytes that may wait, 0 for the usual. */
  listen(plane: Plane, family: number, groups: number, room: number): string;
  /** What was heard since the last call, and whether some of it was lost. */
  heard(plane: Plane): [messages: Uint8Array, lost: boolean];
  /** Commands for nftables, UTF-8; whether they were carried out, and the JSON answer or the complaint. */
  nftables(commands: Uint8Array): [done: boolean, answer: string];
  dropNames(): string[];
  /** Threads a direction (1 to 16), and microseconds that they look for more before they sleep. */
  create(workers: number, spin: number): Plane;
  openPort(
    plane: Plane,
    addresses: Uint8Array[],
    ikePort: number,
    natPort: number,
    mark: number,
    /** ESP is the kernel's, also in UDP; then `start` starts no engine. */
    kernelEsp: boolean,
    /** Whether the kernel may cut and join ESP packets; captures are easier to read where it may not. */
    trains: boolean,
  ): string;
  /**
   * The persistent TUN of a link is created, or attached to when it is ours; id 0 is the device that tunnels without a link
   * share. Doing it again does nothing. Only the engine has links of this kind; any time, also while it runs.
   */
  openLink(plane: Plane, name: string, id: number): string;
  /** The engine lets go of it; the device stands until `host` removes it. */
  closeLink(plane: Plane, id: number): void;
  /** `wake` is called when datagrams or events wait. */
  start(plane: Plane, wake: () => void): void;
  stop(plane: Plane): void;
  send(
    plane: Plane,
    local: Uint8Array,
    localPort: number,
    remote: Uint8Array,
    remotePort: number,
    bytes: Uint8Array,
    /** Or not at all: never in fragments. */
    whole: boolean,
  ): boolean;
  /** Five elements a datagram: local address and port, remote address and port, bytes. */
  take(plane: Plane): (Uint8Array | number)[];
  /** IKE SPIs, eight bytes each, that came into use and that went out of it. */
  know(plane: Plane, came: Uint8Array, went: Uint8Array): void;
  /** `action`: 0 protect, 1 bypass, 2 discard. Selectors: 40 bytes each. Packets see it after `publish`. */
  addPolicy(
    plane: Plane,
    id: number,
    action: number,
    order: number,
    acquire: boolean,
    /** 0: the shared device. */
    link: number,
    local: Uint8Array,
    remote: Uint8Array,
  ): void;
  removePolicy(plane: Plane, id: number): void;
  /** Makes changed policies known to the packet threads. */
  publish(plane: Plane): void;
  /**
   * Results: 0 done, 1 exists, 2 refused. `df`: 0 clear, 1 set, 2 copy. `dscp`: -1 copies. Limits are packets and bytes,
   * soft and hard, 0 for none. `algorithm` and `integrity` are transform ids, 0 for none. `form`: 0 ESP in tunnel mode, 1 in
   * transport mode, 2 AH in tunnel mode, 3 in transport mode. `padTo`: bytes, 0 for none.
   */
  addSa(
    plane: Plane,
    inbound: boolean,
    form: number,
    padTo: number,
    spi: number,
    policy: number,
    local: Uint8Array,
    remote: Uint8Array,
    udp: boolean,
    remotePort: number,
    esn: boolean,
    window: number,
    df: number,
    dscp: number,
    softPackets: bigint,
    hardPackets: bigint,
    softBytes: bigint,
    hardBytes: bigint,
    localSelectors: Uint8Array,
    remoteSelectors: Uint8Array,
    /** Transport mode through a NAT: for whom checksums were made; no bytes for those of the headers. */
    originalLocal: Uint8Array,
    originalRemote: Uint8Array,
    algorithm: number,
    key: Uint8Array,
    integrity: number,
    icvBytes: number,
    integrityKey: Uint8Array,
  ): number;
  useOutbound(plane: Plane, policy: number, spi: number): number;
  /** Whether every packet of the SAs that were used before has left. */
  hasTurned(plane: Plane): boolean;
  move(plane: Plane, inbound: boolean, spi: number, remote: Uint8Array, remotePort: number): boolean;
  removeSa(plane: Plane, inbound: boolean, spi: number): void;
  /** Packets of that SPI wait a little for their SA, or do so no more. */
  expectInbound(plane: Plane, spi: number): void;
  forgetInbound(plane: Plane, spi: number): void;
  /** Twelve elements an event; see `takeEvents` in dataplane/engine.ts. */
  takeEvents(plane: Plane): unknown[];
  /** Seven counters an SA: spi, policy, inbound, in use, packets, bytes, time of the last. */
  sas(plane: Plane): BigUint64Array;
  /** One counter a cause in the order of `dropNames`: outbound, then inbound. */
  drops(plane: Plane): BigUint64Array;
  /** An ICMP echo request from an address of ours; when it was sent, microseconds of wall time, or why it was not. */
  sendEcho(
    plane: Plane,
    source: Uint8Array,
    destination: Uint8Array,
    message: Uint8Array,
    /** Or not at all: never in fragments. */
    whole: boolean,
  ): number | string;
  /** Three elements an echo reply, or a message that something cannot be delivered: source, bytes (over IPv4 with the IP header), microseconds of wall time. */
  takeEchoes(plane: Plane): (Uint8Array | number)[];
  /**
   * Frames of a link's TUN through the engine without its threads: what leaves, outer traffic class and DF in turn. ESP in tunnel
   * mode leaves without an IP header, all else with its own.
   */
  outbound(plane: Plane, frames: Uint8Array[], link: number): (Uint8Array | number | boolean)[];
  /** ESP packets through the engine without its threads: a frame for a TUN and the id of its link, in turn. */
  inbound(
    plane: Plane,
    packets: Uint8Array[],
    ecn: number,
    remote: Uint8Array,
    remotePort: number,
  ): (Uint8Array | number)[];
  /** The same of whole packets, with ESP or AH in them. */
  inboundPackets(plane: Plane, packets: Uint8Array[]): (Uint8Array | number)[];
}

/** The addon's file, in a checkout and in an installed package. */
const PLACES = ['../native/build/isthmus.node', '../../native/build/isthmus.node'];

/** Throws with a sentence that says what to do. */
export function loadAddon(): Addon {
  const file = PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
  if (!file)
    throw new AddonError(
      'the native addon is not built; build it: make -C native (needs g++, make and libnode-dev)',
    );
  const module: { exports: Partial<Addon> } = { exports: {} };
  try {
    process.dlopen(module, file);
  } catch (error) {
    throw new AddonError(`the native addon ${file} does not load: ${(error as Error).message}`);
  }
  return module.exports as Addon;
}

export class AddonError extends Error {}
