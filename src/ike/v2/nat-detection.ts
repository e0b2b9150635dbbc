// Who is behind a NAT, and when everything goes through UDP port 4500 (RFC 7296 §2.23).

import { concat, unhex } from '../../crypto/bytes.ts';
import type { Tunnel } from '../../policy/tunnel.ts';
import { addressBytes } from '../../wire/address.ts';
import type { Message, Payload } from '../../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import type { Endpoint } from '../boundary.ts';
import type { Context } from '../context.ts';
import { type IkeSa, inUdp, type Spis, spisOf } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** SHA-1 over SPIs, address and port (RFC 7296 §2.23). A false source hash makes every peer use UDP. */
export function natDetection(context: Context, sa: IkeSa): Payload[] {
  const source = wantsUdp(context, sa) ? context.provider.random(20) : natHash(context, spisOf(sa), sa.local);
  return [
    notifyPayload(NOTIFY.NAT_DETECTION_SOURCE_IP, source),
    notifyPayload(NOTIFY.NAT_DETECTION_DESTINATION_IP, natHash(context, spisOf(sa), sa.remote)),
  ];
}

function natHash(context: Context, spis: Spis, { address, port }: Endpoint): Uint8Array {
  const bytes = concat([
    unhex(spis.initiatorSpi),
    unhex(spis.responderSpi),
    addressBytes(address),
    Uint8Array.of(port >> 8, port & 0xff),
  ]);
  return context.provider.sha1(bytes);
}

export function detectNat(context: Context, sa: IkeSa, { header, payloads }: Message): void {
  const hashes = (type: number) =>
    payloads.flatMap((payload) =>
      payload.type === PAYLOAD.N && payload.notifyType === type ? [payload.data] : [],
    );
  const differs = (type: number, endpoint: Endpoint) => {
    const sent = hashes(type);
    return (
      sent.length > 0 &&
      !sent.some((hash) => context.provider.equal(hash, natHash(context, header, endpoint)))
    );
  };
  sa.nat = {
    remote: differs(NOTIFY.NAT_DETECTION_SOURCE_IP, sa.remote),
    local: differs(NOTIFY.NAT_DETECTION_DESTINATION_IP, sa.local),
    forced: wantsUdp(context, sa) && hashes(NOTIFY.NAT_DETECTION_SOURCE_IP).length > 0,
  };
}

/**
 * Whether we make believe in a NAT, for everything to go in UDP. Who asks us may still mean any of the tunnels: where a child of
 * one could not go that way, none is led there.
 */
function wantsUdp({ capabilities, tunnels }: Context, { candidates }: IkeSa): boolean {
  const [first, ...others] = candidates.flatMap((name) => tunnels.peek(name)?.tunnel ?? []);
  if (!first || first.encapsulation === 'esp') return false;
  if (first.encapsulation === 'udp') return true;
  // In UDP a packet of transport mode leaves its own IP header behind, and one with options does not go.
  const gains = ({ children }: Tunnel) =>
    children.every(({ protocol, mode }) => protocol === 'esp' && mode === 'tunnel');
  return capabilities?.prefersUdp === true && [first, ...others].every(gains);
}

/** RFC 7296 §2.23: with a NAT in between the initiator goes on from port 4500. */
export function floatPort(sa: IkeSa): void {
  if (!inUdp(sa)) return;
  sa.local = { ...sa.local, port: 4500 };
  sa.remote = { ...sa.remote, port: 4500 };
}
