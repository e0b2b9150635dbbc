// Many sites that open and close IKE SAs with a responder as fast as it answers: our own core, as initiator, on UDP sockets
// of its own for each site. `node bench/load.ts` in a namespace where the addresses of the sites are local; it reads a line of
// JSON (`Order`) from its input for each run and writes one (`Done`) for each.

import { createSocket, type Socket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { complaintText } from '../src/config/complaint.ts';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import { createNodeProvider } from '../src/crypto/node-provider.ts';
import { createDaemon, type Daemon } from '../src/daemon/daemon.ts';
import { createMemoryPlane } from '../src/dataplane/memory.ts';
import type { Endpoint } from '../src/ike/boundary.ts';
import { createGateway } from '../src/ike/gateway.ts';
import { jobsOf } from './jobs.ts';

/** The tunnels of a configuration: up and down again, each by itself, all at once. */
export interface Order {
  /** Each tunnel is a site of its own: its identity is its address too. */
  file: string;
  milliseconds: number;
}

export interface Done {
  /** IKE SAs made, each with its first child. */
  handshakes: number;
  seconds: number;
  /** CPU seconds of this process. */
  cpu: number;
  /** Codes of the commands that failed. */
  failed: Record<string, number>;
}

const PORTS = [500, 4500];
const NAT_PORT = 4500;
/** RFC 3948 §2.2: in front of IKE on the NAT port. */
const MARKER = new Uint8Array(4);

const configs = new Map<string, Config>();
const sockets = new Map<string, Socket>();

const provider = createNodeProvider();
const plane = createMemoryPlane(provider);
const daemon = createDaemon({
  core: createGateway({ provider, capabilities: plane.capabilities }),
  plane,
  send({ bytes, local, remote }) {
    const marked = local.port === NAT_PORT ? [MARKER, bytes] : [bytes];
    sockets.get(`${local.address} ${local.port}`)?.send(marked, remote.port, remote.address);
    return true;
  },
  runJob: jobsOf(provider, () => [...configs.values()]),
  clock: () => Math.round(performance.now()),
  log: () => {},
});

/** Makes the sites known, the first time. */
async function prepare(file: string): Promise<Config> {
  const known = configs.get(file);
  if (known) return known;
  const { config, complaints } = loadConfig(file);
  if (!config) throw new Error(complaints.map(complaintText).join('\n'));
  configs.set(file, config);
  for (const tunnel of config.tunnels) {
    const { identity } = tunnel.local;
    await open(identity.value);
    const local = { address: identity.value, identity };
    daemon.feed({ type: 'configure', changes: [{ type: 'set-tunnel', tunnel: { ...tunnel, local } }] });
  }
  return config;
}

async function open(address: string): Promise<void> {
  for (const port of PORTS) {
    const socket = createSocket('udp4');
    const local: Endpoint = { transport: 'udp', address, port };
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, address, resolve);
    });
    sockets.set(`${address} ${port}`, socket);
    socket.on('message', (bytes, from) => arrived(daemon, bytes, local, from));
  }
}

function arrived(to: Daemon, bytes: Buffer, local: Endpoint, from: { address: string; port: number }): void {
  const payload = local.port === NAT_PORT ? bytes.subarray(MARKER.length) : bytes;
  const remote: Endpoint = { transport: 'udp', address: from.address, port: from.port };
  to.feed({ type: 'datagram', bytes: new Uint8Array(payload), local, remote });
}

async function run(order: Order): Promise<Done> {
  const { tunnels } = await prepare(order.file);
  const failed: Record<string, number> = {};
  let handshakes = 0;
  const [begin, cpu] = [performance.now(), process.cpuUsage()];
  const end = begin + order.milliseconds;
  const again = async (name: string) => {
    while (performance.now() < end) {
      const code = await daemon.command('up', name);
      if (code === 'OK') handshakes++;
      else failed[code] = (failed[code] ?? 0) + 1;
      await daemon.command('down', name);
    }
  };
  await Promise.all(tunnels.map(({ name }) => again(name)));
  const { user, system } = process.cpuUsage(cpu);
  return { handshakes, failed, seconds: (performance.now() - begin) / 1000, cpu: (user + system) / 1e6 };
}

for await (const line of createInterface(process.stdin)) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}
process.exit(0); // the daemon's timers would go on
