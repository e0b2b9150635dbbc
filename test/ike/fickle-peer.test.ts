// A peer that changes its mind between messages: other proposals, another identity, another group in the retry or in the
// answer. It is told or overheard; nothing loops, nothing is made twice, and what stands stays.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { openMessage, protectionOf, sealInner } from '../../src/ike/protect.ts';
import { type Side, sendPacket } from '../../src/sim/pair.ts';
import {
  decodeMessage,
  encodeMessage,
  encodePayloads,
  findNotify,
  findPayload,
  type Payload,
} from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD } from '../../src/wire/numbers.ts';
import { agree, established, sites, tunnel } from '../sim/sites.ts';
import { endpoint, later, rewriting, run } from './rewriting.ts';

const provider = createNodeProvider();
const [X25519, ECP_256] = [31, 19];
const [template] = tunnel('a').ike.proposals;
const bothGroups = {
  proposals: [{ ...template!, keyExchange: ['x25519', 'ecp-256'] as const }],
  lifetime: 14_400_000,
};
/** Children and IKE SAs may have either group. */
const EITHER = {
  ike: bothGroups as unknown as ReturnType<typeof tunnel>['ike'],
  children: tunnel('a').children.map((child) => ({
    ...child,
    proposals: child.proposals.map((one) => ({
      ...one,
      keyExchange: ['x25519' as const, 'ecp-256' as const],
    })),
  })),
};
const eitherAt = (side: 'a' | 'b') => ({
  ...EITHER,
  children: EITHER.children.map((child) => ({ ...child, selectors: tunnel(side).children[0]!.selectors })),
});

function groupNotify(group: number): Payload[] {
  const data = Uint8Array.of(group >> 8, group & 0xff);
  return [
    {
      type: PAYLOAD.N,
      critical: false,
      protocol: 0,
      spi: new Uint8Array(0),
      notifyType: NOTIFY.INVALID_KE_PAYLOAD,
      data,
    },
  ];
}

const codes = (side: Side) => side.gateway.failures().map(({ code }) => code);

test('another group in every answer to IKE_SA_INIT: five requests at most, then only repetitions', () => {
  const pair = sites(1, EITHER, eitherAt('b'));
  const publics = new Set<string>();
  pair.filter = (from, bytes) => {
    if (from.name !== 'a') return false;
    const { payloads, header } = decodeMessage(bytes);
    const ke = findPayload(payloads, PAYLOAD.KE)!;
    publics.add(`${ke.group} ${ke.data.join()}`);
    const flags = { initiator: false, response: true, version: false };
    const answer = encodeMessage({ ...header, flags }, groupNotify(ke.group === X25519 ? ECP_256 : X25519));
    later(pair, () => pair.inject(pair.a, answer, { local: endpoint(pair.a), remote: endpoint(pair.b) }));
    return false;
  };
  pair.command(pair.a, 'up', 't');
  run(pair, 30_000);
  assert.equal(publics.size, 5);
  assert.ok(pair.a.gateway.spis().length <= 1);
});

test('IKE_SA_INIT again with other contents under the same SPI: the answer is the first one, and nothing is made', () => {
  const pair = sites();
  const inits: Uint8Array[] = [];
  const answers: Uint8Array[] = [];
  pair.filter = (from, bytes) => {
    const { exchange } = decodeMessage(bytes).header;
    if (exchange === EXCHANGE.IKE_SA_INIT) (from.name === 'a' ? inits : answers).push(bytes);
    return exchange === EXCHANGE.IKE_SA_INIT && (from.name === 'a' || answers.length > 1);
  };
  pair.command(pair.a, 'up', 't');
  pair.run(100);
  const { header, payloads } = decodeMessage(inits[0]!);
  const other = payloads.map((one) =>
    one.type === PAYLOAD.Nonce ? { ...one, data: new Uint8Array(32).fill(9) } : one,
  );
  const path = { local: endpoint(pair.b), remote: endpoint(pair.a) };
  pair.inject(pair.b, encodeMessage(header, other), path);
  pair.inject(pair.b, encodeMessage(header, other.slice(0, -1)), path);
  assert.equal(answers.length, 3);
  assert.ok(answers.every((answer) => Buffer.compare(answer, answers[0]!) === 0));
  assert.equal(pair.b.gateway.spis().length, 1);
});

