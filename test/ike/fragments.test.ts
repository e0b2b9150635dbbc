// Messages in fragments (RFC 7383): two gateways, every fragment lost, late, doubled; and peers that mean harm.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Provider } from '../../src/crypto/provider.ts';
import { type Place, plainOf, sealInner } from '../../src/ike/protect.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import {
  decodeHeader,
  decodeMessage,
  encodePayloads,
  findNotify,
  type Payload,
  type SkfPayload,
} from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';
import { weatherTheStorm } from '../sim/storm.ts';

const provider = createNodeProvider();
/** IPv4, UDP and the marker of port 4500. */
const AROUND = 32;

/** So many selectors that IKE_AUTH and CREATE_CHILD_SA are long. */
function wide(side: 'a' | 'b', count: number, changes: Partial<Tunnel> = {}): Partial<Tunnel> {
  const [child] = tunnel(side).children;
  const nets = (n: number) =>
    Array.from({ length: count }, (_, i) => ({
      protocol: 0,
      startPort: 0,
      endPort: 65535,
      start: `10.${n}.${i}.0`,
      end: `10.${n}.${i}.127`,
    }));
  const [own, other] = side === 'a' ? [1, 2] : [2, 1];
  return { children: [{ ...child!, selectors: { local: nets(own), remote: nets(other) } }], ...changes };
}

function wideSites(count: number, changes: Partial<Tunnel> = {}, seed = 1): Pair {
  return sites(seed, wide('a', count, changes), wide('b', count, changes));
}

interface Sent {
  from: Side;
  bytes: Uint8Array;
}

/** Everything that is sent from here on. */
function recorded(pair: Pair, lost: (sent: Sent, index: number) => boolean = () => false): Sent[] {
  const all: Sent[] = [];
  pair.filter = (from, bytes) => {
    if (bytes.length < 28) return true;
    all.push({ from, bytes });
    return !lost(all.at(-1)!, all.length - 1);
  };
  return all;
}

function skfOf({ bytes }: Sent): SkfPayload | undefined {
  const last = decodeMessage(bytes).payloads.at(-1);
  return last?.type === PAYLOAD.SKF ? last : undefined;
}

const exchangeOf = ({ bytes }: Sent) => decodeHeader(bytes).exchange;
const isAuth = (sent: Sent) => exchangeOf(sent) === EXCHANGE.IKE_AUTH;

