// The steps of replay-model.ts: through the reference's window, and as packets for any receiver.

import { concat } from '../../src/crypto/bytes.ts';
import type { Provider } from '../../src/crypto/provider.ts';
import { ahBytes, sealAh } from '../../src/dataplane/reference-ah.ts';
import { sealEsp } from '../../src/dataplane/reference-esp.ts';
import { outerHeader } from '../../src/dataplane/reference-outer.ts';
import { fullNumber, isFresh, receive, type Window } from '../../src/dataplane/reference-window.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { unhex } from '../../src/wire/hex.ts';
import { checksum, viewOf } from '../../src/wire/ip.ts';
import { outboundAh, outboundSa } from './packets.ts';
import {
  type JudgedStep,
  REPLAY_SAS,
  type ReplaySa,
  type ReplayStep,
  type ReplayVerdict,
  replaySteps,
} from './replay-model.ts';

export interface Replayed {
  steps: number;
  /** Steps by what became of them. */
  verdicts: Record<ReplayVerdict, number>;
  /** The numbers the reference kept at most, as a part of the window. */
  kept: number;
  difference?: Difference;
}

export interface Difference extends ReplaySa {
  seed: number;
  /** Of that SA, from 0 on. */
  step: number;
  number: bigint;
  forged: boolean;
  expected: ReplayVerdict;
  found: ReplayVerdict;
}

/** An SA lives so many steps. */
const LIFE = 10_000;

/** SA after SA, each kind in turn, up to so many steps or the first difference. */
export function replay(steps: number, seed: number, shown: (so: Replayed) => void = () => {}): Replayed {
  const all: Replayed = { steps: 0, verdicts: { taken: 0, replay: 0, authentication: 0 }, kept: 0 };
  for (let life = seed; all.steps < steps; life++) {
    const sa = REPLAY_SAS[life % REPLAY_SAS.length]!;
    const difference = liveOnce(sa, life, Math.min(LIFE, steps - all.steps), all);
    if (difference) return { ...all, difference };
    shown(all);
  }
  return all;
}

function liveOnce(sa: ReplaySa, seed: number, count: number, all: Replayed): Difference | undefined {
  const window: Window = { parameters: { esn: sa.esn, replayWindow: sa.window }, sequence: 0n };
  let step = 0;
  for (const judged of replaySteps(sa, seed, count)) {
    const found = verdictOf(window, judged);
    if (found !== judged.verdict) return differing(sa, seed, step, judged, found);
    all.kept = Math.max(all.kept, (window.seen?.size ?? 0) / sa.window);
    all.verdicts[found]++;
    all.steps++;
    step++;
  }
  return undefined;
}

/** As the reference goes about a packet. */
function verdictOf(window: Window, { number, forged }: ReplayStep): ReplayVerdict {
  const assumed = fullNumber(window, BigInt.asUintN(32, number));
  if (!isFresh(window, assumed)) return 'replay';
  if (forged || assumed !== number) return 'authentication';
  receive(window, assumed);
  return 'taken';
}

function differing(
  sa: ReplaySa,
  seed: number,
  step: number,
  { number, forged, verdict }: JudgedStep,
  found: ReplayVerdict,
): Difference {
  return { ...sa, seed, step, number, forged, expected: verdict, found };
}

/** An SA whose packets `replayPacket` makes. */
export function replaySa(protocol: 'esp' | 'ah', esn: boolean, window: number): SaParameters {
  const changes = { esn, replayWindow: window };
  if (protocol === 'ah') return outboundAh(4711, 'hmac-sha1-96', changes);
  const { udp, ...sa } = outboundSa(4711, { encryption: 'aes-gcm-16', keyBits: 128 }, changes);
  return sa;
}

/** From the peer to us, and in it `mark` from 10.2.0.9 to 10.1.0.9. */
export function replayPacket(
  provider: Provider,
  sa: SaParameters,
  { number, forged }: ReplayStep,
  mark = new Uint8Array(),
): Uint8Array {
  const inner = innerPacket(mark);
  const bits = { trafficClass: 0, dontFragment: false };
  const outer = (protocol: number, bytes: number) =>
    outerHeader({ ...sa, local: sa.remote, remote: sa.local }, bits, 1, protocol, bytes);
  const packet =
    sa.protocol === 'ah'
      ? sealAh(provider, sa, number, outer(51, ahBytes(sa, 4) + inner.length), 4, inner)!
      : espPacket(
          sealEsp(provider, sa, number, inner, () => provider.random(16)),
          outer,
        );
  if (forged) packet[packet.length - 1]! ^= 1;
  return packet;
}

function espPacket(esp: Uint8Array, outer: (protocol: number, bytes: number) => Uint8Array): Uint8Array {
  return concat([outer(50, esp.length), esp]);
}

function innerPacket(mark: Uint8Array): Uint8Array {
  const header = unhex('450000000000000040fe00000a0200090a010009');
  viewOf(header).setUint16(2, header.length + mark.length);
  viewOf(header).setUint16(10, checksum(header));
  return concat([header, mark]);
}