test('after a refusal of the group another proposal, another group, for ever: each is answered, nothing is kept', () => {
  const pair = sites();
  pair.filter = (from) => from.name === 'a';
  const caught: Uint8Array[] = [];
  pair.command(pair.a, 'up', 't');
  pair.filter = (from, bytes) => {
    if (from.name === 'a') caught.push(bytes);
    return false;
  };
  pair.run(10);
  const { header, payloads } = decodeMessage(caught[0]!);
  let answered = 0;
  pair.filter = () => {
    answered++;
    return false;
  };
  for (let i = 0; i < 1000; i++) {
    const changed = payloads.map((one) =>
      one.type === PAYLOAD.KE ? { ...one, group: 1 + (i % 18), data: new Uint8Array(32 + (i % 7)) } : one,
    );
    pair.inject(pair.b, encodeMessage(header, changed), {
      local: endpoint(pair.b),
      remote: endpoint(pair.a),
    });
  }
  assert.equal(answered, 1000);
  assert.equal(pair.b.gateway.spis().length, 0);
});

test('IKE_AUTH again under another identity: the first is answered, the second brings that answer again', () => {
  const pair = sites();
  let stranger: Uint8Array | undefined;
  let answers = 0;
  pair.filter = (from, bytes) => {
    const { header } = decodeMessage(bytes);
    if (header.exchange !== EXCHANGE.IKE_AUTH) return true;
    if (from.name === 'b') return answers++ < 1;
    const sa = from.gateway.sas()[0]!;
    const protection = protectionOf(sa)!;
    const payloads = openMessage(provider, protection, bytes)!.map((one) =>
      one.type === PAYLOAD.IDi ? { ...one, data: Uint8Array.of(203, 0, 113, 77) } : one,
    );
    stranger ??= sealInner(provider, protection, header, encodePayloads(payloads));
    return true;
  };
  established(pair);
  const [sa] = pair.b.gateway.sas();
  pair.inject(pair.b, stranger!, { local: sa!.local, remote: sa!.remote });
  assert.equal(answers, 2);
  assert.deepEqual(codes(pair.b), []);
  agree(pair);
});

test('the answer to IKE_AUTH calls itself otherwise than it was asked: told, and no child is made', () => {
  const pair = sites();
  rewriting(pair, pair.b, EXCHANGE.IKE_AUTH, (payloads) =>
    payloads.map((one) => (one.type === PAYLOAD.IDr ? { ...one, data: Uint8Array.of(203, 0, 113, 7) } : one)),
  );
  pair.command(pair.a, 'up', 't');
  run(pair, 500);
  assert.ok(codes(pair.a).includes('PEER_WRONG_IDENTITY'));
  assert.equal(pair.a.inbound.size + pair.a.outbound.size, 0);
});

for (const [what, change] of [
  ['a proposal that was never offered', (one: Payload) => withTransform(one, 1, 12)],
  ['no proposal', (one: Payload) => (one.type === PAYLOAD.SA ? { ...one, proposals: [] } : one)],
  ['networks that were never asked for', (one: Payload) => withRange(one)],
] as const) {
  test(`the answer to IKE_AUTH has ${what}: the child is refused with a reason, the IKE SA stays`, () => {
    const pair = sites();
    rewriting(pair, pair.b, EXCHANGE.IKE_AUTH, (payloads) => payloads.map(change));
    const up = pair.command(pair.a, 'up', 't');
    run(pair, 500);
    assert.equal(pair.a.outcomes.get(up), 'PEER_ERROR', pair.ladder());
    assert.equal(pair.a.inbound.size, 0);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
  });

  test(`the answer to a rekey has ${what}: told, and the old child goes on`, () => {
    const pair = established(sites());
    rewriting(pair, pair.b, EXCHANGE.CREATE_CHILD_SA, (payloads, { header }) =>
      header.flags.response ? payloads.map(change) : undefined,
    );
    const rekey = pair.command(pair.a, 'rekey', 't', 'net');
    run(pair, 2000);
    assert.notEqual(pair.a.outcomes.get(rekey), 'OK');
    assert.ok(codes(pair.a).length > 0);
    pair.filter = () => true;
    run(pair, 20_000);
    agree(pair);
  });
}

