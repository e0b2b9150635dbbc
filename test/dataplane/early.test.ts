// Packets that come before their SA, in the engine (RFC 7296 §2.8): how many wait, how long, and in which order they arrive.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { packetsOf, plainFrame } from '../../src/dataplane/offload.ts';
import type { Change, SaParameters } from '../../src/policy/sad.ts';
import { bytesFrom, hostPacket, inboundOf, outboundAh, outboundSa, policy, seeded } from './packets.ts';
import { createTwo, framesOf, framesOfPackets, PEER, type Two } from './two.ts';

const GCM = { encryption: 'aes-gcm-16', keyBits: 128 } as const;
const SPI = 1000;
const ESP = outboundSa(SPI, GCM, { replayWindow: 1024 });
const expected: Change = { type: 'expect-inbound', spi: SPI };

const added = (sa: SaParameters): Change => ({ type: 'add-inbound', sa: inboundOf(sa) });

/** Packets of UDP, no two alike, and what the engine makes of them. */
async function sealed(two: Two, sa: SaParameters, count: number, payload = 100) {
  const { engine, addon, plane } = two;
  await engine.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-outbound', sa },
    { type: 'use-outbound', policy: 't/net', spi: sa.spi, remote: PEER },
  ]);
  const random = seeded(sa.spi);
  const packets = Array.from({ length: count }, (_, id) =>
    hostPacket({ family: 4, protocol: 17, port: 1000 + id }, id, udpOf(bytesFrom(random, payload))),
  );
  const made = packets.map((packet) => addon.outbound(plane, [plainFrame(packet)], 0)[0] as Uint8Array);
  return { packets, made };
}

function udpOf(payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  new DataView(datagram.buffer).setUint16(4, datagram.length);
  datagram.set(payload, 8);
  return datagram;
}

const inner = (frames: Uint8Array[]) => frames.flatMap((frame) => packetsOf(frame) ?? []);
const dropsOf = async ({ engine }: Two) => (await engine.snapshot()).drops;

test('what waited arrives in order, before what comes next', async () => {
  const two = createTwo();
  const { packets, made } = await sealed(two, ESP, 5);
  await two.engine.apply([expected]);
  assert.deepEqual(framesOf(two, made.slice(0, 2), 0), []);
  assert.deepEqual(framesOf(two, made.slice(2, 4), 0), []);
  await two.engine.apply([added(ESP)]);
  assert.deepEqual(inner(framesOf(two, made.slice(4), 0)), packets);
  assert.deepEqual(await dropsOf(two), {});
});

test('AH waits with the header that it came with', async () => {
  const two = createTwo();
  const ah = outboundAh(SPI, 'hmac-sha2-256-128');
  const { packets, made } = await sealed(two, ah, 3);
  await two.engine.apply([expected]);
  assert.deepEqual(framesOfPackets(two, made), []);
  await two.engine.apply([added(ah)]);
  assert.deepEqual(inner(framesOfPackets(two, [])), packets);
});

test('64 packets of an SPI wait, and 128 KB; the others are counted', async () => {
  for (const [payload, fit] of [
    [100, 64],
    [4000, 31],
  ] as const) {
    const two = createTwo();
    const { packets, made } = await sealed(two, ESP, 70, payload);
    await two.engine.apply([expected]);
    framesOf(two, made, 0);
    await two.engine.apply([added(ESP)]);
    const arrived = inner(framesOf(two, [], 0));
    assert.ok(arrived.length <= fit && arrived.length >= fit - 1, `${arrived.length} of ${payload} bytes`);
    assert.deepEqual(arrived, packets.slice(0, arrived.length));
    assert.deepEqual(await dropsOf(two), { 'inbound-early': BigInt(70 - arrived.length) });
  }
});

test('a megabyte waits in all, and its room is free again afterwards', async () => {
  const two = createTwo();
  const { packets, made } = await sealed(two, ESP, 25, 5000);
  const spis = Array.from({ length: 16 }, (_, index) => 2000 + index);
  const renamed = (spi: number) =>
    made.map((esp) => {
      const copy = esp.slice();
      new DataView(copy.buffer).setUint32(0, spi);
      return copy;
    });
  for (let round = 0; round < 2; round++) {
    await two.engine.apply(spis.map((spi) => ({ type: 'expect-inbound', spi })));
    for (const spi of spis) framesOf(two, renamed(spi), 0);
    const dropped = Number((await dropsOf(two))['inbound-early']) - 400 * round;
    assert.ok(dropped >= 196 && dropped <= 200, `${dropped} of 400 packets of 5 KB`);
    await two.engine.apply(spis.map((spi) => ({ type: 'forget-inbound', spi })));
    assert.deepEqual(await dropsOf(two), { 'inbound-early': 400n * BigInt(round + 1) });
  }
  await two.engine.apply([expected]);
  framesOf(two, made, 0);
  await two.engine.apply([added(ESP)]);
  assert.deepEqual(inner(framesOf(two, [], 0)), packets);
});

test('what waited for more than two seconds is dropped, whether its SA came or not', async () => {
  const two = createTwo();
  const { packets, made } = await sealed(two, ESP, 66);
  await two.engine.apply([expected]);
  framesOf(two, made.slice(0, 64), 0);
  await sleep(2100);
  // The old ones make room.
  framesOf(two, made.slice(64, 65), 0);
  await two.engine.apply([added(ESP)]);
  assert.deepEqual(inner(framesOf(two, made.slice(65), 0)), packets.slice(64));
  assert.deepEqual(await dropsOf(two), { 'inbound-early': 64n });
});

test('a packet of an SPI that nobody expects does not wait', async () => {
  const two = createTwo();
  const { made } = await sealed(two, ESP, 1);
  await two.engine.apply([{ type: 'expect-inbound', spi: SPI + 1 }]);
  framesOf(two, made, 0);
  await two.engine.apply([added(ESP)]);
  assert.deepEqual(framesOf(two, [], 0), []);
  assert.deepEqual(await dropsOf(two), { 'inbound-unknown-spi': 1n });
});

test('an SA that is refused, or there already, leaves nothing waiting', async () => {
  const two = createTwo();
  const { made } = await sealed(two, ESP, 1);
  const other = outboundSa(SPI, { encryption: 'aes-gcm-16', keyBits: 256 });
  await two.engine.apply([added(other), expected]);
  await assert.rejects(two.engine.apply([added(ESP)]), { reason: 'exists' });
  await two.engine.apply([{ type: 'remove', direction: 'in', spi: SPI }, expected]);
  framesOf(two, made, 0);
  const broken = { ...ESP, encryption: { ...ESP.encryption!, key: new Uint8Array(3) } };
  await assert.rejects(two.engine.apply([added(broken)]), { reason: 'refused' });
  assert.deepEqual(await dropsOf(two), { 'inbound-early': 1n });
});
