import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Action, Event } from '../../src/ike/boundary.ts';
import { createGateway } from '../../src/ike/gateway.ts';
import { fromText } from './text.ts';

interface Recording {
  /** Randomness drawn before the first event. */
  before: Uint8Array[];
  steps: { event: Event; now: number; random: Uint8Array[]; actions: Action[] }[];
}

function play(recording: Recording): ReturnType<typeof createGateway> {
  const random = [...recording.before, ...recording.steps.flatMap((step) => step.random)];
  const provider = {
    ...createNodeProvider(),
    random(length: number) {
      const next = random.shift();
      assert.equal(next?.length, length, 'randomness is drawn in another order than it was');
      return next;
    },
  };
  const gateway = createGateway({ provider });
  for (const [index, { event, now, actions }] of recording.steps.entries())
    assert.deepEqual(gateway.handle(event, now), actions, `step ${index}, ${event.type}`);
  assert.deepEqual(random, []);
  return gateway;
}

test('a session with strongSwan, recorded: the same randomness and secrets give the same bytes', () => {
  const recording = fromText<Recording>(readFileSync('test/vectors/strongswan-5.9.8.json', 'utf8'));
  const codes = recording.steps.flatMap(({ actions }) =>
    actions.flatMap((action) => (action.type === 'report' ? [action.code] : [])),
  );
  for (const code of ['IKE_ESTABLISHED', 'CHILD_ESTABLISHED', 'CHILD_REKEYED', 'IKE_REKEYED', 'IKE_DELETED'])
    assert.ok((codes as string[]).includes(code), code);
  assert.deepEqual(play(recording).spis(), []);
});
