// Joins the probes to the clock and to the machine's ICMP sockets.

import { randomBytes } from 'node:crypto';
import type { Addon, Plane } from '../native.ts';
import type { Instant } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { addressBytes, familyOf, formatAddress, type IpAddress } from '../wire/address.ts';
import { decodeEchoReply, type Echo, encodeEchoRequest } from '../wire/icmp.ts';
import { decodeTooBig, type TooBig } from '../wire/too-big.ts';
import {
  createPathMtus,
  type DueSize,
  FLOOR,
  type PathMtus,
  type PathMtuTarget,
  type Small,
} from './path-mtu.ts';
import { createProbes, type DueProbe, type ProbeStatus, type Probes, type ProbesOptions } from './probes.ts';

export interface ProbingOptions extends ProbesOptions {
  addon: Addon;
  plane: Plane;
  clock: () => Instant;
  /** The kernel protects packets: it refuses what is larger than their route says, where the engine takes it. */
  kernelEsp: boolean;
  /** What fits through the tunnel is another size than before. */
  resized: (tunnel: string) => void;
  /** A router says so of a packet of ours, or somebody pretends it. */
  tooBig: (message: TooBig) => void;
}

export interface Probing {
  /** `mtuOf`: bytes of the largest packet that may go into the tunnel, as configured. */
  configure(tunnels: readonly Tunnel[], own: readonly IpAddress[], mtuOf: (tunnel: Tunnel) => number): void;
  /** Answers that wait are taken first, and what routers say. */
  look(): void;
  /** The first probe of a child that came into being is due. */
  hasten(tunnel: string, child: string): void;
  of: Probes['of'];
  pathMtus: Pick<PathMtus, 'of' | 'limit' | 'hint'>;
  stop(): void;
}

/** Of each request: who sent it and to which target, so that nobody off the path can answer. */
const TOKEN = 16;
/** Behind it which target is probed; what follows only makes it larger. */
const LEAST = TOKEN + 4;
/** Of the number of a target: it is probed for its size. */
const SIZED = 0x8000_0000;
const IP_HEADER = { 4: 20, 6: 40 };
const ICMP_HEADER = 8;
const NEVER = Number.POSITIVE_INFINITY;
/** Milliseconds. */
const PACE = { verify: 10_000, least: 200, look: 1000 };

export function createProbing(options: ProbingOptions): Probing {
  const { addon, plane, clock, log } = options;
  const probes = createProbes(options);
  const sizes = createPathMtus({
    upSince: ({ tunnel, child }) => options.upSince(tunnel, child!),
    small: ({ key }, now) => smallOf(probes.of(key, now)),
    silence: 'deduced',
    pace: PACE,
    codes: { other: 'PATH_MTU', blackHole: 'PATH_BLACK_HOLE' },
    log,
    changed: options.resized,
  });
  const token = randomBytes(TOKEN);
  const identifier = token.readUInt16BE();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let complaint = '';

  function sendEcho({ target, sequence, source, destination }: DueProbe, length: number): number | string {
    const data = new Uint8Array(length);
    data.set(token);
    new DataView(data.buffer).setUint32(TOKEN, target);
    const message = encodeEchoRequest(familyOf(destination), { identifier, sequence, data });
    return addon.sendEcho(plane, addressBytes(source), addressBytes(destination), message, length > LEAST);
  }

  function sendSized(due: DueSize): void {
    const { of, target, sequence, size } = due;
    const { from, to } = probes.of(of.key, clock())!;
    const length = size - IP_HEADER[familyOf(to)] - ICMP_HEADER;
    const echo = { target: (target | SIZED) >>> 0, sequence, source: from!, destination: to };
    if (typeof sendEcho(echo, length) === 'string') sizes.refused(due, clock());
  }

  function send(due: DueProbe): void {
    const { target, sequence, destination } = due;
    const sent = sendEcho(due, LEAST);
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
      const family = from.length === 4 ? 4 : 6;
      const tooBig = decodeTooBig(family, packet);
      if (tooBig) options.tooBig(tooBig);
      const reply = decodeEchoReply(family, packet);
      const age = Math.max(0, Math.floor((wallNow - at) / 1000));
      if (reply && isOurs(reply)) answered(reply, formatAddress(from), at, now - age);
    }
  }

  function isOurs({ data }: Echo): boolean {
    return data.length >= LEAST && token.equals(data.subarray(0, TOKEN));
  }

  function answered({ sequence, data }: Echo, source: IpAddress, at: number, now: Instant): void {
    const target = new DataView(data.buffer, data.byteOffset).getUint32(TOKEN);
    if (target >= SIZED) answeredSized({ target: target - SIZED, sequence }, source, now);
    else probes.answered({ target, sequence, source, at }, now);
  }

  function answeredSized(probe: Pick<DueSize, 'target' | 'sequence'>, source: IpAddress, now: Instant): void {
    const key = sizes.named(probe.target);
    if (key !== undefined && probes.of(key, now)?.to === source) sizes.answered(probe, now);
  }

  function run(): void {
    take();
    for (const due of probes.due(clock())) send(due);
    for (const due of sizes.due(clock())) sendSized(due);
    arm();
  }

  function arm(): void {
    clearTimeout(timer);
    const next = Math.min(probes.next() ?? NEVER, sizes.next() ?? NEVER);
    if (next !== NEVER && !stopped) timer = setTimeout(run, Math.max(0, next - clock()));
  }

  return {
    configure(tunnels, own, mtuOf) {
      probes.configure(tunnels, own, clock());
      sizes.configure(targetsOf(tunnels, mtuOf, options.kernelEsp), clock());
      arm();
    },
    look() {
      take();
      arm();
    },
    hasten(tunnel, child) {
      probes.hasten(`${tunnel}/${child}`, clock());
      arm();
    },
    of: probes.of,
    pathMtus: sizes,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function smallOf(probe: ProbeStatus | undefined): Small {
  const { verdict, from, rttSmoothed: rtt, age } = probe ?? {};
  return {
    pass: verdict === 'answered' && from !== undefined,
    ...(rtt === undefined ? {} : { rtt }),
    ...(age === undefined ? {} : { age }),
  };
}

/** In transport mode the path is that of the hosts themselves, whose kernels look after it. */
function targetsOf(
  tunnels: readonly Tunnel[],
  mtuOf: (tunnel: Tunnel) => number,
  kernelEsp: boolean,
): PathMtuTarget[] {
  return tunnels.flatMap((tunnel) =>
    tunnel.children.flatMap(({ name, probe, mode }) => {
      if (!probe || mode === 'transport') return [];
      const ceiling = mtuOf(tunnel);
      const floor = Math.min(ceiling, FLOOR[familyOf(probe.to)]);
      const byDevice = kernelEsp || tunnel.link !== undefined;
      const key = `${tunnel.name}/${name}`;
      return [{ key, tunnel: tunnel.name, child: name, floor, ceiling, byDevice }];
    }),
  );
}