function withTransform(payload: Payload, type: number, id: number): Payload {
  if (payload.type !== PAYLOAD.SA) return payload;
  const proposals = payload.proposals.map((proposal) => ({
    ...proposal,
    transforms: proposal.transforms.map((one) => (one.type === type ? { ...one, id } : one)),
  }));
  return { ...payload, proposals };
}

function withRange(payload: Payload): Payload {
  if (payload.type !== PAYLOAD.TSi && payload.type !== PAYLOAD.TSr) return payload;
  const whole = {
    tsType: 7,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    start: '172.16.0.0',
    end: '172.16.0.255',
  };
  return { ...payload, selectors: [whole] };
}

for (const what of ['net', undefined] as const) {
  const name = what === undefined ? 'the IKE SA' : 'a child';

  test(`a rekey of ${name}: another group is followed once, then it is a refusal, and what stands stays`, () => {
    const pair = established(sites(1, eitherAt('a'), eitherAt('b')));
    const requests: number[] = [];
    rewriting(pair, pair.b, EXCHANGE.CREATE_CHILD_SA, () =>
      groupNotify(requests.length % 2 === 0 ? X25519 : ECP_256),
    );
    const { filter } = pair;
    pair.filter = (from, bytes, count) => {
      const asked = from.name === 'a' && decodeMessage(bytes).header.exchange === EXCHANGE.CREATE_CHILD_SA;
      if (asked) requests.push(count);
      return filter(from, bytes, count);
    };
    const rekey = pair.command(pair.a, 'rekey', 't', what);
    run(pair, 900);
    assert.equal(pair.a.outcomes.get(rekey), 'PEER_ERROR', pair.ladder());
    assert.equal(requests.length, 2);
    pair.filter = () => true;
    run(pair, 200_000);
    // What the peer made and denied is its own to clear away.
    for (const side of [pair.a, pair.b])
      assert.equal(sendPacket(pair, side, 't/net'), 'received', pair.ladder());
  });

  test(`a rekey of ${name} answered in another group than that of our public value: told, nothing is computed`, () => {
    const pair = established(sites(1, eitherAt('a'), eitherAt('b')));
    rewriting(pair, pair.b, EXCHANGE.CREATE_CHILD_SA, (payloads, { header }) =>
      header.flags.response && findPayload(payloads, PAYLOAD.KE)
        ? payloads
            .map((one) => (one.type === PAYLOAD.KE ? { ...one, group: ECP_256 } : one))
            .map((one) => withTransform(one, 4, ECP_256))
        : undefined,
    );
    const rekey = pair.command(pair.a, 'rekey', 't', what);
    run(pair, 500);
    assert.equal(pair.a.outcomes.get(rekey), 'PEER_ERROR', pair.ladder());
    assert.ok(codes(pair.a).includes('PEER_ERROR'));
    pair.filter = () => true;
    run(pair, 200_000);
    agree(pair);
  });
}

test('CREATE_CHILD_SA again under the same number with other contents: the same answer, and no second child', () => {
  const pair = established(sites());
  let request: Uint8Array | undefined;
  const answers: Uint8Array[] = [];
  pair.filter = (from, bytes) => {
    if (decodeMessage(bytes).header.exchange !== EXCHANGE.CREATE_CHILD_SA) return true;
    if (from.name === 'a') request ??= bytes;
    else answers.push(bytes);
    return true;
  };
  const [before] = pair.a.gateway.sas();
  pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(15);
  const protection = protectionOf(before!)!;
  const payloads = openMessage(provider, protection, request!)!;
  assert.ok(findNotify(payloads, NOTIFY.REKEY_SA));
  const other = sealInner(
    provider,
    protection,
    decodeMessage(request!).header,
    encodePayloads(payloads.map(withRange)),
  );
  const [sa] = pair.b.gateway.sas();
  pair.inject(pair.b, other, { local: sa!.local, remote: sa!.remote });
  assert.equal(answers.length, 2);
  assert.deepEqual(answers[1], answers[0]);
  pair.run(5000);
  agree(pair);
});
