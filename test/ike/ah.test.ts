// Children of AH (RFC 4302) and in transport mode (RFC 7296 §1.3.1): what is asked for, what is made of it, and what is said
// where it cannot be.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childKeys } from '../../src/crypto/keymat.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { REPORTS } from '../../src/ike/errors.ts';
import type { Capabilities } from '../../src/policy/sad.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import { type Pair, type Side, type SideName, sendPacket } from '../../src/sim/pair.ts';
import { findNotify, findPayload, type Payload, type Proposal } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { MODEST } from '../policy/capabilities.ts';
import { agree, established, ofAh, sites, tunnel } from '../sim/sites.ts';
import { rewriting, run } from './rewriting.ts';

const provider = createNodeProvider();
const [A, B] = ['192.0.2.1', '198.51.100.1'];

const AH = { a: ofAh(tunnel('a')), b: ofAh(tunnel('b')) };

function pairOfAh(a: Partial<Tunnel> = {}, b: Partial<Tunnel> = {}): Pair {
  return sites(1, { ...AH.a, ...a }, { ...AH.b, ...b });
}

/** Every child as `change` makes it, without UDP. */
function withChildren(side: SideName, change: Partial<ChildTemplate>, protocol?: 'ah'): Partial<Tunnel> {
  const { children } = protocol === 'ah' ? AH[side] : tunnel(side);
  return { encapsulation: 'auto', children: children.map((child) => ({ ...child, ...change })) };
}

/** Between the outer addresses, GRE only. */
function transport(side: SideName, protocol?: 'ah'): Partial<Tunnel> {
  const host = (address: string) => [
    { protocol: 47, startPort: 0, endPort: 65535, start: address, end: address },
  ];
  const [own, other] = side === 'a' ? [A, B] : [B, A];
  const selectors = { local: host(own!), remote: host(other!) };
  return withChildren(side, { mode: 'transport', selectors }, protocol);
}

const times = ({ reports }: Side, code: string) => reports.filter((one) => one === code).length;
const sas = ({ inbound, outbound }: Side) => [...inbound.values(), ...outbound.values()];

/** Every DELETE and REKEY_SA that crosses, by the protocol that it names. */
function namedProtocols(pair: Pair): Set<number> {
  const named = new Set<number>();
  const look = (payloads: Payload[]) => {
    for (const one of payloads)
      if (one.type === PAYLOAD.D || (one.type === PAYLOAD.N && one.spi.length > 0)) named.add(one.protocol);
    return undefined;
  };
  rewriting(pair, pair.a, EXCHANGE.CREATE_CHILD_SA, look);
  const creates = pair.filter;
  rewriting(pair, pair.a, EXCHANGE.INFORMATIONAL, look);
  const deletes = pair.filter;
  pair.filter = (...given) => creates(...given) && deletes(...given);
  return named;
}

test('a child of AH comes with IKE_AUTH: integrity, extended numbers, no encryption and no UDP', () => {
  const pair = established(pairOfAh());
  for (const sa of [...sas(pair.a), ...sas(pair.b)]) {
    assert.deepEqual([sa.protocol, sa.mode, sa.esn], ['ah', 'tunnel', true]);
    assert.equal(sa.integrity!.name, 'hmac-sha2-256-128');
    assert.equal(sa.encryption ?? sa.udp, undefined);
    assert.equal(sa.lifetime.hardPackets, 2n ** 62n, 'HMAC has no bound of its own');
  }
  assert.equal(pair.a.gateway.tunnels()[0]!.children[0]!.algorithms, 'ah hmac-sha2-256-128 / esn');
  agree(pair);
});

test('its rekey and its DELETE name AH (RFC 7296 §1.3.3, §3.11)', () => {
  const pair = established(pairOfAh());
  const named = namedProtocols(pair);
  pair.command(pair.a, 'rekey', 't', 'net');
  run(pair, 2000);
  assert.ok(pair.b.reports.includes('CHILD_REKEYED'), pair.ladder());
  assert.equal(times(pair.b, 'CHILD_DELETED'), 1);
  assert.deepEqual([...named], [PROTOCOL.AH]);
  agree(pair);
});

