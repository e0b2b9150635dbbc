// What stands in front of every packet of the TUN (virtio 1.1 §5.1.6), and what it asks for: checksums and segments.

import { checksum, pseudoHeader, readFlow, viewOf } from '../wire/ip.ts';

export const OFFLOAD_HEADER = 10;
const NEEDS_CHECKSUM = 1;
const TCP_V4 = 1;
const TCP_V6 = 4;
const UDP_L4 = 5;
const ECN = 0x80;
const TCP = 6;
const UDP = 17;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;

/** A packet as the TUN gives it when nothing is left to be done. */
export function plainFrame(packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(OFFLOAD_HEADER + packet.length);
  frame.set(packet, OFFLOAD_HEADER);
  return frame;
}

/** The packets that a frame stands for, each complete; undefined where the header and the packet do not fit. */
export function packetsOf(frame: Uint8Array): Uint8Array[] | undefined {
  const packet = frame.subarray(OFFLOAD_HEADER);
  const flow = frame.length > OFFLOAD_HEADER ? readFlow(packet) : undefined;
  if (!flow) return undefined;
  // Fields of this header are in the machine's byte order.
  const view = viewOf(frame);
  const kind = frame[1]! & ~ECN;
  if (kind === TCP_V4 || kind === TCP_V6) return segments(packet, TCP, view.getUint16(4, true));
  if (kind === UDP_L4) return segments(packet, UDP, view.getUint16(4, true));
  if (kind !== 0) return undefined;
  const whole = packet.slice(0, flow.length);
  if ((frame[0]! & NEEDS_CHECKSUM) === 0) return [whole];
  const start = view.getUint16(6, true);
  const at = start + view.getUint16(8, true);
  if (start < flow.transport || at + 2 > whole.length) return undefined;
  // The field holds the sum over the pseudo header already.
  const sum = checksum(whole.subarray(start));
  viewOf(whole).setUint16(at, sum === 0 && flow.protocol === 17 ? 0xffff : sum);
  return [whole];
}

/** Cuts a super-packet. */
function segments(packet: Uint8Array, protocol: number, size: number): Uint8Array[] | undefined {
  const flow = readFlow(packet)!;
  const least = flow.transport + (protocol === TCP ? 20 : 8);
  if (flow.protocol !== protocol || flow.opaque || least > packet.length || size === 0) return undefined;
  const headers = protocol === TCP ? flow.transport + (packet[flow.transport + 12]! >> 4) * 4 : least;
  if (headers < least || headers >= packet.length) return undefined;
  const count = Math.ceil((packet.length - headers) / size);
  return Array.from({ length: count }, (_, index) => {
    const payload = packet.subarray(headers + index * size, headers + (index + 1) * size);
    const whole = new Uint8Array(headers + payload.length);
    whole.set(packet.subarray(0, headers));
    whole.set(payload, headers);
    setLengths(whole, index);
    if (protocol === TCP) setTcp(whole, flow.transport, index * size, index > 0, index < count - 1);
    else setUdp(whole, flow.transport);
    return whole;
  });
}

/** Length and identification of one segment. */
function setLengths(whole: Uint8Array, index: number): void {
  const view = viewOf(whole);
  if (whole[0]! >> 4 === 6) return view.setUint16(4, whole.length - 40);
  const headerBytes = (whole[0]! & 15) * 4;
  view.setUint16(2, whole.length);
  view.setUint16(4, view.getUint16(4) + index);
  view.setUint16(10, 0);
  view.setUint16(10, checksum(whole.subarray(0, headerBytes)));
}

function setTcp(whole: Uint8Array, at: number, offset: number, later: boolean, before: boolean): void {
  const view = viewOf(whole);
  view.setUint32(at + 4, (view.getUint32(at + 4) + offset) >>> 0);
  if (before) whole[at + 13]! &= ~TCP_FIN_PSH;
  if (later) whole[at + 13]! &= ~TCP_CWR; // RFC 3168 §6.1.2: once
  view.setUint16(at + 16, 0);
  view.setUint16(at + 16, transportChecksum(whole, at));
}

function setUdp(whole: Uint8Array, at: number): void {
  const view = viewOf(whole);
  view.setUint16(at + 4, whole.length - at);
  view.setUint16(at + 6, 0);
  view.setUint16(at + 6, transportChecksum(whole, at) || 0xffff); // RFC 768: 0 means none
}

function transportChecksum(whole: Uint8Array, at: number): number {
  return checksum(pseudoHeader(whole, readFlow(whole)!, whole.length - at), whole.subarray(at));
}
