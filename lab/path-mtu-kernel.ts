// The same with the IPsec of the kernel, in a guest: `npm run path-mtu -- --dataplane xfrm`, by default in user-mode Linux, which has
// no nftables; with `--guest qemu` segments through an interface are clamped. By policy TCP learns from the messages that hosts get.

import { randomBytes } from 'node:crypto';
import { enterChosenGuest } from './choose-guest.ts';
import { slowness } from './guest.ts';
import { isolate } from './isolate.ts';
import { demandTold, forgetPath, found, muteByTc, NARROW, narrowTo, transfer } from './narrow-path.ts';
import { build } from './netns.ts';
import { findNetfilter, leaveGuardsOut } from './no-guards.ts';
import { createSites, pause } from './site.ts';
import { createSteps, demand } from './steps.ts';
import { OUTER, TWO_SITES } from './two-sites.ts';
import { insideUml } from './uml.ts';

await enterChosenGuest(true);
if (insideUml()) findNetfilter();
isolate();

/** ESP with AES-GCM, and a trailer that just fills up to four bytes. */
const AROUND = { 4: 20 + 8 + 8 + 16 + 2, 6: 40 + 8 + 8 + 16 + 2 };
const PSK = randomBytes(24).toString('base64url');
const { check, finish } = createSteps(56);
const sites = createSites({ 'office.psk': PSK });
const [a] = sites;

type Mode = 'policy' | 'policy-by-ike' | 'route';

function configure(end: 0 | 1, mode: Mode, family: 4 | 6): void {
  const [here, there] = end === 0 ? [1, 2] : [2, 1];
  const probe = (to: string) =>
    end === 0 && mode !== 'policy-by-ike' ? `probe: { to: ${to}, every: 200ms }` : '';
  const policy = `local: 10.${here}.0.0/16
    remote: 10.${there}.0.0/16
    ${probe(`10.${there}.0.1`)}`;
  const route = `mode: route
    interface: { name: to-peer, address: 10.255.0.${here}/30, routes: 10.${there}.0.0/16 }
    ${probe(`10.255.0.${there}`)}`;
  sites[
    end
  ].configure(`gateway: { name: ${sites[end].namespace}, address: "${OUTER[family][end]}", dataplane: xfrm }
tunnels:
  office:
    peer: "${OUTER[family][1 - end]}"
    auth: { psk: { file: ${sites[end].folder}/office.psk } }
    start: ${end === 0 ? 'now' : 'wait'}
    esp-suites: [aes-gcm-16-256]
    rehearsal: false
    df: copy
    ${mode === 'route' ? route : policy}
`);
}

async function passes(mode: Mode, family: 4 | 6): Promise<void> {
  const most = NARROW[family] - AROUND[family];
  const what = `${mode} over IPv${family}`;
  let begin = a.log().length;
  narrowTo(NARROW[family]);
  forgetPath('host-a');
  for (const end of [0, 1] as const) configure(end, mode, family);
  for (const site of [...sites].reverse()) await site.start();
  await check(`${what}: a path of ${NARROW[family]} bytes is found and named`, async () => {
    const { children, after } = await found(a, 1, ({ pathMtu }) => pathMtu !== undefined);
    const { mtu, by, estimate } = children[0]!.pathMtu!;
    demand(mtu <= most && mtu > most - 8, `${mtu} bytes of ${most}`);
    demand(by === (mode === 'policy-by-ike' ? 'ike' : 'probe'), by);
    demand((estimate === true) === (by === 'ike'), JSON.stringify(children));
    demand(a.log().slice(begin).includes('BLACK_HOLE]'), a.log().slice(begin));
    return `${mtu} bytes of ${most}, after ${after} ms`;
  });
  await pause(1500 * slowness());
  await check(`${what}: a host that may not fragment is told`, () => demandTold('10.2.0.10', most, 8));
  await check(`${what}: TCP passes`, async () => {
    const segment = await transfer('10.2.0.10');
    const clamped = mode === 'route' && !insideUml();
    demand(!clamped || segment <= most - 40, `segments of ${segment} bytes`);
    return `a megabyte, segments of ${segment} bytes${clamped ? ', clamped' : ''}`;
  });
  begin = a.log().length;
  if (mode !== 'policy-by-ike')
    await check(`${what}: the path becomes narrower while it is in use`, async () => {
      narrowTo(1300);
      const { children, after } = await found(a, 1, ({ pathMtu }) => pathMtu!.mtu <= 1300 - AROUND[family]);
      demand(a.log().slice(begin).includes('[PATH_BLACK_HOLE]'), a.log().slice(begin));
      return `${children[0]!.pathMtu!.mtu} bytes after ${after} ms`;
    });
  for (const site of sites) {
    await site.kill('SIGTERM');
    await site.isthmus('flush');
  }
}

build(TWO_SITES);
if (insideUml()) leaveGuardsOut('/run/lab/no-guards');
muteByTc();
for (const mode of ['policy', 'policy-by-ike', 'route'] as const) await passes(mode, 4);
await passes('policy', 6);
finish('checks pass, xfrm');
