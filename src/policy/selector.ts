// Traffic selectors (RFC 7296 §3.13.1, RFC 4301 §4.4.1.1): which packets.

import type { IpAddress } from '../wire/address.ts';

/** An inclusive range of addresses and ports of one protocol. `protocol` 0 is any; any port is 0 to 65535. */
export interface Selector {
  protocol: number;
  startPort: number;
  endPort: number;
  start: IpAddress;
  end: IpAddress;
}
