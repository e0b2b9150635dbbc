// IKE_INTERMEDIATE (RFC 9242) and additional key exchanges in it (RFC 9370 §2.2), as ladders.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ikeKeys, skeyseed, skeyseedRekey } from '../../src/crypto/keymat.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { sealMessage } from '../../src/ike/protect.ts';
import type { IkeSa, Secrets } from '../../src/ike/sa.ts';
import { parseTemplate } from '../../src/policy/proposal.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import { decodeHeader, decodeMessage, findPayload, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, PAYLOAD, TRANSFORM } from '../../src/wire/numbers.ts';
import { agree, established, sites } from '../sim/sites.ts';

const provider = createNodeProvider();
const HYBRID = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519 + ml-kem-768';
const CLASSICAL = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519';

function ike(...suites: string[]): Pick<Tunnel, 'ike'> {
  const proposals = suites.map((text) => {
    const parsed = parseTemplate(text, 'ike');
    assert.ok(!('complaint' in parsed), text);
    return parsed;
  });
  return { ike: { proposals, lifetime: 14_400_000 } };
}

const suiteOf = ({ gateway }: Side) => gateway.tunnels()[0]!.ikeSa?.algorithms;

/** Every message that crossed, as `a IKE_AUTH 2`. */
function watch(pair: Pair): string[] {
  const seen: string[] = [];
  pair.filter = (from, bytes) => {
    const { exchange, flags, messageId } = decodeHeader(bytes);
    const name = Object.entries(EXCHANGE).find(([, number]) => number === exchange)![0];
    seen.push(`${from.name} ${name} ${messageId}${flags.response ? ' answer' : ''}`);
    return true;
  };
  return seen;
}

//   HDR(IKE_SA_INIT), SAi1(.. ADDKE1 ..), KEi, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED)  -->
//                                <--  HDR(IKE_SA_INIT), SAr1(.. ADDKE1 ..), KEr, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED)
//   HDR(IKE_INTERMEDIATE), SK {KEi(1)}  -->
//                                       <--  HDR(IKE_INTERMEDIATE), SK {KEr(1)}
//   HDR(IKE_AUTH), SK {IDi, AUTH, SAi2, TSi, TSr}  -->
test('one additional key exchange between IKE_SA_INIT and IKE_AUTH (RFC 9370 §2.2.2)', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  const seen = watch(pair);
  agree(established(pair));
  assert.deepEqual(seen.slice(0, 6), [
    'a IKE_SA_INIT 0',
    'b IKE_SA_INIT 0 answer',
    'a IKE_INTERMEDIATE 1',
    'b IKE_INTERMEDIATE 1 answer',
    'a IKE_AUTH 2',
    'b IKE_AUTH 2 answer',
  ]);
  for (const side of [pair.a, pair.b]) assert.equal(suiteOf(side), HYBRID);
});

test('seven additional key exchanges, then none twice', () => {
  const seven = `${CLASSICAL} + ml-kem-512 + ml-kem-768 + ml-kem-1024 + x448 + ecp-256 + ecp-384 + ecp-521`;
  const pair = sites(1, ike(seven), ike(seven));
  const seen = watch(pair);
  agree(established(pair));
  assert.equal(seen.filter((line) => line.startsWith('a IKE_INTERMEDIATE')).length, 7);
  assert.ok(seen.includes('a IKE_AUTH 8'));
  const twice = `${CLASSICAL} + ml-kem-768 | ml-kem-512 + ml-kem-768`;
  const second = sites(1, ike(twice), ike(twice));
  agree(established(second));
  assert.equal(suiteOf(second.a), `${CLASSICAL} + ml-kem-512 + ml-kem-768`);
});

test('NONE on one side: the exchange is left out, and the answer says so (RFC 9370 §2.2.1)', () => {
  const optional = `${CLASSICAL} + ml-kem-768 | none`;
  for (const [a, b] of [
    [optional, CLASSICAL],
    [CLASSICAL, optional],
  ] as const) {
    const pair = sites(1, ike(a), ike(b));
    const seen = watch(pair);
    agree(established(pair));
    assert.equal(seen.filter((line) => line.includes('IKE_INTERMEDIATE')).length, 0);
    for (const side of [pair.a, pair.b]) assert.equal(suiteOf(side), CLASSICAL);
  }
  const both = sites(1, ike(optional), ike(optional));
  agree(established(both));
  assert.equal(suiteOf(both.b), HYBRID);
});

