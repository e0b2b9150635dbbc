import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WireError } from '../../src/wire/codec.ts';
import {
  addRoute,
  addRule,
  decodeAnswer,
  deleteLink,
  getAddresses,
  getLinks,
  getRoutes,
  getRules,
  setLink,
} from '../../src/wire/rtnetlink.ts';
import { generator, mutated } from './mutate.ts';

const prefix = { address: '10.2.0.0', length: 16 };
const REQUESTS: Record<string, Uint8Array> = {
  getLinks: getLinks(),
  setLink: setLink(7, 1400, 'isthmus: packets for the tunnels'),
  deleteLink: deleteLink(7),
  getAddresses: getAddresses(),
  getRoutes: getRoutes(),
  getRules: getRules(),
  addRoute: addRoute({
    family: 4,
    type: 'unicast',
    table: 4500,
    protocol: 45,
    destination: prefix,
    link: 7,
    source: '10.1.0.1',
    metric: 100,
  }),
  addRule: addRule({
    family: 6,
    table: 4500,
    protocol: 45,
    priority: 4500,
    notMark: 0x2d00000,
    from: { address: 'fd01::', length: 64 },
    inLink: 'lo',
  }),
};

for (const [name, bytes] of Object.entries(REQUESTS)) {
  test(`${name}: its length and every attribute's are true, and on four-byte boundaries`, () => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    assert.equal(view.getUint32(0, true), bytes.length);
    assert.equal(bytes.length % 4, 0);
  });

  test(`${name}: truncated or damaged, what comes back is an answer or a WireError`, () => {
    const random = generator(bytes.length);
    const pieces = Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length));
    const damaged = Array.from({ length: 20_000 }, () => mutated(bytes, random));
    for (const piece of [...pieces, ...damaged]) {
      try {
        decodeAnswer(piece);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }
  });
}
