// Runs a ladder: wishes and arrivals in the order in which they are written, with everything checked after each of them.
//
//   a: rekey net                      a wish: up, rekey, delete, need, soft expire, hard expire, lose
//   a1 -->            REKEY_SA(first) a's first request arrives, and what must be in it
//        <-- a1'      SA              the answer to it arrives
//   b1 --x                            b's first request is lost; `for ever`: whenever it is sent
//   b: silent                         no request of b is under way
//   b1? -->           !KE             b's first request arrives if there is one, and what must not be in it
//
// Children are named by the request that made them; `first` is there from the beginning.

import assert from 'node:assert/strict';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import { glass } from '../../src/sim/glass.ts';
import { childrenOf, disagreements, unusable, witness } from '../../src/sim/invariants.ts';
import {
  createPair,
  type Pair,
  type Pending,
  type Side,
  type SideName,
  sendPacket,
} from '../../src/sim/pair.ts';
import { decodeHeader } from '../../src/wire/ikev2.ts';
import { contents, giveNames, type Names, nameOfMessage, newNames } from './glance.ts';
import { ofAh, seededProvider, tunnel } from './sites.ts';

/** By the script's sides; selectors depend on which side of the pair that is. */
type Changes = Partial<Record<SideName, (side: SideName) => Partial<Tunnel>>>;

export interface Scenario {
  ladder: string;
  /** What both sides hold in the end. */
  children: readonly string[];
  /** Somebody wants an SA away, then there may be none for a while; or has lost it, then the other does not know. */
  gap?: 'wanted' | 'lost';
  /** What may be so instead where a message was lost or late. */
  disturbed?: Pick<Scenario, 'gap'> & { children?: readonly string[] };
  /** Both sides rekey one thing: it is run with each of the nonces the lowest. */
  rivals?: true;
  /** Its children are of AH. */
  ah?: true;
  /** Nothing is up when it begins. */
  fresh?: true;
  /** The configuration, from the beginning and changed once the tunnel is up. */
  tunnels?: Changes;
  changed?: Changes;
}

export interface Variant {
  /** The script's a is the pair's b. */
  mirrored: boolean;
  /** Packets flow at every step. */
  traffic: boolean;
  /** Which nonce is the lowest: that side's first, second … from the ladder's beginning. */
  lowest?: { side: SideName; nth: number };
  /** What becomes of one message, counted from the ladder's first: `late` lets another one pass. */
  mischief?: { what: 'lost' | 'late'; message: number };
}

/** Longer than any retry, any drain, and an IKE SA that waits for its end and then tells it to nobody. */
const PAUSES = [...Array(40).fill(250), ...Array(24).fill(10_000)];

/** Throws where something does not hold; tells how many messages there were. */
export function runLadder(scenario: Scenario, variant: Variant): number {
  const run = new Run(scenario, variant);
  try {
    run.begin();
    for (const line of scenario.ladder.split('\n')) if (line.trim()) run.line(line.trim());
    run.settle();
  } catch (error) {
    throw new Error(`${describe(variant)}: ${(error as Error).message}\n${run.pair.ladder()}`, {
      cause: error,
    });
  }
  return run.messages;
}

function describe({ mirrored, traffic, lowest, mischief }: Variant): string {
  return [
    mirrored ? 'mirrored' : 'as written',
    ...(traffic ? ['with traffic'] : []),
    ...(lowest ? [`nonce ${lowest.nth} of ${lowest.side} the lowest`] : []),
    ...(mischief ? [`message ${mischief.message} ${mischief.what}`] : []),
  ].join(', ');
}

class Run {
  readonly pair: Pair;
  messages = 0;
  readonly #scenario: Scenario;
  readonly #variant: Variant;
  readonly #names: Names;
  readonly #complaints: string[];
  readonly #cut = new Set<string>();
  /** The message that is late: sent, held until another one arrives, due. */
  #late: { bytes: Uint8Array; order?: number; due?: boolean } | undefined;
  /** 32-byte draws since the ladder began. */
  readonly #draws = { a: 0, b: 0, jobs: 0 };
  #begun = false;