test('a peer that knows no additional key exchange takes the classical proposal behind', () => {
  const pair = sites(1, ike(HYBRID, CLASSICAL), ike(CLASSICAL));
  agree(established(pair));
  assert.equal(suiteOf(pair.a), CLASSICAL);
});

test('falling back to classical is an event and stands in the view; with nothing to fall back from there is none', () => {
  for (const [a, b, told, postQuantum] of [
    [[HYBRID, CLASSICAL], [CLASSICAL], ['a'], false],
    [[CLASSICAL], [HYBRID, CLASSICAL], ['b'], false],
    [[CLASSICAL], [CLASSICAL], [], false],
    [[HYBRID, CLASSICAL], [HYBRID, CLASSICAL], [], true],
    [
      ['aes-gcm-16-256 / prf-hmac-sha2-256 / ml-kem-512'],
      ['aes-gcm-16-256 / prf-hmac-sha2-256 / ml-kem-512'],
      [],
      true,
    ],
  ] as const) {
    const pair = established(sites(1, ike(...a), ike(...b)));
    const sides = [pair.a, pair.b];
    const tellers = sides.filter(({ reports }) => reports.includes('IKE_CLASSICAL')).map(({ name }) => name);
    assert.deepEqual(tellers, told);
    for (const { gateway } of sides) assert.equal(gateway.tunnels()[0]!.ikeSa!.postQuantum, postQuantum);
  }
});

test('what one side demands and the other has not is a refusal, told with both sides', () => {
  const pair = sites(1, ike(HYBRID), ike(CLASSICAL));
  const id = pair.command(pair.a, 'up', 't');
  pair.run(100_000);
  assert.equal(pair.a.gateway.tunnels()[0]!.state, 'connecting');
  assert.equal(pair.a.outcomes.get(id), 'PEER_REFUSED_PROPOSAL');
  const { detail } = pair.b.gateway.failures()[0]!;
  assert.equal(detail.offered, HYBRID);
  assert.equal(detail.configured, CLASSICAL);
});

/** The initiator's IKE_SA_INIT without its offer of the intermediate exchange: 16438 becomes a number nobody knows. */
function stripped(bytes: Uint8Array): Uint8Array {
  const notify = Buffer.from('0000000800004036', 'hex');
  const at = Buffer.from(bytes).indexOf(notify);
  assert.ok(at > 0);
  return bytes.with(at + 7, 0x99);
}

test('without N(INTERMEDIATE_EXCHANGE_SUPPORTED) nothing additional is chosen, and AUTH finds out who took it away', () => {
  const pair = sites(1, ike(HYBRID, CLASSICAL), ike(HYBRID, CLASSICAL));
  const seen: number[] = [];
  pair.filter = (from, bytes) => {
    const { exchange } = decodeHeader(bytes);
    seen.push(exchange);
    if (from !== pair.a || exchange !== EXCHANGE.IKE_SA_INIT) return true;
    pair.inject(pair.b, stripped(bytes), { local: end(pair.b, 500), remote: end(pair.a, 500) });
    return false;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(500);
  assert.ok(!seen.includes(EXCHANGE.IKE_INTERMEDIATE));
  assert.ok(pair.b.reports.includes('PEER_AUTH_FAILED'), pair.ladder());
});

const secretsOf = (sa: IkeSa): Secrets => {
  assert.ok('secrets' in sa.state, sa.state.name);
  return sa.state.secrets;
};

test('SKEYSEED(1) = prf(SK_d, SK(1) | Ni | Nr), and all keys from it (RFC 9370 §2.2.2)', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  const held: { before?: Secrets; after?: Secrets } = {};
  pair.filter = (from, bytes) => {
    const { exchange, flags } = decodeHeader(bytes);
    if (from === pair.a && exchange === EXCHANGE.IKE_INTERMEDIATE)
      held.before = secretsOf(pair.b.gateway.sas()[0]!);
    if (from === pair.a && exchange === EXCHANGE.IKE_AUTH && !flags.response)
      held.after = secretsOf(pair.b.gateway.sas()[0]!);
    return true;
  };
  established(pair);
  const [before, after] = [held.before!, held.after!];
  const { ni, nr } = before;
  // The simulation's key exchanges: the secret is what `doJob` says.
  const value = (number: number) => {
    const bytes = new Uint8Array(32);
    new DataView(bytes.buffer).setUint32(0, number);
    return bytes;
  };
  const found = Array.from({ length: 5000 }, (_, n) => value(n)).filter((secret) => {
    const seed = skeyseedRekey(provider, 'hmac-sha2-256', before.keys.d, secret, ni, nr);
    const spis = decodeHeader(before.responderMessage);
    const { initiatorSpi, responderSpi } = spis;
    const keys = ikeKeys(provider, {
      prf: 'hmac-sha2-256',
      encryption: { name: 'aes-gcm-16', keyBits: 256 },
      skeyseed: seed,
      ni,
      nr,
      initiatorSpi,
      responderSpi,
    });
    return provider.equal(keys.ei, after.keys.ei) && provider.equal(keys.d, after.keys.d);
  });
  assert.equal(found.length, 1);
  assert.notDeepEqual(skeyseed(provider, 'hmac-sha2-256', ni, nr, found[0]!), before.keys.d);
});

