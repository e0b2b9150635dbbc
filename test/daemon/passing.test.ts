import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChildProof, whyNotPassing } from '../../src/daemon/passing.ts';
import type { ProbeStatus } from '../../src/daemon/probes.ts';

const flow = (age?: number) => ({ packets: 1, bytes: 100, ...(age === undefined ? {} : { age }) });

function proof(changed: Partial<ChildProof> = {}): ChildProof {
  return { into: flow(), out: flow(), local: ['10.1.0.0/16'], up: 60_000, heard: 1000, ...changed };
}

function probe(changed: Partial<ProbeStatus> = {}): ProbeStatus {
  const common = { to: '10.2.0.1', from: '10.1.0.1', every: 1000, sent: 30, answered: 0 };
  return { ...common, verdict: 'waiting', ...changed };
}

const rows: [string, Partial<ChildProof>, string, RegExp | undefined][] = [
  ['nothing came, nothing went, no probe', {}, 'negotiated', /no packet .* probe: \{ to: ADDRESS \}/],
  ['both ways', { into: flow(10), out: flow(5) }, 'passing', undefined],
  [
    'both ways, hours ago, the tunnel never broke',
    { into: flow(5e6), out: flow(5e6), up: 6e6 },
    'passing',
    undefined,
  ],
  [
    'both ways, before the tunnel broke and came back',
    { into: flow(70_000), out: flow(70_000) },
    'negotiated',
    /yet/,
  ],
  [
    'both ways before, and the gateway answers nothing any more',
    { into: flow(9000), out: flow(5), heard: 9000, unanswered: 6 },
    'degraded',
    /has left 6 transmissions unanswered, and nothing has come from it for 9\.0 s/,
  ],
  [
    'IKE unanswered, and packets come',
    { into: flow(5), out: flow(5), heard: 5, unanswered: 6 },
    'passing',
    undefined,
  ],
  ['only out', { out: flow(5) }, 'degraded', /firewall or a missing route on the other side/],
  ['only in', { into: flow(5) }, 'degraded', /missing route on this side/],
  ['an answered probe', { probe: probe({ verdict: 'answered' }) }, 'passing', undefined],
  [
    'the first probe is under way',
    { out: flow(5), probe: probe({ sent: 1 }) },
    'negotiated',
    /first answer is due/,
  ],
  [
    'nowhere to probe from',
    { probe: { to: '10.2.0.1', every: 1000, sent: 0, answered: 0, verdict: 'waiting' } },
    'negotiated',
    /this gateway has no address inside 10\.1\.0\.0\/16/,
  ],
  [
    'the address to probe from is not there',
    { probe: { to: '10.2.0.1', lacks: '10.1.0.9', every: 1000, sent: 0, answered: 0, verdict: 'waiting' } },
    'negotiated',
    /10\.1\.0\.9, to probe 10\.2\.0\.1 from, is no address of this gateway/,
  ],
  [
    'never answered, its gateway lives',
    { out: flow(5), probe: probe({ verdict: 'lost' }) },
    'negotiated',
    /10\.2\.0\.1 has never answered; the other gateway has spoken since, so look behind it/,
  ],
  [
    'no more answers, the gateway silent as well',
    { into: flow(3900), out: flow(5), heard: 90_000, probe: probe({ verdict: 'lost', age: 3900 }) },
    'degraded',
    /has not answered for 3\.9 s; nothing else has come from the other gateway since: look at it/,
  ],
  [
    'no more answers, and packets come in',
    { into: flow(20), out: flow(5), probe: probe({ verdict: 'lost', age: 3900 }) },
    'degraded',
    /while packets come in: either it is down, or what we send does not arrive on the other side/,
  ],
];

for (const [name, changed, state, why] of rows) {
  test(`${name}: ${state}`, () => {
    const verdict = whyNotPassing(proof(changed));
    assert.equal(verdict.state, state);
    if (why) assert.match(verdict.why ?? '', why);
    else assert.equal(verdict.why, undefined);
  });
}
