// What the data plane reports by itself, and what follows from it.

import type { DataPlaneEvent } from '../policy/sad.ts';
import { exactly } from '../policy/selector.ts';
import { connect } from './attempts.ts';
import { generations, useChild } from './child.ts';
import { establishedOf } from './commands.ts';
import type { Context } from './context.ts';
import { moveTo } from './mobility.ts';
import type { ChildSa, Established, IkeSa } from './sa.ts';
import { askedAgain } from './tunnels.ts';

export function planeEvent(context: Context, event: DataPlaneEvent): void {
  switch (event.type) {
    case 'first-inbound':
      return withChild(context, { direction: 'in', spi: event.spi }, (sa, state, child) => {
        sendsWith(context, sa, state, child);
      });
    case 'expire':
      return withChild(context, event, (_sa, state, child) => {
        const { spiIn, name } = child;
        state.tasks.push(
          event.hard ? { type: 'delete-child', spiIn } : { type: 'rekey-child', spiIn, child: name },
        );
      });
    case 'usage':
      if (event.direction === 'in') {
        withChild(context, event, (sa, state, child) => {
          state.lastHeard = Math.max(state.lastHeard, event.last);
          // Where the plane does not tell of a first packet, its counters do.
          sendsWith(context, sa, state, child);
        });
      }
      return;
    case 'acquire':
      return acquire(context, event);
    case 'mapping':
      return withChild(context, { direction: 'in', spi: event.spi }, (sa) =>
        moveTo(context, sa, { ...sa.remote, address: event.remote, port: event.remotePort }),
      );
  }
}

/** The peer does. An older child is only being drained. */
function sendsWith(context: Context, sa: IkeSa, state: Established, child: ChildSa): void {
  delete child.peerHasItAt;
  if (isNewest(context, state, child)) useChild(context, sa, state, child);
}

function isNewest(context: Context, state: Established, child: ChildSa): boolean {
  return generations(context, state, child).every(({ since }) => since <= child.since);
}

function withChild(
  context: Context,
  { direction, spi }: { direction: 'in' | 'out'; spi: number },
  handle: (sa: IkeSa, state: Established, child: ChildSa) => void,
): void {
  const sa = context.sas.withChild(direction, spi);
  if (sa?.state.name !== 'established') return;
  const child = sa.state.children.find((one) => (direction === 'in' ? one.spiIn : one.spiOut) === spi);
  if (child) handle(sa, sa.state, child);
}

function acquire(context: Context, { policy, packet }: DataPlaneEvent & { type: 'acquire' }): void {
  const [name, child] = policy.split('/') as [string, string];
  const state = context.tunnels.get(name);
  if (!state) return;
  askedAgain(context, name, child);
  const established = establishedOf(context, state);
  if (!established) return connect(context, state);
  const { children, tasks, own } = established;
  const busy = [...tasks, ...(own ? [own.task] : [])].some(
    (task) => task.type === 'create' && task.child === child,
  );
  if (busy || children.some((existing) => existing.name === child)) return;
  tasks.push({
    type: 'create',
    child,
    packet: {
      local: [exactly(packet.local, packet.protocol, packet.localPort)],
      remote: [exactly(packet.remote, packet.protocol, packet.remotePort)],
    },
  });
}
