// Checks of `npm run interop` that are known to fail: whose it is, and why. One that passes again is told, so that its row goes.

import type { Result } from './checks.ts';

export interface KnownRed {
  /** A part of the result's field each; those that are missing fit everything. */
  peer: string;
  dataplane?: Result['dataplane'];
  role?: Result['role'];
  suite?: string;
  check?: string;
  detail?: string;
  /** It passes now and then. */
  sometimes?: true;
  whose: 'ours' | 'the peer' | 'the kernel' | 'the laboratory';
  why: string;
}

export const KNOWN_REDS: readonly KnownRed[] = [
  {
    peer: 'libreswan',
    dataplane: 'xfrm',
    check: 'rekeys child by us',
    detail: ' 0 of ours and ',
    whose: 'the peer',
    why: 'as responder it turns to the new SA before its response leaves (its policy changed 5 to 25 ms before our kernel had the SA), which RFC 7296 §2.8 allows with a warning; until we have the keys out of its response nobody can open what it sends: our engine lets it wait, the kernel drops it',
    sometimes: true,
  },
  {
    peer: 'libreswan',
    check: 'rekeys child by them',
    detail: 'gw-b XfrmAcquireError',
    whose: 'the peer',
    why: 'as initiator it gives its kernel the outbound SA before the inbound one (install_ipsec_sa of 4.10); its first packet on the new SA says that it is ready (RFC 7296 §2.8), and what we answer in between meets an inbound SA that has an SPI and no keys yet, which its kernel counts as XfrmAcquireError',
    sometimes: true,
  },
  {
    peer: 'libreswan',
    suite: 'aes-ccm-16-256 in UDP',
    check: 'ping, TCP',
    whose: 'the peer',
    why: 'it says ESPinUDP and gives its kernel both SAs of AES-CCM without encapsulation: `ip xfrm state` there shows no `encap`, which AES-GCM in UDP has (XfrmInStateMismatch); AES-CCM without UDP passes',
  },
];

export function knownRed(result: Result, known: readonly KnownRed[] = KNOWN_REDS): KnownRed | undefined {
  return known.find(
    ({ peer, dataplane, role, suite = '', check = '', detail = '' }) =>
      result.peer.includes(peer) &&
      (dataplane ?? result.dataplane) === result.dataplane &&
      (role ?? result.role) === result.role &&
      result.suite.includes(suite) &&
      result.check.includes(check) &&
      result.detail.includes(detail),
  );
}

/** Rows none of whose checks failed, though some ran. */
export function turnedGreen(
  results: readonly Result[],
  known: readonly KnownRed[] = KNOWN_REDS,
): readonly KnownRed[] {
  return known.filter((row) => {
    if (row.sometimes) return false;
    const fitting = results.filter((result) => knownRed(result, [row]));
    return fitting.length > 0 && fitting.every(({ result }) => result === 'pass');
  });
}
