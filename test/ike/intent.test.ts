// Wanted and actual children, and the mending of the difference.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { difference } from '../../src/ike/intent.ts';
import { sealMessage } from '../../src/ike/protect.ts';
import type { ChildSa } from '../../src/ike/sa.ts';
import { selectorOf } from '../../src/policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../src/policy/tunnel.ts';
import { type Pair, type Side, type SideName, sendPacket } from '../../src/sim/pair.ts';
import { decodeHeader, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';

const NETS = ['net1', 'net2'];

function children(side: SideName): ChildTemplate[] {
  const [near, far] = side === 'a' ? [1, 2] : [2, 1];
  return NETS.map((name, order) => ({
    ...tunnel(side).children[0]!,
    name,
    order,
    selectors: {
      local: [selectorOf(`10.${near}.${order}.0/24`)!],
      remote: [selectorOf(`10.${far}.${order}.0/24`)!],
    },
  }));
}

function times({ reports }: Side, code: string): number {
  return reports.filter((one) => one === code).length;
}

/** Two children; what `a` wants is `changes`. */
function two(a: Partial<Tunnel> = {}, b: Partial<Tunnel> = {}): Pair {
  const pair = sites(1, { children: children('a'), ...a }, { children: children('b'), ...b });
  pair.command(pair.a, 'up', 't');
  pair.run(2000);
  return pair;
}

test('what is missing and what is there twice, by name and selectors; both sides keep the same one', () => {
  const child = (name: string, spiIn: number, spiOut: number, net = '10.1.0.0/16'): ChildSa =>
    ({
      name,
      spiIn,
      spiOut,
      selectors: { local: [selectorOf(net)!], remote: [selectorOf('10.2.0.0/16')!] },
    }) as ChildSa;
  const ours = [child('x', 300, 900), child('x', 800, 400), child('y', 500, 600)];
  const theirs = ours.map((one) => ({ ...one, spiIn: one.spiOut, spiOut: one.spiIn }));
  const [here, there] = [ours, theirs].map((held) => difference(['x', 'y', 'z'], held));
  assert.deepEqual(here!.missing, ['z']);
  assert.deepEqual(
    here!.surplus.map(({ spiIn }) => spiIn),
    [800],
  );
  assert.deepEqual(
    there!.surplus.map(({ spiOut }) => spiOut),
    [800],
  );
  const apart = [child('x', 300, 900), child('x', 800, 400, '10.9.0.0/16')];
  assert.deepEqual(difference(['x'], apart).surplus, [], 'other packets are no duplicate');
});

test('a child that the peer deleted is made anew, the other one is let be', () => {
  const pair = two();
  const spi = pair.a.inUse.get('t/net2');
  pair.command(pair.b, 'down', 't', 'net1');
  pair.run(500);
  assert.equal(sendPacket(pair, pair.a, 't/net1'), 'no-sa', pair.ladder());
  pair.run(10_000);
  agree(pair, NETS);
  assert.equal(pair.a.inUse.get('t/net2'), spi);
});

test('a child that the operator took down stays down, over a new IKE SA too; up brings it back', () => {
  const pair = two();
  pair.command(pair.a, 'down', 't', 'net1');
  pair.run(60_000);
  agree(pair, ['net2']);
  pair.restart(pair.b);
  pair.run(100_000);
  agree(pair, ['net2']);
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.a.outcomes.get(id), 'OK', pair.ladder());
  agree(pair, NETS);
});

test('a packet asks again for a child that the operator took down', () => {
  const pair = two();
  pair.command(pair.a, 'down', 't', 'net1');
  pair.run(1000);
  const packet = { local: '10.1.0.5', remote: '10.2.0.9', protocol: 17, localPort: 1, remotePort: 53 };
  pair.feed(pair.a, { type: 'dataplane', event: { type: 'acquire', policy: 't/net1', packet } });
  pair.run(1000);
  agree(pair, NETS);
});

