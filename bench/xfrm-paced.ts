// How long the event loop is kept on this machine itself, with a kernel that grants everything and takes as long for it as
// that of a guest did. `node bench/xfrm-paced.ts TUNNELS < exchanges.json`; a line of JSON.

import { readFileSync } from 'node:fs';
import { type Addon, loadAddon } from '../src/native.ts';
import { messagesOf } from '../src/wire/netlink.ts';
import { watched } from './watched.ts';
import type { Exchange, Exchanges, Paced } from './xfrm-mark.ts';
import { changesFor, fill, openPlane } from './xfrm-plane.ts';

const tunnels = Number(process.argv[2]);
const { start, stop }: Exchanges = JSON.parse(readFileSync(0, 'utf8'));
let costs: Iterator<number> = [][Symbol.iterator]();

const addon: Addon = {
  ...loadAddon(),
  listen: () => '',
  netlink(_family, requests) {
    const sequences = messagesOf(requests).map(({ sequence }) => sequence);
    const milliseconds = sequences.reduce((sum) => sum + (costs.next().value ?? 0), 0);
    for (const until = performance.now() + milliseconds; performance.now() < until; );
    return granted(sequences);
  },
};

/** Of each request its part of the exchange it was in. */
function* costsOf(exchanges: readonly Exchange[]): Generator<number> {
  for (const [requests, milliseconds] of exchanges)
    for (let request = 0; request < requests; request++) yield milliseconds / requests;
}

const ACK_BYTES = 36;
const NLMSG_ERROR = 2;

/** Acknowledgements without an error. */
function granted(sequences: readonly number[]): Uint8Array {
  const answers = new DataView(new ArrayBuffer(ACK_BYTES * sequences.length));
  for (const [index, sequence] of sequences.entries()) {
    answers.setUint32(index * ACK_BYTES, ACK_BYTES, true);
    answers.setUint16(index * ACK_BYTES + 4, NLMSG_ERROR, true);
    answers.setUint32(index * ACK_BYTES + 8, sequence, true);
  }
  return new Uint8Array(answers.buffer);
}

const { plane, end } = openPlane(addon);
const sets = changesFor(tunnels);
globalThis.gc!(); // what was made ready here is no part of what is measured
costs = costsOf(start);
const up = await watched(() => fill(plane, sets));
costs = costsOf(stop);
const down = await watched(() => plane.close({ guards: 'remove' }));
end();
const paced: Paced = {
  ...{ startStall: up.stall, startTurn: up.turn },
  ...{ stopStall: down.stall, stopTurn: down.turn },
};
console.log(JSON.stringify(paced));
process.exit(0);
