import assert from 'node:assert/strict';
import test from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Action } from '../../src/ike/boundary.ts';
import { createGateway } from '../../src/ike/gateway.ts';
import { tunnel } from '../sim/sites.ts';

const offers = (actions: Action[]) =>
  actions.filter((action) => action.type === 'job' && action.job.type === 'offer').length;

function starting(count: number) {
  const gateway = createGateway({ provider: createNodeProvider() });
  const base = tunnel('a', { start: 'now' });
  const changes = Array.from({ length: count }, (_, index) => {
    const remote = { ...base.remote, addresses: [`10.0.${index >> 8}.${index & 0xff}`] };
    return { type: 'set-tunnel' as const, tunnel: { ...base, name: `t${index}`, remote } };
  });
  return { gateway, first: offers(gateway.handle({ type: 'configure', changes }, 1000)) };
}

test('of a few hundred tunnels that start at once a hundred begin, and a second later as many more', () => {
  const { gateway, first } = starting(332);
  assert.equal(first, 100);
  assert.equal(gateway.nextTimeout(), 2000);
  const later = [2000, 3000, 4000, 5000].map((now) => offers(gateway.handle({ type: 'timeout' }, now)));
  assert.deepEqual(later, [100, 100, 32, 0]);
});

test('an attempt that ends makes room at once; a tunnel taken down waits no longer', () => {
  const { gateway } = starting(144);
  assert.equal(offers(gateway.handle({ type: 'command', id: 1, command: 'down', tunnel: 't143' }, 1001)), 0);
  assert.equal(offers(gateway.handle({ type: 'command', id: 2, command: 'down', tunnel: 't0' }, 1002)), 1);
  assert.equal(offers(gateway.handle({ type: 'timeout' }, 2000)), 42);
});
