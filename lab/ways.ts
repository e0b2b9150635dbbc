// Between whom the traffic of a suite runs, and what the two gateways need for it: networks behind them, the gateways themselves
// (transport mode), or networks over a GRE tunnel that transport mode protects.

import { run } from './netns.ts';

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
}

export const OUTER = { 4: ['192.0.2.1', '198.51.100.1'], 6: ['2001:db8:a::1', '2001:db8:b::1'] } as const;

const NETWORKS = {
  4: { local: '10.1.0.0/16', remote: '10.2.0.0/16', ours: '10.1.0.10', theirs: '10.2.0.10' },
  6: { local: 'fd01::/64', remote: 'fd02::/64', ours: 'fd01::10', theirs: 'fd02::10' },
} as const;

export function wayOf({ outer, inner = 4, transport }: Kind): Way {
  const [local, remote] = OUTER[outer].map((address) => `${address}/${outer === 4 ? 32 : 128}`);
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

/** Whatever stands beside IPsec; `open` before the tunnel is established, `close` when all is over. */
export function greOf({ outer, inner = 4, transport }: Kind): { open(): void; close(): void } {
  if (transport !== 'gre') return { open() {}, close() {} };
  const networks = NETWORKS[inner];
  const [ours, theirs] = OUTER[outer];
  return {
    open() {
      greTunnel('gw-a', ours, theirs, networks.remote);
      greTunnel('gw-b', theirs, ours, networks.local);
    },
    close() {
      for (const gateway of ['gw-a', 'gw-b']) run(gateway, 'ip', 'link', 'delete', 'dev', 'office');
    },
  };
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
