// Traffic selectors against an oracle that only asks, address by address, what is in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compareAddresses,
  contains,
  exactly,
  intersect,
  narrow,
  prefixesOf,
  prefixLength,
  type Selector,
  sameSelector,
  selectorOf,
  selectorText,
} from '../../src/policy/selector.ts';

const ANY = { protocol: 0, startPort: 0, endPort: 65535 };

function range(start: number, end: number, changes: Partial<Selector> = {}): Selector {
  return { ...ANY, start: `10.0.0.${start}`, end: `10.0.0.${end}`, ...changes };
}

/** Small ranges, protocols and ports, all of them against all. */
const SMALL: Selector[] = [0, 6, 17].flatMap((protocol) =>
  [
    [0, 65535],
    [5, 7],
    [7, 9],
    [8, 8],
  ].flatMap(([startPort, endPort]) =>
    [
      [0, 3],
      [2, 5],
      [4, 4],
      [3, 3],
    ].map(([low, high]) => range(low!, high!, { protocol, startPort: startPort!, endPort: endPort! })),
  ),
);

const last = (address: string) => Number(address.split('.')[3]);

function holds(selector: Selector | undefined, address: number, protocol: number, port: number): boolean {
  if (!selector) return false;
  return (
    (selector.protocol === 0 || selector.protocol === protocol) &&
    port >= selector.startPort &&
    port <= selector.endPort &&
    address >= last(selector.start) &&
    address <= last(selector.end)
  );
}

const PACKETS = [0, 1, 2, 3, 4, 5, 6].flatMap((address) =>
  [6, 17, 1].flatMap((protocol) => [4, 5, 6, 7, 8, 9, 10].map((port) => [address, protocol, port] as const)),
);

test('what both hold is what each holds', () => {
  for (const a of SMALL)
    for (const b of SMALL) {
      const both = intersect(a, b);
      const wrong = PACKETS.find(
        (packet) => holds(both, ...packet) !== (holds(a, ...packet) && holds(b, ...packet)),
      );
      assert.equal(wrong, undefined);
      assert.equal(both === undefined, !PACKETS.some((packet) => holds(both, ...packet)));
      assert.equal(contains(a, b), both !== undefined && sameSelector(both, b));
    }
});

test('two families have nothing in common', () => {
  assert.equal(intersect(range(0, 9), { ...ANY, start: '::', end: 'ffff::' }), undefined);
  assert.equal(contains(range(0, 9), { ...ANY, start: '::', end: '::1' }), false);
});

test('each part of a selector counts', () => {
  const one = range(1, 2, { protocol: 6, startPort: 7, endPort: 8 });
  assert.ok(sameSelector(one, { ...one }));
  for (const changes of [
    { protocol: 17 },
    { startPort: 6 },
    { endPort: 9 },
    { start: '10.0.0.0' },
    { end: '10.0.0.3' },
  ])
    assert.equal(sameSelector(one, { ...one, ...changes }), false);
  assert.ok(contains(range(0, 9), range(1, 2)));
  assert.equal(contains(range(1, 2), range(0, 9)), false);
});

test('narrowing keeps what was offered and allowed, and nothing twice (RFC 7296 §2.9)', () => {
  assert.deepEqual(narrow([range(0, 9)], [range(2, 3), range(5, 6)]), [range(2, 3), range(5, 6)]);
  assert.deepEqual(narrow([range(0, 9), range(0, 9)], [range(2, 3)]), [range(2, 3)]);
  assert.deepEqual(narrow([range(2, 3), range(0, 9)], [range(0, 9)]), [range(0, 9)]);
  assert.deepEqual(narrow([range(0, 9), range(2, 3)], [range(0, 9)]), [range(0, 9)]);
  assert.deepEqual(narrow([range(0, 5), range(3, 9)], [range(0, 9)]), [range(0, 5), range(3, 9)]);
  assert.deepEqual(narrow([range(0, 3), range(5, 6), range(0, 3)], [range(0, 9)]), [
    range(0, 3),
    range(5, 6),
  ]);
  assert.deepEqual(narrow([range(0, 1)], [range(2, 3)]), []);
  assert.deepEqual(narrow([], [range(2, 3)]), []);
});

test('of one packet: its port where it has one (RFC 7296 §2.9)', () => {
  assert.deepEqual(exactly('10.0.0.1', 17, 53), range(1, 1, { protocol: 17, startPort: 53, endPort: 53 }));
  assert.deepEqual(exactly('10.0.0.1', 1, 0), range(1, 1, { protocol: 1 }));
});

test('addresses are compared byte by byte', () => {
  assert.equal(compareAddresses('10.0.0.1', '10.0.0.1'), 0);
  assert.equal(compareAddresses('::1', '0:0::1'), 0);
  assert.ok(compareAddresses('10.0.0.2', '10.0.0.10') < 0);
  assert.ok(compareAddresses('11.0.0.0', '10.255.255.255') > 0);
  assert.ok(compareAddresses('10.2.0.9', '10.3.0.1') < 0);
});

