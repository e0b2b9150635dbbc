// The peer's endpoint moves: its NAT gave it another port, or another address (RFC 7296 §2.23).

import type { Change } from '../policy/sad.ts';
import type { Endpoint } from './boundary.ts';
import { applyChanges, type Context } from './context.ts';
import { type Established, type IkeSa, inUdp } from './sa.ts';

/** An authentic request came this way. Without a NAT the endpoints of an SA stay what they are. */
export function follow(
  context: Context,
  sa: IkeSa,
  { local, remote }: { local: Endpoint; remote: Endpoint },
): void {
  if (!inUdp(sa)) return;
  sa.local = local;
  moveTo(context, sa, remote);
}

/**
 * Follows a peer behind a NAT to another address and port, any other only to another port: who is behind a NAT itself
 * must not let a packet from anywhere redirect it (RFC 7296 §2.23).
 */
export function moveTo(context: Context, sa: IkeSa, remote: Endpoint): void {
  const sameAddress = remote.address === sa.remote.address;
  if (sameAddress && remote.port === sa.remote.port) return;
  if (!sameAddress && !sa.nat.remote) return;
  sa.remote = remote;
  if (sa.state.name !== 'established') return;
  if (sameAddress) applyChanges(context, portChanges(sa.state, remote));
  else renewChildren(sa.state);
}

function portChanges({ children }: Established, remote: Endpoint): Change[] {
  return children
    .filter(({ udp }) => udp)
    .flatMap(({ spiIn, spiOut }) => [
      { type: 'move', direction: 'in', spi: spiIn, remote: remote.address, remotePort: remote.port },
      { type: 'move', direction: 'out', spi: spiOut, remote: remote.address, remotePort: remote.port },
    ]);
}

/** The address is part of what an SA was installed with: a rekey installs the new one. */
function renewChildren({ children, tasks }: Established): void {
  for (const { spiIn, name, replaced } of children) {
    const queued = tasks.some((task) => task.type === 'rekey-child' && task.spiIn === spiIn);
    if (!queued && !replaced) tasks.push({ type: 'rekey-child', spiIn, child: name });
  }
}
