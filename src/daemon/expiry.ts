// Certificates end: which, when, for which tunnels; in the status always, in the log 30, 7 and 1 days ahead and at the end.

import type { Config } from '../config/config.ts';
import { describeCertificate } from '../crypto/x509.ts';
import type { TunnelView } from '../ike/view.ts';
import { ownProof, peerProof, type Tunnel } from '../policy/tunnel.ts';
import type { Log } from './report.ts';

/** `own` is ours, `ca` one over us or over the peer, `peer` the one that an established IKE SA rests on. */
export interface Ending {
  whose: 'own' | 'ca' | 'peer';
  subject: string;
  /** SHA-256, hex. */
  fingerprint: string;
  /** Wall time, milliseconds. */
  notAfter: number;
  /** Whole days that are left; negative after the end. */
  days: number;
  tunnels: string[];
}

const DAY = 86_400_000;
/** Days before the end at which the log says so. */
const AHEAD = [30, 7, 1, 0] as const;

/** The next to end first. `now` is wall time. */
export function endingsOf(config: Config, views: readonly TunnelView[], now: number): Ending[] {
  const found = new Map<string, Ending>();
  const note = (whose: Ending['whose'], tunnel: string, one: Omit<Ending, 'whose' | 'days' | 'tunnels'>) => {
    const key = `${whose} ${one.fingerprint}`;
    const { subject, fingerprint, notAfter } = one;
    const days = Math.floor((notAfter - now) / DAY);
    const known = found.get(key) ?? { whose, subject, fingerprint, notAfter, days, tunnels: [] };
    known.tunnels.push(tunnel);
    found.set(key, known);
  };
  const describe = remembering();
  for (const tunnel of config.tunnels) {
    for (const { whose, der } of configuredFor(tunnel, config)) {
      const description = describe(der);
      if (description) note(whose, tunnel.name, description);
    }
  }
  for (const { name, ikeSa } of views) {
    const { subject, fingerprint, notAfter } = ikeSa?.peer.credential ?? {};
    if (notAfter !== undefined)
      note('peer', name, { subject: subject!, fingerprint: fingerprint!, notAfter });
  }
  return [...found.values()].sort((a, b) => a.notAfter - b.notAfter);
}

function configuredFor({ auth }: Tunnel, { keyring }: Config): { whose: 'own' | 'ca'; der: Uint8Array }[] {
  const [own, peer] = [ownProof(auth), peerProof(auth)];
  const keys = own.method === 'signature' ? own.keys.filter(({ raw }) => !raw) : [];
  const anchors = peer.method === 'signature' ? (keyring.trust.get(peer.trust)?.().anchors ?? []) : [];
  return [
    ...keys.map(({ certificates }) => ({ whose: 'own' as const, der: certificates[0]! })),
    ...keys
      .flatMap(({ certificates }) => certificates.slice(1))
      .map((der) => ({ whose: 'ca' as const, der })),
    ...anchors.map((der) => ({ whose: 'ca' as const, der })),
  ];
}

/** Tunnels share the bytes of their files. */
function remembering() {
  const known = new Map<Uint8Array, ReturnType<typeof describeCertificate>>();
  return (der: Uint8Array) => {
    const description = known.get(der) ?? describeCertificate(der);
    known.set(der, description);
    return 'code' in description ? undefined : description;
  };
}

/** Tells of each certificate once for each of the days ahead; whoever asks often hears it no more often. */
export function createExpiryLog(log: Log): (endings: readonly Ending[]) => void {
  const told = new Map<string, number>();
  return (endings) => {
    for (const { whose, subject, fingerprint, notAfter, days, tunnels } of endings) {
      const ahead = AHEAD.filter((one) => days < one).at(-1);
      if (ahead === undefined || (told.get(fingerprint) ?? Number.POSITIVE_INFINITY) <= ahead) continue;
      told.set(fingerprint, ahead);
      const detail = {
        whose: OWNERS[whose],
        subject,
        days: Math.max(days, 0),
        date: new Date(notAfter).toISOString().slice(0, 10),
        fingerprint,
        tunnels: tunnels.slice(0, 10).join(', '),
      };
      log({ code: ahead === 0 ? 'CERTIFICATE_ENDED' : 'CERTIFICATE_ENDS', detail });
    }
  };
}

const OWNERS = { own: 'our certificate', ca: 'the CA certificate', peer: "the peer's certificate" } as const;
