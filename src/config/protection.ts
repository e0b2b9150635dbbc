// How the packets of a child are protected: ESP or AH, tunnel or transport mode, filled up or not.

import { innerMtu } from '../policy/overhead.ts';
import { exactly, type Selector, selectorText } from '../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';
import { familyOf, type IpAddress } from '../wire/address.ts';
import type { Complain } from './auth.ts';
import type { Path } from './complaint.ts';
import { DEFAULTS } from './defaults.ts';
import type { ChildEntry, TunnelEntry } from './schema.ts';

/** A child as it stands in a file, the keys of its tunnel behind its own. */
export interface Written {
  path: Path;
  own: Partial<ChildEntry>;
  entry: TunnelEntry;
}

/** What is known of the outer packets. */
export interface Outside {
  mtu: number;
  family: 4 | 6;
  encapsulation: Tunnel['encapsulation'];
}

export type Protection = Pick<ChildTemplate, 'protocol' | 'mode' | 'padTo'>;

/** What is asked for; complains where it does not go together. */
export function protectionOf(
  child: Written,
  proposals: ChildTemplate['proposals'],
  outer: Outside,
  at: Complain,
): Protection {
  const { protocol, transport: asked } = protectionAsked(child);
  // The two together are refused where the interface is looked at.
  const transport = asked && child.entry.mode !== 'route';
  const mode = transport ? 'transport' : 'tunnel';
  if (outer.encapsulation === 'udp' && protocol === 'ah') ahInUdp(child, at);
  if (protocol === 'ah')
    at(
      placeOf(child, 'protocol'),
      'protocol: ah keeps nothing secret: everybody on the way can read the packets',
      'warning',
    );
  const padTo = paddingOf(child, innerMtu(outer.mtu, outer.family, proposals, mode), at);
  return { protocol, mode, ...(padTo === undefined ? {} : { padTo }) };
}

/** Which protocol and which mode, before anything is held against anything. */
export function protectionAsked({ own, entry }: Pick<Written, 'own' | 'entry'>): {
  protocol: 'esp' | 'ah';
  transport: boolean;
} {
  return {
    protocol: own.protocol ?? entry.protocol ?? DEFAULTS.protocol,
    transport: own.transport ?? entry.transport ?? DEFAULTS.transport,
  };
}

/** Where a key stands: in the child, or else in the tunnel. */
function placeOf({ path, own }: Written, key: 'protocol' | 'transport' | 'pad-to'): Path {
  return own[key] === undefined ? [key] : [...path, key];
}

function ahInUdp({ entry }: Written, at: Complain): undefined {
  const what = 'AH does not travel in UDP';
  if (entry.encapsulation === 'udp')
    return at(['encapsulation'], `${what}: leave encapsulation out, or write protocol: esp`);
  const key = entry.vendor === undefined ? 'quirks' : 'vendor';
  return at([key], `${what}, and such a peer takes nothing else: write protocol: esp`);
}

/** RFC 4303 §2.7: only where the end of the packet shows in its own header. */
function paddingOf(child: Written, most: number, at: Complain): number | undefined {
  const padTo = child.own['pad-to'] ?? child.entry['pad-to'] ?? 'off';
  if (padTo === 'off') return undefined;
  const { protocol, transport } = protectionAsked(child);
  const where = placeOf(child, 'pad-to');
  if (protocol === 'ah')
    return at(where, 'pad-to hides the size of packets, and AH hides nothing: leave it out');
  if (transport)
    return at(
      where,
      'pad-to needs tunnel mode: without an inner header the peer cannot tell where a packet ends',
    );
  if (padTo > most) return at(where, `${padTo} bytes do not fit into an outer packet: ${most} at most`);
  return padTo;
}

/** The outer addresses, as far as they are known. */
export interface Ends {
  local: IpAddress | undefined;
  remote: readonly IpAddress[];
}

/** In transport mode packets go between the outer addresses themselves: what is left out means all of them. */
export function hostSelectors(
  side: 'local' | 'remote',
  given: readonly Selector[] | undefined,
  { local, remote }: Ends,
  path: Path,
  at: Complain,
): Selector[] | undefined {
  if (remote.length !== 1)
    return at(
      ['peer'],
      'transport mode is between two addresses: write the one address of the other gateway',
    );
  const host = side === 'local' ? local : remote[0];
  if (host === undefined) return undefined;
  const strange = given?.find(({ start, end }) => start !== host || end !== host);
  if (!strange) return given ? [...given] : [exactly(host, 0, 0)];
  const whole = familyOf(host) === 4 ? `${host}/32` : `${host}/128`;
  return at(
    [...path, side],
    `${selectorText(strange)} is not ${whole}: transport mode is for packets of the outer addresses alone; leave ${side} out, or name a protocol of it: ${host} gre`,
  );
}

/** Suites of a protocol that no child has. `entry`: what stands in the tunnel itself. */
export function idleSuites(entry: TunnelEntry, { children }: Tunnel, at: Complain): void {
  for (const protocol of ['esp', 'ah'] as const) {
    const key = `${protocol}-suites` as const;
    if (entry[key] && children.every((child) => child.protocol !== protocol))
      at([key], `no child of this tunnel has protocol: ${protocol}: leave ${key} out, or write it`);
  }
}
