// One of our data planes with static SAs and no IKE: `static-sas.ts engine|xfrm ROW` says `ready`, and on SIGTERM what it
// counted, as a line of JSON; then nothing of it is left. Runs in the gateway's namespace.

import { choosePlane } from '../src/daemon/plane.ts';
import { openPort } from '../src/daemon/port.ts';
import { createHost } from '../src/host/host.ts';
import { pairsOf } from '../src/host/pairs.ts';
import { OURS, ROUTING, wantedFor } from '../src/host/wanted.ts';
import { loadAddon } from '../src/native.ts';
import { changesOf, STATIC_ROWS } from './static-rows.ts';

/** Inside, so that no packet has to be cut. */
const MTU = 1300;

const [name, wanted] = process.argv.slice(2);
if (name !== 'engine' && name !== 'xfrm') throw new Error(`no data plane ${name}`);
const row = STATIC_ROWS.find((one) => one.name === wanted);
if (!row) throw new Error(`no row ${wanted}`);
const [outbound] = row.sas;

const addon = loadAddon();
const native = addon.create(1, 0);
const host = createHost(addon);
const failed = addon.openLink(native, OURS.device, 0);
if (failed !== '') throw new Error(failed);
host.apply(wantedFor(pairsOf(outbound), host.addresses(), MTU, name));
const port = openPort(addon, native, [outbound.local], ROUTING.mark, name === 'xfrm', true);
if ('failed' in port) throw new Error(port.failed);
const { plane, deliver, settle } = choosePlane(name, addon, native, ROUTING.mark, undefined);
addon.start(native, () => {
  deliver();
  port.take();
});
await plane.apply(changesOf(row));
await settle();
console.log('ready');
const alive = setInterval(() => {}, 60_000);

process.once('SIGTERM', async () => {
  clearInterval(alive);
  const { sas, drops } = await plane.snapshot();
  const packets = Object.fromEntries(sas.map((sa) => [sa.direction, Number(sa.packets)]));
  const dropped = Object.entries(drops).filter(([, count]) => count > 0n);
  console.log(
    JSON.stringify({ packets, drops: Object.fromEntries(dropped.map(([why, n]) => [why, Number(n)])) }),
  );
  await plane.close({ guards: 'remove' });
  addon.stop(native);
  host.flush();
  process.exit(0);
});
