// Joins the probes to the clock and to the machine's ICMP sockets.

import { randomBytes } from 'node:crypto';
import type { Addon, Plane } from '../native.ts';
import type { Instant } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { addressBytes, familyOf, formatAddress, type IpAddress } from '../wire/address.ts';
import { decodeEchoReply, encodeEchoRequest } from '../wire/icmp.ts';
import { createProbes, type DueProbe, type Probes, type ProbesOptions } from './probes.ts';

export interface ProbingOptions extends ProbesOptions {
  addon: Addon;
  plane: Plane;
  clock: () => Instant;
}

export interface Probing {
  configure(tunnels: readonly Tunnel[], own: readonly IpAddress[]): void;
  /** Answers that wait are taken first. */
  look(): void;
  of: Probes['of'];
  stop(): void;
}

/** Of each request: who sent it and to which target, so that nobody off the path can answer. */
const TOKEN = 16;

export function createProbing(options: ProbingOptions): Probing {
  const { addon, plane, clock, log } = options;
  const probes = createProbes(options);
  const token = randomBytes(TOKEN);
  const identifier = token.readUInt16BE();
  let timer: NodeJS.Timeout | undefined;
  let complaint = '';

  function send({ target, sequence, source, destination }: DueProbe): void {
    const data = new Uint8Array(TOKEN + 4);
    data.set(token);
    new DataView(data.buffer).setUint32(TOKEN, target);
    const message = encodeEchoRequest(familyOf(destination), { identifier, sequence, data });
    const sent = addon.sendEcho(plane, addressBytes(source), addressBytes(destination), message);
    if (typeof sent === 'number') return probes.sent(target, sequence, sent);
    // Said once, not with every probe.
    if (sent !== complaint)
      log({ code: 'HOST_REFUSED', detail: { message: `a probe to ${destination}: ${sent}` } });
    complaint = sent;
  }

  function take(): void {
    const now = clock();
    const wallNow = Date.now() * 1000;
    const replies = addon.takeEchoes(plane);
    for (let i = 0; i < replies.length; i += 3) {
      const [from, packet, at] = replies.slice(i, i + 3) as [Uint8Array, Uint8Array, number];
      const reply = decodeEchoReply(from.length === 4 ? 4 : 6, packet);
      if (reply?.data.length !== TOKEN + 4 || !token.equals(reply.data.subarray(0, TOKEN))) continue;
      const target = new DataView(reply.data.buffer, reply.data.byteOffset).getUint32(TOKEN);
      const age = Math.max(0, Math.floor((wallNow - at) / 1000));
      probes.answered({ target, sequence: reply.sequence, source: formatAddress(from), at }, now - age);
    }
  }

  function run(): void {
    take();
    for (const probe of probes.due(clock())) send(probe);
    arm();
  }

  function arm(): void {
    clearTimeout(timer);
    const next = probes.next();
    if (next !== undefined) timer = setTimeout(run, Math.max(0, next - clock()));
  }

  return {
    configure(tunnels, own) {
      probes.configure(tunnels, own, clock());
      arm();
    },
    look: take,
    of: probes.of,
    stop: () => clearTimeout(timer),
  };
}
