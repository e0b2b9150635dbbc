// What this kernel can do, found by asking it: an SA of each algorithm is added and removed again.

import {
  AH_INTEGRITY,
  ENCRYPTION,
  type EncryptionName,
  encryptionRow,
  IKE_INTEGRITY,
  type IntegrityName,
  integrityRow,
} from '../crypto/suites.ts';
import type { Capabilities, SaParameters } from '../policy/sad.ts';
import { FAMILY } from '../wire/netlink.ts';
import { addSa, deleteSa, IPSEC } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { OUR_REQIDS } from './xfrm-journal.ts';
import { ERRNO, type Kernel } from './xfrm-kernel.ts';
import { kernelSa, saId } from './xfrm-sa.ts';

/** Nobody's: the lowest that is no reserved one (RFC 4303 §2.1), to this machine itself. */
const SPI = 256;
/** XFRMA_REPLAY_ESN_MAX. */
const LARGEST_WINDOW = 4096;

/** Throws DataPlaneError with the kernel's answer where it does no ESP at all. */
export function probe(kernel: Kernel): Capabilities {
  demandXfrm(kernel);
  const answers = ENCRYPTION.filter(({ status, esp }) => status === 'implemented' && esp).map(({ name }) => ({
    name,
    errno: tryOut(kernel, esp(name, 'hmac-sha2-256-128')),
  }));
  const encryption = answers.filter(({ errno }) => errno === 0).map(({ name }) => name);
  if (encryption.length === 0) throw new DataPlaneError('refused', noEsp(answers.map(({ errno }) => errno)));
  const integrity = IKE_INTEGRITY.filter((name) => tryOut(kernel, esp('aes-cbc', name)) === 0);
  const authentication = AH_INTEGRITY.filter(
    (name) => integrityRow(name).status === 'implemented' && tryOut(kernel, ah(name)) === 0,
  );
  return {
    encryption,
    integrity,
    authentication,
    modes: ['tunnel', 'transport'],
    links: false,
    esn: true,
    replayWindow: LARGEST_WINDOW,
    plainEsp: true,
    udpEncapsulation: true,
    prefersUdp: false,
    firstInbound: false,
    holds: false,
    expects: false,
  };
}

function noEsp(errnos: readonly number[]): string {
  if (errnos.includes(NOT_PERMITTED))
    return `the kernel's IPsec needs CAP_NET_ADMIN: run as root; ${OTHERWISE}`;
  if (errnos.includes(NO_PROTOCOL)) return `the kernel has no ESP: modprobe esp4 esp6; ${OTHERWISE}`;
  const answers = [...new Set(errnos)].join(', ');
  return `the kernel has no algorithm for ESP (it answers with error ${answers}): modprobe esp4 esp6 gcm seqiv; ${OTHERWISE}`;
}

/** EPERM and EPROTONOSUPPORT. */
const [NOT_PERMITTED, NO_PROTOCOL] = [1, 93];
const OTHERWISE = 'or use dataplane: engine';

/** No socket of that family: the module is missing, or this kernel was built without. */
function demandXfrm(kernel: Kernel): void {
  try {
    kernel.ask(
      deleteSa({ destination: new Uint8Array(16), spi: SPI, family: FAMILY[4], protocol: IPSEC.esp }),
    );
  } catch (error) {
    if (!(error instanceof DataPlaneError) || !error.message.includes('not supported')) throw error;
    const missing = `the kernel has no XFRM (${error.message}): modprobe xfrm_user esp4 esp6`;
    throw new DataPlaneError('refused', `${missing}; ${OTHERWISE}`);
  }
}

/** What to load for an algorithm, by parts of its name in the kernel. */
const MODULES: readonly (readonly [part: string, module: string])[] = [
  ['gcm(', 'gcm'],
  ['ccm(', 'ccm'],
  ['chacha20', 'chacha20poly1305'],
  ['cbc(', 'cbc'],
  ['ctr(', 'ctr'],
  ['cipher_null', 'crypto_null'],
  ['xcbc(', 'xcbc'],
  ['cmac(', 'cmac'],
  ['hmac(', 'hmac'],
  ['md5', 'md5'],
  ['sha1', 'sha1_generic'],
  ['sha256', 'sha256_generic'],
  ['sha384', 'sha512_generic'],
  ['sha512', 'sha512_generic'],
  ['aes', 'aes_generic'],
];

export function modulesOf(kernelName: string): string[] {
  return MODULES.filter(([part]) => kernelName.includes(part)).map(([, module]) => module);
}

type Protection = Pick<SaParameters, 'protocol' | 'encryption' | 'integrity'>;

function esp(name: EncryptionName, separate: IntegrityName): Protection {
  const { keyBits, saltBytes, tagBytes } = encryptionRow(name);
  const [bits] = keyBits as readonly [number];
  return {
    protocol: 'esp',
    encryption: { name, keyBits: bits, key: new Uint8Array(bits / 8 + saltBytes) },
    ...(tagBytes > 0 ? {} : { integrity: integrityOf(separate) }),
  };
}

function ah(name: IntegrityName): Protection {
  return { protocol: 'ah', integrity: integrityOf(name) };
}

function integrityOf(name: IntegrityName): NonNullable<SaParameters['integrity']> {
  return { name, key: new Uint8Array(integrityRow(name).keyBytes) };
}

/** The kernel's errno, 0 where it takes such an SA. */
function tryOut(kernel: Kernel, protection: Protection): number {
  const sa: SaParameters = {
    spi: SPI,
    direction: 'in',
    mode: 'tunnel',
    policy: '',
    local: '127.0.0.1',
    remote: '127.0.0.1',
    ...protection,
    esn: false,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow: 32,
    selectors: { local: [], remote: [] },
    lifetime: {},
  };
  const errno = kernel.ask(addSa(kernelSa(sa, { reqid: OUR_REQIDS.last, mark: 0, lookup: {} })));
  if (errno === 0) kernel.demand(deleteSa(saId(sa)), 'SA of a trial', ERRNO.ESRCH);
  return errno;
}