test('KEYMAT of AH is integrity keys alone (RFC 7296 §2.17), those of AES-GMAC with 4 bytes of salt (RFC 4543 §3.3)', () => {
  const [skD, ni, nr] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte));
  const of = (integrity: 'hmac-sha2-256-128' | 'aes-128-gmac' | 'aes-256-gmac') =>
    childKeys(provider, { prf: 'hmac-sha2-256', skD: skD!, integrity, ni: ni!, nr: nr! });
  const hmac = of('hmac-sha2-256-128');
  assert.deepEqual([hmac.initiator.encryption.length, hmac.initiator.integrity.length], [0, 32]);
  // T1 = prf(SK_d, Ni | Nr | 0x01) is the whole of the initiator's key.
  const t1 = provider.prf('hmac-sha2-256', skD!, Buffer.concat([ni!, nr!, Uint8Array.of(1)]));
  assert.deepEqual(Buffer.from(hmac.initiator.integrity), Buffer.from(t1));
  assert.equal(of('aes-128-gmac').initiator.integrity.length, 16 + 4);
  const gmac = of('aes-256-gmac');
  assert.deepEqual(Buffer.from(gmac.initiator.integrity.subarray(0, 32)), Buffer.from(t1));
  assert.equal(gmac.responder.integrity.length, 32 + 4);
});

test('ESP on one side and AH on the other: no common algorithms, and both sides see of what', () => {
  const pair = sites(1, AH.a, { encapsulation: 'auto' });
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  const failure = pair.b.gateway.failures()[0]!;
  assert.equal(failure.code, 'PEER_NO_PROPOSAL', pair.ladder());
  assert.match(String(failure.detail.offered), /^ah hmac-sha2-256-128/);
  assert.match(String(failure.detail.configured), /^aes-gcm-16-256/);
  assert.ok(pair.a.reports.includes('PEER_REFUSED_PROPOSAL'));
  assert.equal(sas(pair.a).length + sas(pair.b).length, 0);
});

// NAT

/** `wide`: b answers whoever calls itself by a's name. */
function behindNat(a: Partial<Tunnel>, b: Partial<Tunnel>): Pair {
  const identity = { type: 'ipv4', value: A! } as const;
  const pair = sites(1, a, { ...b, remote: { addresses: [], identity } });
  pair.nat = { side: 'a', address: '203.0.113.9', port: (inner) => inner + 10_000 };
  return pair;
}

test('AH behind a NAT: no IKE_AUTH, said once an attempt, and the command answered', () => {
  const pair = behindNat(AH.a, AH.b);
  const id = pair.command(pair.a, 'up', 't');
  pair.run(10_000);
  assert.equal(pair.a.outcomes.get(id), 'CONFIG_AH_NAT', pair.ladder());
  assert.equal(times(pair.a, 'CONFIG_AH_NAT'), 1);
  assert.equal(pair.b.reports.includes('IKE_ESTABLISHED'), false);
  pair.run(290_000);
  const attempts = times(pair.a, 'IKE_CONNECTING');
  assert.ok(attempts <= 4, `${attempts} attempts in five minutes`);
  assert.equal(times(pair.a, 'PEER_UNREACHABLE'), 0, 'somebody did answer');
  assert.match(
    String(pair.a.gateway.failures().at(-1)!.detail.who),
    /this gateway and .* are|this gateway is/,
  );
});

test('AH: a peer that uses UDP at any rate looks like a NAT, and the responder refuses the child', () => {
  const pair = sites(1, { ...AH.a, encapsulation: 'udp' }, AH.b);
  pair.command(pair.a, 'up', 't');
  pair.run(120_000);
  assert.equal(pair.b.gateway.failures()[0]!.code, 'CONFIG_AH_NAT', pair.ladder());
  assert.equal(sas(pair.a).length + sas(pair.b).length, 0);
  const asked = times(pair.b, 'CONFIG_AH_NAT');
  assert.ok(asked <= 3, `asked ${asked} times in two minutes`);
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', 'the IKE SA stands');
});