  constructor(scenario: Scenario, variant: Variant) {
    this.#scenario = scenario;
    this.#variant = variant;
    this.#names = newNames((side) => this.#swap(side));
    const of = (side: SideName) =>
      this.#tunnel(side, { ...QUIET, ...scenario.tunnels?.[this.#swap(side)]?.(side) });
    this.pair = createPair(1, { a: of('a'), b: of('b') }, (random, side) => {
      const provider = glass(seededProvider(random));
      const random32 = (length: number) => this.#drawn(side, provider.random(length));
      return { ...provider, random: random32 };
    });
    const { observer, seen } = witness(this.pair);
    this.#complaints = seen.complaints;
    this.pair.observer = {
      ...observer,
      sent: (from, bytes) => {
        observer.sent!(from, bytes);
        if (this.#begun) this.#sent(from, bytes);
      },
      received: (to, bytes) => {
        observer.received!(to, bytes);
        this.#release(bytes);
      },
      handled: (side) => {
        observer.handled!(side);
        this.#hold();
        if (this.#begun) this.#check();
      },
    };
  }

  #tunnel(side: SideName, changes: Partial<Tunnel>): Tunnel {
    const made = tunnel(side, changes);
    return this.#scenario.ah ? ofAh(made) : made;
  }

  begin(): void {
    const { pair } = this;
    if (!this.#scenario.fresh) pair.command(pair.a, 'up', 't');
    pair.run(7000);
    for (const side of [pair.a, pair.b]) {
      // What is deleted stays deleted.
      for (const state of side.gateway.memory().tunnels) state.wanted = false;
      for (const spi of side.inbound.keys()) this.#names.children.set(`${side.name} ${spi}`, 'first');
      const changed = this.#scenario.changed?.[this.#swap(side.name)]?.(side.name);
      const changes = {
        ...QUIET,
        ...this.#scenario.tunnels?.[this.#swap(side.name)]?.(side.name),
        ...changed,
      };
      const next = this.#tunnel(side.name, changes);
      if (changed) pair.feed(side, { type: 'configure', changes: [{ type: 'set-tunnel', tunnel: next }] });
    }
    pair.work();
    this.#traffic();
    this.#begun = true;
    pair.filter = (from, bytes) => !this.#isLost(from, bytes);
  }

  line(line: string): void {
    const wish = /^([ab]): (.+)$/.exec(line);
    const sent = /^([ab]\d+'?\??) --(>|x)(.*)$/.exec(line) ?? /^(?:<|x)-- ([ab]\d+'?\??)()(.*)$/.exec(line);
    if (wish) this.#wish(this.pair[this.#swap(wish[1] as SideName)], wish[2]!);
    else if (!sent) throw new Error(`cannot read: ${line}`);
    else if (line.includes('--x') || line.startsWith('x--')) this.#lose(sent[1]!, sent[3]!.trim());
    else this.#arrive(sent[1]!, sent[3]!.trim().split(/\s+/).filter(Boolean));
    this.pair.work();
    this.#traffic();
  }

  settle(): void {
    const { pair } = this;
    for (const pause of PAUSES) {
      pair.run(pause);
      this.#traffic();
    }
    const { children, disturbed } = this.#scenario;
    const instead = this.#variant.mischief && disturbed?.children;
    const fitting = [children, ...(instead ? [instead] : [])].map((each) => each.toSorted().join());
    const held = childrenOf(pair.a).sort().join();
    assert.deepEqual(
      [
        ...this.#complaints,
        ...disagreements(pair),
        ...unusable(
          pair,
          childrenOf(pair.a).map((name) => `t/${name}`),
          false,
        ),
        ...(fitting.includes(held) ? [] : [`there is '${held}' where '${fitting}' should be`]),
      ],
      [],
    );
  }

  #swap(side: SideName): SideName {
    return this.#variant.mirrored ? (side === 'a' ? 'b' : 'a') : side;
  }

  /** Nonces are 32 bytes long; one of them is to be the lowest, and no other is. */
  #drawn(side: SideName | 'jobs', bytes: Uint8Array): Uint8Array {
    if (bytes.length !== 32 || !this.#begun || !this.#variant.lowest) return bytes;
    const { lowest } = this.#variant;
    const isLowest = lowest.side === side && lowest.nth === ++this.#draws[side];
    bytes[0] = isLowest ? 0 : bytes[0]! | 0x80;
    return bytes;
  }

  #sent(from: Side, bytes: Uint8Array): void {
    if (bytes.length < 28) return;
    giveNames(this.#names, from, bytes);
    const { mischief } = this.#variant;
    if (mischief?.what === 'late' && mischief.message === this.messages) this.#late = { bytes };
    this.messages++;
  }

  #isLost(from: Side, bytes: Uint8Array): boolean {
    if (bytes.length < 28) return false;
    const { mischief } = this.#variant;
    const name = nameOfMessage(this.#names, from.name, bytes);
    return (mischief?.what === 'lost' && mischief.message === this.messages - 1) || this.#cut.has(name ?? '');
  }

  /** Holds the message that is to be late, as soon as it is under way. */
  #hold(): void {
    const late = this.#late;
    if (!late || late.order !== undefined) return;
    const one = this.pair.pending().find((each) => each.type === 'datagram' && each.bytes === late.bytes);
    if (!one) return;
    late.order = one.order;
    this.pair.postpone(one.order, Number.POSITIVE_INFINITY);
  }

