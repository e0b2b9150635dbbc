// Two gateways with certificates from files: configuration, jobs and daemon as they run, over a wire that is a function.

import type { KeyObject } from 'node:crypto';
import { complaintText } from '../../src/config/complaint.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createKeyExchanges } from '../../src/crypto/node-key-exchange.ts';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { writePem } from '../../src/crypto/x509.ts';
import { createDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import { type Fetch, FetchError } from '../../src/daemon/fetch.ts';
import { createJobs } from '../../src/daemon/jobs.ts';
import { createJudge } from '../../src/daemon/judge.ts';
import { createLog } from '../../src/daemon/report.ts';
import { createRevocation } from '../../src/daemon/revocation.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import { createGateway, type Gateway } from '../../src/ike/gateway.ts';
import type { Folder } from '../config/files.ts';
import { type Holder, NOON } from '../crypto/ca.ts';

export type RunJob = ReturnType<typeof createJobs>;

export interface Running {
  daemon: Daemon;
  gateway: Gateway;
  lines: string[];
  keyring: Config['keyring'];
}

/** PEM of certificates, one behind the other. */
export function pem(...certificates: (Holder | Uint8Array)[]): string {
  const der = certificates.map((one) => (one instanceof Uint8Array ? one : one.der));
  return der.map((bytes) => writePem('CERTIFICATE', bytes)).join('');
}

export function keyPem(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

const ADDRESSES = { a: '192.0.2.1', b: '198.51.100.1' };

/** A configuration of one side; `more` are lines of the tunnel. */
export function siteFile(side: 'a' | 'b', more: string): string {
  const other = side === 'a' ? 'b' : 'a';
  const [near, far] = side === 'a' ? [1, 2] : [2, 1];
  return `gateway: { name: ${side}, address: ${ADDRESSES[side]} }
tunnels:
  t:
    peer: ${ADDRESSES[other]}
    start: wait
    local: 10.${near}.0.0/16
    remote: 10.${far}.0.0/16
${more}`;
}

/** Nobody answers. */
const NOWHERE: Fetch = () => Promise.reject(new FetchError('nobody is there'));

export function startPair(
  files: Folder,
  a: string,
  b: string,
  at = NOON,
  fetch = NOWHERE,
): { a: Running; b: Running } {
  const first: Running = start(files.write('a.yaml', siteFile('a', a)), () => second, at, fetch);
  const second: Running = start(files.write('b.yaml', siteFile('b', b)), () => first, at, fetch);
  return { a: first, b: second };
}

export async function stopPair({ a, b }: { a: Running; b: Running }): Promise<void> {
  await Promise.all([a.daemon.stop(50), b.daemon.stop(50)]);
}

/** `at`: what its clock says; `wrap` stands between the core and its jobs. */
export function start(
  file: string,
  peer: (address: string) => Running,
  at: number | (() => number),
  fetch: Fetch = NOWHERE,
  wrap: (runJob: RunJob) => RunJob = (runJob) => runJob,
): Running {
  const wallClock = () => (typeof at === 'number' ? at : at());
  const { config, complaints } = loadConfig(file, wallClock());
  if (!config) throw new Error(complaints.map(complaintText).join('\n'));
  const provider = createNodeProvider();
  const gateway = createGateway({ provider });
  const lines: string[] = [];
  const { secrets, keys, trust } = config.keyring;
  const daemon = createDaemon({
    core: gateway,
    plane: createMemoryPlane(provider),
    send: ({ bytes, local, remote }) => {
      setImmediate(() =>
        peer(remote.address).daemon.feed({ type: 'datagram', bytes, local: remote, remote: local }),
      );
      return true;
    },
    runJob: wrap(
      createJobs({
        provider,
        keyExchanges: createKeyExchanges(),
        secret: (name) => secrets.get(name)?.(),
        key: (name) => keys.get(name)?.(),
        judge: createJudge({
          trust: (name) => trust.get(name)?.(),
          wallClock,
          revocation: createRevocation({ fetch, now: wallClock }),
        }),
      }),
    ),
    clock: () => Math.floor(performance.now()),
    log: createLog({
      json: false,
      level: 'debug',
      write: (line) => lines.push(line),
      wallClock: () => new Date(0),
    }),
  });
  for (const tunnel of config.tunnels)
    daemon.feed({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel }] });
  return { daemon, gateway, lines, keyring: config.keyring };
}
