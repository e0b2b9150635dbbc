// Rekeys under traffic at half of what passes without loss: nothing may be lost, and nothing may come twice.

import { pause, type Site } from '../lab/site.ts';
import { createClient } from '../src/control/client.ts';
import { ISTHMUS } from './contenders.ts';
import { judge } from './goals.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { BYTES, SEGMENTS, sustainedRate } from './pps.ts';
import { frame, limited, type Result } from './result.ts';
import { ADDRESS_A, ADDRESS_B, lower, type Rig, raise, tell } from './rig.ts';
import { type Flood, listen, type Received, send } from './udp.ts';

const REKEYS = { child: 100, ike: 20 };
const SHORT = { child: 10, ike: 2 };
const BETWEEN = 50; // ms from one rekey to the next
/** The other way too: its SAs are replaced as well. */
const BACK_RATE = 1000;
const LONG = 600; // s, more than it takes

interface Counted {
  sent: number;
  lost: number;
  duplicates: number;
  seconds: number;
}

export async function rekey(options: Options): Promise<Result> {
  const costs = measureCosts();
  const wanted = options.short ? SHORT : REKEYS;
  const [rig] = (await raise([ISTHMUS])) as [Rig];
  tell('looking for the rate without loss');
  const rate = Math.round((await sustainedRate(rig)).received / 2);
  const began = performance.now();
  const during = await underTraffic(rig, rate, () => rekeyAll(rig, wanted));
  const length = performance.now() - began;
  tell('the same time without rekeys');
  const without = await underTraffic(rig, rate, () => pause(length));
  await lower([rig]);
  const rows = [
    ['with rekeys', during],
    ['without', without],
  ] as const;
  return {
    ...frame({ ...options, rounds: 1 }, 'rekey', costs, Math.round(during.seconds)),
    ratios: {},
    fields: {
      ...{ child_rekeys: wanted.child, ike_rekeys: wanted.ike, rekey_rate_pps: rate },
      ...{ rekey_sent: during.sent, rekey_lost: during.lost, rekey_duplicates: during.duplicates },
      lost_without_rekeys: without.lost,
    },
    goals: judge('rekey', { rekey_lost: during.lost + during.duplicates }),
    limits: [limited('lost in rekeys', 'packets', during.lost, 0, 'lower')],
    tables: [
      {
        title: `${wanted.child} child and ${wanted.ike} IKE rekeys at ${rate} packets/s there and ${BACK_RATE} back`,
        columns: ['', 'sent', 'lost', 'twice', 'seconds'],
        rows: rows.map(([name, { sent, lost, duplicates, seconds }]) => [
          ...[name, sent, lost, duplicates, Math.round(seconds)],
        ]),
      },
    ],
  };
}

/** From each side in turn, the IKE SA's spread over those of the child. Counted is what made another SA. */
async function rekeyAll({ running }: Rig, wanted: typeof REKEYS): Promise<void> {
  const every = wanted.child / wanted.ike;
  const spis = new Set([await outboundSpi(running.sites![0]!)]);
  for (let attempt = 1; spis.size <= wanted.child; attempt++) {
    if (attempt > 2 * wanted.child) throw new Error(`${attempt} commands made ${spis.size - 1} SAs`);
    const site = running.sites![attempt % 2]!;
    const before = spis.size;
    await demandOk(site.command('rekey', 'office', 'office'));
    spis.add(await outboundSpi(running.sites![0]!));
    // Where the peer's own rekey was under way, that is the one that the command waited for.
    if (spis.size === before) continue;
    if ((spis.size - 1) % every === 0) await demandOk(site.command('rekey', 'office'));
    if ((spis.size - 1) % 10 === 0) tell(`${spis.size - 1} of ${wanted.child} child rekeys`);
  }
}

async function outboundSpi({ folder }: Site): Promise<number> {
  const status = await (await createClient(`${folder}/control.sock`).status.$get()).json();
  return status.tunnels[0]!.children[0]!.spiOut;
}

async function demandOk(command: Promise<{ code: string }>): Promise<void> {
  const { code } = await command;
  if (code !== 'OK') throw new Error(`a rekey fails: ${code}`);
  await pause(BETWEEN);
}

/** Both ways; what was sent and not received by the end. */
async function underTraffic(rig: Rig, rate: number, work: () => Promise<void>): Promise<Counted> {
  const common = { seconds: LONG, bytes: BYTES };
  const floods: Flood[] = [
    { ...common, from: rig.hostA, to: rig.hostB, address: ADDRESS_B, port: 7004, rate, segments: SEGMENTS },
    { ...common, from: rig.hostB, to: rig.hostA, address: ADDRESS_A, port: 7005, rate: BACK_RATE },
  ];
  const sinks = await Promise.all(floods.map(({ to, address, port }) => listen('sink', to, address, port)));
  const senders = floods.map(send);
  await pause(200);
  await work();
  for (const sender of senders) sender.stop();
  const sent = await Promise.all(senders.map(({ done }) => done));
  await pause(500);
  const received = await Promise.all(sinks.map((sink) => sink.stop<Received>()));
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  return {
    sent: sum(sent.map((one) => one.sent)),
    lost: sum(sent.map((one, index) => one.sent - received[index]!.distinct)),
    duplicates: sum(received.map((one) => one!.received - one!.distinct)),
    seconds: sent[0]!.seconds,
  };
}
