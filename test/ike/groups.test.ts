// All 65,536 numbers of key exchange methods, in every place that a peer or a stranger can write one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choose, parseTemplate, toProposals } from '../../src/policy/proposal.ts';
import type { Pair } from '../../src/sim/pair.ts';
import {
  decodeHeader,
  decodeMessage,
  encodeMessage,
  findPayload,
  type HeaderFields,
  type Transform,
} from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL, TRANSFORM } from '../../src/wire/numbers.ts';
import { sites } from '../sim/sites.ts';
import { forgedNotify } from './forge.ts';

const NUMBERS = Array.from({ length: 65_536 }, (_, number) => number);
/** x25519 and ecp-256. */
const CONFIGURED = [19, 31];

/** The initiator's IKE_SA_INIT, which does not arrive. */
function firstMessage(pair: Pair): Uint8Array {
  let message: Uint8Array | undefined;
  pair.filter = (_, bytes) => {
    message ??= bytes;
    return false;
  };
  pair.command(pair.a, 'up', 't');
  pair.run(100);
  return message!;
}

const end = (address: string) => ({ transport: 'udp', address, port: 500 }) as const;

function withGroup(bytes: Uint8Array, group: number, serial: number): Uint8Array {
  const { header, payloads } = decodeMessage(bytes);
  const fields: HeaderFields = { ...header, initiatorSpi: (serial + 1).toString(16).padStart(16, '0') };
  const changed = payloads.map((payload) => {
    if (payload.type === PAYLOAD.KE) return { ...payload, group };
    if (payload.type !== PAYLOAD.SA) return payload;
    const [proposal] = payload.proposals;
    const others = proposal!.transforms.filter(({ type }) => type !== TRANSFORM.KE);
    return {
      ...payload,
      proposals: [{ ...proposal!, transforms: [...others, { type: TRANSFORM.KE, id: group }] }],
    };
  });
  return encodeMessage(fields, changed);
}

test('IKE_SA_INIT with every group number: only those of the configuration become an SA', () => {
  const pair = sites();
  const first = firstMessage(pair);
  const path = { local: end(pair.b.address), remote: end(pair.a.address) };
  const taken = NUMBERS.filter((group) => {
    const bytes = withGroup(first, group, group);
    const actions = pair.b.gateway.handle({ type: 'datagram', bytes, ...path }, pair.now());
    return actions.some(({ type }) => type === 'job');
  });
  assert.deepEqual(taken, CONFIGURED);
});

test('INVALID_KE_PAYLOAD with every group number: only another of our own is followed', () => {
  const pair = sites();
  const first = firstMessage(pair);
  const sent: number[] = [];
  pair.filter = (from, bytes) => {
    if (from === pair.a && decodeHeader(bytes).exchange === EXCHANGE.IKE_SA_INIT)
      sent.push(findPayload(decodeMessage(bytes).payloads, PAYLOAD.KE)!.group);
    return false;
  };
  const path = { local: end(pair.a.address), remote: end(pair.b.address) };
  const say = (group: number) =>
    pair.inject(
      pair.a,
      forgedNotify(first, NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(group >> 8, group & 0xff)),
      path,
    );
  for (const group of NUMBERS) if (group !== 19) say(group);
  assert.equal(pair.a.gateway.sas()[0]!.state.name, 'init-sent');
  assert.deepEqual(sent, []);
  say(19);
  pair.run(100);
  assert.deepEqual(sent, [19]);
});

test('every number in an answer, of the first and of each further key exchange: only what was offered is taken', () => {
  const parsed = parseTemplate('aes-gcm-16-256 / prf-hmac-sha2-256 / x25519 + ml-kem-768 | none', 'ike');
  assert.ok(!('complaint' in parsed));
  const [offered] = toProposals([parsed], PROTOCOL.IKE, new Uint8Array(0), { keyExchange: true });
  const one = (type: number, id: number): Transform[] => [
    ...offered!.transforms.filter(
      (transform) => transform.type !== type && transform.type < TRANSFORM.ADDKE1,
    ),
    { type, id },
  ];
  const taken = (type: number) =>
    NUMBERS.filter((id) =>
      choose([parsed], [{ ...offered!, transforms: one(type, id) }], PROTOCOL.IKE, { keyExchange: true }),
    );
  assert.deepEqual(taken(TRANSFORM.KE), [31]);
  assert.deepEqual(taken(TRANSFORM.ADDKE1), [0, 36]);
  for (let type: number = TRANSFORM.ADDKE2; type <= TRANSFORM.ADDKE7; type++)
    assert.deepEqual(taken(type), [0]);
});
