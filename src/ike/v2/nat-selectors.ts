// Transport mode through a NAT (RFC 7296 §2.23.1): each side names the two addresses as it sees them, and puts into the other's
// words what it sees itself. What the other one said is what its checksums are made for.
//
//   a, IP1  <-->  NAT, IPN1  <-->  IPN2, NAT  <-->  b, IP2
//   a says IP1 to IPN2, b reads IPN1 to IP2, answers that, and a reads IP1 to IPN2

import type { SaParameters, SelectorSet } from '../../policy/sad.ts';
import type { Selector } from '../../policy/selector.ts';
import type { IpAddress } from '../../wire/address.ts';
import type { IkeSa } from '../sa.ts';

/** Selectors as we see them, and the addresses that the peer gave, where they are others. */
export interface Seen {
  selectors: SelectorSet;
  original?: SaParameters['original'];
}

/** `said`: by the peer, in transport mode. What is not one address each is left as it is, and fits nothing. */
export function seenHere({ nat, local, remote }: IkeSa, said: SelectorSet): Seen {
  const [ours, theirs] = [onlyAddress(said.local), onlyAddress(said.remote)];
  if (ours === undefined || theirs === undefined) return { selectors: said };
  const seen = {
    local: nat.local ? local.address : ours,
    remote: nat.remote ? remote.address : theirs,
  };
  if (seen.local === ours && seen.remote === theirs) return { selectors: said };
  const selectors = { local: moved(said.local, seen.local), remote: moved(said.remote, seen.remote) };
  return { selectors, original: { local: ours, remote: theirs } };
}

function onlyAddress(selectors: readonly Selector[]): IpAddress | undefined {
  const address = selectors[0]?.start;
  return selectors.every(({ start, end }) => start === address && end === address) ? address : undefined;
}

function moved(selectors: readonly Selector[], address: IpAddress): Selector[] {
  return selectors.map((selector) => ({ ...selector, start: address, end: address }));
}
