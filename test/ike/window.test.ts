// Message ids, retransmission and repeated answers, one call at a time (RFC 7296 §2.1 to §2.4).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Action } from '../../src/ike/boundary.ts';
import type { Context } from '../../src/ike/context.ts';
import type { Protection } from '../../src/ike/protect.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { notifyPayload } from '../../src/ike/v2/payloads.ts';
import {
  DOUBT,
  isSilent,
  repeatAnswer,
  retransmit,
  send,
  sendRequest,
  sendResponse,
} from '../../src/ike/window.ts';
import { decodeMessage } from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';

const NOTHING = [notifyPayload(16384)];
const [OURS, PEERS] = ['0102030405060708', '1112131415161718'];
const LOCAL = { transport: 'udp', address: '192.0.2.1', port: 500 } as const;
const REMOTE = { transport: 'udp', address: '192.0.2.2', port: 500 } as const;

/** Two random bytes that are the middle of what jitter may be. */
const MIDDLE = Uint8Array.of(0x80, 0);

interface World {
  context: Context & { actions: Action[] };
  sa: IkeSa;
}

function world(changes: Partial<IkeSa> = {}, retransmission?: object): World {
  const tunnel = retransmission && { tunnel: { retransmit: retransmission } };
  const context = {
    now: 1000,
    provider: { random: () => MIDDLE },
    actions: [],
    drops: {},
    held: { bytes: 0, bySa: new Map() },
    tunnels: { get: (name: string) => (name === 't' ? tunnel : undefined), peek: () => tunnel },
  } as unknown as World['context'];
  const sa = {
    spi: OURS,
    peerSpi: PEERS,
    initiator: true,
    candidates: ['t'],
    local: LOCAL,
    remote: REMOTE,
    window: { nextRequest: 3, nextReceived: 5 },
    state: { name: 'established', lastSent: 0 },
    ...changes,
  } as unknown as IkeSa;
  return { context, sa };
}

const sentBy = ({ context }: World) =>
  context.actions.splice(0).map((action) => (action.type === 'send' ? action : assert.fail(action.type)));

test('a request takes the next id, is kept, and is due again after the first interval', () => {
  const it = world();
  const bytes = sendRequest(it.context, it.sa, 37, NOTHING);
  assert.deepEqual(it.sa.window.sent, { id: 3, bytes, sends: 1, due: 1500 });
  assert.equal(it.sa.window.nextRequest, 4);
  const [only, ...more] = sentBy(it);
  assert.deepEqual(only, { type: 'send', bytes, local: LOCAL, remote: REMOTE });
  assert.equal(more.length, 0);
  const { header, payloads } = decodeMessage(bytes);
  assert.deepEqual(header.flags, { initiator: true, response: false, version: false });
  assert.deepEqual([header.exchange, header.messageId, payloads.length], [37, 3, 1]);
});

test('SPIs and the initiator flag are those of the first message of the SA (RFC 7296 §3.1)', () => {
  for (const initiator of [true, false]) {
    const it = world({ initiator });
    const { header } = decodeMessage(sendRequest(it.context, it.sa, 37, NOTHING));
    assert.deepEqual([header.initiatorSpi, header.responderSpi], initiator ? [OURS, PEERS] : [PEERS, OURS]);
    assert.equal(header.flags.initiator, initiator);
  }
});

test('a response has the id of its request and is kept; then the next request is expected', () => {
  const it = world();
  const bytes = sendResponse(it.context, it.sa, 37, 5, NOTHING);
  assert.deepEqual(it.sa.window.answered, { id: 5, bytes });
  assert.equal(it.sa.window.nextReceived, 6);
  assert.equal(it.sa.window.nextRequest, 3);
  const { header } = decodeMessage(bytes);
  assert.deepEqual([header.messageId, header.flags.response], [5, true]);
  assert.deepEqual(
    sentBy(it).map((action) => action.bytes),
    [bytes],
  );
});

test('an answer is repeated byte for byte, and counted; where there is none nothing is sent', () => {
  const it = world();
  repeatAnswer(it.context, it.sa);
  assert.equal(sentBy(it).length, 0);
  const bytes = sendResponse(it.context, it.sa, 37, 5, NOTHING);
  sentBy(it);
  for (const times of [1, 2, 3]) {
    repeatAnswer(it.context, it.sa);
    assert.deepEqual(
      sentBy(it).map((action) => action.bytes),
      [bytes],
    );
    assert.equal(it.sa.window.answered!.repeats, times);
  }
});

test('without a tunnel: twelve transmissions, half a second first, each half as long again, at most 16 s', () => {
  const it = world({ candidates: [] });
  const bytes = sendRequest(it.context, it.sa, 37, NOTHING);
  const waits = [it.sa.window.sent!.due - it.context.now];
  while (retransmit(it.context, it.sa)) waits.push(it.sa.window.sent!.due - it.context.now);
  const expected = Array.from({ length: 12 }, (_, n) => Math.min(500 * 1.5 ** n, 16_000));
  assert.equal(waits.length, 12);
  for (const [n, wait] of waits.entries()) assert.ok(Math.abs(wait - expected[n]!) <= 1, `${n}: ${wait}`);
  assert.equal(it.sa.window.sent!.sends, 12);
  const sent = sentBy(it);
  assert.equal(sent.length, 12);
  for (const action of sent) assert.deepEqual(action.bytes, bytes);
});

