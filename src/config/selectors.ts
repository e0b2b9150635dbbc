// Networks, protocols and ports as a file writes them.

import { intersect, prefixLength, type Selector, selectorOf } from '../policy/selector.ts';
import { canonicalAddress, familyOf } from '../wire/address.ts';

const PROTOCOLS: Record<string, number> = { icmp: 1, tcp: 6, udp: 17, gre: 47, icmpv6: 58, sctp: 132 };

/** `10.1.0.0/16`, `10.1.0.5-10.1.0.9`, each with ` tcp`, ` udp 53` or ` tcp 80-90` behind it. */
export function parseSelector(text: string): Selector | { complaint: string } {
  const [range = '', protocol, ports, ...more] = text.trim().split(/\s+/);
  const selector = range.includes('-') ? rangeOf(range) : selectorOf(range);
  if (!selector || more.length > 0)
    return { complaint: `"${text}" is not a network; write 10.1.0.0/16, 10.1.0.5-10.1.0.9 or fd01::/64` };
  const length = prefixLength(selector.start, selector.end);
  const given = canonicalAddress(range.split('/')[0]!);
  if (range.includes('/') && given !== selector.start)
    return {
      complaint: `"${range}" is an address inside a network; the network is ${selector.start}/${length}`,
    };
  return protocol === undefined ? selector : withProtocol(selector, text, protocol, ports);
}

function rangeOf(text: string): Selector | undefined {
  const [start, end] = text.split('-').map((one) => canonicalAddress(one));
  if (!start || !end || familyOf(start) !== familyOf(end)) return undefined;
  const whole = { protocol: 0, startPort: 0, endPort: 65535, start, end };
  return intersect(whole, whole);
}

function withProtocol(
  selector: Selector,
  text: string,
  protocol: string,
  ports: string | undefined,
): Selector | { complaint: string } {
  const number = PROTOCOLS[protocol] ?? (/^\d{1,3}$/.test(protocol) ? Number(protocol) : undefined);
  if (number === undefined || number > 255 || number === 0)
    return {
      complaint: `"${text}": unknown protocol ${protocol}; write tcp, udp, icmp, icmpv6, gre, sctp or its number`,
    };
  if (ports === undefined) return { ...selector, protocol: number };
  if (number === PROTOCOLS.icmp || number === PROTOCOLS.icmpv6)
    return { complaint: `"${text}": types of ICMP are not told apart; write ${protocol} alone` };
  const [startPort, endPort = startPort] = ports.split('-').map(Number);
  const valid = [startPort, endPort].every((port) => Number.isInteger(port) && port! > 0 && port! < 65536);
  if (!valid || startPort! > endPort!)
    return { complaint: `"${text}": ${ports} is not a port or a range of ports` };
  return { ...selector, protocol: number, startPort: startPort!, endPort: endPort! };
}
