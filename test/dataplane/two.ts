// The engine of native/ and dataplane/reference.ts with the same tables: whatever one is asked, the other is asked too, and
// both must say the same.

import assert from 'node:assert/strict';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createEngine, type Engine } from '../../src/dataplane/engine.ts';
import { applyChange } from '../../src/dataplane/memory.ts';
import { packetsOf, plainFrame } from '../../src/dataplane/offload.ts';
import {
  type Inbound,
  newTables,
  type Outbound,
  protect,
  type ReferenceTables,
  unprotect,
  unprotectPacket,
} from '../../src/dataplane/reference.ts';
import { linkOfSa, SHARED_LINK, tablesOfLink } from '../../src/dataplane/reference-links.ts';
import type { OuterBits } from '../../src/dataplane/reference-outer.ts';
import { type Addon, loadAddon, type Plane } from '../../src/native.ts';
import type { Change, SaParameters } from '../../src/policy/sad.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { frontOf } from '../../src/wire/headers.ts';
import { viewOf } from '../../src/wire/ip.ts';
import type { Random } from './packets.ts';

export const PEER = '198.51.100.1';
export const provider = createNodeProvider();

export interface Two {
  addon: Addon;
  plane: Plane;
  engine: Engine;
  tables: ReferenceTables;
  drops: Record<string, bigint>;
  apply(changes: Change[]): Promise<void>;
}

export function createTwo(): Two {
  // Without its threads no device is read.
  const addon = { ...loadAddon(), openLink: () => '' };
  const plane = addon.create(1, 0);
  const engine = createEngine(addon, plane);
  const tables = newTables();
  return {
    addon,
    plane,
    engine,
    tables,
    drops: {},
    async apply(changes) {
      for (const change of changes) applyChange(tables, change);
      await engine.apply(changes);
    },
  };
}

function dropped(two: Two, name: string): void {
  two.drops[name] = (two.drops[name] ?? 0n) + 1n;
}

export async function sameCounters(two: Two, seed: string): Promise<void> {
  const { drops, sas } = await two.engine.snapshot();
  assert.deepEqual(drops, two.drops, seed);
  for (const { direction, spi, packets, bytes } of sas) {
    const sa = (direction === 'in' ? two.tables.inbound : two.tables.outbound).get(spi)!;
    assert.deepEqual([packets, bytes], [sa.packets, sa.bytes], `${seed}, SA ${spi} ${direction}`);
  }
}

interface Made {
  /** Without an IP header where it is ESP in tunnel mode. */
  esp: Uint8Array;
  outer: OuterBits;
}

/** The frames through both; what the engine made of them. */
export function sendFrames(two: Two, frames: Uint8Array[], seed: string, link = SHARED_LINK): Made[] {
  const answer = two.addon.outbound(two.plane, frames, link);
  const tables = tablesOfLink(two.tables, link);
  const made = Array.from({ length: answer.length / 3 }, (_, index) => ({
    esp: answer[3 * index] as Uint8Array,
    outer: {
      trafficClass: answer[3 * index + 1] as number,
      dontFragment: answer[3 * index + 2] as boolean,
    },
  }));
  let at = 0;
  for (const frame of frames) {
    for (const packet of packetsOf(frame) ?? [new Uint8Array()]) {
      const outcome = protectLike(tables, packet, made[at]);
      if (outcome.type === 'dropped') dropped(two, `outbound-${outcome.drop}`);
      if (outcome.type !== 'esp' && outcome.type !== 'packet') continue;
      assert.ok(at < made.length, `${seed}: the engine sent nothing`);
      sameMade(made[at]!, outcome, seed);
      at++;
    }
  }
  assert.equal(at, made.length, `${seed}: the engine sent too much`);
  return made;
}

/** What is free to choose is chosen as the engine did. */
function protectLike(tables: ReferenceTables, packet: Uint8Array, made: Made | undefined): Outbound {
  const iv = () => {
    // An SPI of these tests begins with zeros, an IP header does not.
    const isWhole = made!.esp[0] !== 0;
    const at = (isWhole ? frontOf(made!.esp)!.headers.length : 0) + 8;
    return made!.esp.subarray(at, at + 16);
  };
  const ids = () => (made ? viewOf(made.esp).getUint16(4) : 1);
  return protect(provider, tables, packet, iv, ids);
}

