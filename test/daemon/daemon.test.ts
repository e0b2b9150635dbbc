import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyExchanges } from '../../src/crypto/node-key-exchange.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createDaemon, type Daemon, usageInterval } from '../../src/daemon/daemon.ts';
import { createJobs } from '../../src/daemon/jobs.ts';
import { createLog } from '../../src/daemon/report.ts';
import type { DataPlane } from '../../src/dataplane/dataplane.ts';
import { createGateway, type Gateway } from '../../src/ike/gateway.ts';
import type { Change } from '../../src/policy/sad.ts';
import { MODEST } from '../policy/capabilities.ts';
import { tunnel } from '../sim/sites.ts';

interface Running {
  daemon: Daemon;
  gateway: Gateway;
  lines: string[];
  changes: Change[];
}

const PSK = 'a pre-shared key of some length';

/** A data plane that takes everything and remembers it. */
function recordingPlane(changes: Change[]): DataPlane {
  return {
    name: 'memory',
    capabilities: { ...MODEST, firstInbound: false },
    apply: async (more) => void changes.push(...more),
    snapshot: async () => ({ policies: [], sas: [], drops: {} }),
    onEvent: () => {},
    close: async () => {},
  };
}

function start(side: 'a' | 'b', secret: string, peer: () => Running): Running {
  const provider = createNodeProvider();
  const gateway = createGateway({ provider });
  const [lines, changes]: [string[], Change[]] = [[], []];
  const daemon = createDaemon({
    core: gateway,
    plane: recordingPlane(changes),
    send: ({ bytes, local, remote }) => {
      setImmediate(() => peer().daemon.feed({ type: 'datagram', bytes, local: remote, remote: local }));
      return true;
    },
    runJob: createJobs({
      provider,
      keyExchanges: createKeyExchanges(),
      secret: () => new TextEncoder().encode(secret),
    }),
    clock: () => Math.floor(performance.now()),
    log: createLog({
      json: false,
      level: 'debug',
      write: (line) => lines.push(line),
      wallClock: () => new Date(0),
    }),
  });
  daemon.feed({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel: tunnel(side) }] });
  return { daemon, gateway, lines, changes };
}

function startPair(secretOfB = PSK): { a: Running; b: Running } {
  const a: Running = start('a', PSK, () => b);
  const b: Running = start('b', secretOfB, () => a);
  return { a, b };
}

test('two daemons with real key exchanges bring a tunnel up, rekey it and take it down', async () => {
  const { a, b } = startPair();
  assert.equal(await a.daemon.command('up', 't'), 'OK');
  assert.equal(await b.daemon.command('rekey', 't'), 'OK');
  assert.equal(await a.daemon.command('down', 't'), 'OK');
  assert.ok(a.changes.some((change) => change.type === 'add-inbound'));
  assert.ok(b.lines.some((line) => line.includes('[IKE_REKEYED]')));
  await Promise.all([a.daemon.stop(50), b.daemon.stop(50)]);
});

test('two different keys: the sentence says so, and no line holds a secret', async () => {
  const { a, b } = startPair('another pre-shared key');
  assert.equal(await a.daemon.command('up', 't'), 'PEER_REFUSED_AUTH');
  assert.ok(b.lines.some((line) => line.includes('the pre-shared keys of the two sides differ')));
  const output = [...a.lines, ...b.lines].join('\n');
  for (const secret of [PSK, 'another pre-shared key']) {
    for (const form of [
      secret,
      Buffer.from(secret).toString('hex'),
      Buffer.from(secret).toString('base64'),
    ]) {
      assert.ok(!output.includes(form));
    }
  }
  await Promise.all([a.daemon.stop(50), b.daemon.stop(50)]);
});

test('a DELETE leaves once the data plane has turned away from what it deletes', async () => {
  const happened: string[] = [];
  const held: (() => void)[] = [];
  const end = { transport: 'udp', address: '192.0.2.1', port: 500 } as const;
  const daemon = createDaemon({
    core: {
      handle: ({ type }) =>
        type === 'timeout'
          ? [
              { type: 'send', bytes: Uint8Array.of(1), local: end, remote: end },
              { type: 'dataplane', id: 1, changes: [] },
              { type: 'send', bytes: Uint8Array.of(2), local: end, remote: end },
            ]
          : [],
      nextTimeout: () => undefined,
      names: () => [],
    },
    plane: { ...recordingPlane([]), apply: () => new Promise((resolve) => held.push(resolve)) },
    send: ({ bytes }) => happened.push(`sent ${bytes[0]}`) > 0,
    runJob: () => Promise.reject(new Error('no jobs')),
    clock: () => 0,
    log: () => {},
  });
  daemon.feed({ type: 'timeout' });
  await new Promise(setImmediate);
  assert.deepEqual(happened, ['sent 1']);
  happened.push('turned');
  const stopped = daemon.stop(0);
  for (const release of held) release();
  await stopped;
  assert.deepEqual(happened, ['sent 1', 'turned', 'sent 2']);
});

test('a daemon that ends before all of its tunnels are told begins none of the others', async () => {
  const happened: string[] = [];
  const daemon = createDaemon({
    core: {
      handle(event) {
        happened.push(event.type === 'shutdown' ? `shutdown ${event.tunnel}` : event.type);
        return [];
      },
      nextTimeout: () => undefined,
      names: () => ['t'],
    },
    plane: recordingPlane([]),
    send: () => true,
    runJob: () => Promise.reject(new Error('no jobs')),
    clock: () => 0,
    log: () => {},
  });
  const told = daemon.feedAll([0, 1, 2].map(() => ({ type: 'configure', changes: [] })));
  await Promise.all([daemon.stop(0), told]);
  assert.deepEqual(happened, ['configure', 'shutdown t']);
});

test("a peer's text cannot forge a line or drive a terminal", () => {
  const lines: string[] = [];
  const log = createLog({
    json: false,
    level: 'info',
    write: (line) => lines.push(line),
    wallClock: () => new Date(0),
  });
  log({
    code: 'PEER_UNKNOWN',
    detail: { remote: '192.0.2.1', identity: 'x\n2026 info all is well\u001b[2J' },
  });
  assert.equal(lines.length, 1);
  assert.ok(!['\n', '\u001b'].some((control) => lines[0]!.includes(control)));
});

test('a flood of one kind is cut, and the cut is named', () => {
  const lines: string[] = [];
  let time = 0;
  const log = createLog({
    json: true,
    level: 'info',
    write: (line) => lines.push(line),
    wallClock: () => new Date(time),
  });
  for (let i = 0; i < 1000; i++) log({ code: 'PEER_UNKNOWN', detail: {} });
  assert.equal(lines.length, 20);
  time = 2000;
  log({ code: 'PEER_UNKNOWN', detail: {} });
  assert.equal(JSON.parse(lines.at(-1)!).suppressed, 980);
});

test('counters are read each second, or twice in the shortest time after which a peer is asked', () => {
  assert.equal(usageInterval([]), 1000);
  assert.equal(usageInterval([{ liveness: 30_000 }, { liveness: 0 }]), 1000);
  assert.equal(usageInterval([{ liveness: 30_000 }, { liveness: 500 }]), 250);
  assert.equal(usageInterval([{ liveness: 100 }]), 100);
});
