// Records a session with strongSwan as it crosses the core's boundary: every event with its time, every action, all
// randomness. `scripts/node lab/record.ts FILE` writes it; test/vectors/recorded.test.ts plays it again.

import { createSocket, type Socket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { createKeyExchanges } from '../src/crypto/node-key-exchange.ts';
import { createNodeProvider } from '../src/crypto/node-provider.ts';
import { createJobs } from '../src/daemon/jobs.ts';
import type { Action, Endpoint, Event } from '../src/ike/boundary.ts';
import { createGateway } from '../src/ike/gateway.ts';
import type { Tunnel } from '../src/policy/tunnel.ts';
import { tunnel } from '../test/sim/sites.ts';
import { toText } from '../test/vectors/text.ts';
import { isolate } from './isolate.ts';
import { build, run } from './netns.ts';
import { createStrongswan } from './peers/strongswan.ts';
import { pause } from './site.ts';
import { TWO_SITES } from './two-sites.ts';

const PSK = 'a key for a recording only';
const [A, B] = ['192.0.2.1', '198.51.100.1'];
const [file = '', inside] = process.argv.slice(2);

/** In the gateway's namespace: a core, two sockets, a data plane that says yes. */
async function record(): Promise<void> {
  const steps: { event: Event; now: number; random: Uint8Array[]; actions: Action[] }[] = [];
  const drawn: Uint8Array[] = [];
  const real = createNodeProvider();
  const provider = {
    ...real,
    random(length: number) {
      const bytes = real.random(length);
      drawn.push(bytes);
      return bytes;
    },
  };
  const secret = () => new TextEncoder().encode(PSK);
  const jobs = createJobs({ provider: real, keyExchanges: createKeyExchanges(), secret });
  const gateway = createGateway({ provider });
  const before = drawn.splice(0);
  const begin = performance.now();
  const sockets = new Map<number, Socket>();
  let timer: NodeJS.Timeout | undefined;
  const outcomes: string[] = [];

  function feed(event: Event): void {
    const now = Math.floor(performance.now() - begin);
    const actions = gateway.handle(event, now);
    steps.push({ event, now, random: drawn.splice(0), actions });
    for (const action of actions) perform(action);
    clearTimeout(timer);
    const next = gateway.nextTimeout();
    if (next !== undefined)
      timer = setTimeout(() => feed({ type: 'timeout' }), Math.max(0, next - (performance.now() - begin)));
  }

  function perform(action: Action): void {
    if (action.type === 'send') transmit(action);
    if (action.type === 'dataplane') setImmediate(() => feed({ type: 'applied', id: action.id }));
    if (action.type === 'job')
      jobs(action.job).then((result) => feed({ type: 'job-done', id: action.id, result }));
    if (action.type === 'command-done') outcomes.push(action.outcome);
  }

  function transmit({
    bytes,
    local,
    remote,
  }: {
    bytes: Uint8Array;
    local: Endpoint;
    remote: Endpoint;
  }): void {
    const marked = local.port === 4500 && bytes.length > 1 ? Uint8Array.of(0, 0, 0, 0, ...bytes) : bytes;
    sockets.get(local.port)!.send(marked, remote.port, remote.address);
  }

  for (const port of [500, 4500]) {
    const socket = createSocket('udp4');
    socket.on('message', (message, { address, port: remotePort }) => {
      const bytes = new Uint8Array(message.subarray(port === 4500 ? 4 : 0));
      const local: Endpoint = { transport: 'udp', address: A, port };
      const remote: Endpoint = { transport: 'udp', address, port: remotePort };
      if (bytes.length > 27) feed({ type: 'datagram', bytes, local, remote });
    });
    await new Promise<void>((resolve) => socket.bind(port, A, resolve));
    sockets.set(port, socket);
  }
  const configured: Tunnel = tunnel('a', { encapsulation: 'auto' });
  feed({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel: configured }] });
  const commands = [
    { command: 'up' },
    { command: 'rekey', child: 'net' },
    { command: 'rekey' },
    { command: 'down' },
  ] as const;
  for (const [id, command] of commands.entries()) {
    feed({ type: 'command', id, tunnel: 't', ...command });
    await pause(700);
  }
  if (outcomes.join() !== 'OK,OK,OK,OK') throw new Error(`the session failed: ${outcomes.join()}`);
  writeFileSync(file, `${toText({ before, steps })}\n`);
  process.exit(0);
}

if (inside) await record();
isolate();
build(TWO_SITES);
const peer = createStrongswan('gw-b');
await peer.start();
await peer.configure({
  localAddress: B,
  remoteAddress: A,
  psk: PSK,
  local: '10.2.0.0/16',
  remote: '10.1.0.0/16',
  ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x25519'],
  esp: ['aes-gcm-16-256 / x25519'],
});
run('gw-a', process.execPath, '--disable-warning=ExperimentalWarning', 'lab/record.ts', file, 'inside');
await peer.stop();
process.exit(0);
