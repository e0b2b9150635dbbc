// Where the kernel's reverse-path filter drops what comes out of a tunnel: its way back must lead to the interface that it came
// by (RFC 3704; Linux Documentation/networking/ip-sysctl.rst, rp_filter). IPv4 only. What is found is never changed.

import type { TunnelLink } from '../policy/tunnel.ts';
import { familyOf } from '../wire/address.ts';
import type { Finding, Machine } from './preflight.ts';

const [STRICT, LOOSE] = [1, 2];

/**
 * Of interfaces of route-based tunnels. Policy-based tunnels are found by their rules, for the way back as well, and what the
 * kernel's IPsec has let in without a VTI is not filtered at all.
 */
export function reversePath(machine: Machine, links: readonly TunnelLink[]): Finding[] {
  return links.flatMap((link) => {
    const why = strictness(machine, link.name) === STRICT ? otherWayBack(link, links) : undefined;
    if (why === undefined) return [];
    return [
      {
        code: 'HOST_STRICT_REVERSE_PATH',
        problem: `the reverse-path filter of ${link.name} is strict, and drops what comes out of the tunnel where the way back does not lead into it: ${why}`,
        fix: `sysctl -w net/ipv4/conf/${link.name}/rp_filter=${LOOSE}`,
      },
    ];
  });
}

/** The larger of two settings counts. An interface that is not there yet will have the default. */
function strictness(machine: Machine, device: string): number {
  const setting = (name: string) => {
    const text = machine.read(`/proc/sys/net/ipv4/conf/${name}/rp_filter`);
    return text === undefined ? undefined : Number(text);
  };
  return Math.max(setting('all') ?? 0, setting(device) ?? setting('default') ?? 0);
}

/** Why the way back may be another one; undefined where our own routes make it the same. */
function otherWayBack(link: TunnelLink, links: readonly TunnelLink[]): string | undefined {
  const routes = link.routes.filter(({ address }) => familyOf(address) === 4);
  if (routes.length === 0 && link.routes.length > 0) return undefined;
  if (link.table !== undefined)
    return `its routes stand in table ${link.table}, where a rule for a mark does not lead the filter`;
  if (routes.length === 0) return 'no route of ours leads to it';
  const better = links.find(
    (other) => other.table === undefined && other.metric < link.metric && shareOne(other, link),
  );
  return better && `${better.name} has a better route to the same network`;
}

function shareOne(a: TunnelLink, b: TunnelLink): boolean {
  const texts = new Set(a.routes.map(textOf));
  return b.routes.some((route) => texts.has(textOf(route)));
}

function textOf({ address, length }: TunnelLink['routes'][number]): string {
  return `${address}/${length}`;
}
