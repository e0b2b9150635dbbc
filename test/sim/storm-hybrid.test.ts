import { test } from 'node:test';
import { parseTemplate, type SuiteKind } from '../../src/policy/proposal.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { tunnel } from './sites.ts';
import { weatherTheStorm } from './storm.ts';

function templates(kind: SuiteKind, ...texts: string[]) {
  return texts.map((text) => {
    const parsed = parseTemplate(text, kind);
    if ('complaint' in parsed) throw new Error(parsed.complaint);
    return parsed;
  });
}

const IKE = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519 + ml-kem-768';
const [PLAIN, ONE] = ['aes-gcm-16-256 / x25519', 'aes-gcm-16-256 / x25519 + ml-kem-768'];

/** Of every third seed the children have two further exchanges, one, or one that the other side has not. */
function hybrid(side: 'a' | 'b', seed: number): Partial<Tunnel> {
  const [child] = tunnel(side).children;
  const uneven = side === 'a' ? [ONE, PLAIN] : [PLAIN];
  const suites = [[`${ONE} + ml-kem-512`, PLAIN], [ONE], uneven][seed % 3]!;
  return {
    ike: { proposals: templates('ike', seed % 5 === 4 ? `${IKE} | none` : IKE), lifetime: 14_400_000 },
    children: [{ ...child!, proposals: templates('esp', ...suites) }],
    ...(seed % 2 === 0 ? {} : { ppk: { id: 'site-1', secret: 'the PPK', use: 'required' } }),
  };
}

test('300 storms with additional key exchanges and PPKs, seeds 0 to 299', () => {
  for (let seed = 0; seed < 300; seed++) weatherTheStorm(seed, hybrid('a', seed), hybrid('b', seed));
});
