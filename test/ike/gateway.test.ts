import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { openMessage, sealMessage } from '../../src/ike/protect.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import type { Capabilities } from '../../src/policy/sad.ts';
import { type Pair, type Side, sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader, findNotify, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY } from '../../src/wire/numbers.ts';
import { MODEST } from '../policy/capabilities.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const provider = createNodeProvider();

function drop(pair: Pair, ...exchanges: number[]): void {
  pair.filter = (_from, bytes) => bytes.length < 28 || !exchanges.includes(decodeHeader(bytes).exchange);
}

function stateOf({ gateway }: Side): string {
  return gateway.tunnels()[0]!.state;
}

function times(side: Side, code: string): number {
  return side.reports.filter((one) => one === code).length;
}

test('start now: tried for ever, with longer pauses, and established once the peer is there', () => {
  const pair = sites(1, { start: 'now' });
  pair.filter = () => false;
  pair.run(1_200_000);
  const tries = times(pair.a, 'IKE_CONNECTING');
  assert.ok(tries >= 6 && tries <= 12, `${tries} attempts in 20 minutes`);
  pair.filter = () => true;
  pair.run(80_000);
  agree(pair);
});

test('start on-traffic: nothing before the first packet', () => {
  const pair = sites(1, { start: 'on-traffic' });
  pair.run(600_000);
  assert.deepEqual(pair.a.reports, []);
  const packet = { local: '10.1.0.5', remote: '10.2.0.9', protocol: 17, localPort: 1000, remotePort: 53 };
  pair.feed(pair.a, { type: 'dataplane', event: { type: 'acquire', policy: 't/net', packet } });
  pair.run(1000);
  agree(pair);
});

test('start wait: packets never start it, the operator can', () => {
  const pair = sites();
  const [policy] = pair.a.changes.filter(({ type }) => type === 'add-policy');
  assert.equal(policy?.type === 'add-policy' && policy.policy.acquire, false);
  agree(established(pair));
});

test('down ends an attempt under way, and its private key', () => {
  const pair = sites(1, { start: 'now' });
  pair.filter = () => false;
  pair.run(3000);
  const id = pair.command(pair.a, 'down', 't');
  assert.equal(pair.a.outcomes.get(id), 'OK');
  assert.equal(pair.a.gateway.spis().length, 0);
  pair.run(300_000);
  assert.equal(times(pair.a, 'IKE_CONNECTING'), 1);
});

