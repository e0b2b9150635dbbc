// What holds for a few tunnels holds for thousands: after SIGKILL, and over rekeys. Runs in the guest of xfrm-scale.test.ts.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { XfrmPlane } from '../../src/dataplane/xfrm.ts';
import { OUR_REQIDS } from '../../src/dataplane/xfrm-journal.ts';
import type { InstalledSa } from '../../src/policy/sad.ts';
import { seeded } from './packets.ts';
import { gateway, ip, open, towards, withPlane } from './xfrm-guest.ts';
import { guardOf, networkOf, numbers, policyOf, sasOf, spisOf, tunnelOf } from './xfrm-many.ts';

const KILLED = 2000;
const REKEYED = 500;
/** Of each tunnel: outwards, to this machine, through it. */
const POLICIES_EACH = 3;

/** In the kernel, whosever they are; SAs without a key are what packets asked for in vain, and go by themselves. */
function there(): { sas: number; policies: number } {
  const sas = ip('xfrm state').match(/^\taead /gm);
  const policies = ip('xfrm policy count').match(/[0-9]+/g);
  return { sas: sas?.length ?? 0, policies: (policies ?? []).reduce((sum, count) => sum + Number(count), 0) };
}

/** SAs and policies of another program; one has a reqid as ours are, which no journal of ours knows. */
const PLANTED = [
  'state NAME src 192.0.2.1 dst 198.18.0.1 proto esp spi 77 reqid 1 mode tunnel',
  `state NAME src 198.18.0.1 dst 192.0.2.1 proto esp spi 78 reqid ${OUR_REQIDS.last} mode tunnel`,
  'policy NAME src 10.1.0.0/16 dst 10.99.0.0/16 dir out',
  'policy NAME src 10.99.0.0/16 dst 10.1.0.0/16 dir in',
];
const MORE = {
  state: 'aead rfc4106(gcm(aes)) 0x4242424242424242424242424242424242424242 128',
  policy: 'action block',
};

function plant(): void {
  for (const line of PLANTED) ip(`xfrm ${line.replace('NAME', 'add')} ${MORE[kindOf(line)]}`);
}

/** Fails where one of them is not there any more. */
function uproot(): void {
  for (const line of PLANTED) ip(`xfrm ${line.replace('NAME', 'delete').replace(/ reqid .*/, '')}`);
}

function kindOf(line: string): keyof typeof MORE {
  return line.startsWith('state') ? 'state' : 'policy';
}

/** Killed while it installs more than these. */
async function killedAmid(count: number): Promise<void> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', 'test/dataplane/xfrm-doomed.ts', `${count}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
}

async function leakingOf(tunnels: readonly number[]): Promise<number[]> {
  const leaking: number[] = [];
  for (const index of tunnels) {
    const { clear } = await gateway.fromHost(towards(...networkOf(index)).packet);
    if (clear.length > 0) leaking.push(index);
  }
  return leaking;
}

const SAMPLE = [0, 1, 255, 256, 999, 1000, 1999];

test('xfrm: killed amid thousands of SAs: nothing in the clear, nothing orphaned, and what others have stays', async () => {
  plant();
  const planted = there();
  await killedAmid(KILLED);
  const left = there();
  assert.ok(
    left.sas >= planted.sas + 2 * KILLED && left.policies >= planted.policies + POLICIES_EACH * KILLED,
  );
  const { plane, end } = open();
  assert.equal(there().sas, planted.sas);
  assert.equal(there().policies, left.policies);
  assert.deepEqual(await leakingOf(SAMPLE), []);
  // The next process wants half of them.
  const wanted = KILLED / 2;
  await plane.apply(numbers(wanted).map(guardOf));
  await (plane as XfrmPlane).settle();
  assert.deepEqual(there(), { sas: planted.sas, policies: planted.policies + POLICIES_EACH * wanted });
  assert.deepEqual(await leakingOf(SAMPLE.filter((index) => index < wanted)), []);
  await Promise.all(numbers(wanted).map((index) => plane.apply(Object.values(sasOf(index, 1)))));
  assert.equal(there().sas, planted.sas + 2 * wanted);
  await plane.close({ guards: 'remove' });
  end();
  assert.deepEqual(there(), planted);
  assert.deepEqual(existsSync('/run/isthmus') ? readdirSync('/run/isthmus') : [], []);
  uproot();
});

/** What is known of an SA beside its counters. */
function textOf({
  direction,
  spi,
  policy,
  inUse,
}: Pick<InstalledSa, 'direction' | 'spi' | 'policy' | 'inUse'>): string {
  return `${direction} ${spi} ${policy} ${inUse}`;
}

/** Make before break, each step asked for as soon as the one before is done, beside those of all other tunnels. */
async function rekey(plane: XfrmPlane, index: number, generation: number): Promise<void> {
  const next = sasOf(index, generation);
  const old = spisOf(index, generation - 1);
  await plane.apply([next.in]);
  await plane.apply([next.out, next.use]);
  await plane.apply([{ type: 'remove', direction: 'out', spi: old.out }]);
  await plane.apply([{ type: 'remove', direction: 'in', spi: old.in }]);
}

test('xfrm: five hundred rekeys at once, some of them twice: no SA is lost, none is there twice', () =>
  withPlane(async (plane) => {
    await Promise.all(numbers(REKEYED).map((index) => plane.apply(tunnelOf(index))));
    const random = seeded(5);
    const generations = numbers(REKEYED).map(() => 1 + random(2));
    const looks: Promise<unknown>[] = [];
    await Promise.all(
      numbers(REKEYED).map(async (index) => {
        await rekey(plane, index, 1);
        if (index % 100 === 0) looks.push(plane.snapshot());
        if (generations[index] === 2) await rekey(plane, index, 2);
      }),
    );
    await Promise.all(looks);
    const { sas, policies } = await plane.snapshot();
    const model = numbers(REKEYED).flatMap((index) => {
      const spis = spisOf(index, generations[index]);
      const common = { policy: policyOf(index), inUse: true };
      return [
        textOf({ ...common, direction: 'in', spi: spis.in }),
        textOf({ ...common, direction: 'out', spi: spis.out }),
      ];
    });
    assert.deepEqual(sas.map(textOf).sort(), model.sort());
    assert.equal(policies.length, REKEYED);
    assert.deepEqual(there(), { sas: 2 * REKEYED, policies: POLICIES_EACH * REKEYED });
    for (const index of [0, 17, 256, 499]) {
      const { esp } = await gateway.fromHost(towards(...networkOf(index)).packet);
      assert.equal(Buffer.from(esp!).readUInt32BE(0), spisOf(index, generations[index]).out);
    }
  }));
