import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProposalTemplate } from '../../src/policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import { sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader } from '../../src/wire/ikev2.ts';
import { EXCHANGE } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const MINUTE = 60_000;

/** A site that rehearses, with these key exchanges for its child; none means no PFS. */
function rehearsing(side: 'a' | 'b', ...groups: (ProposalTemplate['keyExchange'][number] | 'none')[]) {
  const children = withGroups(tunnel(side).children, groups);
  return { rehearsal: true, children } satisfies Partial<Tunnel>;
}

function withGroups(children: ChildTemplate[], groups: (ProposalTemplate['keyExchange'][number] | 'none')[]) {
  const keyExchange = groups.filter((group) => group !== 'none');
  return children.map((child) => {
    const [proposal] = child.proposals;
    const wanted = keyExchange.length > 0 ? [{ ...proposal!, keyExchange }] : [];
    const without = groups.includes('none') ? [{ ...proposal!, keyExchange: [] }] : [];
    return { ...child, proposals: [...wanted, ...without] };
  });
}

function pairOf(a: Partial<Tunnel>, b: Partial<Tunnel>, seed = 1): Pair {
  return established(sites(seed, a, b));
}

function verdict({ gateway }: Side): string {
  const { rehearsal } = gateway.tunnels()[0]!.children.at(-1)!;
  return rehearsal === undefined ? 'pending' : (rehearsal.refusal?.code ?? 'rehearsed');
}

function lastDetail({ gateway }: Side, code: string): Record<string, unknown> {
  return gateway.failures().findLast((failure) => failure.code === code)!.detail;
}

function rekeys({ reports }: Side): number {
  return reports.filter((code) => code === 'CHILD_REKEYED').length;
}

test('within ten seconds the first rekey has been made once, by whoever began, and no packet is lost', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), rehearsing('b', 'x25519'));
  assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['pending', 'pending']);
  for (let i = 0; i < 1000; i++) {
    pair.run(10);
    assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', pair.ladder());
    assert.equal(sendPacket(pair, pair.b, 't/net'), 'received', pair.ladder());
  }
  assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['rehearsed', 'rehearsed'], pair.ladder());
  pair.run(MINUTE);
  assert.deepEqual([rekeys(pair.a), rekeys(pair.b)], [1, 1], pair.ladder());
  agree(pair);
});

test('the responder does it where the initiator does not, still in the first minute', () => {
  const pair = pairOf({}, rehearsing('b', 'x25519'));
  pair.run(15_000);
  assert.equal(rekeys(pair.b), 0, pair.ladder());
  pair.run(30_000);
  assert.deepEqual([verdict(pair.a), verdict(pair.b), rekeys(pair.b)], ['rehearsed', 'rehearsed', 1]);
  agree(pair);
});

test('an unchanged peer is believed for a day, over every reconnect; then once more', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), { rehearsal: false });
  pair.run(MINUTE);
  const again = () => {
    pair.command(pair.a, 'down', 't');
    pair.run(10_000);
    established(pair);
    pair.run(MINUTE);
    assert.equal(verdict(pair.a), 'rehearsed', pair.ladder());
  };
  for (let i = 0; i < 5; i++) again();
  assert.equal(rekeys(pair.a), 1, pair.ladder());
  pair.command(pair.a, 'down', 't');
  pair.run(90_000_000);
  again();
  assert.equal(rekeys(pair.a), 2, pair.ladder());
});

test('another configuration is another rehearsal', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), { rehearsal: false });
  pair.run(MINUTE);
  const changed = { ...tunnel('a'), ...rehearsing('a', 'ecp-384') };
  pair.feed(pair.a, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: changed }] });
  assert.equal(verdict(pair.a), 'pending');
  pair.run(10_000);
  assert.equal(verdict(pair.a), 'PEER_REKEY_PFS', pair.ladder());
});

