// Requests to the kernel's XFRM, one at a time. Only what is ours is ever removed, entry by entry; never by its flush.

import type { Addon } from '../native.ts';
import { NETLINK } from '../wire/netlink.ts';
import {
  DIRECTION,
  decodeXfrm,
  deletePolicy,
  deleteSa,
  getPolicies,
  getSa,
  getSas,
  type XfrmPolicy,
  type XfrmSa,
  type XfrmSaId,
} from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { type Journal, OUR_REQIDS } from './xfrm-journal.ts';
import { policyKey } from './xfrm-policies.ts';

export const ERRNO = { ENOENT: 2, ESRCH: 3, EEXIST: 17 };
const SENTENCES: Record<number, string> = {
  1: 'not permitted: needs CAP_NET_ADMIN',
  22: 'invalid argument',
  38: 'the kernel lacks the algorithm',
  93: 'the kernel lacks ESP: modprobe esp4 esp6',
  95: 'not supported by this kernel',
};

export interface Kernel {
  /** The errno, 0 for success. Throws DataPlaneError where there is no answer. */
  ask(request: Uint8Array): number;
  /** The same; throws DataPlaneError for any errno that is not expected. */
  demand(request: Uint8Array, what: string, ...expected: number[]): number;
  sa(id: XfrmSaId): XfrmSa | undefined;
  sas(): XfrmSa[];
  policies(): XfrmPolicy[];
}

export function createKernel(addon: Addon): Kernel {
  const answerTo = (request: Uint8Array) => {
    const answer = addon.netlink(NETLINK.XFRM, request, 1);
    if (typeof answer === 'string') throw new DataPlaneError('refused', answer);
    return decodeXfrm(answer);
  };
  const ask = (request: Uint8Array) =>
    Math.max(0, ...answerTo(request).map((one) => (one.type === 'result' ? one.errno : 0)));
  const sasIn = (request: Uint8Array) =>
    answerTo(request).flatMap((one) => (one.type === 'sa' ? one.sa : []));
  return {
    ask,
    demand(request, what, ...expected) {
      const errno = ask(request);
      if (errno === 0 || expected.includes(errno)) return errno;
      throw new DataPlaneError(
        'refused',
        `${what}: ${SENTENCES[errno] ?? `the kernel answers with error ${errno}`}`,
      );
    },
    sa: (id) => sasIn(getSa(id))[0],
    sas: () => sasIn(getSas()),
    policies: () => answerTo(getPolicies()).flatMap((one) => (one.type === 'policy' ? one.policy : [])),
  };
}

export function isOurReqid(reqid: number): boolean {
  return reqid >= OUR_REQIDS.first && reqid <= OUR_REQIDS.last;
}

/** What an earlier process left: by the journal, and by the reqids where there are some. */
export interface Leftovers {
  policies: XfrmPolicy[];
  sas: XfrmSa[];
}

export function findLeftovers(kernel: Kernel, { reqids, policies }: Journal): Leftovers {
  const ours = (reqid: number) => isOurReqid(reqid) && reqids.has(reqid);
  return {
    // Policies of sockets are in the dump as well; their directions are others.
    policies: kernel
      .policies()
      .filter(
        (policy) =>
          policy.info.direction <= DIRECTION.fwd &&
          policies.has(policyKey(policy)) &&
          (policy.attributes.templates ?? []).every(({ reqid }) => ours(reqid)),
      ),
    sas: kernel.sas().filter(({ info }) => info.id.spi !== 0 && ours(info.reqid)),
  };
}

export function removeSas(kernel: Kernel, sas: readonly XfrmSa[]): void {
  for (const { info, attributes } of sas) {
    const marked = attributes.mark ? { mark: attributes.mark } : {};
    kernel.demand(deleteSa({ ...info.id, ...marked, family: info.family }), 'old SA', ERRNO.ESRCH);
  }
}

export function removePolicies(kernel: Kernel, policies: Iterable<XfrmPolicy>): void {
  for (const policy of policies) kernel.demand(deletePolicy(policy), 'old policy', ERRNO.ENOENT);
}
