// The interfaces of route-based tunnels: opened for the engine, and up only while their tunnel carries packets.

import type { Config } from '../config/config.ts';
import type { Host } from '../host/host.ts';
import { HostError } from '../host/host-error.ts';
import { type LinkState, vtiMeets, wantedLinks } from '../host/links.ts';
import { isByNetworks, pairsOf } from '../host/pairs.ts';
import { OURS, type ProtectedPair, wantedFor } from '../host/wanted.ts';
import type { Addon, Plane } from '../native.ts';
import { innerMtu } from '../policy/overhead.ts';
import type { LinkKind } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import type { ProbeStatus } from './probes.ts';
import { demandDevice } from './refusals.ts';
import type { Log } from './report.ts';

export interface LinksOptions {
  addon: Addon;
  plane: Plane;
  host: Host;
  dataplane: Config['dataplane'];
  /** Of the kernel's IPsec; undefined where it has nothing for links, or the engine protects. */
  kind: LinkKind | undefined;
  log: Log;
  /** Whether what that child sends finds the other half of it at the peer. */
  isTaken(tunnel: string, child: string): boolean;
  probe(policy: string): ProbeStatus | undefined;
  /** Bytes of the largest packet that was found to pass. */
  pathMtu(policy: string): number | undefined;
}

/** What an operator sees of an interface. */
export interface InterfaceStatus {
  name: string;
  state: 'up' | 'down';
  /** Bytes. */
  mtu: number;
  addresses: string[];
}

export interface Links {
  /** What stands for all of the configurations, in the size of the first. Throws HostError; where something is taken, before anything is touched. */
  apply(size: Config, configs: readonly Config[]): void;
  /** The engine lets go of what is in the first and not in the second. */
  close(before: Config, after: Config): void;
  /** Whether each is up or down is held against its tunnel, and against what stands. */
  look(config: Config): void;
  /** `look` a moment later, once for all that happens until then. */
  lookSoon(config: () => Config): void;
  /** All down, as nobody is behind them any more. */
  stop(config: Config): void;
  of(tunnel: Tunnel, config: Config): InterfaceStatus | undefined;
  /** Bytes of the largest packet that may go into a tunnel, as configured. */
  ceiling(config: Config): (tunnel: Tunnel) => number;
}

/** Milliseconds: a change of the data plane is in place by then. */
const SOON = 20;

