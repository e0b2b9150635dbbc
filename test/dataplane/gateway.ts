// A gateway of the kernel between two devices that this process reads and writes: what its hosts send and what the network
// sends, packet by packet. For the guest of lab/uml.ts; changes the network namespace it runs in.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { addressBytes, formatAddress } from '../../src/wire/address.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';

const BRIDGE = new URL('./tun-bridge.py', import.meta.url).pathname;
const [LAN, WAN, ITSELF, BURST, NOTHING] = [0, 1, 2, 254, 255];
const REACHED = [LAN, ITSELF];
const ESP = 50;
const AH = 51;
const UDP = 17;

/** Our outer address and the peer's; networks as in packets.ts. */
const OUTER = { local: '192.0.2.1', remote: '198.51.100.1' };

export interface KernelGateway {
  /** A host sends: what leaves to the network. */
  fromHost(packet: Uint8Array): Promise<Left>;
  /** The network brings an ESP packet, in UDP from that port or plain (port 0): what reaches the hosts. */
  fromPeer(esp: Uint8Array, from: { address: string; port: number }): Promise<Uint8Array | undefined>;
  /** The network brings a packet as it is: what reaches the hosts, or as GRE over IPv4 the gateway itself. */
  fromNetwork(packet: Uint8Array): Promise<Uint8Array | undefined>;
  /** The network brings a packet for the gateway itself, or nothing: what the gateway has sent to the network. */
  fromItself(packet?: Uint8Array): Promise<Uint8Array[]>;
  /** The network brings many packets, one right behind the other: all that reaches the hosts. */
  manyFromNetwork(packets: readonly Uint8Array[]): Promise<Uint8Array[]>;
  close(): void;
}

export interface Left {
  esp?: Uint8Array;
  /** The packet that ESP or AH is in, with all its headers. */
  whole?: Uint8Array;
  /** Where the ESP packet goes; port 0 where it is not in UDP. */
  to?: { address: string; port: number };
  /** Packets that are neither ESP nor AH nor IKE. */
  clear: Uint8Array[];
}

export async function openKernelGateway(): Promise<KernelGateway> {
  const bridge = spawn('python3', [BRIDGE], { stdio: ['pipe', 'pipe', 'pipe'] });
  await once(bridge.stderr, 'data');
  configure();
  const exchange = exchangeWith(bridge);
  const reaching = async (packet: Uint8Array) => {
    const sent = await exchange(WAN, packet);
    const inner = sent.find((one) => REACHED.includes(one.device));
    return inner && withHops(inner.packet, inner.device === LAN ? 1 : 0);
  };
  return {
    async fromHost(packet) {
      const sent = await exchange(LAN, withHops(packet, 1));
      return leftOf(sent.filter(({ device }) => device === WAN).map(({ packet: outer }) => outer));
    },
    fromPeer: (esp, from) => reaching(outerPacket(esp, from)),
    fromNetwork: reaching,
    async fromItself(packet = new Uint8Array()) {
      const sent = await exchange(WAN, packet);
      return sent.flatMap(({ device, packet: one }) => (device === WAN ? [one] : []));
    },
    async manyFromNetwork(packets) {
      const sent = await exchange(BURST, Buffer.concat(packets.flatMap((one) => [lengthOf(one), one])));
      return sent.flatMap(({ device, packet }) => (device === LAN ? [packet] : []));
    },
    close: () => bridge.stdin.end(),
  };
}

function lengthOf(packet: Uint8Array): Uint8Array {
  return Uint8Array.of(packet.length >> 8, packet.length);
}