test('a group that the other side does not have: both name both, within the first minute, and the tunnel stays', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), rehearsing('b', 'ecp-384', 'modp-3072'));
  pair.run(MINUTE);
  assert.equal(verdict(pair.a), 'PEER_REKEY_PFS', pair.ladder());
  const detail = lastDetail(pair.a, 'PEER_REKEY_PFS');
  assert.equal(detail.configured, 'aes-gcm-16-256 / x25519');
  assert.equal(detail.wanted, 'ecp-384 (group 20)');
  assert.match(String(detail.change), /add ecp-384 to esp-suites here, or set the PFS group there to x25519/);
  assert.equal(verdict(pair.b), 'PEER_NO_PROPOSAL', pair.ladder());
  const { offered, configured } = lastDetail(pair.b, 'PEER_NO_PROPOSAL');
  assert.equal(offered, 'aes-gcm-16-256 / x25519');
  assert.equal(configured, 'aes-gcm-16-256 / ecp-384|modp-3072');
  agree(pair);
});

test('PFS here and none there: said so', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), rehearsing('b', 'none'));
  pair.run(MINUTE);
  assert.equal(verdict(pair.a), 'PEER_REKEY_PFS', pair.ladder());
  assert.match(String(lastDetail(pair.a, 'PEER_REKEY_PFS').wanted), /no PFS/);
  agree(pair);
});

test('none here and PFS there: said so by both', () => {
  const pair = pairOf(rehearsing('a', 'none'), rehearsing('b', 'ecp-256'));
  pair.run(MINUTE);
  const { wanted, change } = lastDetail(pair.a, 'PEER_REKEY_PFS');
  assert.match(String(wanted), /a key exchange with every rekey/);
  assert.match(String(change), /esp-suites here.* switch PFS off there/);
  assert.equal(lastDetail(pair.b, 'PEER_NO_PROPOSAL').configured, 'aes-gcm-16-256 / ecp-256');
  agree(pair);
});

test('an additional key exchange on one side only: no wrong conclusion, and the first offer is what is kept', () => {
  const hybrid = (side: 'a' | 'b') => {
    const children = tunnel(side).children.map((child) => ({
      ...child,
      proposals: child.proposals.map((one) => ({ ...one, additionalKeyExchange: [['ml-kem-768' as const]] })),
    }));
    return { rehearsal: true, children };
  };
  const here = pairOf(hybrid('a'), rehearsing('b', 'x25519'));
  here.run(MINUTE);
  assert.match(String(lastDetail(here.a, 'PEER_REKEY_PFS').wanted), /no additional key exchange/);
  const { refusal } = here.b.gateway.tunnels()[0]!.children[0]!.rehearsal!;
  assert.equal(refusal!.detail.offered, 'aes-gcm-16-256 / x25519 + ml-kem-768');
  const there = pairOf(rehearsing('a', 'x25519'), hybrid('b'));
  there.run(MINUTE);
  assert.match(String(lastDetail(there.a, 'PEER_REKEY_PFS').wanted), /or additional ones/);
  for (const pair of [here, there]) agree(pair);
  const both = pairOf(hybrid('a'), hybrid('b'));
  both.run(MINUTE);
  assert.deepEqual([verdict(both.a), verdict(both.b)], ['rehearsed', 'rehearsed'], both.ladder());
  agree(both);
});

test('with and without is what the defaults have, and whatever the peer has will do', () => {
  for (const theirs of ['none', 'x25519', 'ecp-384'] as const) {
    const pair = pairOf(rehearsing('a', 'x25519', 'ecp-384', 'none'), rehearsing('b', theirs));
    pair.run(MINUTE);
    assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['rehearsed', 'rehearsed'], pair.ladder());
    agree(pair);
  }
});

test('what was refused is told once, and tried again: mended on the other side, the verdict heals', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), rehearsing('b', 'ecp-384'));
  pair.run(20 * MINUTE);
  const told = pair.a.reports.filter((code) => code === 'PEER_REKEY_PFS').length;
  assert.equal(told, 1, pair.ladder());
  const mended = { ...tunnel('b'), ...rehearsing('b', 'x25519'), rehearsal: false };
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: mended }] });
  pair.run(20 * MINUTE);
  assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['rehearsed', 'rehearsed'], pair.ladder());
  agree(pair);
});

