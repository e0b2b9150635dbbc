// What stands in front of every packet of the TUN (virtio 1.1 §5.1.6), and what it asks for: checksums and segments.

import { checksum, pseudoHeader, readFlow, viewOf } from '../wire/ip.ts';

export const OFFLOAD_HEADER = 10;
const NEEDS_CHECKSUM = 1;
const TCP_V4 = 1;
const TCP_V6 = 4;
const ECN = 0x80;
const TCP = 6;
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
  if (kind === TCP_V4 || kind === TCP_V6) return segments(packet, view.getUint16(4, true));
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

/** Cuts a TCP super-packet. */
function segments(packet: Uint8Array, size: number): Uint8Array[] | undefined {
  const flow = readFlow(packet)!;
  if (flow.protocol !== TCP || flow.opaque || flow.transport + 20 > packet.length || size === 0)
    return undefined;
  const headers = flow.transport + (packet[flow.transport + 12]! >> 4) * 4;
  if (headers < flow.transport + 20 || headers >= packet.length) return undefined;
  const count = Math.ceil((packet.length - headers) / size);
  return Array.from({ length: count }, (_, index) =>
    segment(packet, flow.transport, headers, size, index, count),
  );
}

function segment(
  packet: Uint8Array,
  transport: number,
  headers: number,
  size: number,
  index: number,
  count: number,
): Uint8Array {
  const payload = packet.subarray(headers + index * size, headers + (index + 1) * size);
  const whole = new Uint8Array(headers + payload.length);
  whole.set(packet.subarray(0, headers));
  whole.set(payload, headers);
  const view = viewOf(whole);
  view.setUint32(transport + 4, (viewOf(packet).getUint32(transport + 4) + index * size) >>> 0);
  if (index < count - 1) whole[transport + 13]! &= ~TCP_FIN_PSH;
  if (index > 0) whole[transport + 13]! &= ~TCP_CWR; // RFC 3168 §6.1.2: once
  setLengths(whole, index);
  setTcpChecksum(whole, transport);
  return whole;
}

function setLengths(whole: Uint8Array, index: number): void {
  const view = viewOf(whole);
  if (whole[0]! >> 4 === 6) return view.setUint16(4, whole.length - 40);
  const headerBytes = (whole[0]! & 15) * 4;
  view.setUint16(2, whole.length);
  view.setUint16(4, view.getUint16(4) + index);
  view.setUint16(10, 0);
  view.setUint16(10, checksum(whole.subarray(0, headerBytes)));
}

function setTcpChecksum(whole: Uint8Array, transport: number): void {
  const view = viewOf(whole);
  view.setUint16(transport + 16, 0);
  const bytes = whole.length - transport;
  const flow = readFlow(whole)!;
  view.setUint16(transport + 16, checksum(pseudoHeader(whole, flow, bytes), whole.subarray(transport)));
}
