// What this kernel can do, found by asking it: an SA of each algorithm is added and removed again.

import {
  ENCRYPTION,
  type EncryptionName,
  encryptionRow,
  INTEGRITY,
  type IntegrityName,
  integrityRow,
} from '../crypto/suites.ts';
import type { Capabilities, SaParameters } from '../policy/sad.ts';
import { addSa, deleteSa } from '../wire/xfrm.ts';
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
  const answers = ENCRYPTION.filter(({ status, esp }) => status === 'implemented' && esp).map(({ name }) => ({
    name,
    errno: tryOut(kernel, name, 'hmac-sha2-256-128'),
  }));
  const encryption = answers.filter(({ errno }) => errno === 0).map(({ name }) => name);
  if (encryption.length === 0) throw new DataPlaneError('refused', noEsp(answers[0]?.errno ?? 0));
  const integrity = INTEGRITY.filter(({ status }) => status === 'implemented')
    .map(({ name }) => name)
    .filter((name) => tryOut(kernel, 'aes-cbc', name) === 0);
  return {
    encryption,
    integrity,
    authentication: [],
    modes: ['tunnel'],
    links: false,
    esn: true,
    replayWindow: LARGEST_WINDOW,
    plainEsp: true,
    udpEncapsulation: true,
    prefersUdp: false,
    firstInbound: false,
    holds: false,
  };
}

function noEsp(errno: number): string {
  const why = errno === 1 ? 'it needs CAP_NET_ADMIN' : `it answers with error ${errno}`;
  return `the kernel cannot do ESP (${why}); modprobe esp4 esp6 xfrm_user, or use dataplane: engine`;
}

/** The kernel's errno, 0 where it takes such an SA. */
function tryOut(kernel: Kernel, encryption: EncryptionName, integrity: IntegrityName): number {
  const { keyBits, saltBytes, tagBytes } = encryptionRow(encryption);
  const sa: SaParameters = {
    spi: SPI,
    direction: 'in',
    protocol: 'esp',
    mode: 'tunnel',
    policy: '',
    local: '127.0.0.1',
    remote: '127.0.0.1',
    encryption: { name: encryption, keyBits: keyBits[0]!, key: new Uint8Array(keyBits[0]! / 8 + saltBytes) },
    ...(tagBytes > 0
      ? {}
      : { integrity: { name: integrity, key: new Uint8Array(integrityRow(integrity).keyBytes) } }),
    esn: false,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow: 32,
    selectors: { local: [], remote: [] },
    lifetime: {},
  };
  const errno = kernel.ask(addSa(kernelSa(sa, OUR_REQIDS.last, 0)));
  if (errno === 0) kernel.demand(deleteSa(saId(sa)), 'SA of a trial', ERRNO.ESRCH);
  return errno;
}