test('in words', () => {
  assert.equal(selectorText(range(0, 255)), '10.0.0.0/24');
  assert.equal(selectorText(range(5, 9)), '10.0.0.5-10.0.0.9');
  assert.equal(
    selectorText(range(5, 5, { protocol: 17, startPort: 53, endPort: 53 })),
    '10.0.0.5/32 protocol 17 port 53',
  );
  assert.equal(selectorText(range(5, 5, { startPort: 0, endPort: 99 })), '10.0.0.5/32 port 0-99');
  assert.equal(selectorText(range(5, 5, { startPort: 9, endPort: 65535 })), '10.0.0.5/32 port 9-65535');
});

test('the length of a prefix, and none where the range is no prefix', () => {
  const lengths: [string, string, number | undefined][] = [
    ['10.0.0.0', '10.0.0.0', 32],
    ['10.0.0.0', '10.0.0.1', 31],
    ['10.0.0.128', '10.0.0.255', 25],
    ['10.0.0.0', '10.255.255.255', 8],
    ['0.0.0.0', '255.255.255.255', 0],
    ['10.4.0.0', '10.7.255.255', 14],
    ['10.0.0.1', '10.0.0.2', undefined],
    ['10.0.0.2', '10.0.0.5', undefined],
    ['10.1.0.0', '10.2.255.255', undefined],
    ['10.0.0.0', '10.1.255.254', undefined],
    ['10.0.0.1', '10.1.255.255', undefined],
    ['10.0.1.0', '10.1.255.255', undefined],
    ['10.0.0.0', '10.1.254.255', undefined],
    ['10.0.0.0', '10.0.0.2', undefined],
    ['10.0.0.4', '10.0.0.6', undefined],
    ['::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 0],
    ['fd01::', 'fd01::ffff:ffff:ffff:ffff', 64],
    ['::1', '::1', 128],
  ];
  for (const [start, end, length] of lengths)
    assert.equal(prefixLength(start, end), length, `${start}-${end}`);
});

test('prefixes cover a range exactly, and no fewer would', () => {
  for (let start = 0; start < 20; start++)
    for (let end = start; end < 40; end++) {
      const prefixes = prefixesOf(range(start, end));
      const covered = prefixes.flatMap(({ address, end, length }) => {
        assert.equal(last(end), last(address) + 2 ** (32 - length) - 1);
        return Array.from({ length: 2 ** (32 - length) }, (_, index) => last(address) + index);
      });
      assert.deepEqual(
        covered,
        Array.from({ length: end - start + 1 }, (_, index) => start + index),
      );
      assert.equal(prefixes.length, fewest(start, end));
    }
  assert.deepEqual(prefixesOf({ start: '0.0.0.0', end: '255.255.255.255' }), [
    { address: '0.0.0.0', end: '255.255.255.255', length: 0 },
  ]);
  assert.deepEqual(prefixesOf({ start: 'fd00::1', end: 'fd00::2' }), [
    { address: 'fd00::1', end: 'fd00::1', length: 128 },
    { address: 'fd00::2', end: 'fd00::2', length: 128 },
  ]);
  assert.deepEqual(prefixesOf({ start: '255.255.255.255', end: '255.255.255.255' }), [
    { address: '255.255.255.255', end: '255.255.255.255', length: 32 },
  ]);
});

/** By trying the largest aligned block that fits, from below. */
function fewest(start: number, end: number): number {
  let count = 0;
  for (let at = start; at <= end; count++) {
    const sizes = [64, 32, 16, 8, 4, 2, 1].filter((size) => at % size === 0 && at + size - 1 <= end);
    at += sizes[0]!;
  }
  return count;
}

test('a prefix as text: host bits are cleared, and what is none is refused', () => {
  assert.deepEqual(selectorOf('10.1.2.3/16'), { ...ANY, start: '10.1.0.0', end: '10.1.255.255' });
  assert.deepEqual(selectorOf('10.1.2.3/13'), { ...ANY, start: '10.0.0.0', end: '10.7.255.255' });
  assert.deepEqual(selectorOf(' 10.1.2.3 '), { ...ANY, start: '10.1.2.3', end: '10.1.2.3' });
  assert.deepEqual(selectorOf('10.1.2.3/32'), { ...ANY, start: '10.1.2.3', end: '10.1.2.3' });
  assert.deepEqual(selectorOf('10.1.2.3/0'), { ...ANY, start: '0.0.0.0', end: '255.255.255.255' });
  assert.deepEqual(selectorOf('fd01:2::3/127'), { ...ANY, start: 'fd01:2::2', end: 'fd01:2::3' });
  for (const text of [
    '10.1.2.3/33',
    '10.1.2.3/',
    '10.1.2.3/1/1',
    '10.1.2.3/x1',
    '10.1.2.3/1x',
    '10.1.2.3/0016',
    'x/8',
    'fd01::/129',
    '',
  ])
    assert.equal(selectorOf(text), undefined, text);
});
