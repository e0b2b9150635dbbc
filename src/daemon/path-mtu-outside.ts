// The largest outer packet that reaches a peer in one piece, asked for by IKE where nothing inside answers, and what of it is
// left for the packets inside. It shows our direction only; the other gateway looks after its own.

import type { ReportCode } from '../ike/errors.ts';
import type { RoomInside } from '../ike/view.ts';
import type { Instant } from '../policy/sad.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import {
  createPathMtus,
  type DueSize,
  FLOOR,
  type PathMtuStatus,
  type PathMtus,
  type PathMtuTarget,
} from './path-mtu.ts';
import type { ProbeStatus } from './probes.ts';
import type { Log } from './report.ts';

export interface OutsideOptions {
  clock(): Instant;
  log: Log;
  /** Whether an IP packet of so many bytes reaches the peer in one piece. */
  measure(tunnel: string, size: number, patience: number): Promise<ReportCode>;
  /** Since when a tunnel is up, while it has that child. */
  upSince(tunnel: string, child: string): Instant | undefined;
  probe(policy: string, now: Instant): ProbeStatus | undefined;
  /** Of a child, in an outer packet of so many bytes. */
  roomInside(of: { tunnel: string; child: string }, outer: number): RoomInside | undefined;
  /** What fits through the tunnel is another size than before. */
  resized(tunnel: string): void;
}

/** What an operator sees of a child. */
export interface ChildPathMtu extends PathMtuStatus {
  /** Echo requests inside, both ways, or IKE beside the tunnel, our direction only. */
  by: 'probe' | 'ike';
  /** IKE travels in UDP and the packets of the child do not: they may fare otherwise. */
  estimate?: true;
}

export interface ChildPathMtus {
  of(policy: string, now: Instant): ChildPathMtu | undefined;
  /** Bytes that packets of a child are to be kept to. */
  limit(policy: string): number | undefined;
}

export interface OutsideMtus extends ChildPathMtus {
  /** `outer`: bytes of the largest outer packet, and `mtuOf` of the largest inner one, as configured. */
  configure(tunnels: readonly Tunnel[], outer: number, mtuOf: (tunnel: Tunnel) => number): void;
  /** A router says that no more than so many bytes reach the peer of a tunnel. */
  hint(tunnel: string, size: number): void;
  stop(): void;
}

/** Milliseconds. An exchange costs more than an echo request, and a busy peer takes its time. */
const PACE = { verify: 60_000, least: 500, look: 5000 };

export function createOutsideMtus(options: OutsideOptions): OutsideMtus {
  const { clock, measure, upSince, probe, roomInside } = options;
  const tunnels = new Map<string, { children: ChildTemplate[]; ceiling: number }>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const sizes = createPathMtus({
    upSince: ({ tunnel }) => firstUp(tunnel),
    small: ({ tunnel }, now) => ({ pass: isWanted(tunnel, now) }),
    silence: 'told',
    pace: PACE,
    codes: { other: 'OUTER_PATH_MTU', blackHole: 'OUTER_PATH_BLACK_HOLE' },
    log: options.log,
    changed: options.resized,
  });

  const childrenOf = (tunnel: string) => tunnels.get(tunnel)?.children ?? [];

  function firstUp(tunnel: string): Instant | undefined {
    return childrenOf(tunnel)
      .map(({ name }) => upSince(tunnel, name))
      .find((since) => since !== undefined);
  }

  /** A child of it has nobody inside to ask, or nobody who answers. */
  function isWanted(tunnel: string, now: Instant): boolean {
    return childrenOf(tunnel).some(({ name }) => {
      const status = probe(`${tunnel}/${name}`, now);
      return status === undefined || status.verdict === 'lost' || status.from === undefined;
    });
  }

  async function ask(due: DueSize): Promise<void> {
    const outcome = await measure(due.of.tunnel, due.size, due.patience);
    if (outcome === 'OK') sizes.answered(due, clock());
    else if (outcome === 'PATH_LOST') sizes.lost(due, clock());
    else if (outcome === 'PATH_REFUSED') sizes.refused(due, clock());
    else sizes.undecided(due, clock());
    arm();
  }

  function run(): void {
    for (const due of sizes.due(clock())) void ask(due);
    arm();
  }

  function arm(): void {
    clearTimeout(timer);
    const next = sizes.next();
    if (next !== undefined && !stopped) timer = setTimeout(run, Math.max(0, next - clock()));
  }

  function inside(of: { tunnel: string; child: string }, outer: number | undefined): RoomInside | undefined {
    const room = outer === undefined ? undefined : roomInside(of, outer);
    const ceiling = tunnels.get(of.tunnel)?.ceiling ?? 0;
    return room && { ...room, mtu: Math.min(room.mtu, ceiling) };
  }

  return {
    configure(all, outer, mtuOf) {
      const measured = all.filter(isMeasured);
      tunnels.clear();
      for (const tunnel of measured)
        tunnels.set(tunnel.name, { children: throughTunnels(tunnel), ceiling: mtuOf(tunnel) });
      const targets = measured.map((tunnel) => targetOf(tunnel, outer));
      sizes.configure(targets, clock());
      arm();
    },
    of(policy, now) {
      const of = partsOf(policy);
      const found = sizes.of(of.tunnel, now);
      const room = inside(of, found?.mtu);
      if (!found || !room) return undefined;
      return { mtu: room.mtu, age: found.age, by: 'ike', ...(room.estimate ? { estimate: true } : {}) };
    },
    limit(policy) {
      const of = partsOf(policy);
      return inside(of, sizes.limit(of.tunnel))?.mtu;
    },
    hint(tunnel, size) {
      sizes.hint(tunnel, size, clock());
      arm();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** What was asked inside goes before what was asked beside it. */
export function eitherWay(
  within: Pick<PathMtus, 'of' | 'limit'>,
  outside: Pick<OutsideMtus, 'of' | 'limit'>,
): ChildPathMtus {
  return {
    of(policy, now) {
      const found = within.of(policy, now);
      return found ? { ...found, by: 'probe' } : outside.of(policy, now);
    },
    limit: (policy) => within.limit(policy) ?? outside.limit(policy),
  };
}

/** The name of a tunnel has no slash. */
function partsOf(policy: string): { tunnel: string; child: string } {
  const slash = policy.indexOf('/');
  return { tunnel: policy.slice(0, slash), child: policy.slice(slash + 1) };
}

/** In transport mode the path is that of the hosts themselves, whose kernels look after it. */
function throughTunnels({ children }: Tunnel): ChildTemplate[] {
  return children.filter(({ mode }) => mode === 'tunnel');
}

function isMeasured(tunnel: Tunnel): boolean {
  return tunnel.findPathMtu === true && throughTunnels(tunnel).length > 0;
}

function targetOf({ name, local }: Tunnel, outer: number): PathMtuTarget {
  const floor = FLOOR[familyOf(local.address)];
  return { key: name, tunnel: name, floor, ceiling: outer, byDevice: false };
}
