// Transport mode through a NAT (RFC 7296 §2.23.1): each side puts the addresses that it sees into what the other one says, and
// keeps those for the checksums that the other one makes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IkeSa } from '../../src/ike/sa.ts';
import { seenHere } from '../../src/ike/v2/nat-selectors.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side, SideName } from '../../src/sim/pair.ts';
import { EXCHANGE, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';
import { rewriting, run } from './rewriting.ts';

const A = '192.0.2.1';
const B = '198.51.100.1';
const NAT = '203.0.113.9';

const host = (address: string, changes: object = {}) => [
  { protocol: 17, startPort: 1701, endPort: 1701, start: address, end: address, ...changes },
];

/** Each side knows the addresses that it sees. */
function transport(side: SideName, own: string, other: string): Partial<Tunnel> {
  const selectors = { local: host(own), remote: host(other) };
  const children = tunnel(side).children.map((child) => ({
    ...child,
    mode: 'transport' as const,
    selectors,
  }));
  return { encapsulation: 'auto', children };
}

function behindNat(behind: SideName, changes: Partial<Record<SideName, Partial<Tunnel>>> = {}): Pair {
  const [forA, forB] = behind === 'a' ? [B, NAT] : [NAT, A];
  const identity = { type: 'ipv4', value: A } as const;
  const pair = sites(
    1,
    {
      ...transport('a', A, forA),
      remote: { addresses: [forA], identity: { type: 'ipv4', value: B } },
      ...changes.a,
    },
    { ...transport('b', B, forB), remote: { addresses: [], identity }, ...changes.b },
  );
  const port = behind === 'a' ? (inner: number) => inner + 10_000 : (inner: number) => inner;
  pair.nat = { side: behind, address: NAT, port };
  return pair;
}

const only = (sas: ReadonlyMap<number, SaParameters>) => {
  assert.equal(sas.size, 1);
  return [...sas.values()][0]!;
};

function seenBy({ inbound, outbound }: Side) {
  const [into, out] = [only(inbound), only(outbound)];
  for (const { mode, udp, local, remote, selectors } of [into, out]) {
    assert.deepEqual([mode, udp !== undefined], ['transport', true]);
    assert.deepEqual(selectors, { local: host(local), remote: host(remote) });
  }
  assert.equal(out.original, undefined);
  return { local: into.local, remote: into.remote, original: into.original };
}

test('the initiator is behind a NAT', () => {
  const pair = established(behindNat('a'));
  assert.deepEqual(seenBy(pair.a), { local: A, remote: B, original: { local: NAT, remote: B } });
  assert.deepEqual(seenBy(pair.b), { local: B, remote: NAT, original: { local: B, remote: A } });
  agree(pair);
});

test('the responder is behind a NAT', () => {
  const pair = established(behindNat('b'));
  assert.deepEqual(seenBy(pair.a), { local: A, remote: NAT, original: { local: A, remote: B } });
  assert.deepEqual(seenBy(pair.b), { local: B, remote: A, original: { local: NAT, remote: A } });
  agree(pair);
});

for (const by of ['a', 'b'] as const) {
  test(`and it stays so after a rekey of the child by ${by}, and of the IKE SA`, () => {
    const pair = established(behindNat('a'));
    const before = [seenBy(pair.a), seenBy(pair.b)];
    const spis = [...pair.a.inbound.keys()];
    pair.command(pair[by], 'rekey', 't', 'net');
    pair.run(20_000);
    pair.command(pair[by], 'rekey', 't');
    pair.run(20_000);
    assert.notDeepEqual([...pair.a.inbound.keys()], spis, pair.ladder());
    assert.deepEqual([seenBy(pair.a), seenBy(pair.b)], before);
    agree(pair);
  });
}

test('behind two of them, each side has both addresses changed', () => {
  const sa = {
    nat: { local: true, remote: true, forced: false },
    local: { address: A },
    remote: { address: NAT },
  };
  const said = { local: host('203.0.113.77'), remote: [...host(B), ...host(B, { protocol: 6 })] };
  assert.deepEqual(seenHere(sa as IkeSa, said), {
    selectors: { local: host(A), remote: [...host(NAT), ...host(NAT, { protocol: 6 })] },
    original: { local: '203.0.113.77', remote: B },
  });
});

test('a network, or two addresses, are left as they are said: they fit no child of transport mode', () => {
  const sa = {
    nat: { local: false, remote: true, forced: false },
    local: { address: B },
    remote: { address: NAT },
  };
  for (const remote of [host(A, { end: '192.0.2.9' }), [...host(A), ...host('192.0.2.2')], []]) {
    const said = { local: host(B), remote };
    assert.deepEqual(seenHere(sa as IkeSa, said), { selectors: said });
  }
});

test('selectors that are not those of the request are no answer, whatever the NAT makes of their addresses', () => {
  const pair = behindNat('a');
  rewriting(pair, pair.b, EXCHANGE.IKE_AUTH, (payloads) =>
    payloads.map((one) =>
      one.type === PAYLOAD.TSi
        ? { ...one, selectors: one.selectors.map((each) => ({ ...each, startPort: 0, endPort: 0 })) }
        : one,
    ),
  );
  pair.command(pair.a, 'up', 't');
  run(pair, 500);
  assert.equal(pair.a.inbound.size, 0, pair.ladder());
});

test('who asks for tunnel mode through a NAT names the addresses behind it', () => {
  const mixed = (side: SideName, own: string, other: string): Partial<Tunnel> => {
    const [host] = transport(side, own, other).children!;
    return {
      encapsulation: 'auto',
      children: [{ ...host!, name: 'host', order: 1 }, ...tunnel(side).children],
    };
  };
  const pair = behindNat('a', { a: tunnel('a'), b: mixed('b', B, NAT) });
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  const sa = only(pair.b.inbound);
  assert.deepEqual([sa.mode, sa.original], ['tunnel', undefined], pair.ladder());
});
