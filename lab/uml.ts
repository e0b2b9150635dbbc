// User-mode Linux: a kernel as an ordinary process, for what the machine's own kernel lacks (ESP). It boots in a second with
// the machine's file system as its root.

import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  enterGuest,
  type Guest,
  type GuestOptions,
  INIT,
  insideGuest,
  machineLacks,
  SHARED,
  startGuest,
} from './guest.ts';

const KERNEL = '/usr/bin/linux.uml';

/** What it loads, and what for. Nothing is loaded later: each try would cost a process. */
const MODULES: Record<string, string> = {
  xfrm_user: 'the netlink family',
  esp4: 'ESP over IPv4, plain and in UDP',
  esp6: 'ESP over IPv6',
  esp4_offload: 'ESP by an interface, and its segments at once',
  esp6_offload: 'the same over IPv6',
  ah4: 'AH over IPv4',
  ah6: 'AH over IPv6',
  ip_vti: 'interfaces of route-based tunnels over IPv4',
  ip6_vti: 'interfaces of route-based tunnels over IPv6',
  authenc: 'encryption and integrity as one transform',
  authencesn: 'the same with extended sequence numbers',
  seqiv: 'initialization vectors of combined modes',
  echainiv: 'initialization vectors of CBC',
  gcm: 'AES-GCM and AES-GMAC',
  ccm: 'AES-CCM',
  ctr: 'AES-CTR, and counters for GCM and CCM',
  cbc: 'AES-CBC',
  ghash_generic: 'authentication in GCM',
  chacha20poly1305: 'ChaCha20-Poly1305',
  chacha_generic: 'its cipher',
  poly1305_generic: 'its authentication',
  hmac: 'HMAC of any digest',
  xcbc: 'AES-XCBC',
  cmac: 'AES-CMAC',
  sha512_generic: 'HMAC-SHA2-384 and 512',
  jitterentropy_rng: 'entropy for the next',
  drbg: 'random numbers for the first initialization vector',
  ip_gre: 'GRE, which transport mode protects',
  veth: 'links between namespaces',
  vrf: 'a table of its own for some devices',
  tun: 'devices whose packets a program reads and writes',
  sch_ingress: 'counting what passes a device',
  cls_flower: 'by address and protocol',
  act_gact: 'and letting it pass',
};

export const UML: Guest = {
  name: 'uml',
  goal: 'uml',
  missing: umlIsMissing,
  library: '/usr/lib/uml/modules',
  modules: Object.keys(MODULES),
  boot: () => [
    ...[KERNEL, 'mem=1024M', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro'],
    ...[`init=${INIT}`, 'guest=uml'],
    ...['con=null', 'con0=fd:0,fd:1', 'quiet', 'loglevel=1', `uml_dir=${SHARED}`],
  ],
};

/** Why no guest can be booted here, and what to do. */
export function umlIsMissing(): string | undefined {
  if (!existsSync(KERNEL)) return 'user-mode Linux is missing: apt-get install user-mode-linux';
  return machineLacks();
}

/** Whether this process runs in a guest of this kind. */
export function insideUml(): boolean {
  return insideGuest() === 'uml';
}

/** Returns inside a guest, see `enterGuest`. */
export function enterUml(): Promise<void> {
  return enterGuest(UML);
}

/** Boots a guest for one command, see `startGuest`. */
export function startUml(command: readonly string[], options: GuestOptions = {}): ChildProcess {
  return startGuest(UML, command, options);
}
