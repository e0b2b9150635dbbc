// How long the event loop is kept on this machine itself, with a kernel that grants everything and takes as long for it as
// that of a guest did. `node bench/xfrm-paced.ts TUNNELS < exchanges.json`; a line of JSON.

import { readFileSync } from 'node:fs';
import { concat } from '../src/crypto/bytes.ts';
import { type Addon, type Dump, loadAddon } from '../src/native.ts';
import { viewOf } from '../src/wire/ip.ts';
import { chunks } from '../src/wire/lists.ts';
import { CONTROL, messagesOf } from '../src/wire/netlink.ts';
import { TYPE } from '../src/wire/xfrm.ts';
import { median } from './statistics.ts';
import { watched } from './watched.ts';
import type { Exchange, Exchanges, Paced } from './xfrm-mark.ts';
import { changesFor, fill, lookAt, openPlane } from './xfrm-plane.ts';

const tunnels = Number(process.argv[2]);
const { start, look, stop }: Exchanges = JSON.parse(readFileSync(0, 'utf8'));
let costs: Iterator<number> = [][Symbol.iterator]();

const ACK_BYTES = 36;
/** Exchanges that are looked at together. */
const ABOUT = 64;
/** Messages of a dump at a time: about what fits 32 KB. */
const PIECE = 64;
/** What dumps show. */
const DUMPED = new Map<number, number>([
  [TYPE.GETSA, TYPE.NEWSA],
  [TYPE.GETPOLICY, TYPE.NEWPOLICY],
]);
/** By type, as they were added; the kernel would put a few attributes behind. */
const added: Record<number, Uint8Array[]> = { [TYPE.NEWSA]: [], [TYPE.NEWPOLICY]: [] };

const addon: Addon = {
  ...loadAddon(),
  listen: () => '',
  netlink(_family, requests) {
    const messages = messagesOf(requests);
    take(messages.length);
    keep(requests);
    return granted(messages.map(({ sequence }) => sequence));
  },
  dump: (_family, request) => piecesOf(DUMPED.get(messagesOf(request)[0]!.type)!) as unknown as Dump,
  dumped(dump) {
    take(1);
    return (dump as unknown as Iterator<Uint8Array>).next().value ?? new Uint8Array(0);
  },
};

function keep(requests: Uint8Array): void {
  const view = viewOf(requests);
  for (let at = 0; at < requests.length; ) {
    const length = view.getUint32(at, true);
    added[view.getUint16(at + 4, true)]?.push(requests.slice(at, at + length));
    at += length;
  }
}

function* piecesOf(type: number): Generator<Uint8Array> {
  for (const some of chunks(added[type]!, PIECE)) yield concat(some);
}

/** As long as the guest's kernel took for so many. */
function take(count: number): void {
  let milliseconds = 0;
  for (let one = 0; one < count; one++) milliseconds += costs.next().value ?? 0;
  for (const until = performance.now() + milliseconds; performance.now() < until; );
}

/**
 * Of each request what it usually took about there: a call in which the guest itself was kept waiting by this machine says
 * nothing about its kernel.
 */
function* costsOf(exchanges: readonly Exchange[]): Generator<number> {
  for (const some of chunks(exchanges, ABOUT)) {
    const usual = median(some.map(([requests, milliseconds]) => milliseconds / requests));
    for (const [requests] of some) for (let request = 0; request < requests; request++) yield usual;
  }
}

/** Acknowledgements without an error. */
function granted(sequences: readonly number[]): Uint8Array {
  const answers = new DataView(new ArrayBuffer(ACK_BYTES * sequences.length));
  for (const [index, sequence] of sequences.entries()) {
    answers.setUint32(index * ACK_BYTES, ACK_BYTES, true);
    answers.setUint16(index * ACK_BYTES + 4, CONTROL.ERROR, true);
    answers.setUint32(index * ACK_BYTES + 8, sequence, true);
  }
  return new Uint8Array(answers.buffer);
}

const { plane, end } = openPlane(addon);
const sets = changesFor(tunnels);
globalThis.gc!(); // what was made ready here is no part of what is measured
costs = costsOf(start);
const up = await watched(() => fill(plane, sets));
costs = costsOf(look);
const looked = await lookAt(plane);
costs = costsOf(stop);
const down = await watched(() => plane.close({ guards: 'remove' }));
end();
const paced: Paced = {
  ...{ startStall: up.stall, startTurn: up.turn },
  ...{ stopStall: down.stall, stopTurn: down.turn },
  ...{ look: looked.seconds, lookStall: looked.stall },
};
console.log(JSON.stringify(paced));
process.exit(0);
