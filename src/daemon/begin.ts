// The first moments of a daemon: packets flow, tunnels are told to the core, and the operator hears what stands.

import type { Config } from '../config/config.ts';
import { singly } from '../dataplane/turns.ts';
import { type Needs, preflight } from '../host/preflight.ts';
import type { Event } from '../ike/boundary.ts';
import { familyOf } from '../wire/address.ts';
import type { Parts } from './parts.ts';
import { IKE_PORT, NAT_PORT } from './port.ts';
import { report } from './report.ts';

export function begin(parts: Parts): void {
  const { state, addon, native, port, plane, daemon } = parts;
  const told = daemon.feedAll(settings(state));
  // Until all are told, and while the core is busy, datagrams wait at the sockets, where those of strangers are dropped first.
  const listen = singly(async () => {
    await told;
    await daemon.feedAll(port.take().map((datagram) => ({ type: 'datagram', ...datagram })));
  });
  addon.start(native, () => {
    plane.deliver();
    listen();
  });
  void told.then(daemon.changed).then(plane.settle);
  configureProbes(parts);
  tell(parts);
}

/** Each tunnel as it is when its turn comes: a reload may come before that. */
function* settings(state: Parts['state']): Generator<Event> {
  const { config } = state;
  for (const tunnel of config.tunnels) {
    const { tunnels } = state.config;
    const current = state.config === config ? tunnel : tunnels.find(({ name }) => name === tunnel.name);
    if (current) yield { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: current }] };
  }
}

/** Of what is in use: whether packets pass, and how large they may be. */
export function configureProbes({ state, host, links, probing, outside }: Parts): void {
  const { tunnels, mtu } = state.config;
  const mtuOf = links.ceiling(state.config);
  probing.configure(tunnels, host.addresses(), mtuOf);
  outside.configure(tunnels, mtu, mtuOf);
}

function tell(parts: Parts): void {
  const {
    state: { config },
    log,
    exportKeys,
    choice,
  } = parts;
  if (exportKeys !== undefined) report(log, 'KEYS_EXPORTED', { folder: exportKeys });
  const { name, addresses, tunnels } = config;
  report(log, 'DAEMON_READY', { name, addresses: addresses.join(', '), tunnels: tunnels.length });
  report(log, 'DATAPLANE_CHOSEN', { name: choice.name, why: choice.why });
  for (const lost of choice.lost) report(log, 'HOST_FINDING', { ...lost });
  tellFindings(parts);
}

/** What of the machine's settings is in the way of the configuration. */
export function tellFindings(parts: Parts): void {
  for (const finding of preflight(parts.machine, needsOf(parts)))
    report(parts.log, 'HOST_FINDING', { ...finding });
}

function needsOf({ state: { config }, kind }: Parts): Needs {
  return {
    families: familiesOf(config),
    ports: [IKE_PORT, NAT_PORT],
    protocols: protocolsOf(config),
    mark: config.routing.mark,
    // The kernel does not filter what an XFRM interface has let in (Linux net/ipv4/fib_frontend.c, fib_validate_source).
    links: kind === 'xfrm' ? [] : config.tunnels.flatMap(({ link }) => link ?? []),
  };
}

function familiesOf({ tunnels }: Config): Set<4 | 6> {
  return new Set(
    tunnels.flatMap(({ children }) =>
      children.flatMap(({ selectors }) => selectors.local.map(({ start }) => familyOf(start))),
    ),
  );
}

function protocolsOf({ tunnels }: Config): Set<'esp' | 'ah'> {
  return new Set(tunnels.flatMap(({ children }) => children.map(({ protocol }) => protocol)));
}
