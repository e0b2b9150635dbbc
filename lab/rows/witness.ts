// Our bytes against the bare kernel's: static SAs on both sides, no IKE, packets of every size each way, and both ends count.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { SaParameters } from '../../src/policy/sad.ts';
import type { Result } from '../checks.ts';
import { run, runAsync, start } from '../netns.ts';
import { kernelLines } from '../peers/kernel-conf.ts';
import { pause } from '../site.ts';
import type { StaticRow } from '../static-rows.ts';
import { demand, outcomeOf } from '../steps.ts';
import { tcpTransfer } from '../traffic.ts';

/** Of the payload of echo requests: every remainder that padding knows, and some large ones. */
const SIZES = [...Array.from({ length: 17 }, (_, index) => index), 500, 1000, 1200];
const TRANSFER = 1 << 20;
/** Until the last acknowledgements are there, milliseconds. */
const SETTLED = 500;

interface Counted {
  packets: Record<'in' | 'out', number>;
  drops: Record<string, number>;
}

export async function witness(
  dataplane: Result['dataplane'],
  rows: readonly StaticRow[],
  tell: (result: Result) => void,
): Promise<void> {
  for (const row of rows) {
    const common = { peer: 'Linux, static SAs', feature: row.feature, dataplane, role: 'neither' as const };
    const result: Result = {
      ...common,
      suite: row.name,
      check: 'every size each way',
      ...(await outcomeOf(() => bothWays(dataplane, row))),
    };
    tell(result);
  }
}

async function bothWays(dataplane: string, row: StaticRow): Promise<string> {
  run('gw-b', 'ip', 'xfrm', 'state', 'flush');
  run('gw-b', 'ip', 'xfrm', 'policy', 'flush');
  for (const line of kernelLines(row.sas)) run('gw-b', 'ip', ...line);
  const socket = row.sas[0].udp && (await udpSocket());
  const ours = await started(dataplane, row.name);
  let sent: number | undefined;
  try {
    await exchanged(row);
    if (dataplane === 'xfrm') sent = stateOf('gw-a', row.sas[0]).numbered;
  } catch (error) {
    const { drops } = await counted(ours);
    socket?.kill();
    throw new Error(
      `${(error as Error).message}; we dropped ${JSON.stringify(drops)}; the kernel: ${states()}`,
    );
  }
  const { packets, drops } = await counted(ours);
  socket?.kill();
  // What the device itself says to all IPv6 neighbours.
  delete drops['outbound-no-policy'];
  // Too long for the tunnel: the kernel tells the host, which sends it again in pieces.
  delete drops.XfrmOutStateModeError;
  const out = sent ?? packets.out;
  const [taken, theirs] = row.sas.map((sa) => stateOf('gw-b', sa));
  demand(out === taken!.packets, `we sent ${out}, the kernel took ${taken!.packets}`);
  demand(packets.in === theirs!.numbered, `the kernel sent ${theirs!.numbered}, we took ${packets.in}`);
  demand(taken!.failed === 0, `the kernel refused ${taken!.failed} of our packets`);
  demand(Object.keys(drops).length === 0, `we dropped ${JSON.stringify(drops)}`);
  return `all of ${out} and ${packets.in} packets, counted at both ends`;
}

/** The kernel takes ESP in UDP where a socket says so. */
async function udpSocket(): Promise<ChildProcess> {
  const socket = start('gw-b', ['python3', '-c', ENCAPSULATION]);
  await once(socket.stdout!, 'data');
  return socket;
}

const ENCAPSULATION = `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, 100, 2)  # UDP_ENCAP, UDP_ENCAP_ESPINUDP
s.bind(('0.0.0.0', 4500))
print('ready', flush=True)
time.sleep(600)
`;

async function started(dataplane: string, row: string): Promise<ChildProcess> {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', 'lab/static-sas.ts'];
  const child = start('gw-a', [...command, dataplane, row]);
  let said = '';
  child.stderr!.on('data', (chunk) => (said += chunk));
  const ended = once(child, 'close').then(() => {
    throw new Error(`our data plane ended: ${said.trim().split('\n').slice(0, 8).join(' ')}`);
  });
  ended.catch(() => {});
  await Promise.race([once(child.stdout!, 'data'), ended]);
  return child;
}

async function counted(child: ChildProcess): Promise<Counted> {
  let text = '';
  child.stdout!.on('data', (chunk) => (text += chunk));
  const ended = once(child, 'close');
  child.kill('SIGTERM');
  await ended;
  return JSON.parse(text);
}

async function exchanged({ way }: StaticRow): Promise<void> {
  const { ours, theirs } = way;
  for (const [from, to] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    const sizes = SIZES.map(String);
    const { output } = await runAsync(from.namespace, 'sh', '-c', ECHOES, 'sh', to.address, ...sizes);
    const unanswered = output.trim().replace(/\n/g, ' ');
    demand(output === '', `echo requests from ${from.namespace} are not answered, by bytes: ${unanswered}`);
  }
  await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER);
  await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER, true);
  await pause(SETTLED);
}

/** An address, then sizes: says those that are not answered. */
const ECHOES = 'to=$1; shift; for size; do ping -n -c 1 -W 2 -s $size $to > /dev/null || echo $size; done';

const states = (): string => run('gw-b', 'ip', '-s', 'xfrm', 'state').replace(/\s+/g, ' ');

interface KernelCount {
  packets: number;
  /**
   * Those that left. What a kernel counts as sent takes a packet that is cut later for one, be it into fragments or into the
   * segments of a transfer (esp4_offload lets ESP do that behind its count); each piece has a sequence number of its own.
   */
  numbered: number;
  failed: number;
}

/** What the kernel of a gateway counted for one of the SAs, which are described from our side. */
function stateOf(gateway: string, { local, remote, direction, protocol, spi }: SaParameters): KernelCount {
  const [src, dst] = direction === 'out' ? [local, remote] : [remote, local];
  const id = ['src', src, 'dst', dst, 'proto', protocol, 'spi', `0x${spi.toString(16)}`];
  const text = run(gateway, 'ip', '-s', 'xfrm', 'state', 'get', ...id);
  const found = (what: RegExp) => Number(what.exec(text)?.[1]);
  return {
    packets: found(/(\d+)\(packets\)/),
    numbered: found(/ oseq (0x[0-9a-f]+)/),
    failed: found(/ failed (\d+)/),
  };
}