test('nobody answers IKE_SA_INIT, or somebody answers that and nothing else: two different sentences', () => {
  const failureOf = (passes: (message: number, from: string) => boolean) => {
    const pair = sites();
    pair.filter = (from, bytes) => passes(decodeHeader(bytes).exchange, from.name);
    pair.command(pair.a, 'up', 't');
    pair.run(120_000);
    return pair.a.gateway.failures()[0]!;
  };
  assert.equal(failureOf(() => false).code, 'PEER_UNREACHABLE');
  const { code, detail } = failureOf((exchange) => exchange === EXCHANGE.IKE_SA_INIT);
  assert.equal(code, 'PEER_SILENT_IN_AUTH');
  assert.deepEqual(
    [detail.sends, detail.suite, detail.port],
    [12, 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', 4500],
  );
});

test('an address that comes back is used at once', () => {
  const pair = sites(1, { start: 'now' });
  pair.filter = () => false;
  pair.run(135_000);
  while (pair.a.gateway.spis().length > 0) pair.run(1000);
  pair.filter = () => true;
  pair.feed(pair.a, { type: 'addresses', local: ['192.0.2.1'] });
  pair.run(500);
  assert.equal(stateOf(pair.a), 'established', pair.ladder());
});

//   a --> b  INFORMATIONAL, five times, no answer
//   a --> b  IKE_SA_INIT, beside it
test('a peer that lost its memory: a new IKE SA within ten seconds of the first doubt', () => {
  const pair = sites(1, { start: 'now' });
  pair.run(1000);
  pair.restart(pair.b);
  pair.run(40_000);
  assert.equal(times(pair.a, 'IKE_ESTABLISHED'), 2, pair.ladder());
  assert.equal(pair.a.gateway.spis().length, 1);
  agree(pair);
});

test('a peer that was only slow keeps its SA: the attempt beside it ends', () => {
  const pair = sites(1, { start: 'now' });
  pair.run(1000);
  const before = pair.a.gateway.tunnels()[0]!.ikeSa!.spis;
  drop(pair, EXCHANGE.INFORMATIONAL, EXCHANGE.IKE_SA_INIT);
  pair.run(36_000);
  assert.equal(times(pair.a, 'IKE_CONNECTING'), 2, pair.ladder());
  pair.filter = () => true;
  drop(pair, EXCHANGE.IKE_SA_INIT);
  pair.run(20_000);
  assert.deepEqual(pair.a.gateway.tunnels()[0]!.ikeSa!.spis, before);
  assert.equal(pair.a.gateway.spis().length, 1);
  pair.filter = () => true;
  agree(pair);
});

test('an IkeSa is plain data: a gateway made from a copy goes on where the first stopped', () => {
  const pair = established(sites());
  for (const side of [pair.b, pair.a]) pair.restart(side, structuredClone(side.gateway.sas()));
  assert.equal(stateOf(pair.a), 'established');
  for (const side of [pair.a, pair.b]) {
    pair.command(side, 'rekey', 't', 'net');
    pair.run(2000);
    pair.command(side, 'rekey', 't');
    pair.run(2000);
    agree(pair);
  }
});

/** What b answers to a request that holds these payloads. */
function exchange(pair: Pair, payloads: Payload[]): Payload[] {
  const sa: IkeSa = pair.a.gateway.sas()[0]!;
  assert.ok(sa.state.name === 'established');
  const { suite, keys } = sa.state;
  const bytes = sealMessage(
    provider,
    suite,
    keys,
    {
      initiatorSpi: sa.spi,
      responderSpi: sa.peerSpi,
      exchange: EXCHANGE.INFORMATIONAL,
      flags: { initiator: true, response: false, version: false },
      messageId: sa.window.nextRequest,
    },
    payloads,
  );
  let answer = new Uint8Array(0);
  pair.filter = (_from, sent) => {
    answer = sent.slice();
    return false;
  };
  pair.inject(pair.b, bytes, { local: sa.remote, remote: sa.local });
  return openMessage(provider, { suite, keys }, answer)!;
}

test('an unknown payload: critical is refused by number, any other is passed over (RFC 7296 §2.5)', () => {
  const unknown = (critical: boolean): Payload => ({
    type: 0,
    number: 200,
    critical,
    body: new Uint8Array(4),
  });
  const refused = exchange(established(sites()), [unknown(true)]);
  assert.deepEqual(findNotify(refused, NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD)!.data, Uint8Array.of(200));
  assert.deepEqual(exchange(established(sites()), [unknown(false)]), []);
});

test('nothing unprotected touches an established SA', () => {
  const pair = established(sites());
  const { spis } = pair.a.gateway.tunnels()[0]!.ikeSa!;
  const path = {
    local: { transport: 'udp', address: '192.0.2.1', port: 4500 },
    remote: { transport: 'udp', address: '198.51.100.1', port: 4500 },
  } as const;
  const header = Uint8Array.from(Buffer.from(`${spis.join('')}000000000000000000000000`, 'hex'));
  for (const exchangeType of Object.values(EXCHANGE)) {
    for (const flags of [0x00, 0x08, 0x20, 0x28]) {
      header.set([0, 0x20, exchangeType, flags, 0, 0, 0, 0, 0, 0, 0, 28], 16);
      pair.inject(pair.a, header, path);
      pair.inject(pair.b, header, { local: path.remote, remote: path.local });
    }
  }
  agree(pair);
});

test('a child stops at the end of its lifetime, even when no rekey comes through', () => {
  const children = tunnel('a').children.map((child) => ({ ...child, lifetime: { time: 60_000 } }));
  const pair = established(sites(1, { children }));
  pair.filter = () => false;
  pair.run(58_000);
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received');
  pair.run(2000);
  assert.equal(pair.a.outbound.size, 0, pair.ladder());
});

test('a failed rekey is tried again while the lifetime lasts', () => {
  const pair = established(sites());
  pair.weather = { ...pair.weather, refuse: 1 };
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(1000);
  assert.equal(sendPacket(pair, pair.a, 't/net'), 'received', 'the old child goes on');
  pair.weather = { ...pair.weather, refuse: 0 };
  pair.run(20_000);
  assert.ok(pair.a.reports.includes('CHILD_REKEYED'), pair.ladder());
  agree(pair);
});

for (const name of ['a', 'b'] as const) {
  test(`the tunnel of ${name} is taken out of the configuration at every moment of a negotiation`, () => {
    for (let moment = 0; moment < 80; moment++) {
      const pair = sites(moment);
      const side = pair[name];
      pair.command(pair.a, 'up', 't');
      pair.run(moment);
      pair.feed(side, { type: 'configure', changes: [{ type: 'remove-tunnel', tunnel: 't' }] });
      pair.run(300_000);
      assert.deepEqual(side.gateway.tunnels(), []);
      assert.equal(side.outbound.size + side.inbound.size, 0, `${moment}\n${pair.ladder()}`);
      assert.deepEqual(side.gateway.spis(), []);
    }
  });
}

test('a command that cannot be carried out says why', () => {
  const pair = sites();
  const outcome = (command: 'rekey' | 'down', child?: string) =>
    pair.a.outcomes.get(pair.command(pair.a, command, 't', child));
  assert.equal(outcome('rekey'), 'TUNNEL_DOWN');
  assert.equal(outcome('down', 'net'), 'TUNNEL_DOWN');
  established(pair);
  assert.equal(outcome('rekey', 'nothing'), 'CONFIG_UNKNOWN_CHILD');
  const id = pair.command(pair.a, 'rekey', 't');
  pair.restart(pair.b);
  pair.run(200_000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_VANISHED');
});

test('down with a child takes that child and leaves the rest', () => {
  const pair = established(sites());
  const id = pair.command(pair.a, 'down', 't', 'net');
  pair.run(10_000);
  assert.equal(pair.a.outcomes.get(id), 'OK');
  assert.equal(stateOf(pair.a), 'established');
  assert.equal(pair.a.outbound.size + pair.b.outbound.size, 0, pair.ladder());
});

test('what the data plane cannot do is left out by name', () => {
  const capabilities: Capabilities = { ...MODEST, encryption: ['chacha20-poly1305'] };
  const pair = sites(1, {}, {}, { a: { capabilities } });
  assert.deepEqual(pair.a.gateway.tunnels(), []);
  assert.deepEqual(pair.a.reports, ['CONFIG_NOT_CAPABLE']);
  assert.equal(pair.a.gateway.failures()[0]!.detail.child, 'net');
});

test('down while a rekey is still being cleared away, and up at once: the old SA goes, and a new one is made', () => {
  const pair = established(sites());
  const rekey = pair.command(pair.a, 'rekey', 't');
  while (!pair.a.outcomes.has(rekey)) pair.run(1);
  // The DELETE of the new SA is lost once; that of the replaced one is answered before it.
  let losses = 1;
  pair.filter = ({ name }) => name !== 'a' || losses-- <= 0;
  const [down, before] = [pair.command(pair.a, 'down', 't'), pair.a.gateway.spis()];
  while (!pair.a.outcomes.has(down)) pair.run(1);
  const up = pair.command(pair.a, 'up', 't');
  while (!pair.a.outcomes.has(up)) pair.run(1);
  assert.deepEqual([pair.a.outcomes.get(down), pair.a.outcomes.get(up)], ['OK', 'OK']);
  const after = pair.a.gateway.spis();
  assert.ok(after.length === 1 && !before.includes(after[0]!), pair.ladder());
  pair.run(3000);
  agree(pair);
});