  /** Another one has passed: it follows at once. */
  #release(passing: Uint8Array): void {
    const late = this.#late;
    if (late?.order === undefined || late.due !== undefined || passing === late.bytes) return;
    late.due = true;
    this.pair.postpone(late.order, this.pair.now());
  }

  #check(): void {
    const { disturbed } = this.#scenario;
    const gap = (this.#variant.mischief && disturbed?.gap) ?? this.#scenario.gap;
    if (gap !== 'lost') this.#complaints.push(...unusable(this.pair, ['t/net'], gap === 'wanted'));
    if (this.#complaints.length > 0) assert.fail(this.#complaints.join('; '));
  }

  #traffic(): void {
    if (!this.#variant.traffic) return;
    for (const from of [this.pair.a, this.pair.b]) sendPacket(this.pair, from, 't/net');
    this.pair.work();
  }

  #underWay(name: string): (Pending & { type: 'datagram' }) | undefined {
    return this.pair.pending().find((one): one is Pending & { type: 'datagram' } => {
      if (one.type !== 'datagram' || one.bytes.length < 28 || one.order === this.#late?.order) return false;
      return nameOfMessage(this.#names, one.to === 'a' ? 'b' : 'a', one.bytes) === name;
    });
  }

  #arrive(name: string, expected: string[]): void {
    const one = this.#underWay(name.replace('?', ''));
    if (!one) {
      // What was lost or late may have changed what there is.
      if (this.#variant.mischief || name.endsWith('?')) return;
      assert.fail(`${name} is not under way`);
    }
    const found = contents(this.#names, one.to === 'a' ? 'b' : 'a', one.bytes);
    const missing = expected
      .map((word) => this.#verdict(word))
      .filter((word) =>
        word[0] === '!'
          ? found.includes(word.slice(1))
          : !word.split('|').some((each) => found.includes(each)),
      );
    if (!this.#variant.mischief) assert.deepEqual(missing, [], `${name} is ${found}`);
    this.pair.take(one.order);
    this.pair.work();
    if (!this.#late?.due) return;
    this.#late.due = false;
    this.pair.take(this.#late.order!);
  }

  /**
   * `verdict(a1)`: of two rekeys at once, the one with the lowest nonce is deleted by its maker, and the old SA by the
   * other's (RFC 7296 §2.8.1, §2.8.2). Each side draws for its own rekey first, and then for the other's.
   */
  #verdict(word: string): string {
    const [, ike = '', request] = /^verdict\((ike:)?([ab]\d+)\)$/.exec(word) ?? [];
    const { lowest } = this.#variant;
    if (!request || !lowest) return word;
    const maker = lowest.nth === 1 ? lowest.side : lowest.side === 'a' ? 'b' : 'a';
    const lost = this.#swap(maker) === request[0];
    return `D(${ike}${lost ? request : 'first'})`;
  }

  #lose(name: string, howLong: string): void {
    if (howLong === 'for ever') this.#cut.add(name);
    const one = this.#underWay(name);
    if (one) this.pair.lose(one.order);
    else if (!this.#variant.mischief) assert.fail(`${name} is not under way`);
  }

  #wish(side: Side, wish: string): void {
    const { pair } = this;
    const [verb, what] = [wish.slice(0, wish.lastIndexOf(' ')), wish.slice(wish.lastIndexOf(' ') + 1)];
    if (wish === 'silent') return this.#silent(side);
    if (wish === 'up') return void pair.command(side, 'up', 't');
    switch (verb) {
      case 'rekey':
        return void pair.command(side, 'rekey', 't', what === 'ike' ? undefined : what);
      case 'up':
        return void pair.command(side, 'up', 't', what);
      case 'delete':
        return void pair.command(side, 'down', 't', what === 'ike' ? undefined : what);
      case 'need': {
        const packet = { local: '10.9.0.1', remote: '10.9.0.2', protocol: 17, localPort: 7, remotePort: 7 };
        return pair.feed(side, {
          type: 'dataplane',
          event: { type: 'acquire', policy: `t/${what}`, packet },
        });
      }
      case 'soft expire':
      case 'hard expire': {
        const spi = this.#inboundOf(side, what);
        const hard = verb === 'hard expire';
        return pair.feed(side, { type: 'dataplane', event: { type: 'expire', direction: 'in', spi, hard } });
      }
      case 'lose':
        return this.#forget(side, what);
      default:
        throw new Error(`no such wish: ${wish}`);
    }
  }

  #silent({ name }: Side): void {
    const requests = this.pair
      .pending()
      .filter((one) => one.type === 'datagram' && one.to !== name && !decodeHeader(one.bytes).flags.response);
    if (!this.#variant.mischief) assert.equal(requests.length, 0, `${name} is not silent`);
  }

  #inboundOf({ name }: Side, child: string): number {
    const [key] =
      [...this.#names.children].find(([key, given]) => given === child && key.startsWith(name)) ?? [];
    return Number(key?.slice(2));
  }

  /** The child is gone without a word. */
  #forget(side: Side, name: string): void {
    const sas = side.gateway.sas();
    for (const { state } of sas) {
      if (state.name !== 'established') continue;
      for (const child of state.children.filter((each) => each.name === name)) {
        side.inbound.delete(child.spiIn);
        side.outbound.delete(child.spiOut);
      }
      state.children = state.children.filter((each) => each.name !== name);
    }
    this.pair.restart(side, sas);
  }
}

/** No message but those of the ladder. */
const QUIET: Partial<Tunnel> = { liveness: 0, keepalive: 10_000_000 };
