// What is found in the kernel's SAD where messages were lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecovery } from '../../src/dataplane/xfrm-events.ts';
import type { Kernel } from '../../src/dataplane/xfrm-kernel.ts';
import { kernelSa } from '../../src/dataplane/xfrm-sa.ts';
import { newTables, remember } from '../../src/dataplane/xfrm-tables.ts';
import type { DataPlaneEvent } from '../../src/policy/sad.ts';
import { addSa, type XfrmSa } from '../../src/wire/xfrm.ts';
import { outboundSa } from './packets.ts';

const SA = outboundSa(300, { encryption: 'aes-gcm-16', keyBits: 128 });
const IN_KERNEL = kernelSa(SA, { reqid: 7, mark: 0, lookup: {} });

/** Told of our one SA, where the kernel has these. */
async function recovered(there: readonly XfrmSa[]): Promise<DataPlaneEvent[]> {
  const told: DataPlaneEvent[] = [];
  const kernel = { pieces: () => there.map(addSa) } as unknown as Kernel;
  const tables = newTables(kernel, undefined as never, [], undefined);
  remember(tables, { ...SA, lookup: {}, softTold: false, stopped: false });
  createRecovery(tables, { tell: (event) => void told.push(event), follow: () => {} })();
  await new Promise(setImmediate);
  return told;
}

function changed(more: Partial<XfrmSa['info']>): XfrmSa {
  return { ...IN_KERNEL, info: { ...IN_KERNEL.info, ...more } };
}

const gone = { type: 'expire', direction: 'out', spi: 300, hard: true };
const { limits, counters } = IN_KERNEL.info;

for (const [what, there, events] of [
  ['it stands: nothing', [IN_KERNEL], []],
  ['it is not there: it reached its hard limit', [], [gone]],
  [
    'it is beyond its soft limit: so that is told',
    [changed({ limits: { ...limits, softPackets: 5n }, counters: { ...counters, packets: 5n } })],
    [{ ...gone, hard: false }],
  ],
  [
    'a packet has asked under its SPI since: it is not there',
    [changed({ limits: { ...limits, hardAdded: 30n } })],
    [gone],
  ],
] as const) {
  test(`an SA of ours after messages were lost, ${what}`, async () => {
    assert.deepEqual(await recovered(there), events);
  });
}
