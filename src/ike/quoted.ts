// Whose packet it is that a router quotes. Who is not on the path does not know the SPIs, so that a message which names them
// may be believed as far as a hint is (RFC 8899 §4.6.1).

import type { TooBig } from '../wire/too-big.ts';
import type { Context } from './context.ts';
import type { IkeSa } from './sa.ts';

/** The tunnel that sent it. */
export function senderOf(
  context: Context,
  { source, destination, spi }: Omit<TooBig, 'mtu'>,
): string | undefined {
  const sa = senderWith(context, spi);
  if (sa?.state.name !== 'established') return undefined;
  return sa.local.address === source && sa.remote.address === destination ? sa.state.tunnel : undefined;
}

/** Of a child's packet by the SPI that it is sent with, of a message by both. */
function senderWith({ sas }: Context, spi: TooBig['spi']): Readonly<IkeSa> | undefined {
  if (typeof spi === 'number') return sas.peekWithOutbound(spi);
  return spi.map((own) => sas.peek(own)).find((sa) => sa && spi.includes(sa.peerSpi));
}