test('beside a child of ESP that passes the NAT, one of AH is left out and said', () => {
  const both = (side: SideName): Partial<Tunnel> => ({
    encapsulation: 'auto',
    children: [
      { ...AH[side].children[0]!, name: 'plain', order: 0 },
      { ...tunnel(side).children[0]!, order: 1 },
    ],
  });
  const pair = established(behindNat(both('a'), both('b')));
  assert.deepEqual(
    sas(pair.a).map(({ protocol }) => protocol),
    ['esp', 'esp'],
    pair.ladder(),
  );
  assert.equal(times(pair.a, 'CONFIG_AH_NAT'), 1);
  pair.run(300_000);
  const again = times(pair.a, 'CONFIG_AH_NAT');
  assert.ok(again > 1 && again <= 7, `${again} reports in five minutes`);
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received');
});

test('a data plane that is faster in UDP does not ask for it where a child could not go so', () => {
  const prefers = { capabilities: { ...CAPABLE, prefersUdp: true } };
  const pair = established(sites(1, AH.a, AH.b, { a: prefers, b: prefers }));
  assert.equal(pair.a.gateway.tunnels()[0]!.ikeSa!.local.port, 500, pair.ladder());
  agree(pair);
});

test('nor where it only may be asked for such a child: who asks is not known yet', () => {
  const options = { b: { capabilities: { ...CAPABLE, prefersUdp: true } } };
  const somebody = { addresses: [A!], identity: { type: 'fqdn', value: 'other.example.org' } } as const;
  const other = { encapsulation: 'auto', name: 'other', remote: somebody } as unknown as Partial<Tunnel>;
  const pair = sites(1, AH.a, other, options);
  pair.feed(pair.b, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: AH.b }] });
  established(pair);
  assert.deepEqual(
    sas(pair.b).map(({ protocol }) => protocol),
    ['ah', 'ah'],
    pair.ladder(),
  );
});

// What the peer may not ask

/** a proposes AH, and what `proposals` makes of that and of the same as ESP. */
function withEsp(pair: Pair, proposals: (ah: Proposal, esp: Proposal) => Proposal[]): void {
  rewriting(pair, pair.a, EXCHANGE.IKE_AUTH, (payloads) =>
    payloads.map((one) => {
      if (one.type !== PAYLOAD.SA) return one;
      const [ah] = one.proposals;
      const esn = ah!.transforms.filter(({ type }) => type === 5);
      const esp = { ...ah!, protocol: PROTOCOL.ESP, transforms: [{ type: 1, id: 20, keyBits: 256 }, ...esn] };
      return { ...one, proposals: proposals(ah!, esp) };
    }),
  );
}

test('AH and ESP in one proposal, as IKEv1 bundles were: refused, and why (RFC 4301 §4.3)', () => {
  const pair = pairOfAh();
  withEsp(pair, (ah, esp) => [ah, { ...esp, spi: Uint8Array.of(9, 9, 9, 9) }]);
  pair.command(pair.a, 'up', 't');
  run(pair, 500);
  assert.equal(pair.b.gateway.failures()[0]!.code, 'PEER_BUNDLE', pair.ladder());
  assert.match(REPORTS.PEER_BUNDLE.sentence, /RFC 4301 §4\.3 has no such bundles/);
  assert.ok(pair.a.reports.includes('PEER_REFUSED_PROPOSAL'), 'NO_PROPOSAL_CHOSEN');
  assert.equal(pair.b.inbound.size, 0);
});

test('ESP or AH, as the responder likes: two proposals with numbers of their own', () => {
  const pair = pairOfAh();
  withEsp(pair, (ah, esp) => [esp, { ...ah, number: 2 }]);
  pair.command(pair.a, 'up', 't');
  run(pair, 500);
  assert.deepEqual(
    sas(pair.b).map(({ protocol }) => protocol),
    ['ah', 'ah'],
    pair.ladder(),
  );
});

test('a proposal of AH with encryption in it, or without integrity, is none (RFC 7296 §3.3.3)', () => {
  for (const change of ['with', 'without'] as const) {
    const pair = pairOfAh();
    rewriting(pair, pair.a, EXCHANGE.IKE_AUTH, (payloads) =>
      payloads.map((one) => {
        if (one.type !== PAYLOAD.SA) return one;
        const proposals = one.proposals.map((proposal) => ({
          ...proposal,
          transforms:
            change === 'with'
              ? [{ type: 1, id: 20, keyBits: 256 }, ...proposal.transforms]
              : proposal.transforms.filter(({ type }) => type !== 3),
        }));
        return { ...one, proposals };
      }),
    );
    pair.command(pair.a, 'up', 't');
    run(pair, 500);
    assert.equal(pair.b.gateway.failures()[0]?.code, 'PEER_NO_PROPOSAL', change);
  }
});

