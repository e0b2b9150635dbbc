// The engine's replay window, packet by packet, against the steps that the reference passed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createEngine, type Engine } from '../../src/dataplane/engine.ts';
import { loadAddon, type Plane } from '../../src/native.ts';
import { policy } from './packets.ts';
import { replayPacket, replaySa } from './replay.ts';
import { type JudgedStep, REPLAY_SAS, type ReplaySa, replaySteps } from './replay-model.ts';

const PACKETS = 100_000;
const provider = createNodeProvider();
const addon = loadAddon();

for (const protocol of ['esp', 'ah'] as const) {
  test(`${PACKETS} packets of ${protocol.toUpperCase()} in windows of 32 to 4096: the engine judges as the model`, async () => {
    const life = Math.ceil(PACKETS / REPLAY_SAS.length);
    for (const [index, sa] of REPLAY_SAS.entries()) {
      const plane = addon.create(1, 0);
      const engine = createEngine(addon, plane);
      await judge(plane, engine, protocol, sa, [...replaySteps(sa, 1000 + index, life)]);
    }
  });
}

async function judge(
  plane: Plane,
  engine: Engine,
  protocol: 'esp' | 'ah',
  { esn, window }: ReplaySa,
  steps: readonly JudgedStep[],
): Promise<void> {
  const sa = replaySa(protocol, esn, window);
  await engine.apply([
    { type: 'add-policy', policy: policy('t/net') },
    { type: 'add-inbound', sa: { ...sa, direction: 'in' } },
  ]);
  for (const step of steps) {
    const isTaken = addon.inboundPackets(plane, [replayPacket(provider, sa, step)]).length > 0;
    const what = `window ${window}, ${esn ? 'extended, ' : ''}${step.number}`;
    assert.equal(isTaken, step.verdict === 'taken', what);
  }
  const expected = (verdict: string) => BigInt(steps.filter((step) => step.verdict === verdict).length);
  const { drops, sas } = await engine.snapshot();
  assert.deepEqual(
    [sas[0]!.packets, drops['inbound-replay'], drops['inbound-authentication']],
    ['taken', 'replay', 'authentication'].map(expected),
  );
}