test('selectors that are narrower by now are refused by name', () => {
  const narrow = tunnel('b').children.map((child) => ({
    ...child,
    selectors: {
      ...child.selectors,
      local: [{ ...child.selectors.local[0]!, start: '10.9.0.0', end: '10.9.255.255' }],
    },
  }));
  const pair = pairOf(rehearsing('a', 'x25519'), {});
  pair.feed(pair.b, {
    type: 'configure',
    changes: [{ type: 'set-tunnel', tunnel: tunnel('b', { children: narrow }) }],
  });
  pair.run(10_000);
  assert.equal(verdict(pair.a), 'PEER_REKEY_SELECTORS', pair.ladder());
  const { agreed, configured } = lastDetail(pair.a, 'PEER_REKEY_SELECTORS');
  assert.equal(agreed, configured);
});

for (const by of ['a', 'b'] as const) {
  test(`a rekey by ${by} that leaves less than there was is told on both sides (RFC 7296 §2.9.2)`, () => {
    const narrower = tunnel('b').children.map((child) => ({
      ...child,
      selectors: { ...child.selectors, local: [{ ...child.selectors.local[0]!, end: '10.2.127.255' }] },
    }));
    const rehearse = { rehearsal: true };
    const pair = pairOf(by === 'a' ? rehearse : {}, {});
    const changed = tunnel('b', { children: narrower, ...(by === 'b' ? rehearse : {}) });
    pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: changed }] });
    pair.run(15_000);
    assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['PEER_REKEY_NARROWER', 'PEER_REKEY_NARROWER']);
    const { agreed, left } = lastDetail(pair.a, 'PEER_REKEY_NARROWER');
    assert.deepEqual([agreed, left], ['10.1.0.0/16 to 10.2.0.0/16', '10.1.0.0/16 to 10.2.0.0/17']);
  });
}

test('a rehearsal that our own side cannot carry out is tried again later, and the child stays', () => {
  const pair = pairOf(rehearsing('a', 'x25519'), {});
  pair.filter = (from, bytes) => {
    const answered = from === pair.b && decodeHeader(bytes).exchange === EXCHANGE.CREATE_CHILD_SA;
    if (answered) pair.weather = { ...pair.weather, refuse: 1 };
    return true;
  };
  pair.run(10_000);
  assert.equal(verdict(pair.a), 'HOST_INSTALL_FAILED', pair.ladder());
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received');
  pair.filter = () => true;
  pair.weather = { ...pair.weather, refuse: 0 };
  pair.run(20 * MINUTE);
  assert.equal(verdict(pair.a), 'rehearsed', pair.ladder());
  agree(pair);
});

test('rehearsal: false makes no rekey before its time', () => {
  const pair = pairOf({}, {});
  pair.run(20 * MINUTE);
  assert.deepEqual([verdict(pair.a), rekeys(pair.a) + rekeys(pair.b)], ['pending', 0]);
});

test('liveness is checked while a rehearsal waits', () => {
  const pair = pairOf({ liveness: 1000 }, { ...rehearsing('b', 'x25519'), liveness: 1000 });
  let asked = 0;
  pair.filter = (from, bytes) => {
    if (from === pair.b && decodeHeader(bytes).exchange === EXCHANGE.INFORMATIONAL) asked++;
    return from !== pair.a;
  };
  pair.run(5000);
  assert.ok(asked > 0, pair.ladder());
});

test('both sides rehearse on a bad network, with either beginning: they agree in the end, and both know', () => {
  for (let seed = 0; seed < 60; seed++) {
    const start = { start: 'now' } as const;
    const pair = sites(
      seed,
      { ...rehearsing('a', 'x25519'), ...start },
      { ...rehearsing('b', 'x25519'), ...start },
    );
    pair.weather = { ...pair.weather, loss: 0.2, duplicate: 0.1, delay: [5, 400], work: [1, 50] };
    pair.run(2 * MINUTE);
    pair.weather = { ...pair.weather, loss: 0, duplicate: 0, delay: [10, 10] };
    pair.run(2 * MINUTE);
    assert.deepEqual([verdict(pair.a), verdict(pair.b)], ['rehearsed', 'rehearsed'], pair.ladder());
    agree(pair);
  }
});