//   IntAuth_i1 = prf(SK_pi1, IntAuth_i1A | IntAuth_i1P)
test('IntAuth is made of the messages as they were on the wire, with both lengths adjusted (RFC 9242 §3.3.2)', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  const wire: Partial<Record<'a' | 'b', Uint8Array>> = {};
  let before: Secrets | undefined;
  pair.filter = (from, bytes) => {
    const { exchange } = decodeHeader(bytes);
    if (exchange === EXCHANGE.IKE_INTERMEDIATE) {
      before ??= secretsOf(pair.b.gateway.sas()[0]!);
      wire[from.name] = bytes;
    }
    return exchange !== EXCHANGE.IKE_AUTH;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(300);
  const covered = (bytes: Uint8Array, key: Uint8Array, skP: Uint8Array) => {
    const plain = provider.open(
      'aes-gcm-16',
      key,
      bytes.subarray(32, 40),
      bytes.subarray(0, 32),
      bytes.subarray(40),
    )!;
    const inner = plain.subarray(0, plain.length - 1 - plain.at(-1)!);
    const octets = Buffer.concat([bytes.subarray(0, 32), inner]);
    octets.writeUInt32BE(32 + inner.length, 24);
    octets.writeUInt16BE(4 + inner.length, 30);
    return provider.prf('hmac-sha2-256', skP, octets);
  };
  const { ei, er, pi, pr } = before!.keys;
  const expected = {
    initiator: covered(wire.a!, ei, pi),
    responder: covered(wire.b!, er, pr),
    exchanges: 1,
  };
  for (const { gateway } of [pair.a, pair.b])
    assert.deepEqual(secretsOf(gateway.sas()[0]!).intAuth, expected);
});

test('lost, repeated and delayed: every intermediate message, one at a time', () => {
  for (const side of ['a', 'b'] as const) {
    for (const fault of ['lost', 'repeated'] as const) {
      const pair = sites(1, ike(HYBRID), ike(HYBRID));
      let hit = 0;
      pair.filter = (from, bytes) => {
        const mine = from.name === side && decodeHeader(bytes).exchange === EXCHANGE.IKE_INTERMEDIATE;
        if (!mine || hit > 0) return true;
        hit++;
        if (fault === 'lost') return false;
        const to = from === pair.a ? pair.b : pair.a;
        const path = { local: end(to), remote: end(from) };
        pair.inject(to, bytes.slice(), path);
        pair.inject(to, bytes.slice(), path);
        return true;
      };
      pair.command(pair.a, 'up', 't');
      pair.run(5000);
      assert.equal(hit, 1);
      agree(pair);
    }
  }
});

const end = ({ address }: Side, port = 4500) => ({ transport: 'udp', address, port }) as const;

test('a repeated IKE_INTERMEDIATE gets the same answer, byte for byte, though the keys have changed', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  const answers: Uint8Array[] = [];
  let request: Uint8Array | undefined;
  pair.filter = (from, bytes) => {
    const { exchange } = decodeHeader(bytes);
    if (exchange === EXCHANGE.IKE_AUTH) return false;
    if (exchange === EXCHANGE.IKE_INTERMEDIATE && from === pair.a) request = bytes;
    if (exchange === EXCHANGE.IKE_INTERMEDIATE && from === pair.b) answers.push(bytes);
    return true;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(300);
  pair.inject(pair.b, request!, { local: end(pair.b), remote: end(pair.a) });
  assert.equal(answers.length, 2);
  assert.deepEqual(answers[0], answers[1]);
});

