import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WireError } from '../../src/wire/codec.ts';
import {
  addAddress,
  addLink,
  addRoute,
  addRule,
  decodeAnswer,
  deleteAddress,
  deleteLink,
  getAddresses,
  getLinks,
  getRoutes,
  getRules,
  setLink,
  setOperation,
  setUpOnWord,
} from '../../src/wire/rtnetlink.ts';
import { generator, mutated } from './mutate.ts';

const prefix = { address: '10.2.0.0', length: 16 };
const REQUESTS: Record<string, Uint8Array> = {
  getLinks: getLinks(),
  setLink: setLink(7, 1400, 'isthmus: packets for the tunnels'),
  deleteLink: deleteLink(7),
  addXfrmLink: addLink('to-b', { kind: 'xfrm', id: 7 }),
  addVti: addLink('to-b', { kind: 'vti', key: 0x2d000007, local: '192.0.2.1', remote: '198.51.100.1' }),
  setOperation: setOperation(7, 'dormant'),
  setUpOnWord: setUpOnWord(7, false),
  addAddress: addAddress({ link: 7, address: 'fd00:ff::1', length: 126, protocol: 45 }),
  deleteAddress: deleteAddress({ link: 7, address: '10.255.0.1', length: 30, protocol: 45 }),
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
    mark: { value: 0, mask: 0x2d00000 },
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

test('what a link for the kernel’s IPsec is asked for is what is read of it', () => {
  const links = [
    { kind: 'xfrm', id: 7 },
    { kind: 'vti', key: 0x2d000007, local: '192.0.2.1', remote: '198.51.100.1' },
    { kind: 'vti6', key: 0x2d000007, local: '2001:db8:a::1', remote: '2001:db8:b::1' },
  ] as const;
  for (const ipsec of links) assert.deepEqual(decodeAnswer(addLink('to-b', ipsec)).links[0]!.ipsec, ipsec);
});