export function createLinks(options: LinksOptions): Links {
  const { addon, plane, host, dataplane, kind, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let last = '';
  let stopped = false;

  function open(tunnel: Tunnel): void {
    if (!tunnel.link) return;
    if (dataplane === 'xfrm') {
      if (!kind) throw new HostError('HOST_LINKS', NO_KIND);
      return;
    }
    const { name, id } = tunnel.link;
    const failed = addon.openLink(plane, name, id);
    if (failed !== '') throw new HostError('HOST_TAKEN', `interface ${name}: ${failed}${hintOf(failed)}`);
  }

  function isUp({ name, start, children }: Tunnel): boolean {
    if (stopped) return false;
    const probes = children.map((child) => options.probe(`${name}/${child.name}`));
    if (probes.some((probe) => probe?.verdict === 'lost')) return false;
    // The first packet has to come by the interface.
    if (start === 'on-traffic') return true;
    return children.some((child, index) => options.isTaken(name, child.name) && !isWaiting(probes[index]));
  }

  const stateOf = (tunnel: Tunnel, config: Config): LinkState => ({
    tunnel,
    mtu: Math.min(linkMtu(tunnel, config), ...tunnel.children.map(({ name }) => passing(tunnel.name, name))),
    up: isUp(tunnel),
  });

  const passing = (tunnel: string, child: string) =>
    options.pathMtu(`${tunnel}/${child}`) ?? Number.POSITIVE_INFINITY;

  /** What the children protect; of less than the shared device takes, how large a packet may be. */
  function pairsWithin({ name, children }: Tunnel, mtu: number): ProtectedPair[] {
    return children.flatMap((child) => {
      const pathMtu = passing(name, child.name);
      return pairsOf(child).map((pair) => (pathMtu < mtu ? { ...pair, pathMtu } : pair));
    });
  }

  function wanted(size: Config, configs: readonly Config[]) {
    const mtu = sharedMtu(size);
    const pairs = configs.flatMap(({ tunnels }) =>
      tunnels.filter(isByNetworks).flatMap((tunnel) => pairsWithin(tunnel, mtu)),
    );
    // Of two that want one name the later one is as it will be.
    const routed = configs.flatMap((config) =>
      config.tunnels.flatMap((tunnel) =>
        tunnel.link ? [[tunnel.link.name, stateOf(tunnel, config)] as const] : [],
      ),
    );
    const base = wantedFor(pairs, host.addresses(), mtu, dataplane, size.routing);
    const { links, routes } = wantedLinks([...new Map(routed).values()], kind, host.near());
    return { ...base, links, routes: [...base.routes, ...routes] };
  }

  function remember(config: Config): string {
    return config.tunnels.flatMap((tunnel) => (tunnel.link && isUp(tunnel) ? tunnel.link.name : [])).join();
  }

  function look(config: Config): void {
    const routed = config.tunnels.filter(({ link }) => link);
    if (routed.length === 0) return;
    const next = remember(config);
    try {
      const running = host.running();
      const as = routed.every((tunnel) => running.has(tunnel.link!.name) === isUp(tunnel));
      if (as && next === last) return;
      host.steer(wanted(config, [config]));
      last = next;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      log({ code: 'HOST_REFUSED', detail: { message: error.message } });
    }
  }

  return {
    apply(size, configs) {
      const meeting = kind === 'vti' ? vtiMeets(size.tunnels) : undefined;
      if (meeting) throw new HostError('HOST_LINKS', oneOnly(meeting));
      const target = wanted(size, configs);
      const taken = host.taken(target);
      if (taken !== undefined) throw new HostError('HOST_TAKEN', taken);
      demandDevice(addon.openLink(plane, OURS.device, 0));
      for (const { tunnels } of configs) for (const tunnel of tunnels) open(tunnel);
      host.apply(target);
      last = remember(size);
    },
    close(before, after) {
      const kept = new Set(after.tunnels.map(({ link }) => link?.id));
      for (const { link } of before.tunnels)
        if (link && !kept.has(link.id) && dataplane === 'engine') addon.closeLink(plane, link.id);
    },
    look,
    lookSoon(config) {
      if (stopped) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        look(config());
      }, SOON);
    },
    stop(config) {
      clearTimeout(timer);
      stopped = true;
      look(config);
    },
    ceiling(config) {
      const shared = sharedMtu(config);
      return (tunnel) => (tunnel.link ? linkMtu(tunnel, config) : shared);
    },
    of(tunnel, config) {
      const { link } = tunnel;
      if (!link) return undefined;
      const { mtu, up } = stateOf(tunnel, config);
      const addresses = link.addresses.map(({ address, length }) => `${address}/${length}`);
      return { name: link.name, state: up ? 'up' : 'down', mtu, addresses };
    },
  };
}

/** Something is asked whether packets pass, and has not said so yet. */
function isWaiting(probe: ProbeStatus | undefined): boolean {
  return probe?.verdict === 'waiting' && probe.from !== undefined;
}

const NO_KIND =
  'this kernel has neither XFRM interfaces nor VTIs for mode: route; load one of them (modprobe xfrm_interface, modprobe ip_vti), or use dataplane: engine';

function oneOnly([name, other]: readonly [string, string]): string {
  return `${name} and ${other} go between the same outer addresses, and this kernel has VTIs only, which tell tunnels apart by these: modprobe xfrm_interface, or use dataplane: engine`;
}

function hintOf(failed: string): string {
  if (failed.includes('not ours')) return '; choose another interface.name';
  if (failed.includes('busy')) return '; another isthmus daemon runs here: isthmus status';
  return failed.includes('not permitted') ? '; run as root, or give CAP_NET_ADMIN' : '';
}

function linkMtu(tunnel: Tunnel, { mtu }: Config): number {
  return tunnel.link?.mtu ?? mtuInside(tunnel, mtu);
}

/** The largest packet that fits whatever its children negotiate. */
function mtuInside({ local, children }: Tunnel, outer: number): number {
  const family = familyOf(local.address);
  return Math.min(outer, ...children.map(({ proposals, mode }) => innerMtu(outer, family, proposals, mode)));
}

/** Of the device that tunnels without an interface share: the least of them. */
function sharedMtu({ mtu, tunnels }: Config): number {
  return Math.min(mtu, ...tunnels.filter(({ link }) => !link).map((tunnel) => mtuInside(tunnel, mtu)));
}
