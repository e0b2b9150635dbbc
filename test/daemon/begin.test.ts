// The first moments, while the core is told of its tunnels one by one.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { begin } from '../../src/daemon/begin.ts';
import { createDaemon } from '../../src/daemon/daemon.ts';
import type { Parts } from '../../src/daemon/parts.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import type { Event } from '../../src/ike/boundary.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { tunnel } from '../sim/sites.ts';

/** A daemon of those tunnels that begins; `settled` resolves when all are told. */
function beginning(t: TestContext, tunnels: readonly Tunnel[]) {
  const told: Tunnel[] = [];
  const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
  const state = { config: { name: 'a', addresses: [], routing: {}, tunnels } };
  const daemon = createDaemon({
    core: {
      handle(event: Event) {
        for (const change of event.type === 'configure' ? event.changes : [])
          if (change.type === 'set-tunnel') told.push(change.tunnel);
        return [];
      },
      nextTimeout: () => undefined,
      names: () => [],
    },
    plane: createMemoryPlane(createNodeProvider()),
    send: () => true,
    runJob: () => Promise.reject(new Error('no jobs')),
    clock: () => 0,
    log: () => {},
  });
  t.after(() => daemon.stop(0));
  const nothing = { configure() {} };
  begin({
    ...{ state, daemon, log: () => {}, choice: { name: 'engine', why: 'as configured', lost: [] } },
    ...{ addon: { start() {} }, plane: { settle }, probing: nothing, outside: nothing },
    host: { addresses: () => [] },
    links: { ceiling: () => () => 1400 },
    machine: { read: () => undefined, ruleset: () => [], rules: () => [] },
  } as unknown as Parts);
  return { state, told, settled };
}

const named = (name: string, more: Partial<Tunnel> = {}) => tunnel('a', { name, ...more });

test('the core is told of every tunnel, in their order', async (t) => {
  const tunnels = ['t', 'u', 'v'].map((name) => named(name));
  const { told, settled } = beginning(t, tunnels);
  await settled;
  assert.deepEqual(told, tunnels);
});

test('what a reload changed or removed before its turn came is not told as it was', async (t) => {
  const { state, told, settled } = beginning(
    t,
    ['t', 'u', 'v', 'w'].map((name) => named(name)),
  );
  const after = [named('t'), named('u', { keepalive: 7000 }), named('w')];
  state.config = { ...state.config, tunnels: after };
  await settled;
  assert.deepEqual(told, after);
});
