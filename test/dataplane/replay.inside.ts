// The kernel's replay window against the steps that the reference passed. Runs in the guest that replay-xfrm.test.ts boots.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { hex } from '../../src/wire/hex.ts';
import { viewOf } from '../../src/wire/ip.ts';
import { openKernelGateway } from './gateway.ts';
import { replayPacket, replaySa } from './replay.ts';
import { type JudgedStep, REPLAY_SAS, type ReplaySa, replaySteps } from './replay-model.ts';

/** A slice, unless all 100,000 are asked for: `npm run replay -- --kernel`. */
const PACKETS = Number(process.env.REPLAY_PACKETS ?? 20_000);
/** At the very beginning the kernel looks for numbers of a half before the first: behind a whole window it does not. */
const FIRST = 5000n;
/** The kernel finds a number's bit by its remainder, which jumps where numbers wrap unless the window is a power of two. */
const SAS = REPLAY_SAS.filter(({ window }) => Number.isInteger(Math.log2(window)));
const provider = createNodeProvider();
const gateway = await openKernelGateway();
after(() => gateway.close());

for (const protocol of ['esp', 'ah'] as const) {
  test(`replay: ${PACKETS / 2} packets of ${protocol.toUpperCase()} in windows of 32 to 4096: the kernel judges as the model`, async () => {
    const life = Math.ceil(PACKETS / 2 / SAS.length);
    for (const [index, sa] of SAS.entries())
      await judge(protocol, sa, [...replaySteps(sa, 2000 + index, life, FIRST)]);
  });
}

async function judge(
  protocol: 'esp' | 'ah',
  { esn, window }: ReplaySa,
  steps: readonly JudgedStep[],
): Promise<void> {
  const sa = replaySa(protocol, esn, window);
  setUp(sa);
  const before = statistics();
  const packets = steps.map((step, index) => replayPacket(provider, sa, step, markOf(index)));
  const reached = await gateway.manyFromNetwork(packets);
  const taken = new Set(reached.map((packet) => viewOf(packet).getUint32(packet.length - 4)));
  for (const [index, { number, verdict }] of steps.entries()) {
    const what = `window ${window}, ${esn ? 'extended, ' : ''}step ${index}, ${number}`;
    assert.equal(taken.has(index), verdict === 'taken', what);
  }
  const now = statistics();
  const counted = COUNTERS.map((name) => now[name]! - before[name]!);
  const expected = (['replay', 'authentication'] as const).map(
    (verdict) => steps.filter((step) => step.verdict === verdict).length,
  );
  assert.deepEqual([reached.length, ...counted], [taken.size, ...expected]);
}

const COUNTERS = ['XfrmInStateSeqError', 'XfrmInStateProtoError'] as const;

function statistics(): Record<string, number> {
  const lines = readFileSync('/proc/net/xfrm_stat', 'utf8').trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => line.split(/\s+/)).map(([name, count]) => [name, Number(count)]),
  );
}

function setUp({
  protocol,
  esn,
  replayWindow,
  local,
  remote,
  spi,
  encryption,
  integrity,
}: SaParameters): void {
  const keys = encryption
    ? `aead rfc4106(gcm(aes)) 0x${hex(encryption.key)} 128`
    : `auth-trunc hmac(sha1) 0x${hex(integrity!.key)} 96 flag align4`;
  const id = `src ${remote} dst ${local} proto ${protocol} spi ${spi} reqid 1 mode tunnel`;
  const lines = [
    'xfrm state flush',
    'xfrm policy flush',
    `xfrm state add ${id} replay-window ${replayWindow}${esn ? ' flag esn' : ''} ${keys}`,
    `xfrm policy add src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd tmpl src ${remote} dst ${local} proto ${protocol} reqid 1 mode tunnel`,
  ];
  execFileSync('ip', ['-batch', '-'], { input: lines.join('\n') });
}

function markOf(index: number): Uint8Array<ArrayBuffer> {
  const mark = new Uint8Array(4);
  viewOf(mark).setUint32(0, index);
  return mark;
}
