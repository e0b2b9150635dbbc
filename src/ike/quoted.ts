// Whose packet it is that a router quotes. Who is not on the path does not know the SPIs, so that a message which names them
// may be believed as far as a hint is (RFC 8899 §4.6.1).

import type { TooBig } from '../wire/too-big.ts';
import type { Context } from './context.ts';
import type { IkeSa } from './sa.ts';

/** The tunnel that sent it. */
export function senderOf(context: Context, quoted: Omit<TooBig, 'mtu'>): string | undefined {
  const sa = candidates(context, quoted).find((one) => isThere(one, quoted) && sendsWith(one, quoted.spi));
  return sa?.state.name === 'established' ? sa.state.tunnel : undefined;
}

function candidates({ sas, tunnels }: Context, { source, destination, spi }: Omit<TooBig, 'mtu'>) {
  const spis =
    typeof spi === 'number' ? tunnels.expecting(source, destination).flatMap((state) => state.sas) : spi;
  return spis.flatMap((one) => sas.peek(one) ?? []);
}

function isThere(
  { local, remote }: Readonly<IkeSa>,
  { source, destination }: Pick<TooBig, 'source' | 'destination'>,
): boolean {
  return local.address === source && remote.address === destination;
}

function sendsWith({ spi: own, peerSpi, state }: Readonly<IkeSa>, spi: TooBig['spi']): boolean {
  if (typeof spi !== 'number') return spi.includes(own) && spi.includes(peerSpi);
  return state.name === 'established' && state.children.some(({ spiOut }) => spiOut === spi);
}