// DELETE

/** One child of each protocol. */
function oneOfEach(side: SideName): Partial<Tunnel> {
  const [net] = tunnel(side).children;
  const other = { protocol: 0, startPort: 0, endPort: 65535, start: '10.9.0.0', end: '10.9.255.255' };
  const selectors = { local: [other], remote: [other] };
  return {
    encapsulation: 'auto',
    children: [net!, { ...AH[side].children[0]!, name: 'other', order: 1, selectors }],
  };
}

test('one INFORMATIONAL deletes ESP and AH, each in a payload of its own, and so does the answer (RFC 7296 §3.11)', () => {
  const pair = established(sites(1, oneOfEach('a'), oneOfEach('b')));
  assert.equal(sas(pair.b).length, 4, pair.ladder());
  for (const side of [pair.a, pair.b])
    for (const state of side.gateway.memory().tunnels) state.wanted = false;
  const halves = (side: Side, protocol: 'esp' | 'ah') =>
    [...side.inbound.values()].filter((sa) => sa.protocol === protocol).map(({ spi }) => spiOf(spi));
  const [esp, ah] = [halves(pair.a, 'esp'), halves(pair.a, 'ah')];
  rewriting(pair, pair.a, EXCHANGE.INFORMATIONAL, () => [
    { type: PAYLOAD.D, critical: false, protocol: PROTOCOL.ESP, spis: esp },
    { type: PAYLOAD.D, critical: false, protocol: PROTOCOL.AH, spis: ah },
  ]);
  let answer: Payload[] = [];
  const asked = pair.filter;
  rewriting(pair, pair.b, EXCHANGE.INFORMATIONAL, (payloads) => {
    answer = payloads;
    return undefined;
  });
  const answered = pair.filter;
  pair.filter = (...given) => asked(...given) && answered(...given);
  pair.command(pair.a, 'down', 't', 'net');
  run(pair, 500);
  assert.equal(times(pair.b, 'CHILD_DELETED'), 2, pair.ladder());
  assert.deepEqual(
    answer.map((one) => one.type === PAYLOAD.D && [one.protocol, one.spis.length]),
    [
      [PROTOCOL.ESP, 1],
      [PROTOCOL.AH, 1],
    ],
  );
});

test('a DELETE that names the other protocol means no child of ours', () => {
  const pair = established(pairOfAh());
  rewriting(pair, pair.a, EXCHANGE.INFORMATIONAL, (payloads) =>
    payloads.map((one) => (one.type === PAYLOAD.D ? { ...one, protocol: PROTOCOL.ESP } : one)),
  );
  pair.command(pair.a, 'down', 't', 'net');
  run(pair, 500);
  assert.equal(times(pair.b, 'CHILD_DELETED'), 0, pair.ladder());
});

for (const quirks of [undefined, ['ah-deleted-by-zero'] as const]) {
  const taken = quirks ? 'taken for the AH child' : 'nothing';
  test(`DELETE of ESP with SPI 0: ${taken} ${quirks ? 'with' : 'without'} quirks: [ah-deleted-by-zero]`, () => {
    const pair = established(pairOfAh({}, quirks ? { quirks } : {}));
    rewriting(pair, pair.a, EXCHANGE.INFORMATIONAL, (payloads) =>
      payloads.map((one) =>
        one.type === PAYLOAD.D ? { ...one, protocol: PROTOCOL.ESP, spis: [new Uint8Array(4)] } : one,
      ),
    );
    pair.command(pair.a, 'rekey', 't', 'net');
    run(pair, 2000);
    const children = pair.b.gateway.tunnels()[0]!.children.length;
    assert.equal(children, quirks ? 1 : 2, pair.ladder());
    assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', 'the new one stays in any case');
    assert.equal(sendPacket(pair, pair.b, 't/net'), 'received');
  });
}

// Transport mode

