// When the interface of a route-based tunnel is up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { createLinks, type LinksOptions } from '../../src/daemon/links.ts';
import type { ProbeStatus } from '../../src/daemon/probes.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { tunnel } from '../sim/sites.ts';

const LINK = { name: 'to-b', id: 7, addresses: [], routes: [], metric: 100 };
const CONFIG = { mtu: 1500, tunnels: [] } as unknown as Config;

interface Known {
  /** The peer has its half of the child. */
  taken?: boolean;
  probe?: Partial<ProbeStatus>;
}

function stateOf({ taken = false, probe }: Known, more: Partial<Tunnel> = {}): string | undefined {
  const links = createLinks({
    isTaken: () => taken,
    probe: () => probe as ProbeStatus | undefined,
    pathMtu: () => undefined,
  } as unknown as LinksOptions);
  return links.of(tunnel('a', { link: LINK, ...more }), CONFIG)?.state;
}

const from = '10.1.0.1';

for (const [what, known, state] of [
  ['not negotiated', {}, 'down'],
  ['negotiated, and the peer has its half', { taken: true }, 'up'],
  ['probed, and no answer yet', { taken: true, probe: { verdict: 'waiting', from } }, 'down'],
  ['answered', { taken: true, probe: { verdict: 'answered', from } }, 'up'],
  ['answered, and not carried any more', { probe: { verdict: 'answered', from } }, 'down'],
  ['lost', { taken: true, probe: { verdict: 'lost', from } }, 'down'],
  ['a probe that has no address to go out from', { taken: true, probe: { verdict: 'waiting' } }, 'up'],
] as const) {
  test(`${what}: ${state}`, () => assert.equal(stateOf(known), state));
}

test('on traffic: up before anything is negotiated, for the first packet has to come by it, and down when nothing passes', () => {
  const start = { start: 'on-traffic' } as const;
  assert.equal(stateOf({}, start), 'up');
  assert.equal(stateOf({ probe: { verdict: 'waiting', from } }, start), 'up');
  assert.equal(stateOf({ probe: { verdict: 'lost', from } }, start), 'down');
});