test('the default may be a tenth earlier or later', () => {
  for (const [bytes, due] of [
    [[0, 0], 450],
    [[0xff, 0xff], 550],
  ] as const) {
    const it = world({ candidates: [] });
    it.context.provider.random = () => Uint8Array.from(bytes);
    sendRequest(it.context, it.sa, 37, NOTHING);
    assert.equal(it.sa.window.sent!.due - it.context.now, due);
  }
});

test('a tunnel has its own intervals', () => {
  const it = world({}, { first: 100, factor: 3, cap: 400, sends: 4, jitter: 0 });
  sendRequest(it.context, it.sa, 37, NOTHING);
  const waits = [it.sa.window.sent!.due - it.context.now];
  while (retransmit(it.context, it.sa)) waits.push(it.sa.window.sent!.due - it.context.now);
  assert.deepEqual(waits, [100, 300, 400, 400]);
});

test('nothing under way is nothing to repeat, and no failure', () => {
  const it = world();
  assert.equal(retransmit(it.context, it.sa), true);
  assert.equal(sentBy(it).length, 0);
});

test('silent: five transmissions without an answer, or a request that cannot be answered any more', () => {
  const silent = (sent?: object) =>
    isSilent(world({ window: { nextRequest: 0, nextReceived: 0, ...(sent ? { sent } : {}) } as never }).sa);
  assert.equal(DOUBT, 5);
  assert.equal(silent(), false);
  assert.equal(silent({ sends: 4 }), false);
  assert.equal(silent({ sends: 5 }), true);
  assert.equal(silent({ sends: 6 }), true);
  assert.equal(silent({ sends: 1, lost: true }), true);
  assert.equal(silent({ sends: 1, lost: false }), false);
});

test('what is sent is noted where the SA is established, for keepalives', () => {
  const it = world();
  send(it.context, it.sa, Uint8Array.of(0xff));
  assert.ok(it.sa.state.name === 'established' && it.sa.state.lastSent === 1000);
  const other = world({ state: { name: 'deleted' } });
  send(other.context, other.sa, Uint8Array.of(0xff));
  assert.deepEqual(other.sa.state, { name: 'deleted' });
});

test('a response ends the gathering of its request', () => {
  const it = world();
  it.sa.window.assembly = { total: 2, parts: [null, null], missing: 2, bytes: 0 } as never;
  sendResponse(it.context, it.sa, 37, 5, NOTHING);
  assert.equal(it.sa.window.assembly, undefined);
});

const KEY = new Uint8Array(36).fill(1);
const PROTECTION = {
  suite: { encryption: { name: 'aes-gcm-16', keyBits: 256 }, prf: 'hmac-sha2-256' },
  keys: { ei: KEY, er: KEY, ai: KEY, ar: KEY, pi: KEY, pr: KEY, d: KEY },
} as unknown as Protection;
/** Two fragments of 1280 bytes, four of 576. */
const LARGE = [notifyPayload(16384, new Uint8Array(1800))];

function fragmenting(state: object): World {
  const it = world({ fragmentSize: 1280, state } as never, {
    first: 100,
    factor: 1,
    cap: 100,
    sends: 12,
    jitter: 0,
  });
  it.context.provider = createNodeProvider();
  return it;
}

test('with keys a message is sealed, and cut where it is too large', () => {
  const it = fragmenting({ name: 'established', ...PROTECTION });
  sendRequest(it.context, it.sa, 37, NOTHING, PROTECTION);
  const [small] = sentBy(it);
  assert.equal(decodeMessage(small!.bytes).payloads[0]!.type, PAYLOAD.SK);
  sendRequest(it.context, it.sa, 37, LARGE, PROTECTION);
  assert.equal(sentBy(it).length, 2);
});

test('what is too large for the path is cut smaller, unless a part of the answer is here (RFC 7383 §2.5.2)', () => {
  for (const [assembly, expected] of [
    [undefined, 4],
    [{}, 2],
  ] as const) {
    const it = fragmenting({ name: 'established', ...PROTECTION });
    sendRequest(it.context, it.sa, 37, LARGE, PROTECTION);
    if (assembly) it.sa.window.sent!.assembly = assembly as never;
    for (let n = 0; n < 5; n++) retransmit(it.context, it.sa);
    sentBy(it);
    retransmit(it.context, it.sa);
    assert.equal(sentBy(it).length, expected);
  }
});

test('an answer is cut smaller with the keys that it was sealed with', () => {
  const it = fragmenting({ name: 'deleted' });
  sendResponse(it.context, it.sa, 37, 5, LARGE, PROTECTION);
  it.sa.window.answered!.protection = PROTECTION;
  assert.equal(sentBy(it).length, 2);
  for (let n = 0; n < 5; n++) repeatAnswer(it.context, it.sa);
  sentBy(it);
  repeatAnswer(it.context, it.sa);
  assert.equal(sentBy(it).length, 4);
});
