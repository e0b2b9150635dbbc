// Requests to the kernel's XFRM, many at a time. Only what is ours is ever removed, entry by entry; never by its flush.

import { concat } from '../crypto/bytes.ts';
import type { Addon } from '../native.ts';
import { NETLINK, numbered } from '../wire/netlink.ts';
import {
  DIRECTION,
  decodeAnswers,
  deletePolicy,
  deleteSa,
  getPolicies,
  getSa,
  getSas,
  type XfrmMessage,
  type XfrmPolicy,
  type XfrmSa,
  type XfrmSaId,
} from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { SLICE } from './turns.ts';
import { type Journal, OUR_REQIDS } from './xfrm-journal.ts';
import { policyKey } from './xfrm-policies.ts';
import type { Work } from './xfrm-work.ts';

export const ERRNO = { ENOENT: 2, ESRCH: 3, EEXIST: 17 };
const SENTENCES: Record<number, string> = {
  1: 'not permitted: needs CAP_NET_ADMIN',
  22: 'invalid argument',
  38: 'the kernel lacks the algorithm',
  93: 'the kernel lacks ESP: modprobe esp4 esp6',
  95: 'not supported by this kernel',
};

/** What belongs to one request. */
export interface Answer {
  /** 0 for success. */
  errno: number;
  found: XfrmMessage[];
}

export interface Kernel {
  /** One answer a request, in their order. Throws DataPlaneError where there is none. */
  exchange(requests: readonly Uint8Array[]): Answer[];
  /** So many at a time as one exchange may have, by what the exchanges before took. */
  portions(requests: readonly Uint8Array[]): Iterable<Uint8Array[]>;
  /** The errno, 0 for success. Throws DataPlaneError where there is no answer. */
  ask(request: Uint8Array): number;
  /** The same; throws DataPlaneError for any errno that is not expected. */
  demand(request: Uint8Array, what: string, ...expected: number[]): number;
  sas(): XfrmSa[];
  policies(): XfrmPolicy[];
  /** The answer to a dump, whole messages at a time. Throws DataPlaneError. */
  pieces(request: Uint8Array): Iterable<Uint8Array>;
}

/** Of a dump: the kernel fills no more in one go. */
const PIECE_BYTES = 32_768;

/** Of requests in one piece; a socket's buffer holds them, and that of the answers as many. */
const MOST_BYTES = 65_536;
const MOST_REQUESTS = 64;
/** Until it is known how long this kernel takes. */
const FIRST_REQUESTS = 8;

/** `batch`: requests in one piece; 1 sends each by itself. */
export function createKernel(addon: Addon, batch = MOST_REQUESTS): Kernel {
  const answersTo = (requests: readonly Uint8Array[]): Answer[] => {
    const received = addon.netlink(NETLINK.XFRM, inOnePiece(requests), requests.length);
    if (typeof received === 'string') throw new DataPlaneError('refused', received);
    const answers = requests.map((): Answer => ({ errno: 0, found: [] }));
    for (const { sequence, message } of decodeAnswers(received)) {
      const answer = answers[sequence - 1];
      if (message.type === 'result') answer!.errno = message.errno;
      else answer?.found.push(message);
    }
    return answers;
  };
  let most = Math.min(batch, FIRST_REQUESTS);
  const exchange = (requests: readonly Uint8Array[]): Answer[] => {
    const since = performance.now();
    const answers = answersTo(requests);
    most = Math.min(batch, paceAfter(most, requests.length, performance.now() - since));
    return answers;
  };
  const ask = (request: Uint8Array) => answersTo([request])[0]!.errno;
  const dumped = (request: Uint8Array) => answersTo([request])[0]!.found;
  return {
    exchange,
    portions: (requests) => portionsOf(requests, () => most),
    ask,
    demand(request, what, ...expected) {
      const errno = ask(request);
      const failure = refusalOf(errno, what, ...expected);
      if (failure) throw failure;
      return errno;
    },
    sas: () => dumped(getSas()).flatMap((one) => (one.type === 'sa' ? one.sa : [])),
    *pieces(request) {
      const dump = addon.dump(NETLINK.XFRM, request);
      if (typeof dump === 'string') throw new DataPlaneError('refused', dump);
      for (;;) {
        const piece = addon.dumped(dump, PIECE_BYTES);
        if (typeof piece === 'string') throw new DataPlaneError('refused', piece);
        if (piece.length === 0) return;
        yield piece;
      }
    },
    policies: () => dumped(getPolicies()).flatMap((one) => (one.type === 'policy' ? one.policy : [])),
  };
}

/** Numbered from 1 on. */
function inOnePiece(requests: readonly Uint8Array[]): Uint8Array {
  return concat(requests.map((request, index) => numbered(request, index + 1)));
}

/**
 * So many requests next time: the kernel keeps the event loop as long as it answers, and takes the longer over a policy the
 * more there are. Less at once where it took too long, one more where it did not.
 */
function paceAfter(pace: number, count: number, milliseconds: number): number {
  return milliseconds > SLICE ? Math.max(1, Math.floor((count * SLICE) / milliseconds)) : pace + 1;
}

function* portionsOf(requests: readonly Uint8Array[], most: () => number): Generator<Uint8Array[]> {
  let portion: Uint8Array[] = [];
  let bytes = 0;
  for (const request of requests) {
    if (portion.length > 0 && (portion.length >= most() || bytes + request.length > MOST_BYTES)) {
      yield portion;
      portion = [];
      bytes = 0;
    }
    portion.push(request);
    bytes += request.length;
  }
  if (portion.length > 0) yield portion;
}

/** Why the kernel refuses; undefined where it does not, or as expected. */
export function refusalOf(errno: number, what: string, ...expected: number[]): DataPlaneError | undefined {
  if (errno === 0 || expected.includes(errno)) return undefined;
  const sentence = SENTENCES[errno] ?? `the kernel answers with error ${errno}`;
  return new DataPlaneError('refused', `${what}: ${sentence}`);
}

/** Throws DataPlaneError for any errno that is not expected. */
export function* demand(request: Uint8Array, what: string, ...expected: number[]): Work<number> {
  const [answer] = yield [request];
  const failure = refusalOf(answer!.errno, what, ...expected);
  if (failure) throw failure;
  return answer!.errno;
}

export function* standingSa(id: XfrmSaId): Work<XfrmSa | undefined> {
  const [answer] = yield [getSa(id)];
  return answer!.found.flatMap((one) => (one.type === 'sa' ? one.sa : []))[0];
}

export function isOurReqid(reqid: number): boolean {
  return reqid >= OUR_REQIDS.first && reqid <= OUR_REQIDS.last;
}

/** SAs of ours end when we say so; what has a time of its own the kernel keeps for a packet that asked for an SA. */
export function isForPacket({ hardAdded }: { hardAdded: bigint }): boolean {
  return hardAdded !== 0n;
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
  const requests = sas.map(({ info, attributes: { mark } }) =>
    deleteSa({ ...info.id, ...(mark ? { mark } : {}), family: info.family }),
  );
  removeAll(kernel, requests, 'old SA', ERRNO.ESRCH);
}

export function removePolicies(kernel: Kernel, policies: readonly XfrmPolicy[]): void {
  removeAll(kernel, policies.map(deletePolicy), 'old policy', ERRNO.ENOENT);
}

/** What is gone already is well. Throws DataPlaneError. */
function removeAll(kernel: Kernel, requests: readonly Uint8Array[], what: string, gone: number): void {
  for (const some of kernel.portions(requests))
    for (const { errno } of kernel.exchange(some)) {
      const failure = refusalOf(errno, what, gone);
      if (failure) throw failure;
    }
}