for (const protocol of [undefined, 'ah'] as const) {
  test(`transport mode, ${protocol ?? 'esp'}: asked for and accepted, by rekeys too, whoever asks`, () => {
    const pair = established(sites(1, transport('a', protocol), transport('b', protocol)));
    const modes = () => [...sas(pair.a), ...sas(pair.b)].map(({ mode }) => mode);
    assert.deepEqual(modes(), ['transport', 'transport', 'transport', 'transport'], pair.ladder());
    agree(pair);
    for (const side of [pair.a, pair.b]) {
      pair.command(side, 'rekey', 't', 'net');
      pair.run(10_000);
      assert.ok(modes().every((mode) => mode === 'transport'));
      assert.equal(sas(pair.a).length, 2, pair.ladder());
    }
    assert.equal(pair.a.gateway.tunnels()[0]!.children[0]!.transport, true);
    agree(pair);
  });
}

for (const childless of ['allow', 'prefer'] as const) {
  test(`transport mode that the responder does not have (childless: ${childless}): the child is deleted, not used`, () => {
    const inTunnelMode = {
      ...transport('b'),
      children: [{ ...transport('b').children![0]!, mode: 'tunnel' }],
    };
    const pair = sites(1, { ...transport('a'), childless }, inTunnelMode as Partial<Tunnel>);
    const id = pair.command(pair.a, 'up', 't');
    pair.run(20_000);
    assert.equal(pair.a.outcomes.get(id), 'PEER_TRANSPORT_DECLINED', pair.ladder());
    assert.equal(times(pair.b, 'PEER_TRANSPORT_ASKED'), 1);
    assert.equal(times(pair.b, 'CHILD_DELETED'), 1, 'RFC 7296 §1.3.1: the initiator deletes it');
    assert.equal(sas(pair.a).length + sas(pair.b).length, 0);
    pair.run(100_000);
    assert.ok(times(pair.a, 'PEER_TRANSPORT_DECLINED') <= 3, 'not asked for without end');
  });
}

test('tunnel mode asked for where transport mode is configured: refused with a sentence of its own', () => {
  const inTunnelMode = { ...transport('a'), children: [{ ...transport('a').children![0]!, mode: 'tunnel' }] };
  const pair = sites(1, inTunnelMode as Partial<Tunnel>, transport('b'));
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.b.gateway.failures()[0]!.code, 'PEER_TUNNEL_ASKED', pair.ladder());
  assert.equal(sas(pair.a).length + sas(pair.b).length, 0);
});

test('transport mode in an answer that nobody asked for: the child is not used', () => {
  const pair = sites(1, withChildren('a', {}), withChildren('b', {}));
  rewriting(pair, pair.b, EXCHANGE.IKE_AUTH, (payloads) => [...payloads, notify(NOTIFY.USE_TRANSPORT_MODE)]);
  pair.command(pair.a, 'up', 't');
  run(pair, 8000);
  assert.equal(pair.a.gateway.failures()[0]!.code, 'PEER_ERROR', pair.ladder());
  assert.equal(sas(pair.a).length, 0);
  assert.equal(sas(pair.b).length, 0);
});

test('two children for the same two hosts: the mode and the protocol asked for decide', () => {
  const [one] = transport('b').children!;
  const other = { ...one!, name: 'other', order: -1, mode: 'tunnel' } as const;
  const pair = established(sites(1, transport('a'), { ...transport('b'), children: [other, one!] }));
  assert.equal(pair.b.gateway.tunnels()[0]!.children[0]!.name, 'net', pair.ladder());
});

// Padding (RFC 4303 §2.7)

function padded(side: SideName): Partial<Tunnel> {
  return withChildren(side, { padTo: 1400 });
}

for (const childless of ['allow', 'prefer'] as const) {
  test(`ESP_TFC_PADDING_NOT_SUPPORTED (childless: ${childless}): said once, and what the peer sends may be padded`, () => {
    const pair = sites(1, { ...padded('a'), childless }, padded('b'));
    const exchange = childless === 'allow' ? EXCHANGE.IKE_AUTH : EXCHANGE.CREATE_CHILD_SA;
    rewriting(pair, pair.b, exchange, (payloads) =>
      findPayload(payloads, PAYLOAD.SA)
        ? [...payloads, notify(NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED)]
        : undefined,
    );
    pair.command(pair.a, 'up', 't');
    run(pair, 1000);
    const padTo = (side: Side) => [...side.outbound.values()][0]!.padTo;
    assert.equal(padTo(pair.a), undefined, pair.ladder());
    assert.equal(padTo(pair.b), 1400, 'only one direction (RFC 7296 §1.3.1)');
    assert.equal(times(pair.a, 'CHILD_UNPADDED'), 1);
    pair.command(pair.a, 'rekey', 't', 'net');
    run(pair, 2000);
    assert.equal(times(pair.a, 'CHILD_UNPADDED'), 1, 'once');
  });
}

