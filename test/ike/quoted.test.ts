// Whose packet a router quotes (RFC 8899 §4.6.1).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, sites } from '../sim/sites.ts';

test('only who names the SPIs of an SA, between its addresses, speaks of its tunnel', () => {
  const { a } = established(sites());
  const { ikeSa, children } = a.gateway.tunnels()[0]!;
  const [initiator, responder] = ikeSa!.spis;
  const [{ spiIn, spiOut }] = children as [(typeof children)[number]];
  const ends = { source: '192.0.2.1', destination: '198.51.100.1' };
  const back = { source: ends.destination, destination: ends.source };
  const of = (spi: number | [string, string], where = ends) => a.gateway.senderOf({ ...where, spi });
  assert.deepEqual([of(spiOut), of([initiator, responder])], ['t', 't']);
  for (const [spi, where] of [
    [spiOut, back],
    [[initiator, responder], back],
    [spiOut, { ...ends, destination: '198.51.100.2' }],
    [spiIn, ends],
    [spiOut ^ 1, ends],
    [[initiator, '0000000000000001'], ends],
    [['0000000000000001', responder], ends],
    [['0000000000000001', '0000000000000002'], ends],
  ] as const)
    assert.equal(
      of(typeof spi === 'number' ? spi : [...spi], where),
      undefined,
      JSON.stringify([spi, where]),
    );
});