describe('sending', () => {
  test('what is larger than a fragment is cut, nothing else is, and IKE_SA_INIT never (RFC 7383 §2.4, §2.5)', () => {
    const pair = wideSites(12, { fragmentation: 256 });
    const all = recorded(pair);
    established(pair);
    pair.run(40_000); // liveness
    const init = all.filter((sent) => exchangeOf(sent) === EXCHANGE.IKE_SA_INIT);
    assert.equal(init.length, 2);
    for (const sent of init) {
      assert.ok(findNotify(decodeMessage(sent.bytes).payloads, NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED));
      assert.equal(skfOf(sent), undefined);
    }
    for (const side of [pair.a, pair.b]) {
      const auth = all.filter((sent) => isAuth(sent) && sent.from === side);
      const numbers = auth.map((sent) => [skfOf(sent)!.fragment, skfOf(sent)!.total]);
      assert.deepEqual(
        numbers,
        auth.map((_, index) => [index + 1, auth.length]),
      );
      assert.ok(auth.length >= 3);
      for (const sent of auth.slice(0, -1)) assert.equal(sent.bytes.length + AROUND, 256);
      for (const [index, sent] of auth.entries())
        assert.equal(
          skfOf(sent)!.nextPayload === PAYLOAD.NONE,
          index > 0,
          'Next Payload is in the first only',
        );
    }
    const alive = all.filter((sent) => exchangeOf(sent) === EXCHANGE.INFORMATIONAL);
    assert.ok(alive.length >= 2 && alive.every((sent) => skfOf(sent) === undefined));
  });

  for (const side of ['a', 'b'] as const) {
    test(`${side} does not want fragments: nobody sends any, and one that comes is dropped (RFC 7383 §2.3)`, () => {
      const off = { ...wide(side, 40), fragmentation: undefined } as Partial<Tunnel>;
      const on = wide(side === 'a' ? 'b' : 'a', 40, { fragmentation: 256 });
      const pair = side === 'a' ? sites(1, off, on) : sites(1, on, off);
      const all = recorded(pair);
      established(pair);
      assert.ok(all.every((sent) => skfOf(sent) === undefined));
      const [sa] = pair.a.gateway.sas();
      inject(pair, sealedPieces(sa!, [[]], { total: 2 }));
      assert.deepEqual(pair.b.gateway.drops(), { 'ike-fragment-unexpected': 1 });
    });
  }

  test('every suite: the fragments of a message are no larger than said, and give it back', () => {
    for (const encryption of [
      { name: 'aes-cbc', keyBits: 256 },
      { name: 'aes-gcm-16', keyBits: 128 },
      { name: 'aes-ctr', keyBits: 128 },
      { name: 'chacha20-poly1305', keyBits: 256 },
    ] as const) {
      const combined = encryption.name === 'aes-gcm-16' || encryption.name === 'chacha20-poly1305';
      const [template] = tunnel('a').ike.proposals;
      const integrity = combined ? [] : (['hmac-sha2-256-128'] as const);
      const ike = {
        proposals: [{ ...template!, encryption: [encryption], integrity }],
        lifetime: 14_400_000,
      };
      for (const size of [256, 300, 301, 576]) {
        const changes = { ike, fragmentation: size } as Partial<Tunnel>;
        const pair = wideSites(20, changes);
        const all = recorded(pair);
        established(pair);
        const cut = all.filter((sent) => skfOf(sent));
        assert.ok(cut.length >= 4);
        assert.ok(
          cut.every(({ bytes }) => bytes.length + AROUND <= size),
          `${encryption.name} ${size}`,
        );
        agree(pair);
      }
    }
  });

  test('the size that the peer needs is learned from its fragments', () => {
    const pair = sites(1, wide('a', 40, { fragmentation: 400 }), wide('b', 40, { fragmentation: 'auto' }));
    const all = recorded(pair);
    established(pair);
    const answer = all.filter((sent) => isAuth(sent) && sent.from === pair.b);
    assert.ok(answer.length > 1 && answer.every(({ bytes }) => bytes.length + AROUND <= 576));
  });

  test('a rekeyed IKE SA goes on in fragments', () => {
    const pair = established(wideSites(12, { fragmentation: 256 }));
    pair.command(pair.b, 'rekey', 't');
    pair.run(5000);
    const all = recorded(pair);
    pair.command(pair.a, 'rekey', 't', 'net');
    pair.run(5000);
    assert.ok(all.filter((sent) => skfOf(sent)).length >= 6);
    agree(pair);
  });
});

