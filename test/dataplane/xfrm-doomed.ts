// A process that installs tunnels until it is killed: `node xfrm-doomed.ts TUNNELS` says when so many are there, and goes on.

import { createXfrm } from '../../src/dataplane/xfrm.ts';
import { ROUTING } from '../../src/host/wanted.ts';
import { loadAddon } from '../../src/native.ts';
import { numbers, tunnelOf } from './xfrm-many.ts';

const count = Number(process.argv[2]);
const MORE = 2;

const addon = loadAddon();
const native = addon.create(1, 0);
addon.openPort(native, [], 0, 0, 0, true, true);
const plane = createXfrm(addon, native, { mark: ROUTING.mark, clock: addon.bootTime });
addon.start(native, () => plane.deliver());
const installed = numbers(MORE * count).map((index) => plane.apply(tunnelOf(index)));
await Promise.all(installed.slice(0, count));
process.stdout.write('there\n');
setInterval(() => {}, 1000);