test('every exchange but the one that is due is not heard before AUTH (CVE-2014-2338)', () => {
  for (const [wait, due] of [
    [EXCHANGE.IKE_INTERMEDIATE, EXCHANGE.IKE_INTERMEDIATE],
    [EXCHANGE.IKE_AUTH, EXCHANGE.IKE_AUTH],
  ]) {
    for (const exchange of Object.values(EXCHANGE)) {
      if (exchange === due || exchange === EXCHANGE.IKE_SA_INIT) continue;
      const pair = sites(1, ike(HYBRID), ike(HYBRID));
      let answered = 0;
      pair.filter = (from, bytes) => {
        if (from === pair.b) answered++;
        return decodeHeader(bytes).exchange !== wait;
      };
      pair.command(pair.a, 'up', 't');
      pair.run(300);
      const [sa] = pair.b.gateway.sas();
      assert.equal(sa!.state.name, 'init-answered');
      answered = 0;
      pair.inject(pair.b, sealed(sa!, exchange, []), { local: end(pair.b), remote: end(pair.a) });
      assert.equal(answered, 0, `exchange ${exchange} was answered`);
      assert.equal(pair.b.gateway.sas()[0]?.state.name, 'init-answered');
    }
  }
});

/** The next request of the initiator, sealed with the keys that the responder holds. */
function sealed(sa: IkeSa, exchange: number, payloads: Payload[]): Uint8Array {
  const { suite, keys } = secretsOf(sa);
  const flags = { initiator: true, response: false, version: false };
  const fields = {
    initiatorSpi: sa.peerSpi,
    responderSpi: sa.spi,
    exchange,
    flags,
    messageId: sa.window.nextReceived,
  };
  return sealMessage(provider, suite, keys, fields, payloads);
}

for (const [name, payloads] of Object.entries({
  'no KE': [],
  'the KE of another method': [{ type: PAYLOAD.KE, critical: false, group: 35, data: new Uint8Array(800) }],
} satisfies Record<string, Payload[]>)) {
  test(`${name} in IKE_INTERMEDIATE: INVALID_SYNTAX, and the half-open SA is gone`, () => {
    const pair = sites(1, ike(HYBRID), ike(HYBRID));
    pair.filter = (_, bytes) => decodeHeader(bytes).exchange !== EXCHANGE.IKE_INTERMEDIATE;
    pair.command(pair.a, 'up', 't');
    pair.run(300);
    const [sa] = pair.b.gateway.sas();
    const request = sealed(sa!, EXCHANGE.IKE_INTERMEDIATE, payloads);
    pair.inject(pair.b, request, { local: end(pair.b), remote: end(pair.a) });
    assert.equal(pair.b.gateway.spis().length, 0);
  });
}

test('half-open SAs in the middle of their exchanges end after 30 seconds', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  pair.filter = (from, bytes) => from === pair.b || decodeHeader(bytes).exchange !== EXCHANGE.IKE_AUTH;
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.equal(pair.b.gateway.spis().length, 1);
  pair.command(pair.a, 'down', 't');
  pair.run(30_000);
  assert.equal(pair.b.gateway.spis().length, 0);
});

test('nobody answers IKE_INTERMEDIATE: told as that, and no private half is left', () => {
  const pair = sites(1, ike(HYBRID), ike(HYBRID));
  pair.filter = (_, bytes) => decodeHeader(bytes).exchange !== EXCHANGE.IKE_INTERMEDIATE;
  const id = pair.command(pair.a, 'up', 't');
  pair.run(100_000);
  assert.equal(pair.a.outcomes.get(id), 'PEER_SILENT_IN_INTERMEDIATE', pair.ladder());
  pair.command(pair.a, 'down', 't');
  pair.run(100);
  assert.deepEqual(pair.handles(), []);
});

test('the rekey of a hybrid IKE SA goes on from its SK_d', () => {
  const pair = established(sites(1, ike(HYBRID), ike(HYBRID)));
  pair.command(pair.a, 'rekey', 't');
  pair.run(2000);
  agree(pair);
});

test('SA_INIT offers each proposal with its own transforms of types 6 to 12', () => {
  const pair = sites(
    1,
    ike(`${CLASSICAL} + ml-kem-768 | ml-kem-1024 + none | x448`, CLASSICAL),
    ike(CLASSICAL),
  );
  let proposals: { type: number; id: number }[][] = [];
  pair.filter = (from, bytes) => {
    const { header, payloads } = decodeMessage(bytes);
    if (from === pair.a && header.exchange === EXCHANGE.IKE_SA_INIT)
      proposals = findPayload(payloads, PAYLOAD.SA)!.proposals.map(({ transforms }) =>
        transforms.filter(({ type }) => type > TRANSFORM.ESN).map(({ type, id }) => ({ type, id })),
      );
    return true;
  };
  established(pair);
  assert.deepEqual(proposals, [
    [
      { type: 6, id: 36 },
      { type: 6, id: 37 },
      { type: 7, id: 0 },
      { type: 7, id: 32 },
    ],
    [],
  ]);
});