test('with further key exchanges (RFC 9370) what was asked first still counts: the mode, and no padding', () => {
  const twice = (more: Partial<Tunnel>): Partial<Tunnel> => ({
    ...more,
    childless: 'prefer',
    children: more.children!.map((child) => ({
      ...child,
      proposals: child.proposals.map((one) => ({ ...one, additionalKeyExchange: [['ecp-256' as const]] })),
    })),
  });
  const padding = sites(1, twice(padded('a')), twice(padded('b')));
  const asked = rewriting(padding, padding.a, EXCHANGE.CREATE_CHILD_SA, (payloads) => [
    ...payloads,
    notify(NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED),
  ]);
  padding.command(padding.a, 'up', 't');
  run(padding, 1000);
  assert.equal(asked.count, 1);
  assert.ok(padding.ladder().includes('IKE_FOLLOWUP_KE'), padding.ladder());
  assert.equal([...padding.b.outbound.values()][0]!.padTo, undefined);
  assert.equal([...padding.a.outbound.values()][0]!.padTo, 1400);
  const between = established(sites(1, twice(transport('a', 'ah')), twice(transport('b', 'ah'))));
  assert.ok([...sas(between.a), ...sas(between.b)].every(({ mode }) => mode === 'transport'));
  agree(between);
});

test('both sides prove anew who they are: children of AH in transport mode go over like any other', () => {
  const pair = established(sites(1, transport('a', 'ah'), transport('b', 'ah')));
  pair.command(pair.a, 'reauthenticate', 't');
  pair.run(20_000);
  assert.ok(pair.a.reports.includes('IKE_REAUTHENTICATED'), pair.ladder());
  for (const sa of sas(pair.a)) assert.deepEqual([sa.protocol, sa.mode], ['ah', 'transport']);
  pair.command(pair.b, 'rekey', 't');
  pair.run(2000);
  agree(pair);
});

test('we take padding: nothing is said, and both sides pad', () => {
  const pair = sites(1, padded('a'), padded('b'));
  let said = false;
  rewriting(pair, pair.b, EXCHANGE.IKE_AUTH, (payloads) => {
    said ||= findNotify(payloads, NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED) !== undefined;
    return undefined;
  });
  established(pair);
  assert.equal(said, false);
  assert.ok([...sas(pair.a), ...sas(pair.b)].every((sa) => sa.padTo === 1400));
});

// What the data plane cannot

const CAPABLE: Capabilities = {
  ...MODEST,
  authentication: ['hmac-sha2-256-128'],
  modes: ['tunnel', 'transport'],
};

test('what the data plane cannot do leaves the tunnel out, with what it is', () => {
  const outcome = (given: Partial<Tunnel>, capabilities: Partial<Capabilities>) => {
    const able = { capabilities: { ...CAPABLE, ...capabilities } };
    const pair = sites(1, given, {}, { a: able });
    return pair.a.gateway.failures().map(({ code }) => code);
  };
  assert.deepEqual(outcome(AH.a, {}), []);
  assert.deepEqual(outcome(AH.a, { authentication: [] }), ['CONFIG_NO_AH']);
  assert.deepEqual(outcome(AH.a, { authentication: ['aes-cmac-96'] }), ['CONFIG_NOT_CAPABLE']);
  assert.deepEqual(outcome(transport('a'), { modes: ['tunnel'] }), ['CONFIG_NO_TRANSPORT']);
});

function notify(notifyType: number): Payload {
  const nothing = new Uint8Array(0);
  return { type: PAYLOAD.N, critical: false, protocol: 0, spi: nothing, notifyType, data: nothing };
}

function spiOf(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, (spi >> 16) & 0xff, (spi >> 8) & 0xff, spi & 0xff);
}
