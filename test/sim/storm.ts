// A tunnel in bad weather, by the thousand: whatever was lost, late, doubled or refused, both sides agree in the end.

import assert from 'node:assert/strict';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { CALM, type Pair, type Weather } from '../../src/sim/pair.ts';
import { agree, sites } from './sites.ts';

/** Delays far apart reorder; work may come later than a retransmission. */
const STORM: Weather = {
  loss: 0.3,
  duplicate: 0.1,
  delay: [1, 400],
  work: [0, 900],
  refuse: 0.1,
  fail: 0.05,
};

/** The reference does all, and lets packets wait besides. */
const WAITS = { ...createMemoryPlane(createNodeProvider()).capabilities, expects: true };

export function weatherTheStorm(seed: number, a: Partial<Tunnel> = {}, b: Partial<Tunnel> = {}): void {
  // Every fourth: both sides begin at once. Of sixteen, eight: the first rekey is rehearsed.
  const rehearsal = (seed & 8) !== 0;
  const both = { start: 'now', rehearsal } as const;
  // Of 32, sixteen: packets may wait for their SA.
  const options = (seed & 16) !== 0 ? { a: { capabilities: WAITS }, b: { capabilities: WAITS } } : {};
  const pair = sites(seed, { ...both, ...a }, { ...(seed % 4 === 0 ? both : { rehearsal }), ...b }, options);
  pair.weather = STORM;
  try {
    pair.run(60_000);
    rekeyBoth(pair, seed);
    pair.run(60_000);
    pair.weather = CALM;
    pair.run(200_000);
    assert.equal(pair.a.gateway.tunnels()[0]!.state, 'established');
    agree(pair);
    for (const { expected } of [pair.a, pair.b]) assert.deepEqual([...expected], []);
    for (const { gateway } of [pair.a, pair.b]) assert.equal(gateway.spis().length, 1, 'one IKE SA');
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${pair.ladder()}`);
  }
}

/** Every collision there is: both children, both IKE SAs, or one of each. */
function rekeyBoth(pair: Pair, seed: number): void {
  const [a, b] = [seed & 1 ? 'net' : undefined, seed & 2 ? 'net' : undefined];
  pair.command(pair.a, 'rekey', 't', a);
  pair.run((seed >> 2) % 3000);
  pair.command(pair.b, 'rekey', 't', b);
}