function configure(): void {
  const commands = `
    link set dev lan up
    link set dev wan up
    address add 10.1.0.1/16 dev lan
    -6 address add fd01::1/64 dev lan nodad
    address add ${OUTER.local}/24 dev wan
    route add default dev wan
    -6 route add default dev wan`;
  for (const line of commands.trim().split('\n')) execFileSync('ip', line.trim().split(' '));
  const settings = [
    'net.ipv4.ip_forward=1',
    // What the gateway itself would send comes from the device of its hosts.
    'net.ipv4.conf.lan.accept_local=1',
    'net.ipv6.conf.all.forwarding=1',
    'net.ipv6.conf.lan.router_solicitations=0',
    'net.ipv6.conf.wan.router_solicitations=0',
  ];
  execFileSync('sysctl', ['-q', '-w', ...settings]);
}

interface Sent {
  device: number;
  packet: Uint8Array;
}

/** One packet at a time; what comes back until the bridge says that nothing more waits. */
function exchangeWith(bridge: ChildProcess): (device: number, packet: Uint8Array) => Promise<Sent[]> {
  let buffer = Buffer.alloc(0);
  let wake = () => {};
  bridge.stdout!.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    wake();
  });
  const take = async (length: number): Promise<Buffer> => {
    while (buffer.length < length) await new Promise<void>((resolve) => (wake = resolve));
    const taken = buffer.subarray(0, length);
    buffer = buffer.subarray(length);
    return taken;
  };
  return async (device, packet) => {
    const header = Buffer.alloc(5);
    header.writeUInt8(device);
    header.writeUInt32BE(packet.length, 1);
    bridge.stdin!.write(Buffer.concat([header, packet]));
    const sent: Sent[] = [];
    for (;;) {
      const found = await take(5);
      if (found[0] === NOTHING) return sent;
      sent.push({ device: found[0]!, packet: Uint8Array.from(await take(found.readUInt32BE(1))) });
    }
  };
}

function leftOf(packets: Uint8Array[]): Left {
  const left: Left = { clear: [] };
  for (const packet of packets) {
    const esp = espIn(packet);
    if (isProtected(packet)) left.whole = packet;
    if (esp) Object.assign(left, { esp, to: destinationOf(packet) });
    else if (!isProtected(packet)) left.clear.push(packet);
  }
  return left;
}

/** ESP or AH, or ESP in UDP. */
function isProtected(packet: Uint8Array): boolean {
  const protocol = packet[packet[0]! >> 4 === 4 ? 9 : 6]!;
  return protocol === ESP || protocol === AH || espIn(packet) !== undefined;
}

function espIn(packet: Uint8Array): Uint8Array | undefined {
  if (packet[0]! >> 4 !== 4) return undefined;
  if (packet[9] === ESP) return packet.subarray(20);
  return packet[9] === UDP && viewOf(packet).getUint16(20) === 4500 ? packet.subarray(28) : undefined;
}

function destinationOf(packet: Uint8Array): { address: string; port: number } {
  const address = formatAddress(packet.subarray(16, 20));
  return { address, port: packet[9] === UDP ? viewOf(packet).getUint16(22) : 0 };
}

function outerPacket(esp: Uint8Array, { address, port }: { address: string; port: number }): Uint8Array {
  const udp = port === 0 ? 0 : 8;
  const packet = new Uint8Array(20 + udp + esp.length);
  const view = viewOf(packet);
  packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, udp === 0 ? ESP : UDP]);
  view.setUint16(2, packet.length);
  packet.set(addressBytes(address), 12);
  packet.set(addressBytes(OUTER.local), 16);
  view.setUint16(10, checksum(packet.subarray(0, 20)));
  if (udp > 0) {
    view.setUint16(20, port);
    view.setUint16(22, 4500);
    view.setUint16(24, udp + esp.length);
  }
  packet.set(esp, 20 + udp);
  return packet;
}

/** A gateway forwards: it takes one off the hops, which is put back here. */
function withHops(packet: Uint8Array, more: number): Uint8Array {
  const copy = packet.slice();
  if (copy[0]! >> 4 === 6) {
    copy[7]! += more;
    return copy;
  }
  copy[8]! += more;
  const header = copy.subarray(0, (copy[0]! & 15) * 4);
  viewOf(copy).setUint16(10, 0);
  viewOf(copy).setUint16(10, checksum(header));
  return copy;
}