function sameMade(made: Made, outcome: Extract<Outbound, { type: 'esp' | 'packet' }>, seed: string): void {
  const bytes = outcome.type === 'esp' ? outcome.esp : outcome.packet;
  assert.ok(Buffer.from(bytes).equals(made.esp), `${seed}: other bytes`);
  if (outcome.type === 'esp') assert.deepEqual(made.outer, outcome.outer, `${seed}: another outer header`);
}

/** What the engine makes of ESP packets of SAs whose policies have that link. */
export function framesOf(
  two: Two,
  esps: readonly Uint8Array[],
  ecn: number,
  link: number = SHARED_LINK,
): Uint8Array[] {
  const made = two.addon.inbound(two.plane, [...esps], ecn, addressBytes(PEER), 4500);
  return ofLink(made, link);
}

/** The same of whole packets, with the IP headers that they came with. */
export function framesOfPackets(
  two: Two,
  packets: readonly Uint8Array[],
  link: number = SHARED_LINK,
): Uint8Array[] {
  return ofLink(two.addon.inboundPackets(two.plane, [...packets]), link);
}

function ofLink(made: readonly (Uint8Array | number)[], link: number): Uint8Array[] {
  const [frames, links] = [0, 1].map((odd) => made.filter((_, index) => index % 2 === odd));
  assert.deepEqual(new Set(links), new Set(links!.length > 0 ? [link] : []));
  return frames as Uint8Array[];
}

export function receiveEsp(two: Two, esp: Uint8Array, ecn: number, seed: string): boolean {
  const outcome = unprotect(provider, two.tables, esp, ecn);
  return sameReceived(two, framesOf(two, [esp], ecn, linkOf(two, outcome)), outcome, seed);
}

export function receivePacket(two: Two, packet: Uint8Array, seed: string): boolean {
  const outcome = unprotectPacket(provider, two.tables, packet);
  return sameReceived(two, framesOfPackets(two, [packet], linkOf(two, outcome)), outcome, seed);
}

const linkOf = (two: Two, outcome: Inbound) =>
  outcome.type === 'inner' ? linkOfSa(two.tables, outcome.sa) : SHARED_LINK;

function sameReceived(two: Two, frames: Uint8Array[], outcome: Inbound, seed: string): boolean {
  if (outcome.type === 'dropped') {
    dropped(two, `inbound-${outcome.drop}`);
    assert.equal(frames.length, 0, `${seed}: the reference says ${outcome.drop}`);
    return false;
  }
  assert.equal(frames.length, 1, `${seed}: the engine dropped it`);
  assert.ok(Buffer.from(frames[0]!).equals(plainFrame(outcome.packet)), `${seed}: other bytes`);
  return true;
}

/** Packets through SAs that take turns, each for fifty of them; how many were sent. */
export async function sendThrough(
  two: Two,
  sas: readonly SaParameters[],
  random: Random,
  count: number,
  packetFor: (random: Random, sa: SaParameters) => Uint8Array,
): Promise<number> {
  await two.apply(sas.map((sa): Change => ({ type: 'add-outbound', sa })));
  let sa = sas[0]!;
  let sent = 0;
  for (let i = 0; i < count; i++) {
    if (i % 50 === 0) {
      sa = sas[random(sas.length)]!;
      await two.apply([{ type: 'use-outbound', policy: sa.policy, spi: sa.spi, remote: sa.remote }]);
    }
    sent += sendFrames(two, [plainFrame(packetFor(random, sa))], `packet ${i}`).length;
    if (i % 5000 === 0) await sameCounters(two, `packet ${i}`);
  }
  await sameCounters(two, 'at the end');
  return sent;
}

/** Packets of each kind were there: of those that are dropped for these causes, many. */
export function manyDropped(two: Two, causes: readonly string[]): void {
  for (const cause of causes) assert.ok((two.drops[cause] ?? 0n) > 50n, `${cause}: ${two.drops[cause]}`);
}