describe('loss', () => {
  const quiet = { fragmentation: 256 } as const;
  const total = (() => {
    const pair = wideSites(12, quiet);
    const all = recorded(pair);
    established(pair);
    return all.filter(isAuth).length;
  })();

  for (let lost = 0; lost < total; lost++) {
    test(`fragment ${lost + 1} of the ${total} of IKE_AUTH is lost: the second sending completes it`, () => {
      const pair = wideSites(12, quiet);
      let auth = 0;
      const all = recorded(pair, (sent) => isAuth(sent) && auth++ === lost);
      established(pair);
      const asked = all.filter((sent) => isAuth(sent) && sent.from === pair.a);
      assert.equal(asked.filter((sent) => skfOf(sent)!.fragment === 1).length, 2);
      agree(pair);
    });
  }

  test('fragments are kept over retransmissions: one a sending is enough (RFC 7383 §2.6)', () => {
    const pair = wideSites(12, quiet);
    const sending = new Map<number, number>();
    // Of the n-th sending of a side only its n-th fragment passes.
    recorded(pair, (sent) => {
      const skf = isAuth(sent) ? skfOf(sent) : undefined;
      if (!skf) return false;
      const key = sent.from === pair.a ? skf.fragment : 100 + skf.fragment;
      sending.set(key, (sending.get(key) ?? 0) + 1);
      return sent.from === pair.a && sending.get(key)! < 3 && sending.get(key) !== skf.fragment;
    });
    pair.command(pair.a, 'up', 't');
    pair.run(2600);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
    agree(pair);
  });

  test('a retransmission is all fragments, bit by bit the same', () => {
    const pair = wideSites(12, quiet);
    const all = recorded(pair, (sent) => isAuth(sent));
    pair.command(pair.a, 'up', 't');
    pair.run(700);
    const auth = all.filter(isAuth);
    const half = auth.length / 2;
    assert.ok(half >= 3);
    for (const [index, { bytes }] of auth.slice(0, half).entries())
      assert.deepEqual(auth[half + index]!.bytes, bytes);
  });

  test('in any order, and each of them twice', () => {
    for (let seed = 0; seed < 50; seed++) {
      const pair = wideSites(12, quiet, seed);
      pair.weather = { ...pair.weather, delay: [1, 300], duplicate: 1 };
      pair.command(pair.a, 'up', 't');
      pair.run(5000);
      assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
      agree(pair);
    }
  });

  test('of an answered request only a repeated fragment 1 brings the answer again (RFC 7383 §2.6.1)', () => {
    const pair = wideSites(12, quiet);
    const all = recorded(pair);
    established(pair);
    const asked = all.filter((sent) => isAuth(sent) && sent.from === pair.a);
    const answer = all.filter((sent) => isAuth(sent) && sent.from === pair.b).map(({ bytes }) => bytes);
    for (const [index, { bytes }] of asked.entries()) {
      const again = recorded(pair, ({ from }) => from === pair.b);
      inject(pair, [bytes]);
      assert.deepEqual(
        again.map((sent) => sent.bytes),
        index === 0 ? answer : [],
      );
    }
  });

  test('30 % loss, 10 % doubled, out of order: IKE_AUTH in three fragments each way within a minute', () => {
    const runs = 200;
    const inTime = Array.from({ length: runs }, (_, seed) => {
      const pair = wideSites(12, quiet, seed);
      pair.weather = { ...pair.weather, loss: 0.3, duplicate: 0.1, delay: [1, 50] };
      pair.command(pair.a, 'up', 't');
      pair.run(60_000);
      return pair.a.gateway.tunnels()[0]!.state === 'established';
    }).filter(Boolean).length;
    assert.ok(inTime >= runs * 0.99, `${inTime} of ${runs}`);
  });
});

test('100 storms in fragments of different sizes: both sides agree in the end', () => {
  for (let seed = 0; seed < 100; seed++)
    weatherTheStorm(seed, { fragmentation: 256 }, { fragmentation: 300 });
});

