// Whether a packet of a size reaches the peer in one piece: INFORMATIONAL with nothing in it but padding (RFC 7296 §1.4).
//
//   HDR, SK {N(padding)}  -->      one datagram of that size, which may not be fragmented
//                          <--  HDR, SK {}
//
// Where no answer comes, the size is too large, and the exchange still has to be completed: the window stands still until
// then (RFC 7296 §2.3). The same request follows in fragments; `cutRequest` says in which. Only peers that take IKE fragments
// are asked, for those of IP may be what the path drops.

import { datagramsOf, decodeHeader, type Header, type Payload } from '../../wire/ikev2.ts';
import { EXCHANGE } from '../../wire/numbers.ts';
import type { Event } from '../boundary.ts';
import { establishedOf } from '../commands.ts';
import { type Context, commandDone, tunnelOf } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import { messageRoom } from '../fragments.ts';
import { chainBytes } from '../protect.ts';
import type { Established, IkeSa, Task, Whole } from '../sa.ts';
import { cutRequest, type NotWhole, sendWhole } from '../window.ts';
import { notifyPayload } from './payloads.ts';

/**
 * RFC 7296 §3.10.1: a status type that the peer does not know is ignored, and from 40960 on they are for private use. No
 * implementation is known to use this one.
 */
const PADDING = 60_001;
/** RFC 7296 §3.10: of a Notify payload without data. */
const NOTIFY_BYTES = 8;

export function measure(context: Context, { id, tunnel, size, patience }: Event & { type: 'measure' }): void {
  const state = context.tunnels.get(tunnel);
  const established = state && establishedOf(context, state);
  if (!established) return commandDone(context, id, 'TUNNEL_DOWN');
  if ((state.measurableAt ?? context.now) > context.now) return commandDone(context, id, 'PATH_UNASKED');
  established.tasks.push({ type: 'measure', size, patience, command: id });
}

/** False where the peer takes no IKE fragments, or the size has no room for a message. */
export function beginMeasure(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: Task & { type: 'measure' },
): boolean {
  const padding = paddingFor(sa, established, task.size);
  if (sa.fragmentSize === undefined || !padding) return false;
  const how = { protection: established, patience: task.patience };
  sendWhole(context, sa, EXCHANGE.INFORMATIONAL, [padding], how);
  established.own = { task, step: 'sent' };
  return true;
}

/** Where the cipher has blocks the message may be larger, by less than one: what is said to pass does. */
function paddingFor(sa: IkeSa, { suite }: Established, size: number): Payload | undefined {
  const bytes = chainBytes(suite, messageRoom(sa, size)) - NOTIFY_BYTES;
  return bytes < 0 ? undefined : notifyPayload(PADDING, new Uint8Array(bytes));
}

/** Before the request is forgotten, when its answer is there. */
export function measured(context: Context, sa: IkeSa): ReportCode {
  const { sent } = sa.window;
  const { came } = sent?.whole ?? { came: 'cut-short' };
  const state = tunnelOf(context, sa);
  if (state && sent && came !== 'waiting')
    state.completedBy = datagramsOf(sent.bytes).length > 1 ? 'ike' : 'ip';
  return OUTCOMES[came];
}

const OUTCOMES: Record<Whole['came'], ReportCode> = {
  waiting: 'OK',
  lost: 'PATH_LOST',
  refused: 'PATH_REFUSED',
  'cut-short': 'PATH_UNASKED',
};

/** It is not waited for any longer. */
export function cutShort(context: Context, sa: IkeSa, why: NotWhole): void {
  if (sa.window.sent?.whole?.came === 'waiting') cutRequest(context, sa, why);
}

export function unsent(context: Context, bytes: Uint8Array): void {
  const header = decodeHeader(bytes);
  const sa = context.sas.get(ownSpi(header));
  if (sa?.window.sent?.id === header.messageId) cutShort(context, sa, 'refused');
}

/** Of a message of ours. */
function ownSpi({ flags, initiatorSpi, responderSpi }: Header): string {
  return flags.initiator ? initiatorSpi : responderSpi;
}
