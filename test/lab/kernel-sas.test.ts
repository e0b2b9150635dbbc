import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countsTo } from '../../lab/kernel-sas.ts';

const sa = (source: string, destination: string, spi: string, bytes: number, packets: number) =>
  `src ${source} dst ${destination}
\tproto esp spi ${spi}(257) reqid 1(0x00000001) mode tunnel
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\tlifetime config:
\t  limit: soft 900(bytes), hard 1000(bytes)
\t  limit: soft 9(packets), hard 10(packets)
\tlifetime current:
\t  ${bytes}(bytes), ${packets}(packets)
\t  add 2026-11-25 13:09:07 use -
\tstats:
\t  replay-window 0 replay 0 failed 0
`;

test('bytes and packets of each SA to an address, by SPI; limits are no counts', () => {
  const text =
    sa('192.0.2.1', '198.51.100.1', '0x00000100', 1, 2) +
    sa('198.51.100.1', '192.0.2.1', '0xff000101', 252, 3) +
    sa('198.51.100.1', '192.0.2.1', '0x00000102', 0, 0);
  assert.deepEqual(
    [...countsTo('192.0.2.1', text)],
    [
      [0xff000101, { bytes: 252, packets: 3 }],
      [0x102, { bytes: 0, packets: 0 }],
    ],
  );
  assert.equal(countsTo('192.0.2.10', text).size, 0);
});
