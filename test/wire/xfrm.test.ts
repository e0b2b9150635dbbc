import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { WireError } from '../../src/wire/codec.ts';
import {
  addSa,
  decodeXfrm,
  deletePolicy,
  deleteSa,
  fromXfrmAddress,
  glanceAtSas,
  setPolicy,
  toXfrmAddress,
  type XfrmMessage,
} from '../../src/wire/xfrm.ts';
import { generator, mutated } from './mutate.ts';

const folder = mkdtempSync(join(tmpdir(), 'xfrm-samples-'));
after(() => rmSync(folder, { recursive: true }));

/** What the compiler makes of the kernel's header, by name. */
function kernelSamples(): Map<string, Uint8Array> {
  const program = join(folder, 'samples');
  const source = new URL('./xfrm-samples.c', import.meta.url).pathname;
  execFileSync('gcc', [source, '-o', program]);
  const lines = execFileSync(program, { encoding: 'utf8' }).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [name, hex] = line.split(' ') as [string, string];
      return [name, Uint8Array.from(Buffer.from(hex, 'hex'))];
    }),
  );
}

const samples = kernelSamples();
const run = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => from + i);
const NETLINK_HEADER = 16;

function only(name: string): XfrmMessage {
  const [message, ...more] = decodeXfrm(samples.get(name)!);
  assert.deepEqual(more, []);
  return message!;
}

/** Behind the header, where flags and numbers differ. */
function body(message: Uint8Array): string {
  return Buffer.from(message.subarray(NETLINK_HEADER)).toString('hex');
}

const selector = {
  destination: run(1, 16),
  source: run(33, 16),
  destinationPort: 1001,
  destinationPortMask: 0xffff,
  sourcePort: 1003,
  sourcePortMask: 0xfff0,
  family: 10,
  destinationLength: 64,
  sourceLength: 48,
  protocol: 17,
  link: -5,
  user: 6,
};
const mark = { value: 81, mask: 0xffffff0f };
const id = { destination: run(65, 16), spi: 0x01020304, protocol: 50 };
const limits = {
  softBytes: 2n ** 33n,
  hardBytes: 2n ** 64n - 1n,
  softPackets: 3n,
  hardPackets: 4n,
  softAdded: 5n,
  hardAdded: 6n,
  softUsed: 7n,
  hardUsed: 8n,
};
const info = {
  selector,
  id,
  source: run(97, 16),
  limits,
  counters: { bytes: 11n, packets: 12n, added: 13n, used: 14n },
  faults: { outsideWindow: 15, replayed: 16, integrity: 17 },
  sequence: 18,
  reqid: 19,
  family: 10,
  mode: 1,
  replayWindow: 20,
  flags: 128,
};
const policyInfo = {
  selector,
  limits,
  counters: { bytes: 21n, packets: 22n, added: 23n, used: 24n },
  priority: 25,
  index: 26,
  direction: 2,
  action: 1,
  flags: 3,
  share: 4,
};
const template = {
  id,
  family: 2,
  source: run(129, 16),
  reqid: 31,
  mode: 1,
  share: 2,
  optional: 3,
  integrityBits: 32,
  encryptionBits: 33,
  compressionBits: 34,
};

test('an SA is read and written as the kernel’s header lays it out', () => {
  const message = only('sa');
  assert.deepEqual(message, {
    type: 'sa',
    sa: {
      info,
      attributes: {
        encryption: { name: 'cbc(aes)', key: run(1, 16) },
        encapsulation: { type: 2, sourcePort: 4500, destinationPort: 4501, original: new Uint8Array(16) },
        aead: { name: 'rfc4106(gcm(aes))', key: run(1, 20), icvBits: 96 },
        integrity: { name: 'xcbc(aes)', key: run(1, 16), icvBits: 96 },
        replay: { sent: 41, received: 42, sentHigh: 43, receivedHigh: 44, window: 64, bitmap: run(1, 8) },
        outputMark: 0x2d00000,
        outputMask: 0x2d00001,
        mark,
        padTo: 71,
        extraFlags: 1,
        ifId: 82,
        offload: { link: 83, flags: 2 },
      },
    },
  });
  assert.equal(body(addSa(message.type === 'sa' ? message.sa : assert.fail())), body(samples.get('sa')!));
});

test('a policy with its template is read and written as the kernel’s header lays it out', () => {
  const message = only('policy');
  const policy = { info: policyInfo, attributes: { templates: [template], mark, ifId: 82 } };
  assert.deepEqual(message, { type: 'policy', policy });
  assert.equal(body(setPolicy(policy)), body(samples.get('policy')!));
  assert.equal(body(deletePolicy(policy)), body(samples.get('delete-policy')!));
});

test('what the kernel reports by itself is read as its header lays it out', () => {
  assert.deepEqual(only('expire'), { type: 'expire', info, hard: true });
  assert.deepEqual(only('acquire'), {
    type: 'acquire',
    acquire: {
      id,
      source: run(161, 16),
      selector,
      policy: policyInfo,
      integrityBits: 51,
      encryptionBits: 52,
      compressionBits: 53,
      sequence: 54,
      attributes: { templates: [template] },
    },
  });
  assert.deepEqual(only('mapping'), {
    type: 'mapping',
    mapping: {
      id: { destination: run(1, 16), spi: 0x01020304, family: 2, protocol: 50 },
      reqid: 61,
      oldSource: run(33, 16),
      source: run(65, 16),
      oldSourcePort: 4500,
      sourcePort: 4501,
      attributes: {},
    },
  });
});

test('an SA is named for deletion as the kernel’s header lays it out', () => {
  const named = { destination: run(1, 16), spi: 0x01020304, family: 10, protocol: 50, mark };
  assert.equal(body(deleteSa(named)), body(samples.get('delete-sa')!));
});

test('a glance at an SA sees what reading all of it sees', () => {
  const named = [...samples].filter(([, bytes]) => decodeXfrm(bytes).some(({ type }) => type === 'sa'));
  assert.ok(named.length > 0);
  for (const [name, bytes] of named) {
    const [message] = decodeXfrm(bytes);
    const { info } = (message as Extract<XfrmMessage, { type: 'sa' }>).sa;
    const { spi, protocol } = info.id;
    const seen = glanceAtSas(bytes)[0]!;
    assert.deepEqual(
      { ...seen, id: { ...seen.id, destination: [...seen.id.destination] } },
      {
        id: { destination: [...info.id.destination], spi, protocol },
        reqid: info.reqid,
        packets: info.counters.packets,
        bytes: info.counters.bytes,
        hardAdded: info.limits.hardAdded,
      },
      name,
    );
  }
});

test('addresses of both families fit into sixteen bytes', () => {
  assert.equal(fromXfrmAddress(toXfrmAddress('192.0.2.1'), 2), '192.0.2.1');
  assert.equal(fromXfrmAddress(toXfrmAddress('2001:db8::1'), 10), '2001:db8::1');
});

for (const [name, bytes] of samples) {
  test(`xfrm ${name}: truncated or damaged, what comes back is messages or a WireError`, () => {
    const random = generator(bytes.length);
    const pieces = Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length));
    const damaged = Array.from({ length: 5_000 }, () => mutated(bytes, random));
    for (const piece of [...pieces, ...damaged]) {
      try {
        decodeXfrm(piece);
        glanceAtSas(piece);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }
  });
}