test('down of a child that is not there yet: it is not asked for any more', () => {
  const pair = two({}, { children: children('b').slice(1) });
  assert.deepEqual(
    pair.a.gateway.tunnels()[0]!.children.map(({ name }) => name),
    ['net2'],
  );
  const id = pair.command(pair.a, 'down', 't', 'net1');
  assert.equal(pair.a.outcomes.get(id), 'OK');
  const refusals = times(pair.b, 'PEER_TS_UNACCEPTABLE');
  pair.run(600_000);
  assert.equal(times(pair.b, 'PEER_TS_UNACCEPTABLE'), refusals);
});

test('a child refused in IKE_AUTH does not keep the others from coming', () => {
  const pair = two({}, { children: children('b').slice(1) });
  agree(pair, ['net2']);
});

/** What an SA of `a` would send: a request with these payloads, as its next message. */
function request(pair: Pair, exchange: number, payloads: Payload[]): Uint8Array {
  const sa = pair.a.gateway.sas()[0]!;
  assert.ok(sa.state.name === 'established');
  const fields = {
    initiatorSpi: sa.initiator ? sa.spi : sa.peerSpi,
    responderSpi: sa.initiator ? sa.peerSpi : sa.spi,
    exchange,
    flags: { initiator: sa.initiator, response: false, version: false },
    messageId: sa.window.nextRequest,
  };
  return sealMessage(createNodeProvider(), sa.state.suite, sa.state.keys, fields, payloads);
}

test('the peer does not know an SPI that we send with (INVALID_SPI, protected): that child is made anew', () => {
  const pair = two();
  const lost = pair.a.inUse.get('t/net1')!;
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, pair.b.inUse.get('t/net1')!);
  const notify: Payload = {
    type: PAYLOAD.N,
    critical: false,
    protocol: PROTOCOL.ESP,
    spi: new Uint8Array(0),
    notifyType: NOTIFY.INVALID_SPI,
    data,
  };
  const bytes = request(pair, EXCHANGE.INFORMATIONAL, [notify]);
  const { local, remote } = pair.a.gateway.sas()[0]!;
  pair.inject(pair.b, bytes, { local: remote, remote: local });
  pair.run(500);
  assert.notEqual(pair.a.inUse.get('t/net1'), lost, pair.ladder());
});

// Uniqueness

/** The peer makes an IKE SA beside the one that is there, and no word of the old one ever arrives. */
function twice(unique: Tunnel['unique']): Pair {
  const { ike } = tunnel('a');
  const pair = sites(1, { ike: { ...ike, reauthentication: 60_000 }, liveness: 0 }, { unique, liveness: 0 });
  established(pair);
  pair.filter = (_from, bytes) =>
    bytes.length < 28 || decodeHeader(bytes).exchange !== EXCHANGE.INFORMATIONAL;
  pair.run(57_000);
  return pair;
}

test('unique: replace: the older IKE SA goes once both are settled, and it is said', () => {
  const pair = twice('replace');
  assert.equal(pair.b.gateway.spis().length, 2, pair.ladder());
  pair.run(30_000);
  assert.equal(times(pair.b, 'IKE_DUPLICATE'), 1, pair.ladder());
  pair.filter = () => true;
  pair.run(30_000);
  assert.equal(pair.b.gateway.spis().length, 1, pair.ladder());
});

test('unique: keep: a second IKE SA is refused while the first one answers', () => {
  const pair = twice('keep');
  assert.equal(times(pair.b, 'PEER_ONE_TOO_MANY'), 1, pair.ladder());
  assert.equal(pair.b.gateway.spis().length, 1);
});

test('unique: keep: INITIAL_CONTACT says that the first one is lost (RFC 7296 §2.4)', () => {
  const pair = established(sites(1, {}, { unique: 'keep' }));
  pair.restart(pair.a);
  established(pair);
  assert.equal(times(pair.b, 'PEER_ONE_TOO_MANY'), 0, pair.ladder());
  agree(pair);
});

test('unique: never: both stay', () => {
  const pair = twice('never');
  pair.run(30_000);
  assert.equal(times(pair.b, 'IKE_DUPLICATE'), 0, pair.ladder());
  assert.equal(pair.b.gateway.spis().length, 2);
});
