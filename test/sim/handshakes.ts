// Handshakes in bad weather: both sides show certificates so large that IKE_AUTH travels in three fragments each way.

import type { Identity } from '../../src/policy/tunnel.ts';
import { paperCertificate } from '../../src/sim/jobs.ts';
import { CALM, type Pair, type Side, type Weather } from '../../src/sim/pair.ts';
import { passage } from '../../src/sim/plane.ts';
import { decodeMessage, findPayload } from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';
import { CA, ownKey, signing } from './papers.ts';
import { sites, tunnel } from './sites.ts';

/** A tenth comes twice, and anything may overtake what was sent within 50 ms before. */
export function lossOf(loss: number): Weather {
  return { ...CALM, loss, duplicate: 0.1, delay: [1, 51], work: [1, 10] };
}

const A: Identity = { type: 'fqdn', value: 'a.example' };
const B: Identity = { type: 'fqdn', value: 'b.example' };

/** As large as a chain of RSA certificates. */
const PADDING = 'x'.repeat(2400);

function withCertificates(seed: number): Pair {
  const [a, b] = [tunnel('a'), tunnel('b')];
  const auth = (key: string, identity: Identity) =>
    signing([
      ownKey(key, identity, {
        certificates: [paperCertificate({ key, identity, issuer: CA, padding: PADDING })],
      }),
    ]);
  return sites(
    seed,
    {
      local: { address: a.local.address, identity: A },
      remote: { addresses: a.remote.addresses, identity: B },
      auth: auth('key a', A),
    },
    {
      local: { address: b.local.address, identity: B },
      remote: { addresses: b.remote.addresses, identity: A },
      auth: auth('key b', B),
    },
  );
}

const MOST = 120_000;
const STEP = 100;

/** Milliseconds until packets pass both ways, or undefined where that took more than two minutes. */
export function handshake(seed: number, weather: Weather): number | undefined {
  const pair = withCertificates(seed);
  pair.weather = weather;
  pair.command(pair.a, 'up', 't');
  for (let passed = STEP; passed <= MOST; passed += STEP) {
    pair.run(STEP);
    const ways = [passage(pair.a, pair.b, 't/net'), passage(pair.b, pair.a, 't/net')];
    if (ways.every(({ outcome }) => outcome === 'received')) return passed;
  }
  return undefined;
}

/** Of so many handshakes, the share that came through within a time, and the median and 95th percentile in milliseconds. */
export function handshakes(count: number, loss: number, within: number) {
  const times = Array.from(
    { length: count },
    (_, seed) => handshake(seed, lossOf(loss)) ?? Number.POSITIVE_INFINITY,
  );
  times.sort((x, y) => x - y);
  const share = times.filter((time) => time <= within).length / count;
  return {
    share,
    median: times[Math.floor(count / 2)]!,
    p95: times[Math.floor(count * 0.95)]!,
    last: times.at(-1)!,
  };
}

/** How many fragments each side's IKE_AUTH is sent in. */
export function fragmentsEachWay(): { a: number; b: number } {
  const pair = withCertificates(1);
  const fragments = { a: 0, b: 0 };
  const count = (from: Side, bytes: Uint8Array) => {
    const skf = bytes.length > 28 && findPayload(decodeMessage(bytes).payloads, PAYLOAD.SKF);
    if (skf) fragments[from.name]++;
    return true;
  };
  pair.filter = count;
  pair.command(pair.a, 'up', 't');
  pair.run(1000);
  return fragments;
}