describe('a path that carries little', () => {
  const narrow = (sent: Sent) => sent.bytes.length + AROUND > 576;

  test('the size is found downward, and remembered for the tunnel (RFC 7383 §2.5.2)', () => {
    const pair = wideSites(20);
    const all = recorded(pair, narrow);
    pair.command(pair.a, 'up', 't');
    pair.run(9000);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
    const asked = all.filter((sent) => isAuth(sent) && sent.from === pair.a);
    assert.deepEqual(
      asked.map((sent) => skfOf(sent)?.total),
      [undefined, undefined, undefined, undefined, undefined, 2, 2],
    );
    pair.command(pair.a, 'down', 't');
    pair.run(2000);
    const again = recorded(pair, narrow);
    established(pair);
    assert.ok(again.every((sent) => !narrow(sent)));
    agree(pair);
  });

  test('only the answers do not come through: the responder finds the size', () => {
    const pair = wideSites(40);
    recorded(pair, (sent) => sent.from === pair.b && narrow(sent));
    pair.command(pair.a, 'up', 't');
    pair.run(12_000);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
    agree(pair);
  });

  test('fragments of the first size that came before do not harm: more fragments take their place (RFC 7383 §2.6)', () => {
    const pair = wideSites(100);
    // The last one is small enough, the others are not.
    const all = recorded(pair, narrow);
    pair.command(pair.a, 'up', 't');
    pair.run(12_000);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established', pair.ladder());
    const totals = new Set(all.filter((sent) => isAuth(sent)).map((sent) => skfOf(sent)!.total));
    assert.ok(totals.size >= 2);
    agree(pair);
  });

  test('IPv6: 1280 bytes from the beginning, which every path carries', () => {
    const [own, other] = ['2001:db8::1', '2001:db8::2'];
    const ends = (one: string, two: string) => ({
      local: { address: one, identity: { type: 'ipv6' as const, value: one } },
      remote: { addresses: [two], identity: { type: 'ipv6' as const, value: two } },
    });
    const pair = sites(1, wide('a', 100, ends(own, other)), wide('b', 100, ends(other, own)));
    const all = recorded(pair, ({ bytes }) => bytes.length + 52 > 1280);
    established(pair);
    assert.ok(all.some((sent) => skfOf(sent) && sent.bytes.length + 52 > 1270));
    agree(pair);
  });

  test('a peer that has gone does not make fragments smaller for the next one', () => {
    const pair = established(wideSites(3));
    recorded(pair, () => true);
    pair.run(600_000);
    const all = recorded(pair);
    pair.run(120_000);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
    assert.ok(all.some(isAuth) && all.every((sent) => skfOf(sent) === undefined));
  });
});

