// The reference's replay window (RFC 4303 §3.4.3, Appendix A): by example, and against the model of replay-model.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { Provider } from '../../src/crypto/provider.ts';
import {
  newSa,
  newTables,
  protect,
  type ReferenceSa,
  type ReferenceTables,
  unprotect,
  unprotectPacket,
} from '../../src/dataplane/reference.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { policy, SITE_A, SITE_B } from './packets.ts';
import { replay, replayPacket, replaySa } from './replay.ts';
import { REPLAY_SAS, replaySteps } from './replay-model.ts';

/** Opens what has the right number: the key is the only one there is. */
const OPEN: Pick<Provider, 'seal' | 'open'> = {
  seal: (_name, _key, _iv, aad, plaintext) => Uint8Array.of(...plaintext, ...sum(aad)),
  open(_name, _key, _iv, aad, sealed) {
    const tag = sum(aad);
    return sealed.subarray(-16).every((byte, index) => byte === tag[index])
      ? sealed.slice(0, -16)
      : undefined;
  },
};

function sum(aad: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, index) => aad[index % aad.length]!);
}

const provider = OPEN as Provider;
const SPI = 4711;

function parameters(esn: boolean, replayWindow: number): SaParameters {
  return {
    spi: SPI,
    direction: 'in',
    protocol: 'esp',
    mode: 'tunnel',
    policy: 't/net',
    local: '192.0.2.1',
    remote: '192.0.2.2',
    encryption: { name: 'aes-gcm-16', keyBits: 256, key: new Uint8Array(36) },
    esn,
    outer: { df: 'clear', dscp: 'copy' },
    replayWindow,
    selectors: { local: SITE_B, remote: SITE_A },
    lifetime: {},
  };
}

/** One inner packet from 10.1.0.1 to 10.2.0.1. */
const INNER = Uint8Array.from([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1]);

function packet(esn: boolean, number: bigint): Uint8Array {
  const outbound = {
    ...parameters(esn, 64),
    direction: 'out' as const,
    selectors: { local: SITE_A, remote: SITE_B },
  };
  const sa: ReferenceSa = { parameters: outbound, sequence: number - 1n, packets: 0n, bytes: 0n };
  const row = { policy: policy('t/net'), use: sa };
  const tables = { policies: [row], byId: new Map(), inbound: new Map(), outbound: new Map([[SPI, sa]]) };
  const sent = protect(provider, tables, INNER, () => new Uint8Array(8));
  assert.equal(sent.type, 'esp');
  return sent.type === 'esp' ? sent.esp : INNER;
}

class Receiver {
  readonly #sa: ReferenceSa;
  readonly #tables: ReferenceTables;
  readonly #esn: boolean;

  constructor(esn: boolean, window: number, sequence = 0n) {
    this.#esn = esn;
    this.#sa = { parameters: parameters(esn, window), sequence, packets: 0n, bytes: 0n };
    this.#tables = {
      policies: [],
      byId: new Map(),
      inbound: new Map([[SPI, this.#sa]]),
      outbound: new Map(),
    };
  }

  get(number: bigint): string {
    return this.#verdict(packet(this.#esn, number));
  }

  forged(number: bigint): string {
    const esp = packet(this.#esn, number);
    esp[esp.length - 1]! ^= 1;
    return this.#verdict(esp);
  }

  get highest(): bigint {
    return this.#sa.sequence;
  }

  #verdict(esp: Uint8Array): string {
    const verdict = unprotect(provider, this.#tables, esp, 0);
    return verdict.type === 'dropped' ? verdict.drop : verdict.type;
  }
}

test('a number is taken once, in any order within the window, and not behind it', () => {
  const receiver = new Receiver(false, 64);
  for (const number of [1n, 3n, 2n, 70n, 8n, 7n]) assert.equal(receiver.get(number), 'inner', `${number}`);
  for (const number of [1n, 2n, 3n, 70n, 8n, 7n, 6n, 4n])
    assert.equal(receiver.get(number), 'replay', `${number}`);
  assert.equal(receiver.highest, 70n);
});

test('the edge: window − 1 behind the highest is the last one taken', () => {
  for (const window of [32, 64, 128, 1024]) {
    const receiver = new Receiver(false, window);
    assert.equal(receiver.get(5000n), 'inner');
    assert.equal(receiver.get(5000n - BigInt(window)), 'replay');
    assert.equal(receiver.get(5001n - BigInt(window)), 'inner');
    assert.equal(receiver.get(5001n - BigInt(window)), 'replay');
    assert.equal(receiver.highest, 5000n);
  }
});

test('zero is never a number (RFC 4303 §3.3.3)', () => {
  assert.equal(new Receiver(false, 64).forged(0n), 'replay');
  assert.equal(new Receiver(false, 64).get(0n), 'replay');
});

test('what is not authentic moves nothing, however far ahead it is', () => {
  const receiver = new Receiver(true, 64, 5n);
  assert.equal(receiver.forged(1_000_000n), 'authentication');
  assert.equal(receiver.highest, 5n);
  assert.equal(receiver.get(6n), 'inner');
  assert.equal(receiver.forged(7n), 'authentication');
  assert.equal(receiver.get(7n), 'inner');
});

test('extended numbers around 2³² (RFC 4303 Appendix A2.2)', () => {
  const low = 1n << 32n;
  const ahead = new Receiver(true, 64, low - 10n);
  for (const number of [low - 5n, low, low + 3n, low - 1n, low - 60n])
    assert.equal(ahead.get(number), 'inner', `${number}`);
  for (const number of [low, low - 1n, low - 60n]) assert.equal(ahead.get(number), 'replay', `${number}`);
  assert.equal(ahead.highest, low + 3n);
  // Behind the window, the low half stands for a number 2³² further on, and that is not authentic.
  assert.equal(ahead.get(low + 3n - 64n), 'authentication');
  const early = new Receiver(true, 64, 10n);
  assert.equal(early.get(3n), 'inner');
  assert.equal(early.get(low - 1n), 'inner');
  const third = new Receiver(true, 64, 2n * low + 100n);
  assert.equal(third.get(2n * low + 90n), 'inner');
  assert.equal(third.get(3n * low + 20n), 'inner');
});

test('without extended numbers the low half is the number', () => {
  const receiver = new Receiver(false, 64, (1n << 32n) - 10n);
  assert.equal(receiver.get((1n << 32n) - 1n), 'inner');
  assert.equal(receiver.get(5n), 'replay');
});

test('300,000 steps in windows of 32 to 4096: the reference judges as the model, and keeps twice a window at most', () => {
  const { steps, verdicts, kept, difference } = replay(300_000, 0);
  assert.equal(difference, undefined);
  assert.equal(steps, 300_000);
  for (const count of Object.values(verdicts)) assert.ok(count > 10_000);
  assert.ok(kept <= 2);
});

const real = createNodeProvider();

for (const protocol of ['esp', 'ah'] as const) {
  test(`the same steps in packets of ${protocol.toUpperCase()}`, () => {
    for (const [index, { esn, window }] of REPLAY_SAS.entries()) {
      const sa = { ...replaySa(protocol, esn, window), direction: 'in' as const };
      const tables = newTables();
      tables.inbound.set(sa.spi, newSa(sa));
      for (const step of replaySteps({ esn, window }, index, 1000)) {
        const verdict = unprotectPacket(real, tables, replayPacket(real, sa, step));
        const found = verdict.type === 'inner' ? 'taken' : verdict.drop;
        assert.equal(found, step.verdict, `window ${window}, ${esn ? 'extended, ' : ''}${step.number}`);
      }
    }
  });
}
