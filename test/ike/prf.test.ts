// The PRF of an IKE SA over its rekeys.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hex } from '../../src/crypto/bytes.ts';
import type { PrfName } from '../../src/crypto/suites.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { createPair, type Pair } from '../../src/sim/pair.ts';
import { agree, established, seededProvider, sites, tunnel } from '../sim/sites.ts';

function accepting(...prf: PrfName[]): Partial<Tunnel> {
  const { ike } = tunnel('a');
  return { ike: { ...ike, proposals: [{ ...ike.proposals[0]!, prf }] } };
}

function algorithms(pair: Pair): (string | undefined)[] {
  return [pair.a, pair.b].map(({ gateway }) => gateway.tunnels()[0]!.ikeSa?.algorithms);
}

test('the PRF stays over every rekey while both sides accept it, whatever each of them prefers', () => {
  const pair = established(
    sites(1, accepting('hmac-sha2-512', 'aes128-xcbc'), accepting('aes128-xcbc', 'hmac-sha2-512')),
  );
  const before = algorithms(pair);
  assert.match(before[0]!, /prf-aes128-xcbc/);
  for (const side of [pair.b, pair.a]) {
    pair.command(side, 'rekey', 't');
    pair.run(10_000);
    assert.deepEqual(algorithms(pair), before);
  }
  assert.ok(pair.a.reports.filter((code) => code === 'IKE_REKEYED').length === 2, pair.ladder());
  agree(pair);
});

test('another PRF: SKEYSEED by the old one under the old SK_d, the keys by the new one (RFC 7296 §2.18)', () => {
  const calls: { prf: string; key: string; out: string }[] = [];
  const both = {
    a: tunnel('a', accepting('hmac-sha2-512')),
    b: tunnel('b', accepting('hmac-sha2-512', 'aes128-xcbc')),
  };
  const pair = established(
    createPair(1, both, (random) => {
      const provider = seededProvider(random);
      return {
        ...provider,
        prf(prf, key, data) {
          const out = provider.prf(prf, key, data);
          calls.push({ prf, key: hex(key), out: hex(out) });
          return out;
        },
      };
    }),
  );
  pair.feed(pair.a, {
    type: 'configure',
    changes: [{ type: 'set-tunnel', tunnel: tunnel('a', accepting('aes128-xcbc')) }],
  });
  calls.length = 0;
  pair.command(pair.a, 'rekey', 't');
  pair.run(10_000);
  for (const text of algorithms(pair)) assert.match(text!, /prf-aes128-xcbc/);
  const seeds = calls.filter(({ prf }) => prf === 'hmac-sha2-512');
  assert.equal(seeds.length, 2, 'the old PRF is asked for SKEYSEED only, once by each side');
  assert.equal(seeds[0]!.key.length, 2 * 64);
  assert.deepEqual(seeds[0], seeds[1]);
  const keys = calls.filter(({ prf, key }) => prf === 'aes128-xcbc' && key === seeds[0]!.out);
  assert.ok(keys.length > 2, 'SKEYSEED is the key of the new PRF in prf+');
  agree(pair);
});