describe('hostile', () => {
  const chunks = (count: number, bytes = 30): Payload[][] =>
    Array.from({ length: count }, () => [{ type: PAYLOAD.V, critical: false, data: new Uint8Array(bytes) }]);

  /** Both sides established, and nothing that b says from then on reaches a. */
  function victim(count: (name: string) => void = () => {}): { pair: Pair; sa: IkeSa; all: Sent[] } {
    const counting = (inner: Provider): Provider => ({
      ...inner,
      open: (...rest) => {
        count('open');
        return inner.open(...rest);
      },
    });
    const pair = established(
      sites(1, { liveness: 0 }, { liveness: 0 }, { b: { provider: counting(createNodeProvider()) } }),
    );
    const all = recorded(pair, () => true);
    return { pair, sa: pair.a.gateway.sas()[0]!, all };
  }

  function lives(pair: Pair): void {
    assert.equal(pair.b.gateway.tunnels()[0]!.state, 'established');
    assert.equal(pair.b.gateway.sas()[0]!.window.assembly, undefined);
  }

  test('fragments by hand are a message, in whatever order', () => {
    const { pair, sa, all } = victim();
    inject(pair, sealedPieces(sa, chunks(5)).reverse());
    assert.equal(all.length, 1, 'an empty answer to an INFORMATIONAL');
    assert.deepEqual(pair.b.gateway.drops(), {});
    lives(pair);
  });

  test('numbers that cannot be: fragment 0, beyond the total, total 0 (class 45)', () => {
    const { pair, sa } = victim();
    const [good] = sealedPieces(sa, chunks(2));
    const at = good!.length - decodeMessageTail(good!);
    for (const [fragment, total] of [
      [0, 2],
      [3, 2],
      [1, 0],
      [0, 0],
      [65_535, 1],
    ] as const) {
      const bad = good!.slice();
      new DataView(bad.buffer).setUint16(at - 4, fragment);
      new DataView(bad.buffer).setUint16(at - 2, total);
      inject(pair, [bad]);
    }
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-unreadable': 5 });
    lives(pair);
  });

  test('more fragments than any message has are dropped before they are looked at', () => {
    let opened = 0;
    const { pair, sa } = victim(() => opened++);
    opened = 0;
    inject(pair, [
      ...sealedPieces(sa, chunks(1), { total: 65 }),
      ...sealedPieces(sa, chunks(1), { total: 65_535 }),
    ]);
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-fragment-too-many': 2 });
    assert.equal(opened, 0);
    lives(pair);
  });

  test('nothing unauthentic is kept, and it does not stand in the way of what is (classes 41 to 43)', () => {
    const { pair, sa, all } = victim();
    const pieces = sealedPieces(sa, chunks(3));
    let bad = 0;
    for (const piece of pieces)
      for (const forged of [
        flipped(piece, piece.length - 1),
        flipped(piece, 40),
        cutTo(piece, 37),
        cutTo(piece, 50),
      ]) {
        inject(pair, [forged]);
        bad++;
      }
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-forged': bad });
    assert.equal(pair.b.gateway.sas()[0]!.window.assembly, undefined);
    inject(pair, pieces);
    assert.equal(all.length, 1);
    lives(pair);
  });

  test('a forged set of more fragments does not throw away the true one', () => {
    const { pair, sa, all } = victim();
    const pieces = sealedPieces(sa, chunks(3));
    inject(pair, pieces.slice(0, 2));
    const [forged] = sealedPieces(sa, chunks(1), { total: 9 });
    inject(pair, [flipped(forged!, forged!.length - 1)]);
    inject(pair, pieces.slice(2));
    assert.equal(all.length, 1);
    lives(pair);
  });

  test('an authentic set of more fragments does; of fewer it is ignored (RFC 7383 §2.6)', () => {
    const { pair, sa, all } = victim();
    const [three, four] = [sealedPieces(sa, chunks(3)), sealedPieces(sa, chunks(4))];
    inject(pair, [...three.slice(0, 2), ...four.slice(0, 3), ...three]);
    assert.equal(all.length, 0);
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-fragment-of-smaller-set': 3 });
    inject(pair, four.slice(3));
    assert.equal(all.length, 1);
    lives(pair);
  });

  test('the same number with another content: the first stays', () => {
    const { pair, sa, all } = victim();
    const other: Payload[][] = [[{ type: PAYLOAD.D, critical: false, protocol: 1, spis: [] }]];
    inject(pair, sealedPieces(sa, chunks(2)).slice(0, 1));
    inject(pair, sealedPieces(sa, other, { total: 2 }).slice(0, 1));
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-fragment-repeated': 1 });
    inject(pair, sealedPieces(sa, chunks(2)).slice(1));
    assert.equal(all.length, 1);
    lives(pair);
  });

  test('the last answer of an IKE SA is repeated for the first fragment only, too', () => {
    const { pair, sa, all } = victim();
    const remove: Payload = { type: PAYLOAD.D, critical: false, protocol: 1, spis: [] };
    const pieces = sealedPieces(sa, [[remove], ...chunks(2)]);
    const path = { local: sa.remote, remote: sa.local };
    for (const piece of [...pieces, ...pieces, ...pieces.slice(1)]) pair.inject(pair.b, piece, path);
    assert.equal(pair.b.gateway.spis().length, 0);
    assert.equal(all.filter(({ from }) => from.name === 'b').length, 2);
  });

  test('the whole message may come while its fragments are gathered (mix of SK and SKF)', () => {
    const { pair, sa, all } = victim();
    inject(pair, sealedPieces(sa, chunks(3)).slice(0, 2));
    inject(pair, [sealedWhole(sa, [])]);
    assert.equal(all.length, 1);
    inject(pair, sealedPieces(sa, chunks(3)).slice(1));
    assert.equal(all.length, 1, 'late fragments of what is answered: silence');
    lives(pair);
  });

  test('a type of payload in a later fragment is passed over', () => {
    const { pair, sa, all } = victim();
    inject(pair, sealedPieces(sa, chunks(3), { next: PAYLOAD.D }));
    assert.equal(all.length, 1);
    lives(pair);
  });

  test('more payloads than any message has, spread over fragments (CVE-2026-12413)', () => {
    for (const count of [65, 1000, 10_000]) {
      const { pair, sa, all } = victim();
      const inner = encodePayloads(chunks(count, 0).flat());
      inject(pair, sealedPieces(sa, [], { inner, total: 64 }));
      assert.equal(all.length, 0);
      assert.deepEqual(pair.b.gateway.drops(), { 'ike-unreadable': 1 });
      pair.run(61_000);
      lives(pair);
    }
  });

  test('an inner chain that is broken or has no end is dropped once it is whole (class 44)', () => {
    for (const bytes of [
      Uint8Array.of(43, 0, 0, 0),
      Uint8Array.of(43, 0, 255, 255),
      Uint8Array.of(43, 0, 0, 4, 1),
    ]) {
      const { pair, sa, all } = victim();
      inject(pair, sealedPieces(sa, [], { inner: { first: PAYLOAD.V, bytes }, total: 2 }));
      assert.equal(all.length, 0);
      assert.deepEqual(pair.b.gateway.drops(), { 'ike-unreadable': 1 });
      assert.equal(pair.b.gateway.tunnels()[0]!.state, 'established');
    }
  });

  test('work is the same for every byte, however fragments come (CVE-2016-10396)', () => {
    let opened = 0;
    const { pair, sa, all } = victim(() => opened++);
    const pieces = sealedPieces(sa, chunks(64, 900)).reverse();
    opened = 0;
    for (const piece of pieces.slice(0, -1)) inject(pair, [piece, piece, piece]);
    assert.equal(opened, 63, 'one look at each, none at what is here already');
    inject(pair, pieces.slice(-1));
    assert.equal(opened, 64 + 64, 'and one more when the message is read');
    assert.equal(all.length, 1);
  });

  test('bytes are counted: a set beyond 64 KiB is not kept', () => {
    const { pair, sa, all } = victim();
    inject(pair, sealedPieces(sa, chunks(50, 2000)));
    assert.equal(all.length, 0);
    const { 'ike-fragment-too-large': dropped, ...others } = pair.b.gateway.drops();
    assert.ok(dropped! > 10);
    assert.deepEqual(others, {});
    assert.ok(pair.b.gateway.sas()[0]!.window.assembly!.bytes <= 65_536);
  });

  test('what does not become whole is let go after a minute', () => {
    const { pair, sa } = victim();
    inject(pair, sealedPieces(sa, chunks(3)).slice(0, 2));
    assert.equal(pair.b.gateway.sas()[0]!.window.assembly?.missing, 1);
    pair.run(60_000);
    assert.deepEqual(pair.b.gateway.drops(), { 'ike-fragments-late': 1 });
    lives(pair);
  });

  test('of all IKE SAs together 4 MiB are held; the longest held go (CVE-2016-1344)', () => {
    const { pair, sa } = victim();
    const one = pair.b.gateway.sas()[0]!;
    const many = Array.from({ length: 100 }, (_, index) => ({
      ...structuredClone(one),
      spi: (index + 1).toString(16).padStart(16, '0'),
    }));
    pair.restart(pair.b, many);
    recorded(pair, () => true);
    for (const { spi } of many)
      inject(pair, sealedPieces({ ...sa, peerSpi: spi }, chunks(60, 1000)).slice(0, 59));
    const held = pair.b.gateway.sas().map(({ window }) => window.assembly?.bytes ?? 0);
    const sum = held.reduce((total, bytes) => total + bytes, 0);
    assert.ok(sum <= 4_194_304 && sum > 4_000_000, `${sum}`);
    assert.equal(held[0], 0);
    assert.ok(held.at(-1)! > 60_000);
    assert.equal(
      pair.b.gateway.drops()['ike-fragments-crowded-out'],
      held.filter((bytes) => bytes === 0).length,
    );
  });

  test('an IKE SA with half a message is plain data, and another gateway completes it', () => {
    const { pair, sa } = victim();
    const pieces = sealedPieces(sa, chunks(4));
    inject(pair, pieces.slice(0, 2));
    pair.restart(pair.b, pair.b.gateway.sas());
    const all = recorded(pair, () => true);
    inject(pair, pieces.slice(2));
    assert.equal(all.length, 1);
  });
});

