import assert from 'node:assert/strict';
import test from 'node:test';
import type { Endpoint, Event } from '../../src/ike/boundary.ts';
import { createGateway, type Gateway } from '../../src/ike/gateway.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { established, seededProvider, sites, tunnel } from '../sim/sites.ts';

/** What side b held, what came to it first, and from where. */
function recorded(): { sa: IkeSa; request: Uint8Array; path: { local: Endpoint; remote: Endpoint } } {
  const pair = sites();
  let request: Uint8Array | undefined;
  pair.filter = (_from, bytes) => {
    request ??= bytes;
    return true;
  };
  established(pair);
  const sa = pair.b.gateway.sas()[0]!;
  return { sa, request: request!, path: { local: sa.local, remote: sa.remote } };
}

const RECORDED = recorded();

/** The same numbers in every run: what is spread by chance stays where it is. */
function always(): () => number {
  let state = 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

const addressOf = (index: number) => `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`;

/** A gateway with so many tunnels, each with a peer, an IKE SA and a child of its own. */
function hub(count: number): Gateway {
  const sas = Array.from({ length: count }, (_, index) => {
    const sa = structuredClone(RECORDED.sa);
    assert.ok(sa.state.name === 'established');
    sa.spi = (index + 1).toString(16).padStart(16, '0');
    sa.peerSpi = `aa${sa.spi.slice(2)}`;
    sa.remote = { ...sa.remote, address: addressOf(index) };
    sa.candidates = [`t${index}`];
    Object.assign(sa.state, { tunnel: `t${index}`, rekeyAt: 1e9, endsAt: 2e9, lastHeard: 1e6 + index });
    for (const child of sa.state.children)
      Object.assign(child, { spiIn: 1000 + index, spiOut: 500_000 + index, rekeyAt: 1e9, endsAt: 2e9 });
    return sa;
  });
  const gateway = createGateway({ provider: seededProvider(always()), sas });
  const changes = sas.map((sa, index) => {
    const base = tunnel('b');
    const remote = { ...base.remote, addresses: [sa.remote.address] };
    return { type: 'set-tunnel' as const, tunnel: { ...base, name: `t${index}`, remote, keepalive: 1e9 } };
  });
  gateway.handle({ type: 'configure', changes }, 1e6);
  return gateway;
}

const STRANGER: Event = {
  type: 'datagram',
  bytes: RECORDED.request,
  local: { ...RECORDED.path.local, port: 500 },
  remote: { ...RECORDED.path.remote, port: 500, address: addressOf(7) },
};

/** Each event beside the moment it comes, and what must follow from it. */
const EVENTS: [string, Event, number, string[]][] = [
  ['a packet told of', usage(1007), 1e6, []],
  ['a packet that asks for an SA', acquire('t7/net'), 1e6, []],
  ['a child to rekey', expire('in', 1008), 1e6, ['job']],
  ['a child to rekey, by what it sends', expire('out', 500_009), 1e6, ['job']],
  ['a command', { type: 'command', id: 1, command: 'rekey', tunnel: 't11' }, 1e6, ['job']],
  ['a stranger', STRANGER, 1e6, ['job']],
  ['the stranger again', STRANGER, 1e6, []],
  ['a datagram of nobody', { ...STRANGER, bytes: RECORDED.request.with(18, 35) }, 1e6, ['send']],
  ['the first liveness check that is due', { type: 'timeout' }, 1e6 + 30_000, ['send']],
  ['a tunnel that is taken down', { type: 'command', id: 2, command: 'down', tunnel: 't12' }, 1e6, ['send']],
  [
    'a tunnel that goes',
    { type: 'configure', changes: [{ type: 'remove-tunnel', tunnel: 't13' }] },
    1e6,
    ['dataplane', 'send'],
  ],
];

function usage(spi: number): Event {
  const counters = { packets: 1n, bytes: 1n, last: 1e6 };
  return { type: 'dataplane', event: { type: 'usage', direction: 'in', spi, ...counters } };
}

function expire(direction: 'in' | 'out', spi: number): Event {
  return { type: 'dataplane', event: { type: 'expire', direction, spi, hard: false } };
}

function acquire(policy: string): Event {
  const ports = { localPort: 0, remotePort: 0 };
  const packet = { local: '10.2.0.1', remote: '10.1.0.1', protocol: 1, ...ports };
  return { type: 'dataplane', event: { type: 'acquire', policy, packet } };
}

/** How many SAs each event looked at. */
function looks(count: number): Record<string, number> {
  const gateway = hub(count);
  return Object.fromEntries(
    EVENTS.map(([what, event, at, actions]) => {
      const before = gateway.visits();
      const types = gateway.handle(event, at).map(({ type }) => type);
      assert.deepEqual([...new Set(types)].toSorted(), actions, what);
      return [what, gateway.visits() - before];
    }),
  );
}

test('an event looks at the SAs that it concerns, with 100 tunnels as with 10,000', () => {
  const few = looks(100);
  assert.deepEqual(looks(10_000), few);
  for (const [what, count] of Object.entries(few)) assert.ok(count < 20, `${what}: ${count}`);
});

test('the next moment is the earliest of all tunnels', () => {
  const gateway = hub(100);
  assert.equal(gateway.nextTimeout(), 1e6 + 30_000);
  gateway.handle({ type: 'timeout' }, 1e6 + 30_000);
  assert.ok(gateway.nextTimeout()! <= 1e6 + 30_001, 'the second tunnel is due a millisecond later');
});
