// One suite as both ends are told of it: our configuration file, and the tunnel of the peer. Pure.

import type { ChecksOptions, Suite } from './checks.ts';
import type { StrongswanTunnel } from './peers/strongswan-conf.ts';
import { OUTER } from './two-sites.ts';
import { linkedBy, wayOf } from './ways.ts';

/** With one tunnel, `office`; its secret lies in that folder. */
export function ourFile(
  suite: Suite,
  folder: string,
  usual: Pick<ChecksOptions, 'dataplane' | 'encapsulation'>,
): string {
  const { outer, ike, esp, legacy, encapsulation, protocol, transport, route, ours } = suite;
  const { local, remote } = wayOf(suite);
  const [address, peer] = OUTER[outer];
  const office = {
    peer,
    auth: { psk: { file: `${folder}/office.psk` } },
    ...(route ? { mode: 'route', interface: { routes: remote } } : { local, remote }),
    start: 'wait',
    encapsulation: encapsulation ?? usual.encapsulation,
    'ike-suites': ike.split(', '),
    ...(protocol ? { protocol, 'ah-suites': [esp] } : { 'esp-suites': [esp] }),
    ...(transport ? { transport: true } : {}),
    legacy: legacy === true,
    rehearsal: false,
    ...ours,
  };
  const gateway = { name: 'a', address, dataplane: usual.dataplane };
  // JSON is YAML.
  return JSON.stringify({ gateway, tunnels: { office } }, null, 2);
}

export function theirTunnel(
  suite: Suite,
  psk: string,
  changed: Partial<StrongswanTunnel> = {},
): StrongswanTunnel {
  const [remoteAddress, localAddress] = OUTER[suite.outer];
  const { local, remote } = wayOf(suite);
  return {
    localAddress,
    remoteAddress,
    psk,
    ...(suite.route ? linkedBy(suite) : { local: remote, remote: local }),
    ...(suite.protocol ? { protocol: suite.protocol } : {}),
    ...(suite.transport ? { transport: true } : {}),
    ike: suite.ike.split(', '),
    esp: [suite.esp],
    ...suite.theirs,
    ...changed,
  };
}