test('what was sent and what came, in the clear: the form that IntAuth covers (RFC 9242 §3.3.2)', () => {
  const pair = established(wideSites(3));
  const [sa] = pair.a.gateway.sas();
  assert.ok(sa?.state.name === 'established');
  const inner = encodePayloads([{ type: PAYLOAD.V, critical: false, data: new Uint8Array(500).fill(7) }]);
  const whole = sealInner(provider, sa.state, fieldsOf(sa), inner);
  const pieces = sealedPieces(sa, [], { inner, total: 4 });
  const joined = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
  for (const bytes of [whole, joined]) {
    const plain: ReturnType<typeof plainOf> = plainOf(provider, sa.state, bytes);
    assert.ok(plain);
    assert.deepEqual({ first: plain.first, bytes: plain.bytes }, inner);
    assert.equal(plain.header.messageId, sa.window.nextRequest);
  }
});

// Forging

function inject(pair: Pair, datagrams: readonly Uint8Array[]): void {
  const [sa] = pair.b.gateway.sas();
  for (const bytes of datagrams) pair.inject(pair.b, bytes, { local: sa!.local, remote: sa!.remote });
  pair.run(20);
}

function fieldsOf(sa: IkeSa) {
  const [initiatorSpi, responderSpi] = sa.initiator ? [sa.spi, sa.peerSpi] : [sa.peerSpi, sa.spi];
  const flags = { initiator: sa.initiator, response: false, version: false };
  return {
    initiatorSpi,
    responderSpi,
    exchange: EXCHANGE.INFORMATIONAL,
    flags,
    messageId: sa.window.nextRequest,
  };
}

