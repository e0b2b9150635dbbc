// Traffic of a suite, both ways: that it passes, and that none is lost while something happens.

import type { Suite } from './checks.ts';
import { dropsSince, kernelDrops } from './drops.ts';
import { pause } from './site.ts';
import { demand } from './steps.ts';
import { type Numbered, ping, startNumbered, tcpTransfer, unanswered } from './traffic.ts';
import { type Way, wayOf } from './ways.ts';

const TRANSFER = 4 << 20; // bytes of TCP each way: some thousand packets

export async function passes(suite: Suite): Promise<string> {
  const way = wayOf(suite);
  const { ours, theirs } = way;
  await open(way);
  const there = await unanswered(ours.namespace, theirs.address, 10);
  const back = await unanswered(theirs.namespace, ours.address, 10);
  demand(
    there.length + back.length === 0,
    `of 10 pings of each side not answered: ${there.join(' ') || 'none'}, and ${back.join(' ') || 'none'}`,
  );
  await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER);
  await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER, true);
  return `20 of 20 pings, ${TRANSFER >> 20} MB by TCP each way`;
}

/** strongSwan says that a child is there a moment before its data plane lets anything through. */
async function open({ ours, theirs }: Way): Promise<void> {
  const before = kernelDrops();
  for (let attempt = 0; (await ping(ours.namespace, theirs.address, 1)) === 0; attempt++) {
    demand(attempt < 5, `no ping answered; ${dropsSince(before)}`);
  }
}

/** `rate`: of each stream, packets per second. */
export async function underTraffic(suite: Suite, rate: number, act: () => Promise<void>): Promise<string> {
  const { ours: here, theirs: there } = wayOf(suite);
  const streams = await Promise.all([
    startNumbered(here.namespace, there.namespace, there.address, 7101, rate),
    startNumbered(there.namespace, here.namespace, here.address, 7102, rate),
  ]);
  await pause(200);
  const before = kernelDrops();
  await act();
  await pause(300);
  const counted: Numbered[] = [];
  for (const stream of streams) counted.push(await stream.stop());
  const [ours, theirs] = counted.map(({ lost }) => lost);
  const sent = counted.reduce((sum, one) => sum + one.sent, 0);
  const which = counted.map(({ missing, sent: all }) => `${missing.join(' ')} of ${all}`).join('; ');
  demand(
    ours === 0 && theirs === 0,
    `of ${sent} packets ${ours} of ours and ${theirs} of theirs lost: ${which}; ${dropsSince(before)}`,
  );
  return `none of ${sent} packets lost`;
}
