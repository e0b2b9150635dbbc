// Between whom the traffic of a suite runs, and what the two gateways need for it: networks behind them, the gateways themselves
// (transport mode), or networks over a GRE tunnel that transport mode protects.

import { run, start, sysctl } from './netns.ts';
import { OUTER } from './two-sites.ts';

export interface Way {
  /** Namespace and address of whoever sends, on either side. */
  ours: { namespace: string; address: string };
  theirs: { namespace: string; address: string };
  /** What is protected, in our words; seen from us. */
  local: string;
  remote: string;
}

interface Kind {
  outer: 4 | 6;
  inner?: 4 | 6;
  transport?: true | 'gre';
  route?: true;
  /** Transport mode over IPv4: a translator before each gateway. */
  translated?: true;
}

/** What each gateway has for the address of the other one, where both are behind a translator. */
export const SEEN = { theirs: '192.0.2.254', ours: '198.51.100.254' } as const;

const NETWORKS = {
  4: { local: '10.1.0.0/16', remote: '10.2.0.0/16', ours: '10.1.0.10', theirs: '10.2.0.10' },
  6: { local: 'fd01::/64', remote: 'fd02::/64', ours: 'fd01::10', theirs: 'fd02::10' },
} as const;

export function wayOf({ outer, inner = 4, transport, translated }: Kind): Way {
  const [local, remote] = OUTER[outer].map((address) => `${address}/${outer === 4 ? 32 : 128}`);
  if (translated)
    return {
      ours: { namespace: 'gw-a', address: SEEN.ours },
      theirs: { namespace: 'gw-b', address: SEEN.theirs },
      local: local!,
      remote: `${SEEN.theirs}/32`,
    };
  if (transport === true)
    return {
      ours: { namespace: 'gw-a', address: OUTER[outer][0] },
      theirs: { namespace: 'gw-b', address: OUTER[outer][1] },
      local: local!,
      remote: remote!,
    };
  const networks = NETWORKS[inner];
  return {
    ours: { namespace: 'host-a', address: networks.ours },
    theirs: { namespace: 'host-b', address: networks.theirs },
    ...(transport === 'gre'
      ? { local: `${local} gre`, remote: `${remote} gre` }
      : { local: networks.local, remote: networks.remote }),
  };
}

const LINK = { kind: 'vti', name: 'office', key: 7 } as const;
const EVERYTHING = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** What the peer is told of a route-based tunnel. It makes no interface of its own, so the laboratory does. */
export function linkedBy({ inner = 4 }: Kind) {
  return { local: EVERYTHING[inner], remote: EVERYTHING[inner], link: LINK };
}

/** Whatever stands beside IPsec; `open` before the tunnel is established, `close` when all is over. */
export function besides(kind: Kind): { open(): void; close(): void } {
  if (kind.translated) return translators(kind);
  const { outer, inner = 4, transport, route } = kind;
  const { local, remote } = NETWORKS[inner];
  const [ours, theirs] = OUTER[outer];
  const gateways = transport === 'gre' ? ['gw-a', 'gw-b'] : route ? ['gw-b'] : [];
  return {
    open() {
      if (transport === 'gre') {
        greTunnel('gw-a', ours, theirs, remote);
        greTunnel('gw-b', theirs, ours, local);
      } else if (route) vti('gw-b', { outer, inner }, [theirs, ours], local);
    },
    close() {
      for (const gateway of gateways) run(gateway, 'ip', 'link', 'delete', 'dev', 'office');
      if (route) run('gw-b', 'ip', `-${inner}`, 'rule', 'delete', 'priority', '100');
    },
  };
}

/** Whoever answers an echo request is a gateway, and not the router between them. */
function translators({ outer }: Kind): { open(): void; close(): void } {
  const [ours, theirs] = OUTER[outer];
  const command = [process.execPath, 'lab/translator.ts', SEEN.theirs, ours, SEEN.ours, theirs];
  let running: ReturnType<typeof start> | undefined;
  return {
    open() {
      sysctl('internet', 'net.ipv4.icmp_echo_ignore_all=1');
      running = start('internet', command, { stdio: ['ignore', 'ignore', 'inherit'] });
    },
    close() {
      running?.kill('SIGTERM');
      sysctl('internet', 'net.ipv4.icmp_echo_ignore_all=0');
    },
  };
}

/** What comes out of the tunnel has passed the policy of its SA, and needs no second one. */
function vti(
  namespace: string,
  { outer, inner }: Required<Pick<Kind, 'outer' | 'inner'>>,
  [local, remote]: readonly [string, string],
  network: string,
): void {
  const { name, key } = LINK;
  const type = outer === 4 ? 'vti' : 'vti6';
  const ends = ['local', local, 'remote', remote, 'key', String(key)];
  run(namespace, 'ip', 'link', 'add', 'dev', name, 'type', type, ...ends);
  sysctl(namespace, ...[4, 6].map((family) => `net.ipv${family}.conf.${name}.disable_policy=1`));
  run(namespace, 'ip', 'link', 'set', 'dev', name, 'mtu', '1400', 'up');
  run(namespace, 'ip', 'route', 'add', network, 'dev', name);
  // Before the table of strongSwan, whose default route leads everything to the network; that of the main table comes after it.
  const rule = ['priority', '100', 'lookup', 'main', 'suppress_prefixlength', '0'];
  run(namespace, 'ip', `-${inner}`, 'rule', 'add', ...rule);
}

/** Over IPv4; narrow enough for what IPsec adds. */
function greTunnel(namespace: string, local: string, remote: string, network: string): void {
  const device = ['dev', 'office'];
  run(
    namespace,
    'ip',
    'link',
    'add',
    ...device,
    'type',
    'gre',
    'local',
    local,
    'remote',
    remote,
    'ttl',
    '64',
  );
  run(namespace, 'ip', 'link', 'set', ...device, 'mtu', '1400', 'up');
  run(namespace, 'ip', 'route', 'add', network, ...device);
}