function sealedWhole(sa: IkeSa, payloads: Payload[]): Uint8Array {
  assert.ok(sa.state.name === 'established');
  return sealInner(provider, sa.state, fieldsOf(sa), encodePayloads(payloads));
}

/** The next request of `sa`, a fragment for each list of payloads; `inner` in its place is cut into `total` pieces. */
function sealedPieces(
  sa: IkeSa,
  lists: readonly Payload[][],
  options: { total?: number; inner?: { first: number; bytes: Uint8Array }; next?: number } = {},
): Uint8Array[] {
  const { inner = encodePayloads(lists.flat()), next = PAYLOAD.NONE } = options;
  const total = options.total ?? lists.length;
  const size = Math.ceil(inner.bytes.length / total);
  const count = lists.length === 0 || options.total === undefined ? total : lists.length;
  return Array.from({ length: count }, (_, index) => {
    const first = index === 0 ? inner.first : next;
    const bytes = inner.bytes.subarray(index * size, (index + 1) * size);
    return sealedPiece(sa, { first, bytes }, { fragment: index + 1, total });
  });
}

function sealedPiece(sa: IkeSa, inner: { first: number; bytes: Uint8Array }, place: Place): Uint8Array {
  assert.ok(sa.state.name === 'established');
  return sealInner(provider, sa.state, fieldsOf(sa), inner, place);
}

/** Bytes from the IV on. */
function decodeMessageTail(bytes: Uint8Array): number {
  const last = decodeMessage(bytes).payloads.at(-1);
  assert.ok(last?.type === PAYLOAD.SKF);
  return last.body.length;
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
}

/** Shorter, and says so truly. */
function cutTo(bytes: Uint8Array, length: number): Uint8Array {
  const short = bytes.slice(0, length);
  const view = new DataView(short.buffer);
  view.setUint32(24, length);
  view.setUint16(30, length - 28);
  return short;
}
