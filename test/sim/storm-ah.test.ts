import { test } from 'node:test';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { SideName } from '../../src/sim/pair.ts';
import { ofAh, tunnel } from './sites.ts';
import { weatherTheStorm } from './storm.ts';

/** Of every second seed in transport mode, between the outer addresses. */
function ah(side: SideName, seed: number): Partial<Tunnel> {
  const { encapsulation, children, local, remote } = ofAh(tunnel(side));
  if (seed % 2 === 0) return { encapsulation, children };
  const host = (address: string) => [
    { protocol: 47, startPort: 0, endPort: 65535, start: address, end: address },
  ];
  const selectors = { local: host(local.address), remote: host(remote.addresses[0]!) };
  return { encapsulation, children: [{ ...children[0]!, mode: 'transport', selectors }] };
}

test('300 storms with children of AH, every second one in transport mode, seeds 0 to 299', () => {
  for (let seed = 0; seed < 300; seed++) weatherTheStorm(seed, ah('a', seed), ah('b', seed));
});
