// No secret in anything that leaves the daemon: log at its highest level, control API, errors, dumps of live objects.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createKeyExchanges } from '../../src/crypto/node-key-exchange.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import { createJobs } from '../../src/daemon/jobs.ts';
import { createLog } from '../../src/daemon/report.ts';
import { createTraffic, statusOfTunnel } from '../../src/daemon/status.ts';
import type { DataPlane } from '../../src/dataplane/dataplane.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import type { JobResult } from '../../src/ike/boundary.ts';
import { createGateway, type Gateway } from '../../src/ike/gateway.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import type { Change } from '../../src/policy/sad.ts';
import { tunnel } from '../sim/sites.ts';

const PSK = 'canary-of-a-pre-shared-key';

interface Watched {
  daemon: Daemon;
  gateway: Gateway;
  plane: DataPlane;
  /** Everything that could be seen from outside. */
  seen: string[];
  secrets: Map<string, Uint8Array>;
}

function watch(side: 'a' | 'b', psk: string, peer: () => Watched): Watched {
  const provider = createNodeProvider();
  const seen: string[] = [];
  const secrets = new Map<string, Uint8Array>([['PSK', new TextEncoder().encode(psk)]]);
  const keyExchanges = createKeyExchanges();
  const jobs = createJobs({ provider, keyExchanges, secret: () => secrets.get('PSK') });
  const gateway = createGateway({ provider });
  const plane = createMemoryPlane(provider);
  const daemon = createDaemon({
    core: gateway,
    plane,
    send: ({ bytes, local, remote }) => {
      setImmediate(() => peer().daemon.feed({ type: 'datagram', bytes, local: remote, remote: local }));
      return true;
    },
    runJob: async (job) => remember(secrets, await jobs(job)),
    clock: () => Math.floor(performance.now()),
    log: createLog({
      json: side === 'a',
      level: 'debug',
      write: (line) => seen.push(line),
      wallClock: () => new Date(0),
    }),
    watch(action) {
      if (action.type === 'dataplane') for (const change of action.changes) keysOf(secrets, change);
      for (const sa of gateway.sas()) ikeKeysOf(secrets, sa);
    },
  });
  daemon.feed({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnel(side) }] });
  return { daemon, gateway, plane, seen, secrets };
}

function remember(secrets: Watched['secrets'], result: JobResult): JobResult {
  if (result.type === 'answer' || result.type === 'finish')
    secrets.set(`g^ir ${secrets.size}`, result.secret);
  return result;
}

function keysOf(secrets: Watched['secrets'], change: Change): void {
  if (change.type === 'add-inbound' || change.type === 'add-outbound')
    secrets.set(`KEYMAT ${change.sa.spi}`, change.sa.encryption!.key.slice());
}

function ikeKeysOf(secrets: Watched['secrets'], { spi, state }: IkeSa): void {
  const known = state.name === 'established' ? state : 'secrets' in state ? state.secrets : undefined;
  for (const [name, key] of Object.entries<Uint8Array>({ ...known?.keys }))
    if (key.length > 0) secrets.set(`SK_${name} ${spi}`, key);
}

function forms(secret: Uint8Array): string[] {
  const bytes = Buffer.from(secret);
  const encoded = (['latin1', 'hex', 'base64', 'base64url'] as const).map((form) => bytes.toString(form));
  return [...encoded, bytes.toString('hex').toUpperCase(), [...bytes].join(', '), [...bytes].join(',')];
}

test('PSK, shared secrets, every SK and every KEYMAT key: in no output and in no dump', async () => {
  const a: Watched = watch('a', PSK, () => b);
  const b: Watched = watch('b', PSK, () => a);
  await a.daemon.command('up', 't');
  await a.daemon.command('rekey', 't', 'net');
  await b.daemon.command('rekey', 't');
  for (const { daemon, gateway, plane, seen } of [a, b]) {
    const views = gateway
      .tunnels()
      .map((view) => statusOfTunnel(view, tunnel('a'), { traffic: createTraffic() }, undefined, 0));
    const shown = [views, gateway.tunnels(), gateway.failures(), await daemon.refresh()];
    seen.push(JSON.stringify(shown, (_key, value) => (typeof value === 'bigint' ? `${value}` : value)));
    for (const live of [daemon, gateway, plane, createKeyExchanges()])
      seen.push(inspect(live, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxArrayLength: null }));
  }
  await a.daemon.command('down', 't');
  const kinds = new Set([...a.secrets.keys()].map((name) => name.split(' ')[0]));
  for (const kind of ['PSK', 'g^ir', 'KEYMAT', 'SK_d', 'SK_ei', 'SK_er', 'SK_pi', 'SK_pr'])
    assert.ok(kinds.has(kind), `${kind} was not watched for: ${[...kinds].join()}`);
  const output = [...a.seen, ...b.seen].join('\n');
  assert.ok(output.includes('IKE_REKEYED') && output.length > 2000);
  for (const [name, secret] of [...a.secrets, ...b.secrets])
    for (const form of forms(secret)) assert.ok(!output.includes(form), `${name} was shown`);
  await Promise.all([a.daemon.stop(50), b.daemon.stop(50)]);
});

test('an error about a secret does not hold it', async () => {
  const jobs = createJobs({
    provider: createNodeProvider(),
    keyExchanges: createKeyExchanges(),
    secret: () => undefined,
  });
  const result = await jobs({
    type: 'psk-sign',
    secret: 'office',
    prf: 'hmac-sha2-256',
    octets: new Uint8Array(4),
  });
  assert.deepEqual(result, { type: 'failed', fault: 'secret', message: 'no pre-shared key for office' });
});
