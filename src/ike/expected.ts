// SPIs of ours that the peer may send with before their SAs can be added: once it has our request, its answer makes its half,
// and ours waits for a key (RFC 7296 §2.8). A data plane that lets such packets wait is told which they are.

import type { Change } from '../policy/sad.ts';
import type { Context } from './context.ts';
import type { IkeSa } from './sa.ts';

/** Of the SAs touched by an event: before the request leaves, and when no SA comes any more or it is there. */
export function announceExpected(context: Context): void {
  if (!context.capabilities?.expects) return;
  const changes = [...context.sas.touched()].flatMap((spi) => differenceOf(context, spi));
  if (changes.length > 0) context.actions.unshift({ type: 'dataplane', id: context.nextId++, changes });
}

function differenceOf({ sas, expected }: Context, ikeSpi: string): Change[] {
  const before = expected.get(ikeSpi);
  const spi = expectedBy(sas.peek(ikeSpi));
  if (spi === before) return [];
  if (spi === undefined) expected.delete(ikeSpi);
  else expected.set(ikeSpi, spi);
  return [
    ...(before === undefined ? [] : [{ type: 'forget-inbound', spi: before } as const]),
    ...(spi === undefined ? [] : [{ type: 'expect-inbound', spi } as const]),
  ];
}

/** One at most: our window is one request. */
function expectedBy(sa: Readonly<IkeSa> | undefined): number | undefined {
  if (sa?.state.name === 'auth-sent' || sa?.state.name === 'auth-verifying') return sa.state.child?.spiIn;
  const own = sa?.state.name === 'established' ? sa.state.own : undefined;
  if (own?.step === 'installing') return own.child.spiIn;
  const spi = own && 'offer' in own ? own.offer?.spi : undefined;
  return typeof spi === 'number' ? spi : undefined;
}
